"""A finished run under every protocol: predict once, score, add to the record, write the table and the pictures."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from src.base.config import PackageName, RunConfig, Section, UserPath
from src.base.files import check_writable, refuse_links, write_text
from src.base.record import EVALUATION, HEADLINE, RunRecord
from src.data.images import FOREGROUND, IGNORED
from src.data.loaders import make_native_loader
from src.data.pairs import Pair, Splits
from src.display.gallery import worst_median_best, write_gallery
from src.display.panels import STYLES, Example
from src.evaluation.measures import best_threshold
from src.evaluation.protocol_table import draw_reliability, table_markdown
from src.evaluation.scoring import Prediction, Scored, entry_of, every_protocol, predictions, rows_of, score_all
from src.prediction.load_model import Predictor, load_model, open_own_data, read_config
from src.training.protocol import Protocol, Tta

log = logging.getLogger(__name__)
SAME = 1e-4  # Dice: what another device or batch may change in a mean over images


class EvaluateOptions(Section):
    """See conf/evaluate.yaml."""

    run: UserPath
    allow_targets: tuple[PackageName, ...] = ()
    split: Literal["train", "valid", "test"]
    tta: Tta
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["valid"]
    images: int = Field(ge=0, le=100)
    examples: str = Field(pattern=r"^(extremes|first:[1-9]\d{0,3})$")
    styles: list[Literal[*STYLES]]  # type: ignore[valid-type]
    root: UserPath | None
    output: UserPath | None
    cache: UserPath
    device: str
    workers: int = Field(ge=-1, le=1024)


def evaluate_run(options: EvaluateOptions) -> tuple[dict[str, dict[str, Any]], Path]:
    """Scores the run of `options` and writes everything; what its record holds already stays as it is.

    Returns the entries of test.json that were asked for, by name, and the folder with the table and the pictures.
    Raises ValueError when it is not a finished run, or its data are not there, or not the ones it was trained on;
    RunBusy when another process holds it.
    """
    folder = Path(options.run)
    if options.output is None:
        refuse_links(folder / EVALUATION)
    else:
        check_writable(Path(options.output))
    if options.threshold == "valid" and options.split == "valid":
        raise ValueError("threshold: got 'valid' with split=valid; it would be scored on the images it is chosen on")
    record = RunRecord(folder)
    _check_finished(record, read_config(folder))
    evaluation = _Evaluation.of(options)
    record.read_scores(options.split), record.read_test_images(options.split)  # a damaged record is refused at once
    with record.locked():
        scored = evaluation.scored()
        entries = _recorded(record, options.split, scored, evaluation.pairs, evaluation.predictor.config)
        target = _folder(options, scored[0].protocol)
        target.mkdir(parents=True, exist_ok=True)
        write_text(target / "protocols.md", table_markdown(f"{options.split}: {folder.resolve().name}", entries))
        draw_reliability(entries[scored[0].protocol.name], target)
        if options.images:
            evaluation.draw(scored[0], target)
    return entries, target


def predicted_images(options: EvaluateOptions, dice: Mapping[str, float]) -> list[Example]:
    """The images that `dice` names, with their recorded scores, as the run predicts them at their own size.

    Raises ValueError as `evaluate_run` does; writes nothing.
    """
    evaluation = _Evaluation.of(options)
    at = {pair.stem: position for position, pair in enumerate(evaluation.pairs)}
    if missing := [stem for stem in dice if stem not in at]:
        raise ValueError(f"{options.run}: its {options.split} images lack {missing[0]}")
    scores = {at[stem]: score for stem, score in dice.items()}
    return list(evaluation.examples(Protocol(), list(scores), scores))


@dataclass(frozen=True)
class _Evaluation:
    """The network of a run and the splits it is scored on."""

    options: EvaluateOptions
    predictor: Predictor
    splits: Splits

    @classmethod
    def of(cls, options: EvaluateOptions) -> "_Evaluation":
        """Raises ValueError as `evaluate_run` does."""
        folder = Path(options.run)
        predictor = load_model(folder, options.device, options.allow_targets)
        splits = open_own_data(folder, predictor.config, options.root, options.cache)
        predictor.runner.numerics.set_up(Path(options.cache))
        return cls(options, predictor, splits)

    @property
    def pairs(self) -> list[Pair]:
        pairs: list[Pair] = getattr(self.splits, self.options.split)
        return pairs

    def scored(self) -> list[Scored]:
        """The split under every protocol, the headline's way first."""
        threshold, chosen_on = self._threshold()
        protocols = every_protocol(self.options.tta, threshold, chosen_on)
        return score_all(self._predictions(self.pairs, self.options.split), protocols)

    def draw(self, scored: Scored, target: Path) -> None:
        """The worst, median and best images under the protocol of `scored`, or the first ones, at their own size."""
        dice = [row["dice"] for row in rows_of(scored, self.pairs)]
        if self.options.examples == "extremes":
            groups = worst_median_best(dice, self.options.images)
        else:
            count = int(self.options.examples.removeprefix("first:"))
            groups = {"first": list(range(min(count, len(dice))))}
        positions = [position for group in groups.values() for position in group]
        # they come in the order of the groups, one at a time: photos may be large
        examples = self.examples(scored.protocol, positions, dict(enumerate(dice)))
        each = {name: islice(examples, len(group)) for name, group in groups.items()}
        title = f"{self.options.split} images of {Path(self.options.run).resolve().name}"
        write_gallery(target, each, self.options.styles, title)

    def examples(self, protocol: Protocol, positions: Sequence[int], dice: Mapping[int, float]) -> Iterator[Example]:
        """The images at these `positions` of the split, predicted again, at their own size."""
        native, threshold = replace(protocol, size="native"), float(np.float32(protocol.threshold))
        pairs = [self.pairs[position] for position in positions]
        for prediction, pair, position in zip(self._predictions(pairs, "pictures"), pairs, positions, strict=True):
            probability, target = prediction.at(native)
            image = self.splits.decoder.images(pair.image)
            yield Example(
                pair.stem, image, target == FOREGROUND, target == IGNORED, probability, threshold, dice[position]
            )

    def _threshold(self) -> tuple[float, Literal["valid"] | None]:
        if self.options.threshold != "valid":
            return self.options.threshold, None
        found = self._predictions(self.splits.valid, "threshold")
        return best_threshold(prediction.at(Protocol()) for prediction in found), "valid"

    def _predictions(self, pairs: Sequence[Pair], what: str) -> Iterator[Prediction]:
        # batches as in the run's own test, so that in exact mode its scores come out bit for bit
        loader = make_native_loader(
            pairs,
            self.splits.decoder,
            self.predictor.image_size,
            self.predictor.config.trainer.batch_size,
            self.options.workers,
            pin_memory=self.predictor.runner.numerics.device.type == "cuda",
        )
        return predictions(self.predictor, loader, self.options.tta, what)


