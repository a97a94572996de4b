"""The life of a run: skipped if it is finished, else begun or resumed under its lock, and its end recorded."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.base.config import RunConfig
from src.base.device_sharing import announced
from src.base.environment import PROJECT, checkout_at, git_state, machine, versions
from src.base.errors import Ended
from src.base.files import CannotWrite, check_writable
from src.base.identity import Identity, choices_of, identify
from src.base.provenance import keep_provenance
from src.base.record import STORY, RunRecord, SweepFolder
from src.base.runtime import Numerics, accelerator_versions, device_key, device_name, pick_device, switches_restored
from src.data.open_data import open_verified
from src.data.pairs import Splits
from src.data.verify import skipped_text
from src.training.checkpoint import PREVIOUS, init_digest
from src.training.loop import NonFiniteLoss
from src.training.reuse import finished_before, link_finished_run, united_labels, warn_of_other_code
from src.training.stopping import Interrupted, StopRequest, explain
from src.training.story import train_and_test

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

    def check_finished(self) -> None:
        """Raises Ended, for a command, if the run was stopped or failed."""
        if self.signal_number is not None:
            raise Ended(f"interrupted: {self.folder}; the same command resumes", self.exit_code)
        if self.status == "failed":
            raise Ended(f"failed: {self.error}; the traceback is in {self.folder / 'train.log'}")


def run(config: RunConfig, sweep: str, overrides: list[str], tell: Callable[[Path], None] | None = None) -> Outcome:
    """Trains and scores `config` in `<output>/<sweep>/<run_id>`, or reuses what is there.

    A finished run is left as it is, an interrupted or failed one resumes from its last checkpoint. `config` must have
    been checked. `tell` is called with the run's folder as soon as that is known. Raises ValueError for a folder that
    may not be written and for data that are missing or broken, RunBusy when another process holds the run,
    and RunLost, a RunBusy, when one has taken it over meanwhile; whatever else goes wrong later is recorded and
    returned as an Outcome.
    """
    sweep_folder = Path(config.output) / sweep
    check_writable(sweep_folder)
    splits, data_fingerprint = open_verified(config.data)
    identity = identify(config, data_fingerprint, init_digest(config))
    record = RunRecord(sweep_folder / identity.run_id)
    if tell is not None:
        tell(record.folder)
    for folder in (record.checkpoints, SweepFolder(sweep_folder).locks):
        check_writable(folder)
    # without the lock first: a process that evaluates a finished run holds it
    if (done := finished_before(record, data_fingerprint)) is not None:
        return Outcome(record.folder, "finished", done["scores"], ran=False)
    with record.locked():
        done = finished_before(record, data_fingerprint) or link_finished_run(record, data_fingerprint)
        if done is not None:
            return Outcome(record.folder, "finished", done["scores"], ran=False)
        numerics = Numerics(pick_device(config.device), config.numerics)
        log.debug("%s with data %s in %s", identity.run_id, data_fingerprint, config.data.root)
        _begin(record, config, overrides, _facts(config, identity, data_fingerprint, splits, numerics, sweep_folder))
        with record.logging(), announced(device_key(numerics.device)):
            return _attempt(config, splits, data_fingerprint, numerics, record)


def _attempt(
    config: RunConfig, splits: Splits, data_fingerprint: str, numerics: Numerics, record: RunRecord
) -> Outcome:
    """Trains and tests, and records the end, with any exception; raises only what leaves no right to record it."""
    stop = StopRequest()
    try:
        with stop.listening(), switches_restored():
            for warning in ([skipped_text(splits)] if splits.skipped else []) + list(splits.notes):
                log.warning("%s", warning)
            result = train_and_test(config, splits, data_fingerprint, numerics, record, stop)
        record.end("finished", scores=result.scores, best_epoch=result.best_epoch)
        return Outcome(record.folder, "finished", result.scores)
    except KeyboardInterrupt:
        record.end("interrupted", error="stopped by a second Ctrl-C")
        raise
    except (Exception, SystemExit) as error:  # a user's network may call sys.exit
        record.check()  # if another process holds the run by now, that process records how it ends
        return _bad_end(record, config, stop, error)


def _bad_end(record: RunRecord, config: RunConfig, stop: StopRequest, error: BaseException) -> Outcome:
    """Records why the run did not finish."""
    # a signal to the whole process group may end the loader's workers first, which looks like a failure
    if stop.signal_number is not None and not isinstance(error, NonFiniteLoss):
        reason = str(Interrupted(stop.signal_number))
        if isinstance(error, OSError):  # the checkpoint itself could not be written
            reason += f"; {explain(error, config)}"
        log.warning("%s; the same command resumes from the last checkpoint", reason)
        _end(record, "interrupted", error=reason)
        return Outcome(record.folder, "interrupted", {}, error=reason, signal_number=stop.signal_number)
    reason = explain(error, config)
    logging.getLogger(STORY).error("the run failed: %s", reason, exc_info=error)
    code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    _end(record, "failed", error=reason, exit_code=code)
    return Outcome(record.folder, "failed", {}, error=reason)


def _end(record: RunRecord, status: str, **facts: Any) -> None:
    """Records a bad end; on a full disk the spare checkpoint makes room, and if that fails too it is only logged."""
    try:
        try:
            record.end(status, **facts)
        except CannotWrite:
            (record.checkpoints / PREVIOUS).unlink(missing_ok=True)
            record.end(status, **facts)
    except OSError as error:
        log.error("how the run ended cannot be recorded: %s", error)


def _begin(record: RunRecord, config: RunConfig, overrides: list[str], facts: dict[str, Any]) -> None:
    if (begun := record.read()) is not None:
        warn_of_other_code(record, begun, facts["git"])
    labels = united_labels(begun or {}, config, overrides)
    record.begin(facts | labels, config.model_dump(mode="json"), overrides)


def _facts(
    config: RunConfig, identity: Identity, data_fingerprint: str, splits: Splits, numerics: Numerics, sweep: Path
) -> dict[str, Any]:
    """What run.json holds from the start; `sweep` also keeps what the run is made with."""
    checkout = checkout_at(PROJECT)
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
        "git": git_state(checkout),
        "versions": versions(),
        "machine": machine(),
        "provenance": keep_provenance(sweep, checkout, accelerator_versions(numerics.device)),
    }
