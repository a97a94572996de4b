"""What a data set holds, in numbers: sizes, aspect, foreground and trimap classes, by split, species and breed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from tqdm import tqdm

from src.base.environment import usable_cores
from src.data.images import BACKGROUND, BORDER, PET, VOID
from src.data.pairs import Pair, Splits
from src.data.sources.oxford_pet import breeds_of

CLASSES = {"pet": PET, "background": BACKGROUND, "border": BORDER, "ignored": VOID}
LARGE = 512  # pixels of the longer side; report D looks at how many images are smaller


def describe_images(splits: Splits) -> pd.DataFrame:
    """One row per image of verified `splits`; texts that are unknown are None.

    Columns: split, species, breed, stem; width and height in pixels, aspect (width / height); foreground, the share
    of pixels that are not background among those that count; pet, background, border, ignored: shares of all pixels.
    """
    breeds = breeds_of(splits.pairs)
    names = ["train"] * len(splits.train) + ["valid"] * len(splits.valid) + ["test"] * len(splits.test)
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = pool.map(lambda pair: _class_shares(splits.decoder.masks(pair.mask)), splits.pairs)
        # disable=None: a bar only if stderr is a terminal
        shares = tqdm(found, desc="describing the data", total=len(splits.pairs), unit=" images", disable=None)
        rows = [_row(pair, name, share, breeds) for pair, name, share in zip(splits.pairs, names, shares, strict=True)]
    return pd.DataFrame(rows)


def describe_groups(images: pd.DataFrame) -> pd.DataFrame:
    """One row for all images and for each split, species and breed of `describe_images`.

    Columns: group, images; median width and height, the smallest and largest longer side in pixels, share of images
    whose longer side is under 512; median aspect; mean shares of foreground and of each class.
    """
    return pd.DataFrame([_group_row(name, group) for name, group in _groups(images)])


def _row(pair: Pair, split: str, shares: dict[str, float], breeds: dict[str, tuple[str, str]]) -> dict[str, object]:
    assert pair.facts is not None, "only verified pairs are described"
    species, breed = breeds.get(pair.stem, (None, None))
    width, height = pair.facts.width, pair.facts.height
    return {
        "split": split,
        "species": species,
        "breed": breed,
        "stem": pair.stem,
        "width": width,
        "height": height,
        "aspect": width / height,
        "foreground": pair.facts.foreground,
        **shares,
    }


def _class_shares(trimap: np.ndarray) -> dict[str, float]:
    counts = np.bincount(trimap.reshape(-1), minlength=VOID + 1)
    return {name: float(counts[code] / trimap.size) for name, code in CLASSES.items()}


def _groups(images: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    yield "all images", images
    for column in ("split", "species", "breed"):
        for name, group in images.groupby(column, sort=column != "split"):
            yield f"{column} {name}", group


def _group_row(name: str, group: pd.DataFrame) -> dict[str, object]:
    longer = group[["width", "height"]].max(axis=1)
    return {
        "group": name,
        "images": len(group),
        "width": group["width"].median(),
        "height": group["height"].median(),
        "smallest": int(longer.min()),
        "largest": int(longer.max()),
        f"under_{LARGE}": float((longer < LARGE).mean()),
        "aspect": group["aspect"].median(),
        **{column: group[column].astype(float).mean() for column in ("foreground", *CLASSES)},
    }
