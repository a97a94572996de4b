"""One run from its config to its record: data, model, optimizer, schedule, fit, score."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import DataLoader

from src.base.config import RunConfig
from src.base.device_sharing import ConcurrentRuns
from src.base.environment import PROJECT, git_state, machine, versions
from src.base.files import CannotWrite, check_writable
from src.base.identity import Identity, choices_of, identify
from src.base.record import HEADLINE, STORY, RunRecord, SweepFolder
from src.base.runtime import Numerics, device_key, device_name, pick_device, seed_everything
from src.data.cache import open_cache
from src.data.datasets import FileReader, PairReader, load_size
from src.data.loaders import make_eval_loader, make_train_loader
from src.data.open_data import open_verified
from src.data.pairs import Pair, Splits
from src.data.verify import skipped_text
from src.training.checkpoint import BEST, PREVIOUS, init_digest, load_weights
from src.training.failures import explain
from src.training.labels import united_labels
from src.training.loop import NonFiniteLoss, evaluate, fit
from src.training.protocol import Protocol, image_rows
from src.training.resume import resume
from src.training.reuse import finished_before, finished_elsewhere, take_over, warn_of_other_code
from src.training.state import Learner, make_learner
from src.training.stopping import Interrupted, StopRequest

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """How a run ended (`status` as in the record) and its scores; `ran` is False when it was finished before."""

    folder: Path
    status: str
    scores: dict[str, float]
    ran: bool = True
    error: str | None = None
    signal_number: int | None = None

    @property
    def exit_code(self) -> int:
        """For the process that did the run: 0 finished, 1 failed, 128 + n stopped by signal n."""
        if self.signal_number is not None:
            return 128 + self.signal_number
        return 0 if self.status == "finished" else 1


def run(config: RunConfig, sweep: str, overrides: list[str]) -> Outcome:
    """Trains and scores `config` in `<output>/<sweep>/<run_id>`, or takes up what is there.

    A finished run is left as it is, an interrupted or failed one resumes from its last checkpoint. `config` must have
    been checked. Raises ValueError for a folder that may not be written and for data that are missing or broken,
    RunBusy when another process is at it, and RunLost, a RunBusy, when one has taken it over meanwhile;
    whatever else goes wrong later is recorded and comes back as an Outcome.
    """
    sweep_folder = Path(config.output) / sweep
    check_writable(sweep_folder)
    splits, data_fingerprint = open_verified(config.data)
    identity = identify(config, data_fingerprint, init_digest(config))
    record = RunRecord(sweep_folder / identity.run_id)
    for folder in (record.checkpoints, SweepFolder(sweep_folder).locks):
        check_writable(folder)
    # without the lock first: what evaluates a finished run has it
    if (done := finished_before(record, data_fingerprint)) is not None:
        return Outcome(record.folder, "finished", done["scores"], ran=False)
    with record.locked():
        done = finished_before(record, data_fingerprint)
        if done is None and (source := finished_elsewhere(record, data_fingerprint)) is not None:
            take_over(source, record)
            log.info("taken over from %s, where it was finished", source)
            done = record.read()
        if done is not None:
            return Outcome(record.folder, "finished", done["scores"], ran=False)
        if (begun := record.read()) is not None:
            warn_of_other_code(record, begun)
        numerics = Numerics(pick_device(config.device), config.numerics)
        record.begin(
            _facts(config, identity, data_fingerprint, splits, numerics)
            | united_labels(begun or {}, config, overrides),
            config.model_dump(mode="json"),
            overrides,
        )
        with record.logging():
            if splits.skipped:
                log.warning(skipped_text(splits))
            for note in splits.notes:
                log.warning(note)
            return _attempt(config, splits, data_fingerprint, numerics, record)


def _attempt(
    config: RunConfig, splits: Splits, data_fingerprint: str, numerics: Numerics, record: RunRecord
) -> Outcome:
    """Trains under the record's lock; every end but the loss of the process, or of the lock, is written down."""
    stop = StopRequest()
    try:
        with stop.listening(), ConcurrentRuns(device_key(numerics.device)) as concurrent_runs:
            read_pair = _reader(config, splits, data_fingerprint)
            scores, best_epoch = _train_and_test(config, splits, read_pair, numerics, record, stop, concurrent_runs)
        record.end("finished", scores=scores, best_epoch=best_epoch)
    except KeyboardInterrupt:
        record.end("interrupted", error="stopped by a second Ctrl-C")
        raise
    except (Exception, SystemExit) as error:  # a network of the user's own may call sys.exit
        record.check()  # where another process has the run by now, how it ends is for that one to write
        # a signal to the whole process group may end the loader's workers first, which looks like a failure
        if stop.signal_number is not None and not isinstance(error, NonFiniteLoss):
            reason = str(Interrupted(stop.signal_number))
            if isinstance(error, OSError):  # the checkpoint itself could not be written
                reason += f"; {explain(error, config)}"
            log.warning("%s; the same command goes on from the last checkpoint", reason)
            _end(record, "interrupted", error=reason)
            return Outcome(record.folder, "interrupted", {}, error=reason, signal_number=stop.signal_number)
        reason = explain(error, config)
        logging.getLogger(STORY).error("the run failed: %s", reason, exc_info=True)
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        _end(record, "failed", error=reason, exit_code=code)
        return Outcome(record.folder, "failed", {}, error=reason)
    return Outcome(record.folder, "finished", scores)


def _end(record: RunRecord, status: str, **facts: Any) -> None:
    """Writes down a bad end; on a full disk the spare checkpoint makes room, and if that fails too it is only said."""
    try:
        try:
            record.end(status, **facts)
        except CannotWrite:
            (record.checkpoints / PREVIOUS).unlink(missing_ok=True)
            record.end(status, **facts)
    except OSError as error:
        log.error("how the run ended cannot be recorded: %s", error)


