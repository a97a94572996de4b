"""Batches: their order, how epochs start and resume, and that worker processes change nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from src.base.config import AugmentationSection
from src.cli.overrides import CONF
from src.data.datasets import FileReader
from src.data.decoding import DataChanged, PairDecoder
from src.data.images import BorderPolicy
from src.data.loaders import (
    Batch,
    EvalLoader,
    OutOfSharedMemory,
    TrainLoader,
    count_workers,
    make_eval_loaders,
)
from src.data.pairs import Pair

TURNING = AugmentationSection(
    name="turning",
    load_scale=1.0,
    mask_as_image=False,
    transforms=[{"_target_": "albumentations.Rotate", "limit": [-90, 90], "p": 1.0}],
    copies=1,
    copy_transforms=[{"_target_": "albumentations.Rotate", "limit": [-90, 90], "p": 1.0}],
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[Pair]:
    """Five JPEG photos of 24 x 36 pixels with their trimaps."""
    folder = tmp_path_factory.mktemp("pets")
    generator = np.random.default_rng(0)
    pairs = [Pair(f"pet_{i}", folder / f"pet_{i}.jpg", folder / f"pet_{i}.png") for i in range(5)]
    for pair in pairs:
        Image.fromarray(generator.integers(0, 256, (24, 36, 3)).astype(np.uint8)).save(pair.image)
        Image.fromarray(generator.integers(1, 4, (24, 36)).astype(np.uint8)).save(pair.mask)
    return pairs


def train_loader(pairs: list[Pair], workers: int = 0, **changes: Any) -> TrainLoader:
    """Ten samples (five originals, five copies) in batches of 4, 4 and 2."""
    settings: dict[str, Any] = {"border": "random", "augmentation": TURNING, "batch_size": 4, "seed": 3}
    return TrainLoader(
        pairs, FileReader(PairDecoder()), image_size=16, workers=workers, pin_memory=False, **(settings | changes)
    )


def eval_loader(pairs: list[Pair], *arguments: Any, border: BorderPolicy = "foreground", **named: Any) -> EvalLoader:
    """The loader of one part."""
    (loader,) = make_eval_loaders([(pairs, border)], *arguments, **named)
    return loader


def indices_of(loader: TrainLoader, epoch: int) -> list[list[int]]:
    return [[index for _, index in batch] for batch in loader.keys(epoch)]


def flat(batches: list[list[int]]) -> list[int]:
    return [index for batch in batches for index in batch]


def assert_equal(got: Iterator[Batch], expected: list[Batch]) -> None:
    for batch, other in zip(got, expected, strict=True):
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(batch, other, strict=True))


# --- the order of batches ----------------------------------------------------------------------------------


def test_an_epoch_gives_every_index_once_and_keeps_the_small_last_batch(pairs: list[Pair]) -> None:
    loader = train_loader(pairs)
    order = indices_of(loader, epoch=0)
    assert [len(batch) for batch in order] == loader.sizes() == [4, 4, 2] and len(loader) == 3
    assert sorted(flat(order)) == list(range(10))
    assert {epoch for batch in loader.keys(5) for epoch, _ in batch} == {5}


def test_seed_and_epoch_alone_decide_the_order(pairs: list[Pair]) -> None:
    orders = {str(indices_of(train_loader(pairs, seed=seed), epoch)) for seed in range(5) for epoch in range(5)}
    assert len(orders) == 25
    used = train_loader(pairs, seed=1)
    indices_of(used, epoch=7)
    assert indices_of(used, epoch=2) == indices_of(train_loader(pairs, seed=1), epoch=2)
    assert flat(indices_of(train_loader(pairs, seed=1, batch_size=3), 2)) == flat(indices_of(used, 2))


@pytest.mark.parametrize("first_batch", [0, 1, 2, 3])
def test_resuming_gives_exactly_the_rest(pairs: list[Pair], first_batch: int) -> None:
    loader = train_loader(pairs)
    assert_equal(loader.start(2, first_batch), list(loader.start(2))[first_batch:])


@pytest.mark.parametrize("first_batch", [-1, 4])
def test_resuming_where_no_batch_is_is_refused(pairs: list[Pair], first_batch: int) -> None:
    with pytest.raises(ValueError, match=f"got first batch {first_batch}, but an epoch has 3 batches of 4"):
        train_loader(pairs).start(0, first_batch)


def test_limited_epochs_are_the_beginnings_of_whole_ones(pairs: list[Pair]) -> None:
    limited = train_loader(pairs, limit_batches=2)
    assert len(limited) == 2
    assert indices_of(limited, epoch=1) == indices_of(train_loader(pairs), epoch=1)[:2]
    assert len(train_loader(pairs, limit_batches=9)) == 3


def test_overfitting_repeats_the_first_batch_of_all(pairs: list[Pair]) -> None:
    once = TURNING.model_copy(update={"copies": 0})
    first = indices_of(train_loader(pairs, augmentation=once), epoch=0)[0]
    assert indices_of(train_loader(pairs, overfit=True), epoch=6) == [first] * 2
    assert indices_of(train_loader(pairs, limit_batches=20, overfit=True), epoch=6) == [first] * 20


# --- loaders -----------------------------------------------------------------------------------------------


def test_a_training_batch(pairs: list[Pair]) -> None:
    batches = list(train_loader(pairs).start(0))
    assert [len(batch.indices) for batch in batches] == [4, 4, 2]
    images, targets, indices = batches[0]
    assert isinstance(batches[0], Batch)
    assert images.shape == (4, 3, 16, 16) and images.dtype == torch.uint8 and images.is_contiguous()
    assert targets.shape == (4, 16, 16) and targets.dtype == torch.uint8
    assert indices.dtype == torch.int64 and set(torch.cat([b.indices for b in batches]).tolist()) == set(range(10))


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")  # on few cores
def test_workers_change_nothing(pairs: list[Pair]) -> None:
    alone = train_loader(pairs)
    expected = {epoch: list(alone.start(epoch)) for epoch in (0, 1)}
    assert not torch.equal(expected[0][0].images, expected[1][0].images)
    for workers in (2, 4):
        loader = train_loader(pairs, workers)
        assert_equal(loader.start(0), expected[0])
        next(loader.start(1))  # an epoch that is left early must not leak into the next
        assert_equal(loader.start(1, first_batch=1), expected[1][1:])
        assert_equal(loader.start(0, first_batch=3), [])
        assert_equal(loader.start(1), expected[1])


def test_an_error_in_a_worker_names_the_file(pairs: list[Pair], tmp_path: Path) -> None:
    cut_short = tmp_path / "cut_short.jpg"
    cut_short.write_bytes(pairs[0].image.read_bytes()[:200])
    broken = [*pairs[:4], Pair("cut_short", cut_short, pairs[4].mask)]
    with pytest.raises(ValueError, match=r"cut_short\.jpg"):
        list(train_loader(broken, workers=1).start(0))


def process_as_image(pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose color is the number of the process that read it."""
    color = np.array([os.getpid() >> shift & 255 for shift in (0, 8, 16)], np.uint8)
    return np.broadcast_to(color, (size, size, 3)), np.ones((size, size), np.uint8)


