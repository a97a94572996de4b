"""A pair in words: for the terminal, and as a page with curves and the images that differ most."""

import shlex
from collections.abc import Sequence
from pathlib import Path

from src.analysis.claims.comparison import failures_text
from src.analysis.claims.ranking import settings_scores
from src.analysis.claims.wording import effect_text, interval_text, p_text
from src.analysis.records.runs import shared_and_differing
from src.analysis.report.curve_data import curve_data
from src.analysis.report.figures import Picture, pictures_of_two, save_pictures
from src.analysis.report.page import render_page
from src.analysis.report.pairs import Pair
from src.analysis.report.provenance import Sheet, commands_of, read_picture
from src.analysis.report.sections import Section, Table, with_content
from src.base.files import refuse_links, write_text
from src.display.text import Columns, count_text, file_name_text, mapping_text, plain_table, score_text, write_csv

PICTURE = Path("figures") / "side_by_side.jpg"
MOST_IMAGES = 10  # listed for each of the two
OF_SETTINGS = """\
The interval is for new seeds and new images. The p-value is of this pair alone: if the two were chosen among several \
by their scores, the report of the sweep has the one that counts."""
OF_RUNS = """\
The interval is a paired t interval over the test images. It is for these two runs, not for their settings: another \
seed may change either score by more."""
PANELS = """\
The images that differ most, as the run of each that is nearest to its median test Dice predicts them at their own \
size: image, truth, prediction, probability, and errors (blue: missed; orange: falsely predicted)."""
FEW = 5  # rows of images in a terminal


def page_folder(pair: Pair, chosen: str | None) -> Path:
    """`chosen`, else `compare/<a>_vs_<b>` beside the sweep of the first.

    Raises ValueError if `chosen` has the report of an aggregation, which the page would replace, or if the other folder
    is a link.
    """
    if chosen is not None:
        if (Path(chosen) / "report.md").exists():
            raise ValueError(f"output: got {chosen!r}, which has the report of an aggregation; name another folder")
        return Path(chosen)
    sweep = Path(pair.settings[0].folders[0]).parent
    first, second = map(file_name_text, pair.file_names)
    around = sweep.parent if sweep.name else sweep.absolute().parent
    folder = around / "compare" / f"{first}_vs_{second}"
    refuse_links(folder)
    return folder


def pair_text(pair: Pair) -> str:
    """The answer, what differs in the configs, the scores, and the images that differ most."""
    tables = [_configs(pair), _scores(pair), *_images(pair, FEW)]
    parts = [
        [table.caption, *plain_table(table.columns, table.right, dict.fromkeys(table.columns, 20))]
        for table in tables
        if table.columns
    ]
    return "\n\n".join("\n".join(part) for part in [[_introduction(pair), *pair_sentences(pair)], *parts]) + "\n"


def write_pair(pair: Pair, folder: Path, why_not: str) -> Path:
    """Writes index.html, images.csv and figures/ into `folder`; returns the path of the page.

    `why_not`: why PICTURE is not there; empty if it is. Raises ValueError if figures/ is a link.
    """
    refuse_links(folder / "figures")
    folder.mkdir(parents=True, exist_ok=True)
    scores = settings_scores(pair.records, pair.settings)
    dice = pair.dice.sort_index()
    pictures = pictures_of_two(pair.records, pair.settings, scores, dice["first"].to_numpy(), dice["second"].to_numpy())
    save_pictures(pictures, folder / "figures")
    not_drawn = Sheet(f"The images are not drawn: {why_not}.")
    sheet = not_drawn if why_not else Sheet(PANELS, *read_picture(folder / PICTURE))
    names = dict(zip(("first", "second"), pair.names, strict=True))
    write_csv(folder / "images.csv", pair.dice.rename(columns=names))
    page = folder / "index.html"
    title, answer = " and ".join(pair.names), pair_sentences(pair)
    sections, curves = _sections(pair, pictures, sheet), curve_data(pair.records, pair.settings, scores)
    write_text(page, render_page(title, _introduction(pair), answer, sections, folder / "figures", curves))
    return page


