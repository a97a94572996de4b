"""`python -m src.inference` and its use from Python as a user meets them: real photos, real files, real processes."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import src.inference
from src.evaluate import evaluate
from src.inference import load_model, predict
from tests.conftest import PROJECT
from tests.prediction.pictures import blocks, grey, save

ODD_NAMES = ["ü猫.jpg", "IMG (1).jpg", "a=b.jpg", "a,b.jpg", "it's.jpg", "1e5"]


@pytest.fixture
def infer(here, trained_run):
    """Does what `python -m src.inference run=<trained run> device=cpu <arguments>` does."""
    return partial(here, src.inference.inference, f"run={trained_run}", "device=cpu", "workers=2")


@pytest.fixture
def photos(tmp_path):
    """Photos of one name in different folders and of one stem in different formats; one is broken, one is a text."""
    for seed, name in enumerate(("a.jpg", "a.png", "cats/a.jpg", "cats/old/a.jpg")):
        save(tmp_path / "photos" / name, blocks(seed, 30, 20 + 10 * seed))
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    (tmp_path / "photos" / "notes.txt").write_text("not a photo")
    return tmp_path / "photos"


def sound(photos: Path) -> Path:
    (photos / "broken.jpg").unlink()
    return photos


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "summary.csv", dtype={"input": str}, keep_default_na=False)


def test_every_photo_gets_its_mask_and_what_is_broken_is_named(infer, photos, tmp_path, trained_run):
    done = infer(f"input={photos}", f"output={tmp_path}/masks", "threshold=0.45", "batch_size=3")
    masks = {"a.jpg.mask.png", "a.png.mask.png", "cats/a.jpg.mask.png", "cats/old/a.jpg.mask.png"}
    assert done.returncode == 3
    assert done.stdout == (
        f"masks in {tmp_path}/masks: 4 (1 failed, 1 other files left out, see {tmp_path}/masks/summary.csv)\n"
    )
    assert re.fullmatch(rf"failed: {photos}/broken\.jpg: cannot be read as an image \(.*\)\n", done.stderr)
    assert set(files(tmp_path / "masks")) == masks | {"summary.csv"}
    model = load_model(trained_run, "cpu")
    for row in rows(tmp_path / "masks").itertuples():
        if row.input.endswith("broken.jpg"):
            assert (row.status, row.mask) == ("failed", "") and row.reason.startswith("cannot be read as an image")
            continue
        expected = predict(model, row.input, threshold=0.45).mask
        np.testing.assert_array_equal(grey(tmp_path / "masks" / row.mask), expected * np.uint8(255))
        assert (row.status, int(row.height), int(row.width)) == ("written", *expected.shape)
        assert float(row.foreground) == pytest.approx(expected.mean(), abs=1e-6)


def test_from_python_in_five_lines(trained_run, tmp_path):
    path = save(tmp_path / "photo.jpg", blocks(0, 40, 60), "JPEG", quality=100)
    model = load_model(trained_run, device="cpu")
    seen = predict(model, path, tta="hflip", threshold=0.45)
    assert (seen.mask.dtype, seen.mask.shape) == (np.bool_, (40, 60))
    assert (seen.probability.dtype, seen.probability.shape) == (np.float32, (40, 60))
    with Image.open(path) as photo:
        same = predict(model, np.array(photo), tta="hflip", threshold=0.45)
    np.testing.assert_array_equal(seen.probability, same.probability)


@pytest.mark.long
def test_odd_names_in_a_folder_pass_a_real_command_line(command, trained_run, tmp_path):
    for seed, name in enumerate([*ODD_NAMES, "1e5.png", "null.png", "${x}.jpg"]):
        save(tmp_path / "it's, a=b (1)" / name, blocks(seed))
    done = command(
        "inference",
        f"run={trained_run}",
        f"input={tmp_path}/it's, a=b (1)",
        f"output={tmp_path}/ü, {{x}}",
        "device=cpu",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"masks in {tmp_path}/ü, {{x}}: 8 (1 other files left out")  # 1e5 has no extension
    assert (tmp_path / "ü, {x}" / "${x}.jpg.mask.png").exists()


@pytest.mark.parametrize("name", [*ODD_NAMES, "~x.jpg", "a[1]*.jpg", "#1 $HOME\\.jpg", "--help", "null.jpg"])
def test_any_name_is_an_input(infer, tmp_path, name):
    save(tmp_path / name, blocks(0), "JPEG")
    assert infer(f"input={tmp_path}/{name}", f"output={tmp_path}/{name}-masks").returncode == 0
    assert set(files(tmp_path / f"{name}-masks")) == {f"{name}.mask.png", "summary.csv"}
    assert rows(tmp_path / f"{name}-masks")["input"].tolist() == [f"{tmp_path}/{name}"]


def test_a_glob_and_all_pictures(infer, photos, tmp_path):
    done = infer(
        f"input={photos}/**/a.jpg", f"output={tmp_path}/masks", "overlay=true", "probability=true", "tta=flips"
    )
    assert (done.returncode, done.stderr) == (0, "")
    names = [
        f"{photo}.{kind}.png"
        for photo in ("a.jpg", "cats/a.jpg", "cats/old/a.jpg")
        for kind in ("mask", "overlay", "probability")
    ]
    assert set(files(tmp_path / "masks")) == {*names, "summary.csv"}


def test_the_mask_of_a_turned_photo_is_that_of_the_turned_pixels(infer, tmp_path, trained_run):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "photo.jpg", blocks(0, 40, 60), "PNG", exif=exif)
    infer(f"input={tmp_path}/photo.jpg", f"output={tmp_path}/masks", "threshold=0.45")
    upright = np.rot90(blocks(0, 40, 60), k=-1)  # a quarter turn clockwise
    expected = predict(load_model(trained_run, "cpu"), upright, threshold=0.45).mask
    mask = grey(tmp_path / "masks" / "photo.jpg.mask.png")
    assert mask.shape == (60, 40)
    np.testing.assert_array_equal(mask, expected * np.uint8(255))


def odd_photos(root: Path) -> Path:
    """12 bits in 16, beside photos turned a quarter and with transparent pixels; a square on a darker ground."""
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(20):
        mask = np.zeros((40, 30), dtype=np.uint8)
        mask[10 : 20 + number % 7, 5 : 15 + number % 5] = 255
        save(root / "masks" / f"{number:02}.png", mask)
        photo = np.repeat(np.where(mask == 255, 200, 40)[..., np.newaxis], 3, axis=2).astype(np.uint8)
        photo[..., number % 3] //= 2
        path = root / "images" / f"{number:02}.png"
        if number % 3 == 0:
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), photo.astype(np.uint16) * 16)
        elif number % 3 == 1:
            save(path, np.rot90(photo), exif=exif)
        else:
            save(path, np.dstack([photo, mask // 2]))
    return root


@pytest.mark.long
def test_photos_are_read_as_in_training(here, train, tmp_path):
    """Dice of the masks that inference writes is the Dice at its own size that evaluate gives the image."""
    root = odd_photos(tmp_path / "data")
    data = [
        "data=folder",
        f"data.root={root}",
        f"data.cache_dir={tmp_path}/cache",
        "data.image_size=32",
        "data.workers=0",
    ]
    few = ["model.width=4", "trainer.epochs=6", "trainer.batch_size=4", "optimizer.lr=0.01", "device=cpu"]
    assert train(*data, *few, "augmentation=none", f"output={tmp_path}/runs").returncode == 0
    (run,) = (path.parent for path in tmp_path.glob("runs/*/*/run.json"))
    assert json.loads((run / "run.json").read_text())["data"]["bits"] == 12
    done = here(src.inference.inference, f"run={run}", "device=cpu", f"input={root}/images", f"output={tmp_path}/masks")
    assert done.returncode == 0
    scored = here(evaluate, f"run={run}", "device=cpu", "split=train", "images=0", f"cache={tmp_path}/cache")
    assert scored.returncode == 0, scored.stderr
    table = pd.read_csv(run / "train_images.csv", dtype={"stem": str})
    table = table[table["protocol"] == "native"]
    assert len(table) == 16 and table["dice"].nunique() > 8
    for stem, dice in zip(table["stem"], table["dice"], strict=True):
        predicted = grey(tmp_path / "masks" / f"{stem}.png.mask.png") > 0
        truth = grey(root / "masks" / f"{stem}.png") > 0
        area = int(predicted.sum() + truth.sum())
        assert dice == pytest.approx(2 * int((predicted & truth).sum()) / area, abs=1e-9), stem


def test_nothing_is_overwritten_unless_asked_for(infer, photos, tmp_path):
    arguments = (f"input={sound(photos)}", f"output={tmp_path}/masks")
    infer(*arguments)
    mask = tmp_path / "masks" / "a.jpg.mask.png"
    first = files(tmp_path / "masks")
    Image.fromarray(255 - grey(mask)).save(mask)
    kept = infer(*arguments)
    assert kept.returncode == 0 and kept.stdout.startswith(f"masks in {tmp_path}/masks: 4 (4 kept (overwrite=true ")
    assert files(tmp_path / "masks")["a.jpg.mask.png"] != first["a.jpg.mask.png"]
    assert set(rows(tmp_path / "masks")["status"]) == {"kept"}
    assert infer(*arguments, "overwrite=true").returncode == 0
    assert files(tmp_path / "masks") == first


def test_an_output_inside_the_input_is_no_input_the_next_time(infer, photos):
    for _ in range(2):
        assert infer(f"input={photos}", f"output={photos}/masks").returncode == 3
    assert len(rows(photos / "masks")) == 5


def test_a_link_out_of_the_output_is_not_followed(infer, photos, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "cats").symlink_to(tmp_path / "elsewhere")
    done = infer(f"input={sound(photos)}", f"output={tmp_path}/masks", "overwrite=true")
    assert done.returncode == 3
    assert rows(tmp_path / "masks")["status"].tolist() == ["written", "written", "failed", "failed"]
    assert "cats leads out of" in done.stderr and not any((tmp_path / "elsewhere").iterdir())


def test_two_channels_and_a_single_pixel(here, two_channel_run, tmp_path):
    save(tmp_path / "pixel.png", blocks(0, 1, 1))
    run = partial(here, src.inference.inference, f"run={two_channel_run}", "device=cpu")
    assert (
        run(f"input={tmp_path}/pixel.png", f"output={tmp_path}/m", "probability=true", "overlay=true").returncode == 0
    )
    assert grey(tmp_path / "m" / "pixel.png.mask.png").shape == (1, 1)
    expected = predict(load_model(two_channel_run, "cpu"), blocks(0, 1, 1)).probability
    assert grey(tmp_path / "m" / "pixel.png.probability.png")[0, 0] == round(float(expected[0, 0]) * 65535)


def test_the_test_split_with_its_truth_scores_what_evaluate_scores(infer, here, run_copy, tmp_path):
    """Each photo of the run's own test split: mask, overlay and figure, and the Dice at its own size."""
    given = ("split=test", f"run={run_copy}", f"output={tmp_path}/masks", "overlay=true", "styles=[report_d,panels]")
    done = infer(*given)
    assert done.returncode == 0, done.stderr
    assert here(evaluate, f"run={run_copy}", "device=cpu", "images=0").returncode == 0
    scores = pd.read_csv(run_copy / "test_images.csv", dtype={"stem": str})
    native = scores[scores["protocol"] == "native"].set_index("stem")["dice"]
    table = rows(tmp_path / "masks")
    assert len(table) == len(native) == 6
    for row in table.itertuples():
        assert float(row.dice) == pytest.approx(native[Path(row.input).stem], abs=1e-6)
    assert f"; mean Dice {native.mean():.4f} at the photos' own size" in done.stdout
    kinds = {name.rpartition(".jpg.")[2] for name in files(tmp_path / "masks")} - {"summary.csv"}
    assert kinds == {"mask.png", "overlay.png", "report_d.png", "panels.png"}
    again = infer(*given)
    assert set(rows(tmp_path / "masks")["status"]) == {"kept"} and "mean Dice" in again.stdout
    assert rows(tmp_path / "masks")["dice"].tolist() == table["dice"].tolist()


