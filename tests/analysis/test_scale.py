"""A thousand runs of 50 epochs and 3,669 test images become a report in a minute of a processor, in any settings."""

import csv
import itertools
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from src.analysis.claims.claim_file import read_claims
from src.analysis.claims.effects import Effect, factor_effects
from src.analysis.records.loading import load_records
from src.analysis.records.matching import settings_of
from src.analysis.report.options import CLAIMS
from src.analysis.report.page import sections_of
from src.analysis.report.report import make_report
from src.base.config import RunConfig
from src.base.identity import choices_of, identify
from src.base.record import RunRecord
from tests.analysis.recorded import config_of, finish
from tests.conftest import PROJECT

IMAGES, EPOCHS = 3669, 50
MOST_SECONDS, MOST_BYTES = 60, 2 * 10**9
PIXELS = 256 * 256
LEVELS = 64  # of success on an image
BATCH_SIZES = (8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Scored:
    """What the test images say of a run: their mean Dice, and their rows in test_images.csv."""

    mean: float
    rows: str


class PetImages:
    """Test images, each with its row for every level of success, so that a thousand runs are drawn in seconds."""

    def __init__(self, images: int) -> None:
        rng = np.random.default_rng(0)
        truth = rng.integers(PIXELS // 20, PIXELS // 2, images)[:, None]  # pixels of foreground
        difficulty = 0.02 + rng.gamma(0.5, 0.08, images)[:, None]
        missed = np.minimum(truth - 1, truth * difficulty * np.linspace(1.5, 0.5, LEVELS)).astype(int)
        added, hit = missed // 2, truth - missed  # (images, levels), as all below
        self.dice = 2 * hit / (2 * hit + missed + added)
        iou = hit / (hit + missed + added)
        cells = zip(*(table.tolist() for table in (self.dice, iou, hit, added, missed)), strict=True)
        self.rows = [
            [f"headline,Pet_{number},{','.join(map(str, level))}\r\n" for level in zip(*image, strict=True)]
            for number, image in enumerate(cells)
        ]

    def scored(self, success: float, rng: np.random.Generator) -> Scored:
        """A run that reaches about the level `success`, on each image another one."""
        levels = rng.normal(success, 6, len(self.rows)).round().astype(int).clip(0, LEVELS - 1)
        rows = [levels_of[level] for levels_of, level in zip(self.rows, levels.tolist(), strict=True)]
        return Scored(float(self.dice[np.arange(len(rows)), levels].mean()), "".join(rows))


class Writer:
    """Writes finished runs into `sweep`, like one that RunRecord wrote, but without waiting for the disk each time."""

    def __init__(self, sweep: Path) -> None:
        pattern = finish(sweep, dice=[0.5], curves={"valid_dice": [0.5] * EPOCHS})
        self.sweep, self.facts, self.epochs = sweep, pattern.read(), pattern.read_epochs()
        self.header = (pattern.folder / "test_images.csv").read_bytes().splitlines(keepends=True)[0].decode()
        shutil.rmtree(pattern.folder)

    def write(self, config: RunConfig, scored: Scored) -> Path:
        """One run of `config` with the scores `scored`; its folder."""
        identity, plain = identify(config, self.facts["data"]["fingerprint"]), config.model_dump(mode="json")
        record = RunRecord(self.sweep / identity.run_id)
        record.checkpoints.mkdir(parents=True)
        own = {
            "run_id": identity.run_id,
            "config_id": identity.config_id,
            "choices": choices_of(config),
            "seed": config.seed,
            "data": {**self.facts["data"], "images": {"train": 2944, "valid": 736, "test": scored.rows.count("\n")}},
            "scores": {"valid_dice": 0.9, "test_dice": scored.mean},
        }
        record.run_file.write_text(json.dumps(self.facts | own, indent=2))
        record.epochs_file.write_text("".join(f"{json.dumps(row)}\n" for row in self._epochs(config)))
        protocols = {"headline": {"dice": {"mean": scored.mean}}}
        (record.folder / "test.json").write_text(json.dumps({"schema": 1, "protocols": protocols}))
        (record.folder / "test_images.csv").write_text(self.header + scored.rows, newline="")
        typed = [f"optimizer.lr={plain['optimizer']['lr']}", f"trainer.batch_size={plain['trainer']['batch_size']}"]
        for name, content in (("config", plain), ("overrides", [*typed, f"seed={config.seed}"])):
            (record.folder / f"{name}.yaml").write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False))
        return record.folder

    def _epochs(self, config: RunConfig) -> list[dict[str, Any]]:
        noise = np.random.default_rng(config.seed).normal(0, 0.003, EPOCHS)
        dice = (0.9 - 0.5 * np.exp(-np.arange(EPOCHS) / 6) + noise).tolist()
        batch_flattened = ("train_dice_batch_flattened", "valid_dice_batch_flattened")
        return [
            {**row, "momentum": 0.9, "valid_dice": now, "valid_loss": 1 - now, "valid_iou": now / (2 - now)}
            | dict.fromkeys(batch_flattened, now + 0.01)
            for row, now in zip(self.epochs, dice, strict=True)
        ]


