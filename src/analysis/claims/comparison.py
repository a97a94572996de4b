"""Hypotheses about settings, and the comparisons of recorded runs that test them."""

import math
from collections.abc import Sequence, Sized
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from src.analysis.records.loading import Records
from src.analysis.records.matching import Filter, Setting, also_differing, matched
from src.analysis.statistics import estimates
from src.analysis.statistics.estimates import (
    CONFIDENCE,
    LEAST_SEEDS,
    Estimate,
    Scores,
    VarianceComponents,
    estimate_contrast,
)
from src.analysis.statistics.metrics import Metric

# of the p-value of a level: scores are skewed, which cancels in a difference, but one end of a mean's interval errs
LEVEL_FACTOR = 3
MISSING = "runs missing: "
Region = tuple[float, float]  # two ends, of which either may be infinite
ABOVE = (0.0, math.inf)
DIFFERENCE = (1.0, -1.0)  # weights


@dataclass(frozen=True)
class Hypothesis:
    """A linear contrast of a metric over arms, sum(weight * metric of arm), and where it must be.

    By default that the metric of the first of two arms is the larger. `arms`: a filter of settings for each.
    `confirming`: the region of the interval that confirms the hypothesis. `may_differ`: config values that may differ
    between the arms besides those of the filters. Costs are compared as logarithms, so weights (1, -1) give a ratio.
    `reported`: the contrast of the published numbers.
    """

    metric: Metric
    arms: tuple[Filter, ...]
    weights: tuple[float, ...] = DIFFERENCE
    confirming: Region = ABOVE
    may_differ: tuple[str, ...] = ()
    reported: float | None = None

    @property
    def contradicting(self) -> list[Region]:
        """The regions of the interval that contradict it: those beside the confirming one."""
        low, high = self.confirming
        return [region for region in ((-math.inf, low), (high, math.inf)) if region[0] < region[1]]

    def to_display(self, effect: float) -> float:
        """An effect in display units: points or the metric's unit; a cost as a ratio."""
        return float(np.exp(effect)) if self.metric.cost else float(self.metric.scale * effect)


