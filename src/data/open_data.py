"""Opening the data set that a config chooses."""

from dataclasses import replace
from pathlib import Path

from src.base.config import FolderData, OxfordPetData, SyntheticData
from src.data.decoding import PairDecoder
from src.data.images import ImageReader
from src.data.masks import MaskReader
from src.data.notes import notes_of
from src.data.pairs import Splits
from src.data.sources.download import download_oxford_pet
from src.data.sources.folder import open_folder
from src.data.sources.lists import find_lists
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.synthetic.dataset import drawn_before, make_synthetic
from src.data.verify import verify


def open_data(data: OxfordPetData | SyntheticData | FolderData, make: bool = True) -> Splits:
    """Open the chosen data set; download it first if the config asks for it, or draw it if it is the synthetic one.

    With `make` False nothing is downloaded, drawn or written: for a config that comes with a run's folder.

    Raises ValueError when it is missing, with what to do, or has another layout. Its files are not checked.
    """
    splits = _open(data, Path(data.root).expanduser(), make)
    images = replace(splits.decoder.images, resize=data.resize)
    return replace(splits, decoder=replace(splits.decoder, images=images))


def _open(data: OxfordPetData | SyntheticData | FolderData, root: Path, make: bool) -> Splits:
    if isinstance(data, FolderData):
        masks = MaskReader(binary=True, threshold=data.mask_threshold, ignore=data.ignore_value)
        decoder = PairDecoder(ImageReader(data.exif or "apply"), masks)
        splits = open_folder(root, data.fold, data.mask_suffix, decoder)
        # runs from before this was refused can still be looked at
        if make and data.fold != 0 and (lists := find_lists(root)) is not None:
            raise ValueError(
                f"data.fold: got {data.fold}, but {', '.join(path.name for path in lists)} in {root.absolute()} decide "
                "the splits, so every fold would be the same run; leave data.fold at 0, or move the lists away"
            )
        return splits
    if isinstance(data, SyntheticData):
        settings = (data.trainval, data.test, data.size, data.seed)
        root = make_synthetic(root, *settings) if make else drawn_before(root, *settings)
    elif data.download and make:
        download_oxford_pet(root)
    return open_oxford_pet(root, data.fold)


def open_verified(
    data: OxfordPetData | SyntheticData | FolderData, make: bool = True, cache: str | None = None
) -> tuple[Splits, str]:
    """The chosen data set with every file checked, and its fingerprint; see `open_data` and `verify`.

    `cache`: the folder that remembers the check, if it is not the config's. `data.on_error` decides whether pairs that
    cannot be used are refused or left out. Raises ValueError as both do.
    """
    splits, digest = verify(open_data(data, make), Path(cache or data.cache_dir), data.on_error)
    return replace(splits, notes=(*splits.notes, *notes_of(splits, data.image_size))), digest