def _train_and_test(
    config: RunConfig,
    splits: Splits,
    read_pair: PairReader,
    numerics: Numerics,
    record: RunRecord,
    stop: StopRequest,
    concurrent_runs: ConcurrentRuns,
) -> tuple[dict[str, float], int]:
    """The story of a run; returns its scores and its best epoch."""
    numerics.set_up(Path(config.data.cache_dir))
    seed_everything(config.seed)
    train_loader, valid_loader, test_loaders = _make_loaders(config, splits, read_pair, numerics)
    steps = -(-len(train_loader) // config.trainer.accumulate)
    learner = make_learner(config, numerics, steps)
    log.info(
        "%s with %s parameters on %s; %d training, %d validation and %d test images; record: %s",
        config.model["name"],
        f"{sum(parameter.numel() for parameter in learner.network.model.parameters()):,}",
        device_name(numerics.device),
        *(len(split) for split in (splits.train, splits.valid, splits.test)),
        record.folder,
    )
    resume(learner, record)
    fit(learner, (train_loader, valid_loader), config.trainer, record, stop, concurrent_runs)
    learner.scored.model.load_state_dict(load_weights(record.checkpoints / BEST))
    scores = _test(config, learner, test_loaders, splits.test, record, stop)
    record.check()
    (record.checkpoints / PREVIOUS).unlink(missing_ok=True)
    return {"valid_dice": learner.best_dice, **scores}, learner.best_epoch


def _reader(config: RunConfig, splits: Splits, data_fingerprint: str) -> PairReader:
    """What reads the pairs: decoded once for all runs, unless the config says otherwise."""
    if not config.data.decode_once:
        return FileReader(splits.decoder)
    size = config.data.image_size
    sizes = {size, load_size(size, config.augmentation)}
    return open_cache(splits, data_fingerprint, sorted(sizes), Path(config.data.cache_dir))


def _make_loaders(
    config: RunConfig, splits: Splits, read_pair: PairReader, numerics: Numerics
) -> tuple[DataLoader, DataLoader, dict[Protocol, DataLoader]]:
    """Loaders for training, for validation, and for each test protocol."""
    shared: dict[str, Any] = {
        "read_pair": read_pair,
        "image_size": config.data.image_size,
        "batch_size": config.trainer.batch_size,
        "workers": config.data.workers,
        "pin_memory": numerics.device.type == "cuda",
        "limit_batches": config.debug.limit_batches if config.debug else None,
    }
    train = make_train_loader(
        splits.train,
        border=config.data.border,
        augmentation=config.augmentation,
        seed=config.seed,
        overfit=config.debug is not None and config.debug.overfit,
        allow_targets=config.allow_targets,
        **shared,
    )
    protocols = [Protocol()]
    if config.data.border in ("background", "ignore"):
        # trained to see the border otherwise: scored that way too, beside the headline that all runs share
        protocols.append(Protocol(border=config.data.border))
    valid = make_eval_loader(splits.valid, **shared)
    tests = {protocol: make_eval_loader(splits.test, border=protocol.border, **shared) for protocol in protocols}
    return train, valid, tests


def _test(
    config: RunConfig,
    learner: Learner,
    loaders: dict[Protocol, DataLoader],
    pairs: list[Pair],
    record: RunRecord,
    stop: StopRequest,
) -> dict[str, float]:
    """Scores the test split under each protocol of `loaders`, records all, and returns the headline's numbers."""
    headline: dict[str, float] = {}
    for protocol, loader in loaders.items():
        result = evaluate(learner.scored, learner.loss, loader, f"test, {protocol.name}", stop)
        entry = protocol.entry(result.counts, config.data.image_size, config.trainer.batch_size)
        stems = [pair.stem for pair in pairs[: len(result.counts)]]  # debug stops early
        record.write_test(protocol.name, {**entry, "loss": result.loss}, image_rows(stems, result.counts))
        if protocol.name == HEADLINE:
            _warn_of_one_class(result.counts)
            headline = {
                "test_dice": entry["dice"]["mean"],
                "test_iou": entry["iou"]["mean"],
                "test_pooled_dice": entry["pooled_dice"],
                "test_dice_batch_flattened": entry["dice_batch_flattened"],
            }
    return headline


def _warn_of_one_class(counts: np.ndarray) -> None:
    """`counts`: tp, fp, fn, tn, int64 (images, 4). A network that calls all pixels the same has learned nothing."""
    tp, fp, fn, tn = counts.sum(axis=0).tolist()
    for kind, predicted in (("foreground", tp + fp), ("background", fn + tn)):
        if not predicted:
            log.warning(
                "no pixel of the %d test images is predicted as %s (%d of %d pixels are foreground in the masks)",
                *(len(counts), kind, tp + fn, counts.sum()),
            )


def _facts(
    config: RunConfig, identity: Identity, data_fingerprint: str, splits: Splits, numerics: Numerics
) -> dict[str, Any]:
    """What run.json says from the start."""
    return {
        "run_id": identity.run_id,
        "config_id": identity.config_id,
        "init_digest": identity.init_digest,
        "choices": choices_of(config),
        "seed": config.seed,
        "allow_targets": list(config.allow_targets),
        "data": {
            "fingerprint": data_fingerprint,
            "images": {"train": len(splits.train), "valid": len(splits.valid), "test": len(splits.test)},
            "skipped": len(splits.skipped),
            "bits": splits.decoder.images.bits,
        },
        "device": device_name(numerics.device),
        "numerics": config.numerics.model_dump(),
        "git": git_state(PROJECT),
        "versions": versions(),
        "machine": machine(),
    }