@dataclass(frozen=True)
class Comparison:
    """A hypothesis tested with the runs of some settings, one for each arm.

    `samples`: the values of each setting's runs, (runs, images) or (runs, 1), of a cost as logarithms;
    `with_failures`: the same with a row of 0 for each run that failed by its own fault. `problem`: why the result or
    its verdict is missing. `notes`: what a reader must know besides. `confidence`: of the displayed interval.
    """

    hypothesis: Hypothesis
    settings: tuple[Setting, ...]
    samples: tuple[Scores, ...] = ()
    problem: str | None = None
    notes: tuple[str, ...] = ()
    with_failures: tuple[Scores, ...] = ()
    confidence: float = CONFIDENCE

    @property
    def seeds(self) -> tuple[int, ...]:
        """The number of runs of each setting, or of pairs."""
        return tuple(len(sample if self.pairs is None else self.pairs) for sample in self.samples)

    @cached_property
    def pairs(self) -> Scores | None:
        """With pair=seed the contrast for each seed that all settings have, (pairs, images); None without any."""
        if not self._shall_pair or self._rows_of_seeds is None:
            return None
        pairs = estimates.paired(self.samples, self.hypothesis.weights, self._rows_of_seeds)
        return pairs if len(pairs) else None

    @property
    def _rows_of_seeds(self) -> list[tuple[int, ...]] | None:
        """The seed of each row of each sample; None if some runs are left out, as their values are unknown."""
        seeds = [setting.seeds for setting in self.settings]
        return seeds if list(map(len, seeds)) == list(map(len, self.samples)) else None

    @property
    def pairs_problem(self) -> str | None:
        """Why pairs of seeds do not allow a verdict, if they do not."""
        description = self.hypothesis.metric.description
        if not self._shall_pair:
            return None
        if self.pairs is None or len(self.pairs) < LEAST_SEEDS:
            return f"pair=seed needs {LEAST_SEEDS} seeds that all settings have, and the {description} of every run"
        if estimates.has_identical_seeds(self.pairs):
            return f"the variance between pairs of seeds is unknown: they have identical differences in {description}"
        return None

    @property
    def _shall_pair(self) -> bool:
        return len(self.samples) > 1 and self.settings[0].pairs_seeds and not self.hypothesis.metric.cost

    @property
    def correlation_of_seeds(self) -> float:
        """Of two settings; nan of others, and if some of their runs are left out."""
        if self.hypothesis.weights != DIFFERENCE or not self.samples or self._rows_of_seeds is None:
            return math.nan
        return estimates.correlation_of_seeds(self.samples, self._rows_of_seeds)

    @property
    def images(self) -> int | None:
        """The number of test images, or of their groups, if the metric is per image."""
        return self.samples[0].shape[1] if self.samples and self.hypothesis.metric.is_per_image else None

    @property
    def units(self) -> str:
        """What is sampled: images, or groups of them."""
        return self.settings[0].units if self.settings else "images"

    @property
    def scope(self) -> str:
        """What its interval covers."""
        return self.hypothesis.metric.scope.replace("new images", f"new {self.units}")

    @cached_property
    def estimate(self) -> Estimate | None:
        """The effect, of a cost as a logarithm; None if a setting has no runs."""
        has_runs = self.samples and all(self.seeds)
        return estimate_contrast(*self._tested, self.hypothesis.metric.is_per_image) if has_runs else None

    @property
    def is_level(self) -> bool:
        """Whether it is a mean Dice, IoU or accuracy, between 0 and 1, and not a difference."""
        return self.hypothesis.metric.quality and len(self.hypothesis.arms) == 1

    @property
    def factor(self) -> int:
        """By which its p-values are multiplied."""
        return LEVEL_FACTOR if self.is_level else 1

    @property
    def display_values(self) -> tuple[float, float, float] | None:
        """The effect and the ends of its interval in display units; None if a setting has no runs."""
        if self.estimate is None:
            return None
        return self.hypothesis.to_display(self.estimate.value), *self.display_interval(self.estimate)

    def display_interval(self, estimate: Estimate) -> tuple[float, float]:
        """The ends of the interval of `estimate` in display units, of a level within its bounds."""
        low, high = estimate.interval(self.confidence)
        if self.is_level:
            low, high = np.clip((low, high), 0, 1)
        return self.hypothesis.to_display(low), self.hypothesis.to_display(high)

    @cached_property
    def p_confirming(self) -> float:
        """The p-value of "the effect is in the confirming region"; 1 without a verdict."""
        return self._p(self.hypothesis.confirming)

    @cached_property
    def p_contradicting(self) -> float:
        """The p-value of "the effect is in a contradicting region"; 1 without a verdict."""
        return min(self._p(region) for region in self.hypothesis.contradicting)

    @cached_property
    def hedges_g(self) -> tuple[float, float, float]:
        """Hedges' g of a difference of two settings with the ends of its interval; nan for any other contrast."""
        if self.hypothesis.weights != DIFFERENCE or self.estimate is None:
            return math.nan, math.nan, math.nan
        first, second = (sample.mean(axis=1) for sample in self.samples)
        return estimates.hedges_g(first, second), *estimates.hedges_g_interval(first, second)

    def variance_components(self, new_images: bool) -> VarianceComponents:
        """Of the effect, for power analysis."""
        return estimates.variance_components(*self._tested, new_images)

    @property
    def _tested(self) -> tuple[Sequence[Scores], Sequence[float]]:
        """The samples and weights of the estimate."""
        merged = self.merged()
        return (merged.samples, merged.hypothesis.weights) if self.pairs is None else ([self.pairs], [1.0])

    def merged(self) -> "Comparison":
        """The same with each setting once: one that is in several arms has more weight, not more runs."""
        if len(set(map(id, self.settings))) == len(self.settings):
            return self
        arms = zip(self.settings, self.samples, self.with_failures or self.samples, strict=True)
        arm_of = {id(setting): (setting, *scores) for setting, *scores in arms}
        settings, samples, with_failures = zip(*arm_of.values(), strict=True)
        weights = _weights_by_setting(self.settings, self.hypothesis.weights)
        hypothesis = replace(self.hypothesis, weights=weights)
        return replace(self, hypothesis=hypothesis, settings=settings, samples=samples, with_failures=with_failures)

    def with_failures_against(self, region: Region) -> Estimate | None:
        """The effect if failed runs of the settings that `region` favors had scored 0; None if they have none."""
        one, favored = self.merged(), 1 if math.isinf(region[1]) else -1
        is_favored = [favored * weight > 0 for weight in one.hypothesis.weights]
        if not any(own and setting.has_failures for own, setting in zip(is_favored, one.settings, strict=True)):
            return None
        arms = zip(is_favored, one.samples, one.with_failures, strict=True)
        samples = [with_failures if own else sample for own, sample, with_failures in arms]
        return estimates.contrast(samples, one.hypothesis.weights)

    def _p(self, region: Region) -> float:
        """A verdict in favor of a setting must also hold with its failed runs scored 0."""
        if self.problem or self.estimate is None:
            return 1.0
        p_value = self.estimate.p_within(*region)
        with_failures = self.with_failures_against(region)
        if with_failures is not None:
            p_value = max(p_value, with_failures.p_within(*region))
        return min(1.0, self.factor * p_value)


