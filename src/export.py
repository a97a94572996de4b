"""Makes a file of a run's network that runs elsewhere: `python -m src.export run=multirun_outputs/demo/unet-…`.

The file, of format=onnx or format=torch_export, describes the images that it takes and what its output means. Before it
is put in place it is compared with the network on real images. Keys: conf/export.yaml. Exit code 0: written, its output
equal to the network's; 1: not written, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/export.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from omegaconf import DictConfig

from src.cli.hydra_entry import hydra_command
from src.cli.overrides import parse_options

NEEDED = {"run": "the folder of a run, for example run=multirun_outputs/demo/unet-…"}


@hydra_command("export", paths=("run", "output", "inputs"))
def export(config: DictConfig) -> None:
    """Check, export, compare, print what was written."""
    # torch takes seconds to import: --help must not wait for it
    from src.exporting.exporting import ExportOptions, export_run

    print(export_run(parse_options(ExportOptions, config, NEEDED)))


if __name__ == "__main__":
    export()
