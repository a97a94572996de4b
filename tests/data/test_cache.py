"""Decoded images that are kept: the same pixels as the files, one builder, nothing damaged is ever used."""

import logging
import os
import pickle
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import src.training.build
from src.base.record import RunRecord
from src.data import cache as cache_module
from src.data import decoding
from src.data.cache import CachedReader, open_cache
from src.data.datasets import FileReader
from src.data.decoding import DataChanged
from src.data.pairs import Splits
from src.data.sources.oxford_pet import open_oxford_pet
from src.data.sources.synthetic import make_synthetic
from src.data.verify import verify
from src.training import run as run_module


@pytest.fixture
def splits(synthetic_root: Path) -> Splits:
    return open_oxford_pet(make_synthetic(synthetic_root, trainval=20, test=6, size=48, seed=0))


def opened(splits: Splits, folder: Path, size: int = 32):
    return open_cache(splits, verify(splits, folder)[1], [size], folder)


def files_of(folder: Path) -> dict[str, Path]:
    return {path.name: path for path in (folder / "images").glob("*/*")}


def test_every_pair_has_the_pixels_of_its_files(splits, tmp_path):
    cached, plain = opened(splits, tmp_path), FileReader(splits.decoder)
    assert isinstance(cached, CachedReader)
    for pair in [*splits.train, *splits.valid, *splits.test]:
        for kept, read in zip(cached(pair, 32), plain(pair, 32), strict=True):
            assert np.array_equal(kept, read) and kept.dtype == read.dtype == np.uint8


def test_what_is_handed_out_may_be_written_to_and_the_next_reader_sees_nothing_of_it(splits, tmp_path):
    cached = opened(splits, tmp_path)
    image, trimap = cached(splits.train[0], 32)
    image[:], trimap[:] = 7, 7
    again = cached(splits.train[0], 32)
    assert (again[0] != 7).any() and (again[1] != 7).all()


def test_the_second_to_ask_finds_it_made(splits, tmp_path):
    opened(splits, tmp_path)
    before = {name: path.stat().st_mtime_ns for name, path in files_of(tmp_path).items()}
    assert set(before) == {"images.npy", "trimaps.npy", "index.json"}
    opened(splits, tmp_path)
    assert {name: path.stat().st_mtime_ns for name, path in files_of(tmp_path).items()} == before


def test_other_folds_share_it_and_other_sizes_and_data_do_not(splits, tmp_path, synthetic_root):
    def folders() -> int:
        return len([path for path in (tmp_path / "images").iterdir() if path.is_dir()])

    opened(splits, tmp_path)
    other_fold = open_oxford_pet(make_synthetic(synthetic_root, trainval=20, test=6, size=48, seed=0), fold=3)
    opened(other_fold, tmp_path)
    assert folders() == 1
    opened(splits, tmp_path, size=16)
    assert folders() == 2
    opened(open_oxford_pet(make_synthetic(synthetic_root, trainval=20, test=6, size=48, seed=1)), tmp_path)
    assert folders() == 3