def decisive(contexts: Sequence[Comparison]) -> Sequence[Comparison]:
    """Those with enough seeds, or with runs that failed by their own fault; all if there are none."""
    return [
        one for one in contexts if one.problem is None or any(setting.has_failures for setting in one.settings)
    ] or contexts


def compare(records: Records, settings: Sequence[Setting], hypothesis: Hypothesis) -> list[Comparison]:
    """The comparisons that test `hypothesis`: one for each of `choices_of`.

    If there is none, one that says why.
    """
    if choices := choices_of(settings, hypothesis):
        return [comparison for choice in choices for comparison in compare_choice(records, choice, hypothesis)]
    if same := matched(settings, hypothesis.arms, hypothesis.may_differ):
        problem = f"both sides have the setting {same[0][0].label}; a setting is not compared with itself"
        return [Comparison(hypothesis, same[0], problem=problem)]
    return [Comparison(hypothesis, (), problem=_missing(settings, hypothesis.arms))]


def choices_of(settings: Sequence[Setting], hypothesis: Hypothesis) -> list[tuple[Setting, ...]]:
    """Every choice of `settings`, one for each arm, that differ in nothing else; without those that cancel out."""
    choices = matched(settings, hypothesis.arms, hypothesis.may_differ)
    return [choice for choice in choices if any(_weights_by_setting(choice, hypothesis.weights))]


def _weights_by_setting(settings: Sequence[Setting], weights: Sequence[float]) -> tuple[float, ...]:
    """The sum of the weights of each of `settings`, each once."""
    sums: dict[int, float] = {}
    for setting, weight in zip(settings, weights, strict=True):
        sums[id(setting)] = sums.get(id(setting), 0.0) + weight
    return tuple(sums.values())


def compare_choice(records: Records, choice: tuple[Setting, ...], hypothesis: Hypothesis) -> list[Comparison]:
    """`hypothesis` tested with the runs of `choice`, a setting for each arm: once, a cost once per kind of device."""
    notes = tuple(
        f"{name} differs too: {' and '.join('off' if value is None else str(value) for value in values)}"
        for name, values in also_differing(choice, {key for arm in hypothesis.arms for key in arm}).items()
    )
    if not (hypothesis.metric.cost and all(setting.folders for setting in choice)):
        return [compare_settings(records, choice, hypothesis, notes=notes)]
    by_device = folders_by_device(records, choice)
    if not by_device:
        problem = "no device was used exclusively by runs of every side"
        return [Comparison(hypothesis, choice, problem=problem, notes=notes)]
    return [
        compare_settings(records, choice, hypothesis, folders, (*notes, f"on {device}"))
        for device, folders in by_device.items()
    ]


def compare_settings(
    records: Records,
    choice: tuple[Setting, ...],
    hypothesis: Hypothesis,
    folders: Sequence[Sequence[str]] | None = None,
    notes: tuple[str, ...] = (),
) -> Comparison:
    """`hypothesis` tested with the runs of `choice`, a setting for each arm; `folders`: of these runs only."""
    metric, folders = hypothesis.metric, folders or [setting.folders for setting in choice]
    if not all(folders):
        return Comparison(hypothesis, choice, problem=_too_few_seeds(choice, folders), notes=notes)
    samples = metric.samples(records, folders)
    arms = zip(choice, folders, samples, strict=True)
    unknown = sum({id(setting): len(own) - len(sample) for setting, own, sample in arms}.values())
    if unknown:
        notes = (*notes, f"unknown for {unknown} of the runs")
    if metric.cost:
        samples = [np.log(sample) for sample in samples]
    problem = _seeds_problem(choice, samples, metric) or _failures_problem(choice, hypothesis)
    if problem is None and metric.is_per_image and samples[0].shape[1] == 1:
        problem = "a single test image is not a sample of images, so it gives no verdict on new ones"
    if min(map(len, samples)) < LEAST_SEEDS:
        problem = _too_short(records, metric, [folder for own in folders for folder in own]) or problem
    with_failures = [with_failures_as_0(records, *arm, metric) for arm in zip(choice, samples, strict=True)]
    comparison = Comparison(hypothesis, choice, tuple(samples), problem, notes, tuple(with_failures))
    confidence = 1 - (1 - CONFIDENCE) / comparison.factor
    return replace(comparison, problem=problem or comparison.pairs_problem, confidence=confidence)


