"""Prepares a data set before any run: `python -m src.prepare data=oxford_pet`.

Downloads Oxford-IIIT Pet if it is missing, draws the synthetic images, and checks every file of any data set, so
that the runs need not. Reads the group `data` only. Exit code 0: ready; 1: not ready, with the reasons; 130: Ctrl-C.
"""

if __name__ == "__main__":  # the imports below take seconds
    from src.cli.console import expect_ctrl_c

    expect_ctrl_c()

from omegaconf import DictConfig

from src.base.config import parse_data
from src.base.errors import ConfigError
from src.cli.hydra_entry import hydra_command
from src.cli.overrides import plain_values


@hydra_command("prepare")
def prepare(config: DictConfig) -> None:
    """Opens and checks the data set, and prints what it holds."""
    from src.data.open_data import open_verified
    from src.data.verify import skipped_text

    values = plain_values(config)
    plain = values.pop("data")
    if values:
        raise ConfigError([f"{key}: unknown key; only data and data.… can be given" for key in values])
    data = parse_data({**plain, "download": True} if plain.get("kind") == "oxford_pet" else plain)
    splits, digest = open_verified(data)
    if splits.skipped:
        print(skipped_text(splits))
    for note in splits.notes:
        print(f"warning: {note}")
    counts = f"{len(splits.train)} training, {len(splits.valid)} validation and {len(splits.test)} test images"
    print(f"ready: {data.name} with {counts}, fingerprint {digest[:12]}")


if __name__ == "__main__":
    prepare()