def _check_finished(record: RunRecord, config: RunConfig) -> None:
    """Raises ValueError for a run whose scores do not stand for whole splits."""
    run = record.read_now()
    if run is None or run.get("status") != "finished":
        status = "not begun" if run is None else run.get("status")
        raise ValueError(
            f"{record.folder}: is {status}; only finished runs are evaluated; the training command resumes others"
        )
    if config.debug is not None:
        raise ValueError(
            f"{record.folder}: is a debugging run on a few batches (debug={config.debug.name}); train without debug"
        )


def _recorded(
    record: RunRecord, split: str, scored: Sequence[Scored], pairs: Sequence[Pair], config: RunConfig
) -> dict[str, dict[str, Any]]:
    """Adds what was scored to the record, and returns the entries as they stand there."""
    sizes = config.data.image_size, config.trainer.batch_size
    new = {one.protocol.name: (entry_of(one, pairs, *sizes), rows_of(one, pairs)) for one in scored}
    for name, entry in record.read_scores(split).items():
        ours = new[name][0] if name in new else {}
        shared = ours.keys() & entry.keys()
        if _shape({key: entry[key] for key in shared}) != _shape({key: ours[key] for key in shared}):
            raise ValueError(
                f"{record.folder / f'{split}.json'}: its entry {name} was not written by an evaluation; restore "
                "a backup, or move the file away together with the images' scores"
            )
        if name in new and abs(entry["dice"]["mean"] - new[name][0]["dice"]["mean"]) > SAME:
            log.warning(
                "%s: the record has mean Dice %.6f, this time it is %.6f; the record stays",
                *(name, entry["dice"]["mean"], new[name][0]["dice"]["mean"]),
            )
    record.add_scores(split, new)
    there = record.read_scores(split)
    return {name: there[name] for name in new}


def _shape(value: Any) -> Any:
    """`value`, out of a record, with every number as 0: its keys, words and kinds of values."""
    if isinstance(value, dict):
        return {key: _shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shape(item) for item in value]
    return 0 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _folder(options: EvaluateOptions, protocol: Protocol) -> Path:
    """One for each way to predict, so that no evaluation overwrites the pictures of another."""
    if options.output is not None:
        return Path(options.output)
    differs = "" if protocol.name == HEADLINE else f"_{protocol.name}"
    return Path(options.run) / EVALUATION / f"{options.split}{differs}"