def pair_sentences(pair: Pair) -> list[str]:
    """The difference with its interval, what both cover, and what else a reader must know."""
    first, second = pair.names
    dice = pair.differences[0]
    value, low, high = (100 * end for end in (dice.estimate.value, *dice.estimate.interval()))
    better = {"first": f"{first} is better", "second": f"{second} is better", "no verdict": "no verdict"}
    verdict = better.get(dice.verdict, "undecided")
    verdict += f": {dice.problem}" if dice.problem else f" (p {p_text(dice.p)})"
    effect, interval = effect_text(dice.metric, value), interval_text(dice.metric, low, high)
    sizes = {setting.values.get("data.image_size") for setting in pair.settings}
    failed = [failures_text(setting) for setting in pair.settings if setting.has_failures]
    return [
        f"{first} minus {second}: {effect} of test Dice [{interval}]: {verdict}.",
        OF_RUNS if pair.of_runs else OF_SETTINGS,
        *(f"{failed_runs}; a verdict in its favor must also hold with each scored 0." for failed_runs in failed),
        *(["The two differ in data.image_size, and each is scored at its own size."] if len(sizes) > 1 else []),
    ]


def _introduction(pair: Pair) -> str:
    counts = " and ".join(count_text(len(setting.folders), "run") for setting in pair.settings)
    shared, _ = shared_and_differing(pair.records.runs)
    scored = f"{count_text(len(pair.dice), 'test image')}, protocol {pair.records.protocol}"
    return f"{counts}, {scored}. Both with {mapping_text(shared)}."


def _sections(pair: Pair, pictures: Sequence[Picture], sheet: Sheet) -> list[Section]:
    command = ["python", "-m", "src.compare", *pair.paths]
    sections = [
        Section("configs", "What differs", "", [_configs(pair)]),
        Section("settings", "Scores", "", [_scores(pair)]),
        Section("curves", "Curves"),
        Section("images", "Images", "", _images(pair, MOST_IMAGES), "images.csv has all."),
        Section("repeat", "Repeat the runs", code=[*commands_of(pair.records), shlex.join(command)]),
    ]
    return with_content(sections, pictures, [sheet])


def _configs(pair: Pair) -> Table:
    return Table("What differs", _columns(pair, "key", pair.configs))


def _scores(pair: Pair) -> Table:
    means = {one.metric.description: (score_text(one.means[0]), score_text(one.means[1])) for one in pair.differences}
    ends = [(one.metric, one.estimate.value, *one.estimate.interval()) for one in pair.differences]
    columns = {
        **_columns(pair, "metric", means),
        "difference": [effect_text(metric, 100 * value) for metric, value, _, _ in ends],
        "95 % interval": [interval_text(metric, 100 * low, 100 * high) for metric, _, low, high in ends],
        "p": ["" if one.problem else p_text(one.p) for one in pair.differences],
    }
    return Table("Scores", columns)


def _images(pair: Pair, count: int) -> list[Table]:
    """For each of the two the images on which it is better, if any, by the most first."""
    better = (pair.dice[pair.dice["difference"] > 0], pair.dice[pair.dice["difference"] < 0].iloc[::-1])
    tables = []
    for name, rows in zip(pair.names, better, strict=True):
        if rows.empty:
            continue
        shown = rows.head(count).to_dict("records")
        dice = {row["stem"]: (score_text(row["first"]), score_text(row["second"])) for row in shown}
        difference = [effect_text(pair.differences[0].metric, 100 * row["difference"]) for row in shown]
        caption = f"Test images on which {name} is better by most ({len(rows)} of {len(pair.dice)})"
        tables.append(Table(caption, {**_columns(pair, "image", dice), "difference": difference}))
    return tables


def _columns(pair: Pair, what: str, rows: dict[str, tuple[str, str]]) -> Columns:
    """A column of names and one for each of the two."""
    first, second = pair.names
    return {
        what: list(rows),
        first: [texts[0] for texts in rows.values()],
        second: [texts[1] for texts in rows.values()],
    }