@pytest.mark.parametrize("name", ["images.npy", "trimaps.npy", "index.json"])
@pytest.mark.parametrize("damage", ["one byte", "cut short", "gone", "garbage"])
def test_what_is_damaged_is_made_again(splits, tmp_path, name, damage, caplog):
    opened(splits, tmp_path)
    path = files_of(tmp_path)[name]
    whole = path.read_bytes()
    path.unlink()
    if damage == "one byte":
        changed = bytearray(whole)
        changed[len(whole) // 2 if name != "index.json" else whole.index(b"checksums") + 15] ^= 1
        path.write_bytes(bytes(changed))
    elif damage != "gone":
        path.write_bytes(whole[:-9] if damage == "cut short" else b"\x00 garbage")
    with caplog.at_level(logging.WARNING):
        cached = opened(splits, tmp_path)
    assert path.read_bytes() == whole
    if (name, damage) != ("index.json", "gone"):
        assert "is damaged; rebuilding" in caplog.text
    assert np.array_equal(cached(splits.test[0], 32)[0], FileReader(splits.decoder)(splits.test[0], 32)[0])


def test_a_worker_process_gets_where_it_lies_and_not_all_images(splits, tmp_path):
    cached = opened(splits, tmp_path)
    cached(splits.test[0], 32)  # mapped here
    sent = pickle.dumps(cached)
    assert len(sent) < 3000 < 26 * 32 * 32 * 3
    assert np.array_equal(pickle.loads(sent)(splits.test[0], 32)[0], cached(splits.test[0], 32)[0])


def test_a_builder_that_is_killed_leaves_nothing_that_is_used(splits, tmp_path):
    workplace = tmp_path / "images" / f".making-{cache_module._key(splits, verify(splits, tmp_path)[1], 32)}-ab12cd34"
    workplace.mkdir(parents=True)
    (workplace / "images.npy").write_bytes(b"half")
    cached = opened(splits, tmp_path)
    assert not workplace.exists()
    assert np.array_equal(cached(splits.test[0], 32)[0], FileReader(splits.decoder)(splits.test[0], 32)[0])


@pytest.mark.parametrize("why", ["a file in its place", "no room"])
def test_where_nothing_can_be_kept_the_files_are_read_with_a_warning(splits, tmp_path, why, caplog, monkeypatch):
    digest = verify(splits, tmp_path / "audit")[1]
    folder = tmp_path / "cache"
    if why == "no room":
        monkeypatch.setattr(cache_module, "SPARE", 1 << 60)  # more than any disk has
    else:
        folder.write_text("in the way")
    with caplog.at_level(logging.WARNING):
        read = open_cache(splits, digest, [32], folder)
    assert isinstance(read, FileReader) and "every epoch decodes them again" in caplog.text
    assert why != "no room" or "GB are needed and" in caplog.text


def test_a_disk_that_fills_up_meanwhile_is_a_warning_and_no_crash(splits, tmp_path, caplog):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        read = open_cache(splits, "f", [32], tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(read, FileReader) and "decoded images cannot be kept" in caplog.text
    assert not [path for path in (tmp_path / "images").iterdir() if path.is_dir()]


def test_a_file_that_cannot_be_read_is_named(splits, tmp_path):
    broken = splits.test[0].__class__("broken", tmp_path / "broken.jpg", splits.test[0].mask)
    broken.image.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"broken\.jpg: cannot be read as an image"):
        open_cache(Splits(splits.train, splits.valid, [broken], splits.decoder), "f", [32], tmp_path)


def test_where_the_arrays_are_removed_the_files_are_read_with_a_warning(splits, tmp_path, caplog):
    cached = opened(splits, tmp_path)
    mapped, sent = pickle.loads(pickle.dumps(cached)), pickle.dumps(cached)
    before = mapped(splits.test[0], 32)
    shutil.rmtree(tmp_path / "images")
    with caplog.at_level(logging.WARNING):
        late = pickle.loads(sent)
        for reader in (mapped, late, late):  # who has mapped them keeps them
            for kept, read in zip(reader(splits.test[0], 32), before, strict=True):
                assert np.array_equal(kept, read)
    assert caplog.text.count("is gone, so every epoch decodes the images again") == 1
    (tmp_path / "images").write_text("in the way")
    assert np.array_equal(late(splits.test[1], 32)[1], mapped(splits.test[1], 32)[1])


@pytest.mark.parametrize("moment", ["opened", pytest.param("epoch", marks=pytest.mark.long)])
def test_a_run_whose_cache_is_removed_meanwhile_scores_the_same(
    train, small, tmp_path, trained_run, monkeypatch, moment
):
    """Removed before any process has mapped it, or after each epoch, when what is mapped stays readable."""
    owner, name = (src.training.build, "open_cache") if moment == "opened" else (RunRecord, "append_epoch")
    do = getattr(owner, name)

    def do_and_remove(*arguments):
        done = do(*arguments)
        shutil.rmtree(tmp_path / "cache" / "images", ignore_errors=True)
        return done

    monkeypatch.setattr(owner, name, do_and_remove)
    workers = [override for override in small if not override.startswith("data.workers")] + ["data.workers=1"]
    done = train(*workers, f"data.cache_dir={tmp_path}/cache")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    (run,) = (RunRecord(folder) for folder in tmp_path.glob("runs/single/[!.]*"))
    assert run.read()["scores"] == RunRecord(trained_run).read()["scores"]
    if moment == "opened":
        assert "is gone, so every epoch decodes the images again" in done.stderr + done.stdout


# --- what is kept is what was fingerprinted


@pytest.fixture
def own(splits, tmp_path) -> Splits:
    """A copy of the data set that may be damaged, audited."""
    root = Path(shutil.copytree(splits.test[0].image.parent.parent, tmp_path / "own"))
    return verify(open_oxford_pet(root), tmp_path / "cache")[0]


def exchange(path: Path) -> bytes:
    """Mirrors an image, keeping its date; returns what was there."""
    content, status = path.read_bytes(), path.stat()
    with Image.open(path) as image:
        ImageOps.mirror(image).save(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return content


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_a_file_that_was_exchanged_after_the_check_is_refused_and_nothing_is_kept(own, tmp_path, kind):
    path = getattr(own.test[2], kind)
    content = exchange(path)
    with pytest.raises(DataChanged, match=rf"{path.name}: has changed since the data set was checked"):
        open_cache(own, "f", [32], tmp_path / "cache")
    assert not [place for place in (tmp_path / "cache" / "images").iterdir() if place.is_dir()]
    path.write_bytes(content)
    cached, plain = open_cache(own, "f", [32], tmp_path / "cache"), FileReader(own.decoder)
    for kept, read in zip(cached(own.test[2], 32), plain(own.test[2], 32), strict=True):
        assert np.array_equal(kept, read)


def test_a_file_that_is_exchanged_for_the_moment_of_its_decoding_is_refused(own, tmp_path, monkeypatch):
    """A synchronizing program swaps it and swaps it back: only the bytes that were checked are kept."""
    right = FileReader(own.decoder)(own.test[2], 32)
    plain, path, swaps = decoding.read_file, own.test[2].image, []

    def swapping(read_path):
        if read_path != path or swaps:
            return plain(read_path)
        swaps.append(exchange(path))
        wrong = plain(read_path)
        path.write_bytes(swaps[0])
        return wrong

    monkeypatch.setattr(decoding, "read_file", swapping)
    with pytest.raises(DataChanged, match=rf"{path.name}: has changed"):
        open_cache(own, "f", [32], tmp_path / "cache")
    cached = open_cache(own, "f", [32], tmp_path / "cache")
    assert swaps and all(np.array_equal(kept, read) for kept, read in zip(cached(own.test[2], 32), right, strict=True))


def test_a_run_says_which_file_has_changed_and_goes_on_with_the_old_one_back(train, small, own, tmp_path, monkeypatch):
    root = own.test[0].image.parent.parent
    command = [*small, "data=oxford_pet", f"data.root={root}", f"data.cache_dir={tmp_path}/cache"]
    command = [
        typed
        for typed in command
        if not typed.startswith(("data=synthetic", "data.trainval", "data.test", "data.size"))
    ]
    open_data, contents = run_module.open_verified, []

    def exchanging(*arguments):
        found = open_data(*arguments)
        contents.append(exchange(own.test[2].image))
        return found

    monkeypatch.setattr(run_module, "open_verified", exchanging)
    done = train(*command)
    assert done.returncode == 1
    said = f"{own.test[2].image}: has changed since the data set was checked; bring it back, or start again"
    assert f"failed: DataChanged: {said}" in done.stderr
    monkeypatch.setattr(run_module, "open_verified", open_data)
    own.test[2].image.write_bytes(contents[0])
    assert train(*command).returncode == 0


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 64 kB."""
    folder = tmp_path / "mounted"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("why", ["full to the last byte", "read-only", "a file in its place"])
def test_a_run_whose_cache_cannot_be_written_says_so_and_scores_the_same(
    why, train, small, tmp_path, trained_run, request
):
    cache = tmp_path / "occupied"
    if why == "a file in its place":
        cache.write_text("in the way")
    else:
        cache = request.getfixturevalue("mounted")
    if why == "full to the last byte":
        with pytest.raises(OSError, match="No space left"):
            (cache / "everything").write_bytes(bytes(1 << 20))
    elif why == "read-only":
        subprocess.run(["mount", "-o", "remount,ro", str(cache)], check=True)
    done = train(*small, f"data.cache_dir={cache}")
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    (run,) = (RunRecord(folder) for folder in tmp_path.glob("runs/single/[!.]*"))
    assert run.read()["scores"] == RunRecord(trained_run).read()["scores"]
    log = (run.folder / "train.log").read_text()
    assert f"decoded images cannot be kept in {cache}, so every epoch decodes them again: " in log
    assert {"full to the last byte": "No space left", "read-only": "Read-only file system"}.get(why, "") in log
