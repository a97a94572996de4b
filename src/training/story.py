"""What happens to a run between its config and its scores: read this first."""

import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.base.config import RunConfig
from src.base.record import HEADLINE, RunRecord
from src.base.runtime import Numerics, device_name, seed_everything
from src.data.loaders import EvalLoader
from src.data.pairs import Pair, Splits
from src.training.build import build_loaders, build_train_state
from src.training.checkpoint import PREVIOUS
from src.training.examples import draw_examples
from src.training.loop import evaluate, fit
from src.training.protocol import Protocol, image_rows
from src.training.resume import resume
from src.training.state import TrainState
from src.training.stopping import StopRequest

log = logging.getLogger(__name__)


class Result(NamedTuple):
    """Scores of the best epoch on the validation and the test split, and which epoch that is."""

    scores: dict[str, float]
    best_epoch: int


def train_and_test(
    config: RunConfig,
    splits: Splits,
    data_fingerprint: str,
    numerics: Numerics,
    record: RunRecord,
    stop: StopRequest,
) -> Result:
    """Trains the network of `config` on the training split and scores its best weights on the test split.

    Config keys that it reads, in order:
        data.cache_dir, numerics, seed: arithmetic and random numbers;
        data.{image_size,border,workers,decode_once}, augmentation, trainer.batch_size, debug: batches;
        model, init_from, data.{mean,std}, trainer.{flip_tta,ema_decay}: the network;
        loss, optimizer, scheduler, mix, trainer.{epochs,accumulate}: what trains it;
        trainer.{clip_norm,early_stop_patience}: how it is trained;
        trainer.{keep_every,checkpoint_seconds}: what is kept of it, and when;
        examples: the pictures of its test images.

    `record` is begun and locked; what is in its checkpoints is resumed. Raises Interrupted when `stop` was asked for,
    NonFiniteLoss, OSError when the disk does not take a checkpoint, and whatever a part of the config raises.
    """
    numerics.set_up(Path(config.data.cache_dir))
    seed_everything(config.seed)
    loaders = build_loaders(config, splits, data_fingerprint, numerics)
    steps_per_epoch = -(-len(loaders.train) // config.trainer.accumulate)
    state = build_train_state(config, numerics, steps_per_epoch)
    _log_start(config, splits, state, record)
    if (note := numerics.note_of_idle_cores()) is not None:
        log.info("%s", note)

    resume(state, record)
    fit(state, (loaders.train, loaders.valid), config.trainer, record, stop)

    state.scored.model.load_state_dict(state.best_weights)
    test_scores = test(config, state, loaders.test, splits.test, record, stop)
    record.check()
    (record.checkpoints / PREVIOUS).unlink(missing_ok=True)
    return Result({"valid_dice": state.best_dice, **test_scores}, state.best_epoch)


def test(
    config: RunConfig,
    state: TrainState,
    loaders: dict[Protocol, EvalLoader],
    pairs: list[Pair],
    record: RunRecord,
    stop: StopRequest,
) -> dict[str, float]:
    """Scores the test split under each protocol of `loaders`, records all, and returns the headline's numbers."""
    headline: dict[str, float] = {}
    for protocol, loader in loaders.items():
        result = evaluate(state.scored, state.loss, loader, f"test, {protocol.name}", stop.check)
        entry = protocol.entry(result.counts, config.data.image_size, config.trainer.batch_size)
        stems = [pair.stem for pair in pairs[: len(result.counts)]]  # debug stops early
        record.write_test(protocol.name, {**entry, "loss": result.loss}, image_rows(stems, result.counts))
        if protocol.name == HEADLINE:
            warn_of_one_class(result.counts)
            if config.examples:
                draw_examples(state.scored, loader, stems, result.counts, config.examples, record)
            headline = {
                "test_dice": entry["dice"]["mean"],
                "test_iou": entry["iou"]["mean"],
                "test_pooled_dice": entry["pooled_dice"],
                "test_dice_batch_flattened": entry["dice_batch_flattened"],
            }
    return headline


def warn_of_one_class(counts: np.ndarray) -> None:
    """`counts`: tp, fp, fn, tn, int64 (images, 4). A network that calls all pixels the same has learned nothing."""
    tp, fp, fn, tn = counts.sum(axis=0).tolist()
    for kind, predicted in (("foreground", tp + fp), ("background", fn + tn)):
        if not predicted:
            log.warning(
                "no pixel of the %d test images is predicted as %s (%d of %d pixels are foreground in the masks)",
                *(len(counts), kind, tp + fn, counts.sum()),
            )


def _log_start(config: RunConfig, splits: Splits, state: TrainState, record: RunRecord) -> None:
    parameters = sum(parameter.numel() for parameter in state.network.model.parameters())
    record.update(parameters=parameters)
    log.info(
        "%s with %s parameters on %s; %d training, %d validation and %d test images",
        config.model["name"],
        f"{parameters:,}",
        device_name(state.network.numerics.device),
        *(len(split) for split in (splits.train, splits.valid, splits.test)),
    )