def with_failures_as_0(records: Records, setting: Setting, sample: Scores, metric: Metric) -> Scores:
    """`sample` with 0 for each run of `setting` that failed by its own fault, also if it finished later."""
    if not (setting.has_failures and metric.quality and len(sample)):
        return sample
    clean = [one for one in setting.folders if one not in setting.failed_before]
    known = metric.samples(records, [clean])[0] if clean else sample[:0]
    return np.concatenate([known.reshape(-1, sample.shape[1]), np.zeros((setting.failures, sample.shape[1]))])


def counted_mean(records: Records, setting: Setting) -> float:
    """Mean test Dice, with 0 for each run that failed by its own fault if these count, as in `with_failures_as_0`."""
    if not setting.has_failures:
        return float(records.per_image(setting.folders, "dice").mean())
    clean = [folder for folder in setting.folders if folder not in setting.failed_before]
    return float(records.per_image(clean, "dice").mean(axis=1).sum()) / setting.tried if clean else 0.0


def _failures_problem(choice: Sequence[Setting], hypothesis: Hypothesis) -> str | None:
    """Why failed runs rule out a verdict, if they do: they can be scored 0 only for a larger Dice, IoU or accuracy."""
    failed = [failures_text(setting) for setting in choice if setting.has_failures]
    if not failed or (hypothesis.metric.quality and math.isinf(sum(map(abs, hypothesis.confirming)))):
        return None
    is_equality = hypothesis.metric.quality
    what = f"{'whether ' * is_equality}the {hypothesis.metric.description}{' is equal' * is_equality}"
    return f"{' and '.join(dict.fromkeys(failed))}, so {what} cannot be judged (failures=exclude leaves them out)"


def failures_text(setting: Setting) -> str:
    """`7 of 10 runs of unet failed by their own fault`."""
    return f"{setting.failures} of {setting.tried} runs of {setting.label} failed by their own fault"


def _too_short(records: Records, metric: Metric, folders: Sequence[str]) -> str | None:
    """What is wrong with runs whose curves are too short for `metric`, if any."""
    epochs = records.of_runs(folders, "epoch")
    short = epochs[epochs.gt(0) & epochs.lt(metric.least_epochs)]
    if metric.of_curve is None or short.empty:
        return None
    return f"the {metric.description} needs {metric.least_epochs} epochs, a run has {short.min()}"


def _seeds_problem(choice: Sequence[Setting], samples: Sequence[Scores], metric: Metric) -> str | None:
    """Why the seeds do not allow a verdict, if they do not: too few, or identical scores."""
    if few := _too_few_seeds(choice, samples):
        return few
    same = [one.label for one, sample in zip(choice, samples, strict=True) if estimates.has_identical_seeds(sample)]
    if same:
        seeds = " and of ".join(dict.fromkeys(same))
        return f"the variance between seeds is unknown: seeds of {seeds} have identical {metric.description}"
    return None


def _too_few_seeds(choice: Sequence[Setting], runs: Sequence[Sized]) -> str | None:
    """That settings have too few `runs`, if they do."""
    few = [f"{len(own)} of {one.label}" for one, own in zip(choice, runs, strict=True) if len(own) < LEAST_SEEDS]
    return f"too few seeds ({', '.join(dict.fromkeys(few))}); a verdict needs {LEAST_SEEDS} of each" if few else None


def _missing(settings: Sequence[Setting], arms: Sequence[Filter]) -> str:
    finished = [setting for setting in settings if setting.folders]
    absent = [_lacking(finished, arm) for arm in arms if not any(setting.meets(arm) for setting in finished)]
    if not absent:
        return f"{MISSING}the existing ones differ in more than the claim is about"
    return f"{MISSING}none finished with {' and none with '.join(dict.fromkeys(absent))}"


def _lacking(finished: Sequence[Setting], arm: Filter) -> str:
    """The keys of `arm` that no finished run has; all if each has runs, but not together."""
    nowhere = {key: value for key, value in arm.items() if not any(one.meets({key: value}) for one in finished)}
    return ", ".join(
        f"{key} {' or '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in (nowhere or arm).items()
    )


def folders_by_device(records: Records, choice: Sequence[Setting]) -> dict[str, list[list[str]]]:
    """For each kind of device that runs of every setting had to themselves, the folders of those runs."""
    folders = [folder for setting in choice for folder in setting.folders]
    exclusive = records.of_runs(folders, "exclusive").fillna(False).astype(bool)
    device_of = records.of_runs(folders, "device")[exclusive].to_dict()
    devices = [{device_of[folder] for folder in setting.folders if device_of.get(folder)} for setting in choice]
    return {
        device: [[folder for folder in setting.folders if device_of.get(folder) == device] for setting in choice]
        for device in sorted(set.intersection(*devices))
    }