@pytest.mark.long
def test_a_worker_lives_through_all_epochs(pairs: list[Pair]) -> None:
    loader = eval_loader(pairs, process_as_image, 8, batch_size=5, workers=1, pin_memory=False)
    first, second = (next(iter(loader)).images[0, :, 0, 0].tolist() for _ in range(2))
    assert first == second
    assert first != process_as_image(pairs[0], 8)[0][0, 0].tolist()


def test_the_parts_of_an_evaluation_share_their_workers_and_each_is_complete(pairs: list[Pair]) -> None:
    parts = [(pairs[:3], "foreground"), (pairs[1:], "foreground"), (pairs[1:], "ignore")]
    loaders = make_eval_loaders(parts, FileReader(PairDecoder()), 16, 2, workers=2, pin_memory=False)
    alone = [
        list(eval_loader(some, FileReader(PairDecoder()), 16, 2, workers=0, pin_memory=False, border=border))
        for some, border in parts
    ]
    assert [len(batches) for batches in loaders] == [len(batches) for batches in alone] == [2, 2, 2]
    started = set(active_children())
    next(iter(loaders[0]))  # a pass that is left early must not leak into the next
    workers = set(active_children()) - started
    for number in (0, 1, 0, 2):
        assert_equal(iter(loaders[number]), alone[number])
    assert len(workers) == 2 and set(active_children()) - started == workers


