"""The drawn data set: official layout, and the same bytes each time."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src.data.masks import MaskReader
from src.data.sources.drawing import BREEDS, draw_scene
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.sources.synthetic import make_synthetic
from src.data.verify import verify

PROJECT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_synthetic(tmp_path_factory.mktemp("drawn"), trainval=60, test=20, size=64, seed=0)


def digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_opens_as_the_official_data_do(root: Path) -> None:
    splits = open_oxford_pet(root)
    assert (len(splits.train), len(splits.valid), len(splits.test)) == (54, 6, 20)


def test_passes_the_audit(root: Path, tmp_path: Path) -> None:
    assert len(verify(open_oxford_pet(root), tmp_path)[1]) == 64


def test_lists_are_written_as_the_official_ones(root: Path) -> None:
    """`<stem> <class> <species> <breed>`, sorted, every breed in both lists; cats are 1, dogs 2."""
    lists = {
        name: (root / "annotations" / f"{name}.txt").read_text().splitlines() for name in ("trainval", "test", "list")
    }
    assert lists["list"] == sorted(lists["trainval"] + lists["test"])
    assert lists["trainval"][0] == "Amber_Tiger_1 1 1 1"
    assert lists["trainval"][-1].startswith("shadow_mastiff_")
    assert lists["trainval"][-1].endswith(" 8 2 4")  # the eighth class, the fourth breed of dogs
    for listed in (lists["trainval"], lists["test"]):
        assert {int(line.split()[1]) for line in listed} == set(range(1, 9))


def test_same_bytes_in_another_process(root: Path, tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from src.data.sources.synthetic import make_synthetic;"
        f"make_synthetic(Path({str(tmp_path)!r}), 60, 20, 64, 0)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True, timeout=120)
    assert digests(tmp_path / "60-20-64-0") == digests(root)


def test_each_image_has_a_generator_of_the_seed_and_its_number(root: Path) -> None:
    for index in (0, 11, 79):
        breed = BREEDS[index % 8]
        _, trimap = draw_scene(np.random.default_rng([0, index]), breed, 64)
        stem = f"{breed.name}_{index // 8 + 1}"
        assert np.array_equal(MaskReader()(root / "annotations" / "trimaps" / f"{stem}.png"), trimap)


def test_image_does_not_depend_on_how_many_there_are(root: Path, tmp_path: Path) -> None:
    fewer = digests(make_synthetic(tmp_path, trainval=10, test=2, size=64, seed=0))
    pictures = {name: digest for name, digest in fewer.items() if not name.endswith(".txt")}
    assert len(pictures) == 24
    assert pictures.items() <= digests(root).items()


def test_other_seeds_draw_other_pictures_in_another_folder(tmp_path: Path) -> None:
    one, other = (make_synthetic(tmp_path, 2, 1, 32, seed) for seed in (0, 1))
    assert (one.name, other.name) == ("2-1-32-0", "2-1-32-1")
    assert digests(one).keys() == digests(other).keys()
    assert digests(one)["images/Fogcoat_1.jpg"] != digests(other)["images/Fogcoat_1.jpg"]


def test_second_call_draws_nothing(tmp_path: Path) -> None:
    folder = make_synthetic(tmp_path, 2, 1, 32, 0)
    dates = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert make_synthetic(tmp_path, 2, 1, 32, 0) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == dates


def test_half_a_data_set_of_a_killed_process_is_drawn_again(tmp_path: Path) -> None:
    """The process is killed in the middle; nothing stands at the data set's place until all of it is drawn."""
    program = (
        "from pathlib import Path; from src.data.sources.synthetic import make_synthetic; print('begin', flush=True);"
        f"make_synthetic(Path({str(tmp_path)!r}), 100_000, 1, 32, 0)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT, stdout=-1)
    assert process.stdout is not None
    process.stdout.readline()
    while not list(tmp_path.glob(".making-*/images/*.jpg")):
        assert process.poll() is None
    process.kill()
    process.communicate()
    assert not (tmp_path / "100000-1-32-0").exists()
    (left,) = tmp_path.glob(".making-*")
    left = left.rename(tmp_path / ".making-9-1-32-0-ab12cd34")
    folder = make_synthetic(tmp_path, 9, 1, 32, 0)
    assert len(list((folder / "images").iterdir())) == 10 and not left.exists()


def test_two_processes_at_once_make_one_data_set(tmp_path: Path) -> None:
    program = (
        "from pathlib import Path; from src.data.sources.synthetic import make_synthetic;"
        f"print(make_synthetic(Path({str(tmp_path)!r}), 30, 3, 32, 0))"
    )
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, cwd=PROJECT, stdout=-1, stderr=-1, text=True) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert answers == [(f"{tmp_path / '30-3-32-0'}\n", "")] * 2
    assert len(open_oxford_pet(tmp_path / "30-3-32-0").test) == 3
    assert not list(tmp_path.glob(".making-*"))


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "occupied").write_text("a file")
    with pytest.raises(ValueError, match=r"cannot write the synthetic data to .*occupied"):
        make_synthetic(tmp_path / "occupied", 2, 1, 32, 0)