def write_sweep(sweep: Path, configs: Sequence[RunConfig], seeds: int, images: int) -> list[Path]:
    """A finished run for each of `configs` and each seed; settings differ by more than the seeds of one."""
    rng, writer, test_images = np.random.default_rng(1), Writer(sweep), PetImages(images)
    folders = []
    for config in configs:
        success = rng.uniform(20, 44)
        for seed in range(seeds):
            scored = test_images.scored(success + rng.normal(0, 1), rng)
            folders.append(writer.write(config.model_copy(update={"seed": seed}), scored))
    return folders


def chosen() -> list[RunConfig]:
    """Two augmentations, two schedules and two networks in every combination."""
    names = itertools.product(("none", "flip_jitter"), ("cosine", "onecycle"), ("unet", "resnet34_unet"))
    return [
        config_of("data=oxford_pet", "trainer=default", f"augmentation={one}", f"scheduler={two}", f"model={three}")
        for one, two, three in names
    ]


def with_values(config: RunConfig, lr: float, batch_size: int) -> RunConfig:
    """`config` as `optimizer.lr=… trainer.batch_size=…` changes it."""
    trainer = config.trainer.model_copy(update={"batch_size": batch_size})
    return config.model_copy(update={"optimizer": {**config.optimizer, "lr": lr}, "trainer": trainer})


def grid(learning_rates: Sequence[float]) -> list[RunConfig]:
    """All `chosen` configs with each of these learning rates and 5 batch sizes.

    In an order in which a part of them has both networks and all learning rates too, and so the same figures.
    """
    values = list(itertools.product(learning_rates, BATCH_SIZES))
    configs = [with_values(config, *pair) for config in chosen() for pair in values]
    return sorted(configs, key=lambda one: (one.trainer.batch_size, one.augmentation.name, one.scheduler["name"]))


def random_search(settings: int) -> list[RunConfig]:
    """So many settings of which no two have the same learning rate."""
    rng, configs = np.random.default_rng(2), chosen()
    return [
        with_values(configs[rng.integers(len(configs))], float(10 ** rng.uniform(-5, -2)), int(rng.integers(4, 200)))
        for _ in range(settings)
    ]


