"""Rounds of seeds until the questions about a sweep are settled; what starts the runs is given."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.looks import keep_looks
from src.analysis.claims.settled import answers_lines, asked_of, check_rules, keep_rules
from src.analysis.claims.settling import (
    Answer,
    Rules,
    Seeds,
    begun_runs,
    begun_seeds,
    ended_seeds,
    next_seeds,
    questions_on_best,
    questions_on_claims,
    settle,
    still_open,
)
from src.analysis.records.kept_reads import KeptReads
from src.analysis.records.loading import Records, load_records, no_records
from src.analysis.records.matching import planned_settings
from src.analysis.statistics.sequential import LADDER
from src.base.errors import ConfigError, Ended
from src.base.record import SweepFolder
from src.display.text import count_text

Run = tuple[str, int]  # the config_id of its setting, and its seed


class Planned(NamedTuple):
    """A setting of the sweep: its name in answers, its config and the fingerprint of its data."""

    name: str
    config: Mapping[str, Any]
    fingerprint: str


class Settling:
    """The questions on the claims of `file`, without one on which is the best, about `settings` by config_id.

    `budget`: runs in `folder` at most. `train` trains runs, or resumes them. Raises ConfigError without any question.
    """

    def __init__(
        self,
        folder: Path,
        file: ClaimFile | None,
        settings: Mapping[str, Planned],
        budget: int,
        margin: float,
        first_seed: int,
        train: Callable[[Sequence[Run]], None],
    ) -> None:
        self.folder, self.budget, self.train = folder, budget, train
        if any(one.config["debug"] for one in settings.values()):
            raise ConfigError(["debug: its runs see only a few batches and count in no answer; leave it out"])
        self.questions = questions_on_best({setting: one.name for setting, one in settings.items()})
        if file is None and len({one.fingerprint for one in settings.values()}) > 1:
            raise ConfigError(["goal: got settings on different data, which have no best; give one data set"])
        if file is not None:
            configs = {setting: (one.config, one.fingerprint) for setting, one in settings.items()}
            self.questions, left_out = questions_on_claims(file, planned_settings(configs))
            for line in left_out:
                _say(f"not settled  {line}")
        used = {setting for question in self.questions for setting in question.settings}
        if not used:
            raise ConfigError(
                [f"claim_files: no claim of {file.source} can be settled by the settings of this sweep"]
                if file
                else ["goal: got best of a single setting; give two or more, for example setting=a,b"]
            )
        names = {setting: one.name for setting, one in settings.items() if setting in used}
        self.rules = Rules(asked=asked_of(file), settings=names, first_seed=first_seed, margin=margin)

    def run(self, dry_run: bool = False) -> None:
        """Looks, and trains what the next look needs, until nothing more can be decided; prints the answers.

        All that decides is in the records, so the same command resumes. `dry_run`: prints what it would do. Raises
        ConfigError for a budget below the first round and for runs that were judged by other rules, Ended if runs of a
        round did not end.
        """
        while True:
            records = self._records(keep=not dry_run)
            check_rules(self.folder, self.rules, records)
            answers = settle(records, self.questions, self.rules)
            self._check_budget(answers, records)
            seeds = next_seeds(answers, records, self.rules, self.budget)
            runs = self._runs(seeds, records)
            if dry_run:
                print("\n".join(self._forecast(answers, runs, records)))
                return
            keep_rules(self.folder, self.rules)
            keep_looks(records.included, self.folder / "report")
            spent = f"{begun_runs(records)} of {count_text(self.budget, 'run')}"
            if not seeds:
                print("\n".join([*answers_lines(answers, records, self.rules), f"settled with {spent}: {self.folder}"]))
                return
            decided = sum(one.status != "undecided" for one in answers)
            of = count_text(len(answers), "question")
            _say(f"look         {decided} of {of} decided with {spent}; next {count_text(len(runs), 'run')}")
            self.train(runs)
            ended = ended_seeds(self._records(), self.rules.first_seed)
            if lost := [self.rules.settings[one] for one, count in seeds.items() if ended.get(one, 0) < count]:
                runs_of = f"runs of {'; '.join(lost)} have not ended or cannot be used"
                raise Ended(f"{runs_of}, so these seeds cannot be judged yet; the same command resumes")

    def _records(self, keep: bool = True) -> Records:
        sweep = SweepFolder(self.folder)
        if not sweep.plan_file.exists() and not sweep.run_files():
            return no_records()
        return load_records([self.folder], kept=KeptReads([self.folder] if keep else ()))

    def _runs(self, seeds: Seeds, records: Records) -> list[Run]:
        """Those that have not ended, the same seed of all settings one after the other."""
        ended, first = ended_seeds(records, self.rules.first_seed), self.rules.first_seed
        runs = [(one, first + seed) for one, count in seeds.items() for seed in range(ended.get(one, 0), count)]
        return sorted(runs, key=lambda run: run[1])

    def _check_budget(self, answers: Sequence[Answer], records: Records) -> None:
        begun, least = begun_seeds(records, self.rules.first_seed), LADDER[0]
        takes = begun_runs(records) + sum(max(0, least - begun.get(one, 0)) for one in self.rules.settings)
        if takes > self.budget and any(answer.look < 0 for answer in answers):
            of = count_text(len(self.rules.settings), "setting")
            raise ConfigError(
                [f"budget: got {self.budget}; the first round, {least} seeds of each of {of}, takes {takes}"]
            )

    def _forecast(self, answers: Sequence[Answer], runs: Sequence[Run], records: Records) -> list[str]:
        """The runs that would start, how many are likely to be needed in all, and the chance that these are enough."""
        begun, spent = begun_seeds(records, self.rules.first_seed), begun_runs(records)
        asked = [one for one in still_open(answers, records, self.rules) if len(one.needs)]
        if not asked:
            return [f"{self.folder}: nothing is left that more seeds can decide"]
        if asked[0].look < 0 and not asked[0].question.hypotheses:  # of pairs, those with the leader will matter
            asked = asked[: len(self.rules.settings) - 1]
        needs = {
            setting: np.max([one.needs for one in asked if setting in one.question.settings], axis=0)
            for setting in self.rules.settings
            if any(setting in one.question.settings for one in asked)
        }
        total = spent + np.sum([np.maximum(0, own - begun.get(one, 0)) for one, own in needs.items()], axis=0)
        low, middle, high = np.quantile(total, [0.1, 0.5, 0.9], method="nearest")
        guess = " (guessed: a difference of 2 spreads of seeds)" if asked[0].look < 0 else ""
        chances = [np.mean(spent + one.runs_needed(begun) <= self.budget) for one in asked]
        each = [f"{one.question.name} {chance:.0%}" for one, chance in zip(asked, chances, strict=True)]
        return [
            f"{self.folder}: nothing is started or recorded (dry_run=true)",
            *(f"start        {self.rules.settings[one]} seed={seed}" for one, seed in runs),
            f"expected     about {middle:.0f} runs in all [{low:.0f}, {high:.0f}]{guess}",
            f"chance       {np.mean(total <= self.budget):.0%} to decide all with {self.budget} runs; each alone: "
            f"{', '.join(each)}",
        ]


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
