"""What a data set holds, in numbers: sizes, aspect, foreground and trimap classes, by split, species and breed."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from src.base.environment import usable_cores
from src.data.images import BACKGROUND, BORDER, PET, VOID
from src.data.pairs import Splits
from src.data.sources.oxford_pet import breeds_of

CLASSES = {"pet": PET, "background": BACKGROUND, "border": BORDER, "ignored": VOID}
LARGE = 512  # pixels of the longer side; report D looks at how many images are smaller


def describe_images(splits: Splits) -> pd.DataFrame:
    """One row per image of verified `splits`; texts that are unknown are None.

    Columns: split, species, breed, stem; width and height in pixels, aspect (width / height); foreground, the share
    of pixels that are not background among those that count; pet, background, border, ignored: shares of all pixels.
    """
    breeds = breeds_of(splits.pairs)
    rows = [
        (name, *breeds.get(pair.stem, (None, None)), pair.stem, facts.width, facts.height, facts.foreground)
        for name, pairs in (("train", splits.train), ("valid", splits.valid), ("test", splits.test))
        for pair in pairs
        if (facts := pair.facts) is not None
    ]
    images = pd.DataFrame(rows, columns=["split", "species", "breed", "stem", "width", "height", "foreground"])
    images.insert(6, "aspect", images["width"] / images["height"])
    with ThreadPoolExecutor(usable_cores()) as pool:
        shares = list(pool.map(lambda pair: _class_shares(splits.decoder.masks(pair.mask)), splits.pairs))
    return images.join(pd.DataFrame(shares))


def _class_shares(trimap: np.ndarray) -> dict[str, float]:
    counts = np.bincount(trimap.reshape(-1), minlength=VOID + 1)
    return {name: float(counts[code] / trimap.size) for name, code in CLASSES.items()}


def describe_groups(images: pd.DataFrame) -> pd.DataFrame:
    """One row for all images and for each split, species and breed of `describe_images`.

    Columns: group, images; median width and height, the smallest and largest longer side in pixels, share of images
    whose longer side is under 512; median aspect; mean shares of foreground and of each class.
    """
    rows = [_group_row("all images", images)]
    for column in ("split", "species", "breed"):
        groups = images.groupby(column, sort=column != "split")
        rows += [_group_row(f"{column} {name}", group) for name, group in groups]
    return pd.DataFrame(rows)


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
