"""A lab report to start from: what the records know, under the headings of the task sheet; the rest is the author's."""

import hashlib
import itertools
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from src.analysis.report.options import CLAIMS
from src.analysis.report.report import Report
from src.analysis.report.sections import Section, Table, introduction, markdown_parts
from src.analysis.report.sentences import answer_sentences
from src.base.files import read_json, read_regular, write_text
from src.display.text import markdown_text, setting_text

CONF = CLAIMS.parent
AUTHOR = "[author]"  # marks what the records cannot know
TRAINING = (  # of a setting, one column each
    *("model", "loss", "optimizer", "optimizer.lr", "optimizer.weight_decay", "scheduler", "augmentation"),
    *("trainer.batch_size", "trainer.epochs", "trainer.early_stop_patience"),
)
RESULTS = ("claims", "settings", "pairs", "effects", "curves", "printed", "images")  # sections that it takes over
QUESTIONS = (  # of the discussion
    "Which setting would you use, and why?",
    "What differs from what you expected, and what could explain it?",
    "On which images does it fail? Show some (the commands above write masks and overlays of all test images).",
    "What would you try next?",
)
DRAFT = "<!-- A draft by python -m src.aggregate, which replaces it until you change it ({}) -->"
LARGEST_DRAFT = 10_000_000  # bytes that are read
SETUP = ("make setup", ". .venv/bin/activate")


def lab_report(report: Report, sections: Sequence[Section]) -> str:
    """The draft; its figures and tables of results are those of the report."""
    own = [
        Section(
            "implementation",
            "Implementation details",
            "\n\n".join([*network_lines(report), f"{AUTHOR} What you wrote yourself, and how."]),
            [Table("How each setting was trained", training_columns(report))],
        ),
        Section(
            "preprocessing",
            "Data preprocessing",
            "\n\n".join([*preprocessing_lines(report), f"{AUTHOR} Why you chose this preprocessing."]),
        ),
        Section("results", "Analysis of the results", "\n\n".join(answer_sentences(report))),
        Section("execution", "Execution steps", "From a clone of the project:", code=execution_lines(report)),
        Section("discussion", "Discussion", "\n\n".join(f"{AUTHOR} {question}" for question in QUESTIONS)),
    ]
    results = sorted((one for one in sections if one.id in RESULTS), key=lambda one: RESULTS.index(one.id))
    title = f"# Lab report: {markdown_text(report.title)}"
    author = markdown_text(f"{AUTHOR} Name, date. A draft from {introduction(report)}")
    return "\n\n".join([title, author, *markdown_parts([*own[:3], *results, *own[3:]])]) + "\n"


def write_draft(path: Path, text: str) -> None:
    """Writes `text` under a line with its checksum; a draft that its author has changed since it was written stays."""
    if path.exists():
        found = read_regular(path, LARGEST_DRAFT).decode(errors="replace")
        line, _, rest = found.partition("\n\n")
        if line != _draft_line(rest):
            return
    write_text(path, f"{_draft_line(text)}\n\n{text}")


def _draft_line(text: str) -> str:
    return DRAFT.format(hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16])


def network_lines(report: Report) -> list[str]:
    """For each network what its file in conf/model says, and the parameters that its runs counted."""
    counted: dict[str, set[str]] = {}
    for setting in report.settings:
        for folder in setting.folders[:1]:  # all have one config
            parameters = read_json(Path(folder) / "run.json").get("parameters")
            text = f"{parameters:,} at width {setting.values.get('model.width')}" if isinstance(parameters, int) else ""
            counted.setdefault(str(setting.values.get("model")), set()).add(text)
    described = {file.stem: _comment(file) for file in (CONF / "model").glob("*.yaml")}
    lines = []
    for name, texts in counted.items():
        known = ", ".join(sorted(filter(None, texts)))
        lines.append(f"{name}: {described.get(name, AUTHOR)}" + (f" In these runs {known}." if known else ""))
    return lines