COUNT = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss)
"""


@dataclass(frozen=True)
class Cost:
    """Of one command: seconds of processors, which other work hardly changes; bytes of memory at the most."""

    cpu: float
    memory: float


def aggregate(sweep: Path, output: Path, *options: str) -> Cost:
    """Does `python -m src.aggregate sweep=… output=…`; what it costs as the system counts it."""
    command = [sys.executable, "-m", "src.aggregate", f"sweep={sweep}", f"output={output}", *options]
    # through a small process between, since the system counts the memory of whoever starts a command as the command's
    found = subprocess.run(
        [sys.executable, "-c", COUNT, *command], cwd=PROJECT, stdout=subprocess.PIPE, text=True, check=True
    )
    cpu, memory = map(float, found.stdout.split())
    return Cost(cpu, memory)


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Path]:
    """A folder for up to 300 MB of runs, which do not stay until pytest tidies up."""
    yield tmp_path / "sweep"
    shutil.rmtree(tmp_path / "sweep")


@pytest.mark.long
def test_a_thousand_runs_take_under_a_minute_and_2_gb_and_fewer_take_less_in_proportion(sweep, tmp_path):
    folders = write_sweep(sweep, grid((0.0001, 0.0003, 0.001, 0.003, 0.01)), seeds=5, images=IMAGES)
    parts = {runs: sweep_of(folders[:runs], tmp_path / f"{runs}_runs") for runs in (250, 500, 1000)}
    costs = {runs: aggregate(part, part / "report") for runs, part in parts.items()}
    assert len(rows_of(parts[1000] / "report" / "settings.csv")) == 200
    assert costs[1000].cpu < MOST_SECONDS and costs[1000].memory < MOST_BYTES
    added = [costs[runs].memory - costs[runs // 2].memory for runs in (500, 1000)]  # by 250 and by 500 runs
    assert added[1] < 1.5 * 2 * added[0]
    # of what grows at all: the command starts and draws as long for 250 runs
    seconds = {runs: min(seconds_to_judge(parts[runs]) for _ in range(2)) for runs in (250, 1000)}
    assert seconds[1000] < 2 * 4 * seconds[250]


def sweep_of(folders: Sequence[Path], sweep: Path) -> Path:
    """A sweep of just these runs."""
    sweep.mkdir()
    for folder in folders:
        (sweep / folder.name).symlink_to(folder)
    return sweep


def seconds_to_judge(sweep: Path) -> float:
    """Of a processor, to load a sweep and answer everything it can be asked."""
    claims = [read_claims(path) for path in CLAIMS.glob("*.yaml")]
    begun = time.process_time()
    make_report([sweep], claims)
    return time.process_time() - begun


@pytest.mark.long
@pytest.mark.parametrize(
    ("make_configs", "seeds", "effects"),
    [
        (lambda: chosen()[:1], 1000, 0),
        # of 25 learning rates each with the first, each two of 5 batch sizes, and three choices of two
        (lambda: grid(np.logspace(-5, -2, 25).tolist()), 1, 24 + 10 + 3 + 24 * 40 + 10 * 200 + 3 * 500),
    ],
    ids=["one setting of 1,000 seeds", "1,000 settings of one seed"],
)
def test_a_thousand_runs_of_any_shape_stay_a_report_that_a_browser_opens(sweep, tmp_path, make_configs, seeds, effects):
    configs = make_configs()
    write_sweep(sweep, configs, seeds, images=100)
    assert aggregate(sweep, tmp_path / "report", "claim_files=null").cpu < MOST_SECONDS
    assert len(rows_of(tmp_path / "report" / "settings.csv")) == len(configs)
    found = rows_of(tmp_path / "report" / "comparisons.csv")
    assert len(found) == effects
    assert (tmp_path / "report" / "index.html").stat().st_size < 4 * 10**6


@pytest.mark.long
def test_nor_does_a_random_search_take_longer(sweep, tmp_path):
    configs = random_search(400)
    write_sweep(sweep, configs, seeds=1, images=100)
    assert aggregate(sweep, tmp_path / "report", "claim_files=null").cpu < MOST_SECONDS
    # every learning rate with the first, where they share all else but the trainer: the settings first in the table
    alike = [(one.model["name"], one.scheduler["name"], one.augmentation.name) for one in configs]
    assert len(rows_of(tmp_path / "report" / "comparisons.csv")) == alike.count(min(alike)) - 1


def write_lines(sweep: Path, **lines: Sequence[float]) -> None:
    """For each schedule runs of the learning rates 0.001, 0.002, …, with these Dice on the one test image."""
    writer = Writer(sweep)
    for scheduler, scores in lines.items():
        for number, dice in enumerate(scores, start=1):
            config = with_values(config_of(f"scheduler={scheduler}"), number / 1000, 8)
            writer.write(config, Scored(dice, f"headline,Pet_0,{dice},0.3,1,1,1\n"))


def effects_of(sweep: Path, factor: str) -> list[Effect]:
    records = load_records([sweep])
    return factor_effects(records, settings_of(records), [factor])


def test_every_context_of_a_mean_is_an_effect(tmp_path):
    write_lines(tmp_path, cosine=[0.5] * 11, onecycle=[0.6] * 11)
    mean, *single = effects_of(tmp_path, "scheduler")
    assert mean.context == "mean of 11" and mean.comparison.notes == ()
    assert [one.context for one in single] == [f"lr {number / 1000:g}" for number in range(1, 12)]


def test_more_than_five_levels_are_compared_with_the_first_only(tmp_path):
    write_lines(tmp_path, cosine=[0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    assert [one.second for one in effects_of(tmp_path, "optimizer.lr")] == ["lr 0.001"] * 5


def test_a_page_with_very_many_effects_lists_the_main_ones(tmp_path):
    write_lines(tmp_path, cosine=[0.5] * 52, onecycle=[0.6] * 52)
    effects = next(one for one in sections_of(make_report([tmp_path]), [], tmp_path) if one.id == "effects").tables[0]
    assert "comparisons.csv has" in effects.caption
    names = effects.columns["comparison"]
    assert "scheduler: onecycle − cosine (mean of 52)" in names and len(names) == 1 + 51