def threads_as_image(pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture in the shade of OpenCV's number of threads."""
    return np.full((size, size, 3), cv2.getNumThreads(), np.uint8), np.ones((size, size), np.uint8)


def test_a_worker_uses_one_thread(pairs: list[Pair]) -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        loader = eval_loader(pairs, threads_as_image, 8, batch_size=5, workers=1, pin_memory=False)
        assert next(iter(loader)).images.unique().tolist() == [1]
    finally:
        cv2.setNumThreads(before)


def test_loaders_leave_the_global_random_state_alone(pairs: list[Pair]) -> None:
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.get_rng_state(), np.random.get_state()[1].tolist()  # type: ignore[index]
    list(train_loader(pairs).start(0))
    list(eval_loader(pairs, FileReader(PairDecoder()), 16, 2, workers=0, pin_memory=False))
    assert torch.equal(torch.get_rng_state(), expected[0])
    assert np.random.get_state()[1].tolist() == expected[1]  # type: ignore[index]


def test_overfitting_takes_one_batch_as_it_is(pairs: list[Pair]) -> None:
    loader = train_loader(pairs, overfit=True, limit_batches=3, border="foreground")
    plain = next(iter(eval_loader(pairs, FileReader(PairDecoder()), 16, batch_size=5, workers=0, pin_memory=False)))
    steps = [batch for epoch in (0, 1) for batch in loader.start(epoch)]
    assert len(steps) == 6
    for batch in steps:
        assert torch.equal(batch.indices, steps[0].indices)
        assert torch.equal(batch.images, plain.images[batch.indices])
        assert torch.equal(batch.targets, plain.targets[batch.indices])


def test_evaluation_goes_through_all_pairs_in_order(pairs: list[Pair]) -> None:
    loader = eval_loader(pairs, FileReader(PairDecoder()), 16, batch_size=2, workers=0, pin_memory=False)
    assert len(loader) == 3
    assert [batch.indices.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]
    for batch in loader:
        assert isinstance(batch, Batch) and set(batch.targets.unique().tolist()) == {0, 255}


def test_evaluation_can_be_limited_and_can_see_the_border_otherwise(pairs: list[Pair]) -> None:
    loader = eval_loader(
        pairs,
        FileReader(PairDecoder()),
        16,
        batch_size=2,
        workers=0,
        pin_memory=False,
        border="ignore",
        limit_batches=2,
    )
    assert [batch.indices.tolist() for batch in loader] == [[0, 1], [2, 3]]
    assert set(next(iter(loader)).targets.unique().tolist()) == {0, 127, 255}


def test_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert count_workers(3, images=5) == 3 and count_workers(0, images=5000) == 0
    assert count_workers(1000, images=2) == 2  # more would have nothing to do
    assert count_workers(-1, images=100) == 0  # starting a process would take longer
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)))
    assert count_workers(-1, images=3000) == 6
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)))
    assert count_workers(-1, images=3000) == 8


# --- what goes wrong in a worker is said in one line


class Failing:
    """A `PairReader` that always raises."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, pair: Pair, size: int) -> tuple[np.ndarray, np.ndarray]:
        raise self.error


def error_of(pairs: list[Pair], error: Exception, workers: int) -> Exception:
    loader = eval_loader(pairs, Failing(error), 16, batch_size=2, workers=workers, pin_memory=False)
    with pytest.raises(Exception) as raised:
        list(loader)
    return raised.value


@pytest.mark.parametrize(("kind", "workers"), [(DataChanged, 0), (DataChanged, 1), (ValueError, 1)])
def test_a_file_that_changed_is_named_in_one_line(pairs: list[Pair], kind: type[Exception], workers: int) -> None:
    error = error_of(pairs, kind("a.png: has changed"), workers)
    assert type(error) is kind and str(error) == "a.png: has changed"


@pytest.mark.long
def test_too_little_shared_memory_is_said_with_the_remedy(pairs: list[Pair]) -> None:
    said = "unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)"
    error = error_of(pairs, RuntimeError(said), workers=1)
    assert isinstance(error, OutOfSharedMemory) and "\n" not in str(error)
    assert "is too small for the batches of 1 worker processes" in str(error)
    assert str(error).endswith("(--shm-size=2g), or set data.workers=0")


@pytest.mark.long
def test_other_errors_stay_as_they_are(pairs: list[Pair]) -> None:
    error = RuntimeError("unable to open shared memory object: Too many open files (24)")
    with pytest.raises(RuntimeError) as raised:
        list(eval_loader(pairs, Failing(error), 16, batch_size=2, workers=0, pin_memory=False))
    assert raised.value is error and error.__cause__ is None


@pytest.mark.long
@pytest.mark.parametrize(("size", "maker"), [("64k", "eval"), ("64k", "native"), ("4k", "native")])
def test_a_small_dev_shm_ends_every_kind_of_loader(pairs: list[Pair], size: str, maker: str) -> None:
    """For real: torch would wait for the batch forever if the space ran out while it is sent."""
    unshare = ["unshare", "-m", "bash", "-c"]
    mount = f"mount -t tmpfs -o size={size} tmpfs /dev/shm"
    if shutil.which("unshare") is None or subprocess.run([*unshare, mount], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    folder = str(pairs[0].image.parent)
    program = f"""
from pathlib import Path
from src.data import loaders
from src.data.datasets import FileReader
from src.data.images import BorderPolicy
from src.data.pairs import Pair
from src.data.decoding import PairDecoder
pairs = [Pair(f"pet_{{i}}", Path({folder!r}, f"pet_{{i}}.jpg"), Path({folder!r}, f"pet_{{i}}.png")) for i in range(5)]
how = dict(image_size=128, batch_size=5, workers=1, pin_memory=False)
if {maker!r} == "native":
    loader = loaders.make_native_loader(pairs, PairDecoder(), **how)
else:
    (loader,) = loaders.make_eval_loaders([(pairs, "foreground")], FileReader(PairDecoder()), **how)
try:
    list(loader)
except loaders.OutOfSharedMemory as error:
    print(error)
"""
    done = subprocess.run(
        [*unshare, f'{mount}; exec "$0" -c "$1"', sys.executable, program],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=CONF.parent,
    )
    key = {"eval": "data.workers", "native": "workers"}[maker]
    assert done.stdout.endswith(f"or set {key}=0\n") and done.returncode == 0, done.stderr