def preprocessing_lines(report: Report) -> list[str]:
    """How images and masks were prepared, for each kind of data and each augmentation of the runs."""
    lines: dict[str, None] = {}
    for setting in report.settings:
        if setting.folders:
            config = report.records.configs.get(setting.config_id, {})
            images = _part(_part(read_json(Path(setting.folders[0]) / "run.json"), "data"), "images")
            lines |= dict.fromkeys([_data_line(_part(config, "data"), images), _augmentation_line(config)])
    return list(lines)


def training_columns(report: Report) -> dict[str, list[str]]:
    """The settings with what they were trained with; a column for each key that any of them has."""
    settings = [setting for setting in report.settings if setting.folders]
    columns = {"setting": [setting.label for setting in settings]}
    for key in TRAINING:
        values = [setting.values.get(key) for setting in settings]
        if any(value is not None for value in values):
            name = key.rpartition(".")[2].replace("_", " ")
            columns[name] = ["" if value is None else setting_text(value) for value in values]
    columns["seeds"] = [str(len(setting.folders)) for setting in settings]
    return columns


def execution_lines(report: Report) -> list[str]:
    """The commands from a clone to the report, in their order, with all seeds."""
    best = next(iter(report.scores.loc[report.scores["n"] > 0, "config_id"]), None)
    folder = next((one.folders[0] for one in report.settings if one.config_id == best and one.folders), "<run>")
    sweeps = ",".join(dict.fromkeys(str(Path(folder).parent) for folder in report.records.runs["folder"]))
    values = [one.values for one in report.settings if one.folders]
    data = dict.fromkeys(str(own.get("data")) for own in values)
    networks = dict.fromkeys(str(own.get("model")) for own in values)
    return [
        *SETUP,
        *(shlex.join(["python", "-m", "src.prepare", f"data={name}"]) for name in data if name != "folder"),
        *(shlex.join(["python", "-m", "src.summary", f"model={name}"]) for name in networks),
        *report.commands,
        shlex.join(["python", "-m", "src.evaluate", f"run={folder}"]),
        shlex.join(["python", "-m", "src.inference", f"run={folder}", "split=test"]),
        shlex.join(["python", "-m", "src.aggregate", f"sweep={sweeps}"]),
    ]


def _data_line(data: Mapping[str, Any], images: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{number:,} {split}" for split, number in images.items() if isinstance(number, int))
    size, mean, std = (data.get(key) for key in ("image_size", "mean", "std"))
    return (
        f"Data {data.get('name')}: {counts} images, each resized to {size} x {size} ({data.get('resize')}; masks take "
        f"the nearest pixel) and normalized by mean {mean} and standard deviation {std} of the channels. The border "
        f"class of the trimap is {data.get('border')} in training, and foreground in all test scores."
    )


def _augmentation_line(config: Mapping[str, Any]) -> str:
    augmentation, mix = _part(config, "augmentation"), _part(config, "mix")
    always, copied = (_transforms_text(augmentation.get(key)) for key in ("transforms", "copy_transforms"))
    text = f"Augmentation {augmentation.get('name')}: " + (
        f"{always}, drawn for each image in each epoch" if always else "none"
    )
    if augmentation.get("copies"):
        text += f"; {augmentation['copies']} fixed copies of each training image: {copied}"
    return (
        text + "." + (f" Images of a batch are mixed by {mix.get('method')} (alpha {mix.get('alpha')})." if mix else "")
    )


def _transforms_text(nodes: Any) -> str:
    """`HorizontalFlip (p 0.5); ColorJitter (brightness [0.8, 1.2], p 1)`, nested ones in braces."""
    texts = []
    for node in (node for node in nodes if isinstance(node, Mapping)) if isinstance(nodes, list) else ():
        inner = _transforms_text(node.get("transforms"))
        arguments = [f"{key} {value}" for key, value in node.items() if key not in ("_target_", "transforms")]
        name = str(node.get("_target_")).rpartition(".")[2]
        texts.append(name + (f" {{{inner}}}" if inner else "") + (f" ({', '.join(arguments)})" if arguments else ""))
    return "; ".join(texts)


def _comment(path: Path) -> str:
    """The comment that a file of conf/ opens with, as one line."""
    opening = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    return " ".join(line.removeprefix("#").strip() for line in opening)


def _part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = values.get(name)
    return part if isinstance(part, Mapping) else {}
