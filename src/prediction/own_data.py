"""The data set that a run was trained on, found again by its content."""

from pathlib import Path

from src.base.config import RunConfig
from src.base.record import RunRecord
from src.data.open_data import open_verified
from src.data.pairs import Splits


def open_own_data(folder: Path, config: RunConfig, root: str | None, cache: str) -> Splits:
    """The data of the run in `folder`, in `root` or where its config says; nothing is downloaded or drawn.

    `cache`: the folder that remembers checks. Raises ValueError when they are missing or others than the run's.
    """
    data = config.data if root is None else config.data.model_copy(update={"root": root})
    try:
        splits, found = open_verified(data, make=False, cache=cache)
    except ValueError as error:
        raise ValueError(f"{error}\n(the run's own data are needed; root=<folder> says where they are now)") from error
    before = str((RunRecord(folder).read() or {}).get("data", {}).get("fingerprint"))
    if found != before:
        raise ValueError(
            f"{folder}: was trained on data with fingerprint {before[:12]}, but {data.root} has {found[:12]}; "
            "root=<folder> names the right ones (masks of other photos: python -m src.inference input=<photos>)"
        )
    return splits