def test_report_as_figure_of_an_inferred_photo_has_three_panels(infer, tmp_path, trained_run):
    photo = save(tmp_path / "photo.png", blocks(0, 512, 512))
    done = infer(f"input={photo}", f"output={tmp_path}/masks", "threshold=0.45", "styles=[report_a_overlay]")
    assert done.returncode == 0, done.stderr
    figure = grey(tmp_path / "masks" / "photo.png.report_a_overlay.png")
    mask = predict(load_model(trained_run, "cpu"), photo, threshold=0.45).mask
    red = np.rint(0.7 * blocks(0, 512, 512) + 0.3 * np.array([227, 36, 43]))
    expected = [blocks(0, 512, 512), np.dstack([mask * 255] * 3), np.where(mask[..., None], red, blocks(0, 512, 512))]
    top = len(figure) - 20 - 1 - 512  # margin and frame
    for number, layer in enumerate(expected):
        left = 20 + 1 + number * (512 + 2 + 10)
        drawn = figure[top : top + 512, left : left + 512].astype(int)
        assert np.abs(drawn - layer).max() <= 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            [],
            [
                "run: missing; it takes the folder of a run",
                "input: missing; it takes a photo, a folder or a glob",
                "output: missing; it takes a folder for the masks",
            ],
        ),
        (
            ["run={run}", "input=x", "threshold=1", "tta=flip", "batch_size=0", "wrokers=3", "overlay=5"],
            [
                "output: missing; it takes a folder for the masks",
                "batch_size: got 0; input should be greater than or equal to 1",
                "tta: got 'flip'; input should be 'none', 'hflip' or 'flips'",
                "threshold: got 1; input should be less than 1",
                "overlay: got 5; input should be a valid boolean",
                "wrokers: unknown key (got 3); did you mean 'workers'?",
            ],
        ),
        (
            ["run={folder}", "input={folder}/nix", "output={folder}/theirs"],
            [
                "input: got '{folder}/nix', which does not exist or matches nothing; it takes a photo",
                "output: got '{folder}/theirs', whose summary.csv is not from an inference; move it away",
                "{folder}: is not the folder of a run",
            ],
        ),
        (["run={run}", "input={folder}", "output={folder}"], ["output: got '{folder}', which is or holds '{folder}'"]),
        (
            ["run={run}", "input={folder}", "output={folder}/a.jpg"],
            ["cannot continue: {folder}/a.jpg is not a folder; move it, or change output=<folder>"],
        ),
        (
            ["run={run}", "input={folder}/theirs", "output={folder}/m"],
            ["input: got '{folder}/theirs', which holds no photo (other files: 1)"],
        ),
        (
            ["run={run}", "input={folder}", "output={folder}/m", "device=gpu"],
            ["device: got 'gpu'; this machine has"],
        ),
        (
            ["run=", "input=null", "output={folder}/m"],
            ["run: got ''; string should have"],
        ),
        (
            ["run={run}", "output={folder}/m", "input=null", "styles=[report_a_overlay,report_d,panels]"],
            [
                "input: got None with split=None; give one of the two",
                "styles: got 'report_d', which shows the true mask; with input only report_a_overlay can be drawn",
                "styles: got 'panels', which shows the true mask; with input only report_a_overlay can be drawn",
            ],
        ),
        (
            ["run={run}", "output={folder}/m", "input={folder}", "split=test"],
            ["input: got '{folder}' with split=test; give one of the two"],
        ),
        (
            ["run={run}", "output={folder}/m", "input={folder}", "root={folder}"],
            ["root: got '{folder}' without split; it is where the run's own data are now"],
        ),
        (
            ["run=~no-such-user/x", "output=~no-such-user/m", "input={folder}", "cache=~no-such-user"],
            [
                "run: got '~no-such-user/x'; this user does not exist",
                "output: got '~no-such-user/m'; this user does not exist",
                "cache: got '~no-such-user'; this user does not exist",
            ],
        ),
        (
            ["run={run}", "output={folder}/m", "split=all", "styles=[report_b]"],
            [
                "split: got 'all'; input should be 'train', 'valid' or 'test'",
                "styles.0: got 'report_b'; input should be",
            ],
        ),
    ],
)
def test_mistakes_are_named_together_before_any_work(here, trained_run, photos, arguments, said):
    (photos / "theirs").mkdir()
    (photos / "theirs" / "summary.csv").write_text("name,score\n")
    before = files(photos)
    given = [argument.format(run=trained_run, folder=photos) for argument in arguments]
    refused = here(src.inference.inference, *given)
    heading, *lines = refused.stderr.splitlines()
    assert (refused.returncode, refused.stdout, heading) == (1, "", "the config cannot be used:")
    assert len(lines) == len(said), refused.stderr
    for words, line in zip(said, lines, strict=True):
        assert line.strip().startswith(words.format(folder=photos))
    assert files(photos) == before and not (photos / "m").exists()


