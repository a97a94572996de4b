"""What a sweep keeps of the questions that it settles, their rules and since when; and the answers in words."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from pydantic import ValidationError

from src.analysis.claims.claim_file import ClaimFile
from src.analysis.claims.looks import LOOKS, read_looks
from src.analysis.claims.settling import (
    Answer,
    Rules,
    beaten,
    begun_seeds,
    ended_seeds,
    leader,
    questions_on_best,
    questions_on_claims,
    settle,
)
from src.analysis.claims.verdicts import Verdict
from src.analysis.claims.wording import arms_text, effect_text, interval_text, listed, p_text
from src.analysis.records.loading import Records
from src.analysis.records.matching import settings_of
from src.analysis.statistics.sequential import LADDER
from src.base.config import Section
from src.base.errors import ConfigError
from src.base.files import read_json, write_json
from src.base.record import RunRecord
from src.display.text import count_text

FILE = "settle.json"  # in a sweep's folder
BEST = "best"
NEW = "take new seeds in a new sweep, for example first_seed=1000 sweep.name=<name>"
MOST_EFFECTS = 3  # of one answer


class _Kept(Section):
    """The content of the file. `since`: UTC."""

    since: str
    rules: Rules


def asked_of(file: ClaimFile | None) -> str:
    """What rules have as `asked`: the digest of the claims in `file`, or that it is about the best setting."""
    if file is None:
        return BEST
    return hashlib.sha256(file.model_dump_json(include={"where", "claims"}).encode()).hexdigest()[:16]


def check_rules(sweep: Path, rules: Rules, records: Records) -> None:
    """Raises ConfigError if `sweep` is settled by other rules, or if its runs were judged before it was by any."""
    kept = _read(sweep)
    if kept is not None:
        before, now = ({**one.model_dump(), "settings": set(one.settings)} for one in (kept.rules, rules))
        differing = [
            f"{key}={before[key]}" if key in ("margin", "first_seed") else f"other {key.replace('asked', 'questions')}"
            for key in now
            if before[key] != now[key]
        ]
        if differing:
            raise ConfigError(
                [f"{sweep}: its runs have been judged by other rules ({', '.join(differing)}); keep those, or {NEW}"]
            )
    runs = records.included
    runs = runs[runs["config_id"].isin(rules.settings) & runs["seed"].ge(rules.first_seed)]
    since = _now() if kept is None else kept.since
    judged = sum(_was_judged(Path(folder), since) for folder in runs["folder"])
    if judged:
        raise ConfigError(
            [
                f"{sweep}: {count_text(judged, 'run')} had been judged by other rules, at 5 % each time (looks.jsonl), "
                f"before settling began, so the answers could err more often; {NEW}"
            ]
        )


def keep_rules(sweep: Path, rules: Rules) -> None:
    """Records the rules, once, before the first look."""
    if _read(sweep) is None:
        sweep.mkdir(parents=True, exist_ok=True)
        write_json(sweep / FILE, _Kept(since=_now(), rules=rules).model_dump())


def settled_answers(rules: Rules | None, records: Records, file: ClaimFile | None) -> list[Answer]:
    """The answers to what is asked by `rules`, if that is about the claims of `file`, or without it about the best.

    Empty if it is something else, and before the first look.
    """
    if rules is None or rules.asked != asked_of(file):
        return []
    ended = ended_seeds(records, rules.first_seed)
    if any(ended.get(setting, 0) < LADDER[0] for setting in rules.settings):
        return []
    settings = [one for one in settings_of(records) if one.config_id in rules.settings]
    questions = questions_on_best(rules.settings) if file is None else questions_on_claims(file, settings)[0]
    return settle(records, questions, rules)


def with_answers(verdicts: Sequence[Verdict], answers: Sequence[Answer]) -> list[Verdict]:
    """`verdicts` as they were settled: those on claims that are no questions of these answers stay."""
    settled = {one.question.name: one for one in answers}
    return [
        replace(one, status=own.status, reason=_state(own), p_adjusted=own.p_adjusted, results=own.results)
        if (own := settled.get(one.name))
        else one
        for one in verdicts
    ]


def answers_lines(answers: Sequence[Answer], records: Records, rules: Rules) -> list[str]:
    """A line for each question; of pairs only those that the leader is in, after a line that names the leader."""
    begun = begun_seeds(records, rules.first_seed)
    if not answers or answers[0].question.hypotheses or answers[0].look < 0:
        return [_line(answer, begun, rules.margin) for answer in answers]
    first, worse = leader(answers, records, rules), beaten(answers)
    own = [answer for answer in answers if first in answer.question.settings]
    equal = {one for answer in own if answer.status == "equivalent" for one in answer.question.settings} - {first}
    groups = {"equivalent": equal - worse, "worse": worse, "undecided": set(rules.settings) - equal - worse - {first}}
    names = {word: ", ".join(rules.settings[one] for one in sorted(group)) for word, group in groups.items()}
    best = f"{'leading' if names['undecided'] else 'best'}: {rules.settings[first]}"
    lines = ["; ".join([best, *(f"{word}: {text}" for word, text in names.items() if text)])]
    return [*lines, *(_line(answer, begun, rules.margin) for answer in own)]


def settled_sentence(rules: Rules | None, answers: Sequence[Answer]) -> str | None:
    """What a report says of a sweep that is settled; None of another."""
    if rules is None:
        return None
    looks = f" (so far {max(answer.look for answer in answers) + 1})" if answers else ""
    return (
        f"Seeds are added to this sweep by src.settle: the verdicts on what it asks allow for all of its looks{looks}, "
        "and so do their intervals; all other intervals and p-values here do not. Equivalent means a difference within "
        f"{100 * rules.margin:g} points."
    )


def read_rules(sweep: Path) -> Rules | None:
    """The rules by which `sweep` is settled; None if it is not. Raises ValueError for a damaged file."""
    kept = _read(sweep)
    return None if kept is None else kept.rules


def _line(answer: Answer, begun: Mapping[str, int], margin: float) -> str:
    """`A4: holds, look 3 with 8 seeds …; onecycle − cosine: +0.62 points [99.14%: +0.20 to +1.04]`."""
    effects = [
        f"{arms_text(one)}: {effect_text(one.hypothesis.metric, values[0])} "
        f"[{one.confidence:.2%}: {interval_text(one.hypothesis.metric, *values[1:])}]".removeprefix(": ")
        for contexts in answer.results
        for one in contexts
        if (values := one.display_values) is not None
    ]
    more = {"undecided": _more(answer, begun), "equivalent": f" within {100 * margin:g} points"}.get(answer.status, "")
    found = listed(effects, MOST_EFFECTS)
    return f"{answer.question.name}: {answer.status}{more}, {_state(answer)}{f'; {found}' if found else ''}"


def _state(answer: Answer) -> str:
    """`look 3 with 8 seeds of each setting, p = 0.012 over all looks and questions`."""
    if answer.look < 0:
        return "no look yet"
    look = f"look {answer.look + 1} with {LADDER[answer.look]} seeds of each setting"
    p = f"p {'' if answer.p_adjusted < 0.001 else '= '}{p_text(answer.p_adjusted)} over all looks and questions"
    return f"{look}, {p}{f'; {answer.problem}' if answer.problem else ''}"


def _more(answer: Answer, begun: Mapping[str, int]) -> str:
    """What an undecided question would take."""
    if not len(answer.needs):
        return ""
    low, middle, high = np.quantile(answer.runs_needed(begun), [0.1, 0.5, 0.9], method="nearest")
    about = f"about {middle:.0f} more runs" if np.isfinite(middle) else "more runs than anyone has"
    return f": would take more than the budget ({about} [{low:.0f}, {high:.0f}])".replace("inf", "no end")


def _read(sweep: Path) -> _Kept | None:
    path = sweep / FILE
    if not path.exists():
        return None
    try:
        return _Kept.model_validate(read_json(path))
    except ValidationError as error:
        raise ValueError(f"{path}: is not what src.settle keeps; restore a backup, or {NEW}") from error


def _was_judged(run: Path, since: str) -> bool:
    """Whether a look before `since`, at this sweep or at one beside it that has the same run, saw it finished."""
    sweeps = [file.parent.parent for file in run.parent.parent.glob(f"*/{run.name}/run.json")]
    looks = [look.time for sweep in sweeps for look in read_looks(sweep / LOOKS) if look.time < since]
    return bool(looks) and str((RunRecord(run).read() or {}).get("finished")) <= max(looks)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
