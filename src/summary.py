"""Prints what a network consists of: `python -m src.summary model=resnet34_unet_cbam data.image_size=256`.

Parameters, multiply-adds and memory, block by block, for one image. Takes the keys of a run; trains nothing and reads
no data. Exit code 0: printed; 1: refused, and why; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/summary.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

import re
import sys
from typing import TYPE_CHECKING

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from src.base.errors import ConfigError, cut, one_line, reason_of
from src.cli.hydra_entry import as_config_errors, hydra_command
from src.cli.hydra_limits import check_arguments, config_folders
from src.cli.overrides import choose_settings, force_overrides, is_for_hydra, parse_arguments, plain_values, strip_plus

if TYPE_CHECKING:
    from src.models.summary import BlockSummary, ModelSummary

NUMBERS = ("parameters", "multiply-adds (M)", "outputs and gradients (MB)")


def summary() -> None:
    """The command; its overrides are keys of a run, which its own config does not have."""
    asked, flags, overrides = parse_arguments(sys.argv[1:])
    of_runs = [override for override in overrides if not is_for_hydra(override)]
    of_runs = choose_settings(of_runs, config_folders(asked))
    sys.argv[1:] = [*flags, *filter(is_for_hydra, overrides)]

    @hydra_command("summary")
    def main(config: DictConfig) -> None:
        check_arguments(asked, of_runs, "train")
        print("\n".join(_described(of_runs)))

    main()


def _described(of_runs: list[str]) -> list[str]:
    """The lines of the summary of the network that a run with these overrides trains."""
    # torch takes seconds to import: --help must not wait for it
    from torch import nn

    from src.base.config import RunConfig, node_problems, problems_of, with_named_packages
    from src.models.summary import summarize
    from src.training.build import blueprint, size_problems

    with as_config_errors(of_runs):
        composed = compose("train", force_overrides(of_runs), return_hydra_config=True)
        _check_one_network(composed.hydra.sweeper, of_runs)
        OmegaConf.set_struct(composed, False)
        del composed["hydra"]
        plain = with_named_packages(plain_values(composed))
    # of the network alone: whether the loss fits its outputs does not matter here
    problems = problems_of(RunConfig, plain) or node_problems(
        "model", plain["model"], nn.Module, (), plain["allow_targets"]
    )
    if problems:
        raise ConfigError(problems)
    config = RunConfig.model_validate(plain)
    try:
        model = blueprint(config, config.allow_targets)
        if problems := size_problems(config, model):
            raise ConfigError(problems)
        found = summarize(model, config.data.image_size)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # a custom network may need real images, which it does not get
        name, reason = config.model["name"], cut(one_line(reason_of(error)))
        raise ConfigError([f"model: {name} cannot be summarized without weights ({reason})"]) from error
    return [*_table(found), "", *_totals(config.model["name"], config.data.image_size, found)]


def _check_one_network(sweeper: DictConfig, of_runs: list[str]) -> None:
    """Raises ConfigError for keys of an experiment's sweep that change the network and that `of_runs` leave open."""
    given = [override.partition("=")[0] for override in strip_plus(of_runs)]
    problems = {
        key: f"{key}: got a sweep over {cut(f'{key}={values}')}; add {key}=<one of them>"
        for grid in (sweeper.get("params"), *(sweeper.get("grids") or ()))
        for key, values in (grid or {}).items()
        if re.match(r"(model(\..+)?|setting|size|data|data\.image_size)$", key) and key not in given
    }
    if problems:
        raise ConfigError([*problems.values()])


def _table(found: "ModelSummary") -> list[str]:
    from src.display.text import plain_table

    rows = [_row(block, block.name) for block in found.blocks] + [_row(found.whole, "all")]
    names = ("block", "kind", "output", *NUMBERS)
    columns = {name: [row[number] for row in rows] for number, name in enumerate(names)}
    return plain_table(columns, NUMBERS, {"kind": 8})


def _row(block: "BlockSummary", name: str) -> tuple[str, ...]:
    shape = " x ".join(map(str, block.output))
    numbers = f"{block.parameters:,}", f"{block.multiply_adds / 1e6:,.1f}", f"{block.memory / 1e6:.2f}"
    return name, block.kind, shape, *numbers


def _totals(name: str, size: int, found: "ModelSummary") -> list[str]:
    """Sentences with the numbers of report D's summaries."""
    whole = found.whole
    return [
        f"{name}: {whole.parameters:,} parameters; {whole.multiply_adds / 1e9:.2f} G multiply-adds for an image of "
        f"{size} x {size} ({whole.torchinfo_multiply_adds / 1e9:.2f} G as report D's summary counts them: transposed "
        "convolutions at the size of their outputs).",
        f"Memory of one float32 image: parameters {4 * whole.parameters / 1e6:.2f} MB, input {found.input / 1e6:.2f} "
        f"MB, forward and backward {whole.memory / 1e6:.2f} MB, total {found.memory / 1e6:.2f} MB.",
    ]


if __name__ == "__main__":
    summary()
