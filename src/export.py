"""Makes a file of a run's network that runs elsewhere: `python -m src.export run=multirun_outputs/demo/unet-…`.

The file, of format=onnx or format=torch_export, says itself which images it wants and what its output means. Before it
is put in place it is compared with the network on real images. Keys: conf/export.yaml. Exit code 0: written, saying
what the network says; 1: not written, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import signal
import sys
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.base.config import parse_section, problems_of
from src.base.errors import ConfigError
from src.cli.hydra_entry import command
from src.cli.overrides import forcing_values, plain_values, quoting_values, refusal

PATHS = ("run", "output", "inputs")


@command("export")
def main(composed: DictConfig) -> None:
    """Check, export, compare, say what was written."""
    try:
        # torch takes seconds to import: --help must not wait for it
        from src.exporting.exporting import ExportOptions, export_run

        print(export_run(parse_section(ExportOptions, _given(composed))))
    except (ValueError, OSError) as error:
        sys.exit(refusal(error))


def _given(composed: DictConfig) -> dict[str, Any]:
    from src.exporting.exporting import ExportOptions

    if not OmegaConf.is_missing(composed, "run"):
        return plain_values(composed)
    missing = "run: missing; it takes the folder of a run, for example run=multirun_outputs/demo/unet-…"
    composed.run = "."  # stands in, so that the other keys are judged too
    raise ConfigError([missing, *problems_of(ExportOptions, plain_values(composed), prefix="")])


def export() -> None:
    """The command: what is typed is put right for Hydra, then `main` runs."""
    sys.argv[1:] = forcing_values(quoting_values(sys.argv[1:], PATHS))
    main()


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends this quietly
    export()
