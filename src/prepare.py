"""Prepares a data set before any run: `python -m src.prepare data=oxford_pet`.

Downloads Oxford-IIIT Pet if it is missing, draws the synthetic images, and checks every file of any data set, so
that the runs need not. With `describe=true` it also prints and writes what the data set holds.
Exit code 0: ready; 1: not ready, with the reasons; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    if not __package__:  # `python src/prepare.py`
        import sys

        sys.path[0] = __file__.rpartition("/src/")[0]
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from pathlib import Path

from omegaconf import DictConfig

from src.base.config import Section, UserPath, parse_data, parse_section
from src.base.files import check_writable
from src.cli.hydra_entry import hydra_command
from src.cli.overrides import plain_values


class PrepareOptions(Section):
    """The keys of conf/prepare.yaml beside `data`."""

    describe: bool
    output: UserPath


@hydra_command("prepare", paths=("output",))
def prepare(config: DictConfig) -> None:
    """Opens and checks the data set, and prints what it holds."""
    from src.data.open_data import open_verified
    from src.data.verify import skipped_text

    values = plain_values(config)
    plain = values.pop("data")
    options = parse_section(PrepareOptions, values)
    if options.describe:
        check_writable(Path(options.output))
    data = parse_data({**plain, "download": True} if plain.get("kind") == "oxford_pet" else plain)
    splits, digest = open_verified(data)
    if splits.skipped:
        print(skipped_text(splits))
    for note in splits.notes:
        print(f"warning: {note}")
    counts = f"{len(splits.train)} training, {len(splits.valid)} validation and {len(splits.test)} test images"
    if options.describe:
        from src.data.describe import describe_groups, describe_images
        from src.display.data_description import write_description

        images = describe_images(splits)
        print("\n".join(write_description(images, describe_groups(images), Path(options.output))), end="\n\n")
        print(f"written: {options.output}")
    print(f"ready: {data.name} with {counts}, fingerprint {digest[:12]}")


if __name__ == "__main__":
    prepare()
