"""A finished run under every protocol: predict once, score, add to the record, write the card and the pictures."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np

from src.base.config import RunConfig
from src.base.files import refuse_links, write_text
from src.base.record import RunRecord
from src.data.decoding import PairDecoder
from src.data.images import FOREGROUND, IGNORED
from src.data.loaders import make_native_loader
from src.data.open_data import open_verified
from src.data.pairs import Pair, Splits
from src.evaluation.card import card_markdown, save_reliability
from src.evaluation.options import EvaluateOptions
from src.evaluation.pictures.gallery import chosen, write_gallery
from src.evaluation.pictures.panels import Example
from src.evaluation.scoring import Prediction, Scored, entry_of, every_protocol, predictions, rows_of, score_all
from src.evaluation.threshold import best_threshold
from src.prediction.load_model import Predictor, load_model
from src.training.protocol import Protocol

log = logging.getLogger(__name__)
SAME = 1e-4  # Dice: what another device or batch may change in a mean over images


@dataclass(frozen=True)
class Evaluated:
    """The entries of test.json that were asked for, by name, and the folder with the card and the pictures."""

    entries: dict[str, dict[str, Any]]
    folder: Path


def evaluate_run(asked: EvaluateOptions) -> Evaluated:
    """Scores the run `asked` for and writes everything; what its record holds already stays as it is.

    Raises ValueError when it is no finished run, or its data are not there, or not the ones it was trained on; RunBusy
    when another process is at work on it.
    """
    folder = Path(asked.run).expanduser()
    if asked.output is None:
        refuse_links(folder / "evaluation")
    predictor = load_model(folder, asked.device, asked.allow_targets)
    record = RunRecord(folder)
    finished = _finished(record, predictor.config)
    record.read_scores(asked.split), record.read_test_images(asked.split)  # what cannot be added to is refused at once
    splits = _its_data(predictor.config, finished, asked)
    predictor.runner.numerics.set_up(Path(asked.cache))
    with record.locked():
        threshold, on = _threshold(predictor, splits, asked)
        protocols = every_protocol(asked.tta, threshold, on)
        pairs: list[Pair] = getattr(splits, asked.split)
        scored = score_all(
            predictions(predictor, _loader(predictor, pairs, splits, asked), asked.tta, asked.split), protocols
        )
        entries = _recorded(record, asked.split, scored, pairs, predictor.config)
        target = _folder(asked, protocols[0])
        target.mkdir(parents=True, exist_ok=True)
        write_text(target / "card.md", card_markdown(f"{asked.split}: {folder.resolve().name}", entries))
        save_reliability(entries[protocols[0].name], target)
        if asked.images:
            _draw(predictor, scored[0], pairs, splits, asked, target)
    return Evaluated(entries, target)


def _finished(record: RunRecord, config: RunConfig) -> dict[str, Any]:
    """The run.json of a run whose scores stand for whole splits."""
    run = record.read_now()
    if run is None or run.get("status") != "finished":
        status = "not begun" if run is None else run.get("status")
        raise ValueError(
            f"{record.folder}: is {status}; only finished runs are evaluated, the others are trained further"
        )
    if config.debug is not None:
        raise ValueError(
            f"{record.folder}: was a debugging run on a few batches (debug={config.debug.name}); train without"
        )
    return run


def _its_data(config: RunConfig, run: dict[str, Any], asked: EvaluateOptions) -> Splits:
    """The data set that the run was trained on; nothing is downloaded or drawn because a run's config says so."""
    data = config.data if asked.root is None else config.data.model_copy(update={"root": asked.root})
    try:
        splits, found = open_verified(data, make=False, cache=asked.cache)
    except ValueError as error:
        raise ValueError(f"{error}\n(evaluating takes the run's own data; root=… says where they lie now)") from error
    before = str(run.get("data", {}).get("fingerprint"))
    if found != before:
        raise ValueError(
            f"{asked.run}: was trained on data with fingerprint {before[:12]}, those in {data.root} have {found[:12]}; "
            "root=… says where the right ones lie (masks for other photos: python -m src.inference)"
        )
    return splits


def _threshold(predictor: Predictor, splits: Splits, asked: EvaluateOptions) -> tuple[float, Literal["valid"] | None]:
    if asked.threshold != "valid":
        return asked.threshold, None
    if asked.split == "valid":
        raise ValueError("threshold: got 'valid' with split=valid; it would be scored on the images it is chosen on")
    headline = Protocol(tta=asked.tta)
    found = predictions(predictor, _loader(predictor, splits.valid, splits, asked), asked.tta, "threshold")
    at_square = (prediction.at(headline) for prediction in found)
    counted = ((target != IGNORED, probability, target) for probability, target in at_square)
    return best_threshold(
        (probability[here], target[here] == FOREGROUND) for here, probability, target in counted
    ), "valid"


