"""Images a second that one core prepares for training, our way and the reports' way, and where our time goes."""

from collections.abc import Callable
from itertools import count
from typing import Any

import cv2
from torch.utils.data import DataLoader

from src.benchmarking.reports_way import reports_loader
from src.benchmarking.timing import in_turns, ratio_in_turns, spread
from src.config import RunConfig
from src.data.augment import Draw, PairTransform, draw_seeds
from src.data.dataset import ReadPair, load_size
from src.data.images import trimap_to_target
from src.data.loaders import make_train_loader, start_epoch
from src.data.pairs import Splits

NOTHING = {"_target_": "albumentations.NoOp", "p": 1.0}


def measure_data_path(
    config: RunConfig, splits: Splits, read_pair: ReadPair, images: int, repeats: int
) -> dict[str, Any]:
    """Both ways over the same `images`, in this process and on one thread; batches included, the network left out."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)
    try:
        pairs = splits.train[:images]
        reports = reports_loader(pairs, splits.reader, config, workers=0)
        ours = make_train_loader(
            pairs,
            read_pair,
            config.data.image_size,
            config.data.border,
            config.augmentation,
            config.trainer.batch_size,
            config.seed,
            workers=0,
            pin_memory=False,
            allow_targets=config.allow_targets,
        )
        work = {"ours": _our_epochs(ours), "reports": lambda: sum(len(batch) for batch, _ in reports)}
        seconds = in_turns(work, repeats, "data path")
        stages = _stages(config, splits, read_pair, images, repeats)
    finally:
        cv2.setNumThreads(threads)
    return {
        "images": len(pairs),
        "augmentation": config.augmentation.name,
        "image_size": config.data.image_size,
        "images_per_second_and_core": {name: spread([1 / value for value in own]) for name, own in seconds.items()},
        "ratio_to_reports": ratio_in_turns(seconds["reports"], seconds["ours"]),
        "stages": stages,
    }


def _our_epochs(loader: DataLoader) -> Callable[[], int]:
    epochs = count(1)
    return lambda: sum(len(batch.images) for batch in start_epoch(loader, next(epochs)))


def _stages(config: RunConfig, splits: Splits, read_pair: ReadPair, images: int, repeats: int) -> list[dict[str, Any]]:
    """Milliseconds an image of each stage of our way, and its share; a transform's without what every one needs."""
    size = load_size(config.data.image_size, config.augmentation)
    pairs = splits.train[:images]
    read = [read_pair(pair, size) for pair in pairs]
    targets = [trimap_to_target(trimap, "foreground") for _, trimap in read]
    seeds = [draw_seeds(config.seed, Draw.TRANSFORM, 0, index) for index in range(len(pairs))]

    def applying(node: dict[str, Any]) -> Callable[[], int]:
        transform = PairTransform([node], allow_targets=config.allow_targets)
        return lambda: len(
            [transform(image, target, seed) for (image, _), target, seed in zip(read, targets, seeds, strict=True)]
        )

    names = {str(node["_target_"]).rpartition(".")[2]: node for node in config.augmentation.transforms}
    work = {
        "read the kept pair": lambda: len([read_pair(pair, size) for pair in pairs]),
        "target from the trimap": lambda: len([trimap_to_target(trimap, "foreground") for _, trimap in read]),
        "albumentations' frame and seeds": applying(NOTHING),
        **{name: applying(node) for name, node in names.items()},
    }
    seconds = {name: spread(own)["median"] for name, own in in_turns(work, repeats, "stages").items()}
    frame = seconds["albumentations' frame and seeds"]
    alone = {name: max(0.0, value - frame) if name in names else value for name, value in seconds.items()}
    return [
        {"stage": name, "milliseconds": 1000 * value, "share": value / sum(alone.values())}
        for name, value in sorted(alone.items(), key=lambda item: -item[1])
    ]