def test_an_output_that_cannot_be_made_is_a_clear_line(infer, photos):
    refused = infer(f"input={photos}", "output=/proc/nix")
    assert refused.returncode == 1 and refused.stderr.startswith("cannot continue: ") and "/proc/nix" in refused.stderr


def test_a_disk_that_takes_no_more_ends_it_with_a_clear_line(infer, tmp_path):
    """No file may be longer than 4,000 bytes: masks are shorter, the second photo's probabilities are not."""
    save(tmp_path / "photos" / "a.png", blocks(0, 10, 10))
    save(tmp_path / "photos" / "b.png", blocks(0, 200, 200))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, limits[1]))
    try:
        done = infer(f"input={tmp_path}/photos", f"output={tmp_path}/masks", "probability=true", "batch_size=1")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert done.returncode == 1 and done.stderr.startswith("cannot continue: ") and "File too large" in done.stderr
    assert rows(tmp_path / "masks")["status"].tolist() == ["written"]
    written = {"a.png.mask.png", "a.png.probability.png", "b.png.mask.png", "summary.csv"}
    assert set(files(tmp_path / "masks")) == written


def begun(run: Path, *arguments: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    given = [f"run={run}", "device=cpu", "workers=2", *arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "src.inference", *given],
        cwd=PROJECT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def many(folder: Path, count: int) -> Path:
    """`count` photos of 48 x 64 pixels, a hundred of which differ, in folders of a thousand."""
    for number in range(count):
        path = folder / f"{number // 1000}" / f"{number:05}.jpg"
        if number < 100:
            save(path, blocks(number, 48, 64), "JPEG")
        else:
            path.parent.mkdir(exist_ok=True)
            path.hardlink_to(folder / "0" / f"{number % 100:05}.jpg")
    return folder


def masks_in(folder: Path) -> int:
    return sum(1 for _ in folder.glob("*/*.mask.png"))


@pytest.mark.long
def test_after_ctrl_c_the_same_command_goes_on(infer, trained_run, tmp_path):
    many(tmp_path / "photos", 400)
    arguments = (f"input={tmp_path}/photos", f"output={tmp_path}/masks", "batch_size=4", "probability=true")
    with begun(trained_run, *arguments) as process:
        while masks_in(tmp_path / "masks") < 8 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    summary = rows(tmp_path / "masks")
    assert (process.returncode, stdout) == (130, "")
    assert stderr == f"interrupted after {len(summary)} of 400 photos; the same command resumes\n"
    assert 8 <= len(summary) < 400 and set(summary["status"]) == {"written"}
    there = {name for name in files(tmp_path / "masks") if name.endswith(".mask.png")}
    assert there == set(summary["mask"])  # each that was begun is whole and listed, and nothing else is there
    assert len(files(tmp_path / "masks")) == 2 * len(summary) + 1
    assert infer(*arguments).returncode == 0
    counts = rows(tmp_path / "masks")["status"].value_counts()
    assert counts.to_dict() == {"kept": len(summary), "written": 400 - len(summary)}


def test_help_and_use_from_python_open_without_torch():
    code = "import sys, src.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=PROJECT).returncode == 0


def status_bytes(process: subprocess.Popen[str], key: str) -> int:
    """`VmRSS` or `VmHWM` of a process, in bytes; 0 once it has ended."""
    try:
        text = Path(f"/proc/{process.pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return 1024 * int(found[1]) if found else 0


@pytest.mark.long
def test_memory_stays_flat_over_ten_thousand_photos(trained_run, tmp_path):
    """From the 2,000th photo to the last the process grows by less than 20 MB, 2.5 kB a photo: names and a summary."""
    many(tmp_path / "photos", 10_000)
    arguments = (f"input={tmp_path}/photos", f"output={tmp_path}/masks", "overlay=true", "probability=true")
    at_2000 = at_end = 0
    with begun(trained_run, *arguments) as process:
        while process.poll() is None:
            at_end = status_bytes(process, "VmRSS") or at_end
            at_2000 = at_2000 or (at_end if masks_in(tmp_path / "masks") >= 2000 else 0)
            time.sleep(0.2)
        stdout, stderr = process.communicate()
    on_progress = [line.startswith("photos: ") for line in stderr.splitlines()]  # each 30 s
    assert process.returncode == 0 and all(on_progress), stderr
    assert "/masks: 10,000 (" in stdout and len(rows(tmp_path / "masks")) == 10_000
    print(f"{at_2000 / 1e6:.0f} MB at 2,000, {at_end / 1e6:.0f} MB at the end")
    assert at_2000 > 0 and at_end - at_2000 < 20e6


@pytest.mark.long
def test_a_photo_of_50_megapixels(trained_run, tmp_path):
    """All three pictures of it take less than 2.5 GB, torch included."""
    Image.new("RGB", (8660, 5774), (90, 140, 60)).save(tmp_path / "big.jpg")
    arguments = (f"input={tmp_path}/big.jpg", f"output={tmp_path}/masks", "overlay=true", "probability=true")
    most = 0
    with begun(trained_run, *arguments) as process:
        while process.poll() is None:
            most = status_bytes(process, "VmHWM") or most
            time.sleep(0.05)
        assert (process.returncode, process.stderr.read()) == (0, "")
    print(f"at most {most / 1e9:.2f} GB")
    assert 0 < most < 2.5e9
    with Image.open(tmp_path / "masks" / "big.jpg.mask.png") as mask:
        assert mask.size == (8660, 5774)