def _loader(predictor: Predictor, pairs: Sequence[Pair], splits: Splits, asked: EvaluateOptions) -> Any:
    # batches as in the run's own test, so that in exact mode its scores come out bit for bit
    return make_native_loader(
        pairs,
        splits.decoder,
        predictor.image_size,
        predictor.config.trainer.batch_size,
        asked.workers,
        pin_memory=predictor.runner.numerics.device.type == "cuda",
    )


def _recorded(
    record: RunRecord, split: str, scored: Sequence[Scored], pairs: Sequence[Pair], config: RunConfig
) -> dict[str, dict[str, Any]]:
    """Adds what was scored to the record, and returns the entries as they stand there."""
    new = {one.protocol.name: (_entry(one, pairs, config), rows_of(one, pairs)) for one in scored}
    for name, entry in record.read_scores(split).items():
        ours = new[name][0] if name in new else {}
        if not _is_like(entry, {key: ours[key] for key in ours if key in entry}):
            raise ValueError(
                f"{record.folder / f'{split}.json'}: what stands there under {name} was not written by an evaluation; "
                "bring the file back from a copy, or move it away together with the images' scores"
            )
        if name in new and abs(entry["dice"]["mean"] - new[name][0]["dice"]["mean"]) > SAME:
            log.warning(
                "%s: the record has mean Dice %.6f, this time it is %.6f; the record stays",
                *(name, entry["dice"]["mean"], new[name][0]["dice"]["mean"]),
            )
    record.add_scores(split, new)
    there = record.read_scores(split)
    return {name: there[name] for name in new}


def _is_like(found: Any, ours: Any) -> bool:
    """Whether `found`, out of a record, has the keys, words and kinds of values that `ours` has."""
    if isinstance(ours, dict):
        return isinstance(found, dict) and all(key in found and _is_like(found[key], ours[key]) for key in ours)
    if isinstance(ours, list):
        same_length = isinstance(found, list) and len(found) == len(ours)
        return same_length and all(map(_is_like, found, ours))
    if isinstance(ours, int | float):
        return isinstance(found, int | float) and not isinstance(found, bool)
    return bool(found == ours)


def _entry(scored: Scored, pairs: Sequence[Pair], config: RunConfig) -> dict[str, Any]:
    return entry_of(scored, pairs, config.data.image_size, config.trainer.batch_size)


def _folder(asked: EvaluateOptions, protocol: Protocol) -> Path:
    """One for each way to predict, so that no evaluation overwrites the pictures of another."""
    if asked.output is not None:
        return Path(asked.output).expanduser()
    differs = "" if protocol.name == "headline" else f"_{protocol.name}"
    return Path(asked.run).expanduser() / "evaluation" / f"{asked.split}{differs}"


def _draw(
    predictor: Predictor,
    scored: Scored,
    pairs: Sequence[Pair],
    splits: Splits,
    asked: EvaluateOptions,
    target: Path,
) -> None:
    """The worst, median and best images under the headline's way of scoring, drawn at their own size."""
    rows = rows_of(scored, pairs)
    groups = chosen([row["dice"] for row in rows], asked.images)
    positions = [position for group in groups.values() for position in group]
    own = [pairs[position] for position in positions]
    found = predictions(predictor, _loader(predictor, own, splits, asked), asked.tta, "pictures")
    examples = (
        _example(prediction, positions[prediction.position], pairs, rows, scored, splits.decoder)
        for prediction in found
    )
    # they come in the order of the groups, one at a time: photos may be large
    each = {name: islice(examples, len(group)) for name, group in groups.items()}
    title = f"{asked.split} images of {Path(asked.run).resolve().name}"
    write_gallery(target, each, asked.styles, title)


def _example(
    prediction: Prediction,
    position: int,
    pairs: Sequence[Pair],
    rows: Sequence[dict[str, Any]],
    scored: Scored,
    decoder: PairDecoder,
) -> Example:
    protocol, pair = scored.protocol, pairs[position]
    probability, shown = prediction.at(replace(protocol, size="native"))
    threshold = float(np.float32(protocol.threshold))
    return Example(pair.stem, decoder.images(pair.image), shown, probability, threshold, rows[position]["dice"])
