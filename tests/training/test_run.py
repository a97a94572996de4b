"""Whole runs of the real networks, small: what they leave behind, how they resume, how they fail."""

import csv
import json
import logging
import signal
import tempfile

import numpy as np
import pytest
import torch
import yaml

from src.base.record import RunRecord
from src.data.loaders import TrainLoader
from src.training import loop
from src.training.checkpoint import load_checkpoint, load_weights
from src.training.metrics import EpochMetrics
from src.training.story import warn_of_one_class

ORDER = ("exact", "fast", "exact")


def snapshot(folder):
    return {file.relative_to(folder): (file.stat().st_mtime_ns, file.read_bytes()) for file in files_of(folder)}


def files_of(folder):
    return [file for file in folder.rglob("*") if file.is_file()]


def weights_of(end):
    """Those in training, and their average where there is one."""
    return [end["model"]] + ([end["average"]["model"]] if "average" in end else [])


def scores_of_test(folder, protocol="headline"):
    return json.loads((folder / "test.json").read_text())["protocols"][protocol]


def test_a_run_leaves_a_record_that_explains_itself(start):
    outcome = start("seed=3", "tags=[pilot]", "notes=first", "trainer.keep_every=2")
    assert (outcome.status, outcome.ran) == ("finished", True)
    folder = outcome.folder
    assert folder.parent.name == "single" and folder.name.startswith("unet-bce-adamw-cosine-flip_jitter-seed3-c")
    assert {file.relative_to(folder).as_posix() for file in files_of(folder)} == {
        "config.yaml",
        "overrides.yaml",
        "run.json",
        "epochs.jsonl",
        "test.json",
        "test_images.csv",
        "examples.jpg",
        "train.log",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
        "checkpoints/epoch_0002.pt",
    }
    record = RunRecord(folder)
    facts = record.read()
    assert (facts["seed"], facts["tags"], facts["notes"]) == (3, ["pilot"], "first")
    assert facts["data"]["images"] == {"train": 18, "valid": 2, "test": 6}
    assert yaml.safe_load((folder / "config.yaml").read_text())["seed"] == 3
    assert yaml.safe_load((folder / "overrides.yaml").read_text())[0] == "seed=3"

    epochs = record.read_epochs()
    assert [row["epoch"] for row in epochs] == [1, 2]
    assert [row["lr"] for row in epochs] == pytest.approx([1e-3, 5e-4])  # cosine over 2 epochs: full, then half
    assert [row["momentum"] for row in epochs] == [0.9, 0.9]
    for key, pixels in (("train_accuracy", 18 * 32 * 32), ("valid_accuracy", 2 * 32 * 32)):
        for row in epochs:
            right = row[key] * pixels  # a share of all pixels of all images
            assert 0 < right < pixels and abs(right - round(right)) < 1e-6
    best = max(epochs, key=lambda row: row["valid_dice"])
    assert facts["best_epoch"] == best["epoch"] and facts["scores"]["valid_dice"] == best["valid_dice"]

    images = record.read_test_images()
    assert {row["protocol"] for row in images} == {"headline"} and len(images) == 6
    assert np.mean([float(row["dice"]) for row in images]) == pytest.approx(outcome.scores["test_dice"])
    for row in images:  # the counts are those of the scores
        tp, fp, fn = (int(row[key]) for key in ("tp", "fp", "fn"))
        assert float(row["dice"]) == pytest.approx(2 * tp / (2 * tp + fp + fn))
    wrong = sum(int(row["fp"]) + int(row["fn"]) for row in images)
    assert scores_of_test(folder)["accuracy"] == pytest.approx(1 - wrong / (6 * 32 * 32))


def test_an_epoch_records_the_learning_rate_of_its_first_step_and_the_largest(start):
    # ten steps, the highest at the fourth, in the middle of the first epoch
    outcome = start("scheduler=onecycle", "scheduler.pct_start=0.4", "optimizer.lr=0.001", "trainer.epochs=2")
    first, second = RunRecord(outcome.folder).read_epochs()
    assert (first["lr_first"], first["lr_max"]) == pytest.approx((0.001 / 25, 0.001))
    assert first["lr"] < first["lr_max"] and second["lr_first"] == second["lr_max"] < first["lr"]
    assert second["lr"] == pytest.approx(0.001 / 25 / 10_000)


def test_a_finished_run_is_left_as_it_is(start):
    first = start()
    before = snapshot(first.folder)
    second = start()
    assert (second.ran, second.scores, second.folder) == (False, first.scores, first.folder)
    assert snapshot(first.folder) == before


def test_the_same_run_of_another_sweep_is_taken_over(start):
    first, second = start(sweep="first"), start(sweep="second")
    assert (second.ran, second.scores) == (False, first.scores)
    assert second.folder.parent.name == "second" and second.folder.name == first.folder.name
    assert {name: content for name, (_, content) in snapshot(second.folder).items()} == {
        name: content for name, (_, content) in snapshot(first.folder).items()
    }
    assert start("seed=1", sweep="second").ran  # another run is not


def test_a_folder_that_was_only_begun_does_not_stand_in_the_way(start):
    first = start(sweep="first")
    (first.folder.parent.parent / "second" / first.folder.name / "checkpoints").mkdir(parents=True)
    assert start(sweep="second").scores == first.scores


def test_a_broken_record_of_another_sweep_is_passed_over(start, caplog):
    first = start(sweep="first")
    (first.folder / "run.json").write_text("")
    assert start(sweep="second").ran and "is not reused" in caplog.text
    with pytest.raises(ValueError, match=r"run.json: is not valid JSON"):
        start(sweep="first")


def test_the_same_config_gives_the_same_bits(start, apart):
    weights = [load_weights(start(apart(name)).folder / "checkpoints" / "last.pt") for name in ("a", "b")]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_images_that_are_kept_decoded_and_images_that_are_read_each_time_give_the_same_bits(start, apart):
    crop = ["augmentation=crop_flip"]  # which reads at another size than validation does
    kept, read = (start(apart(name), f"data.decode_once={name}", *crop).folder for name in ("true", "false"))
    assert kept.name == read.name  # the id does not know of it
    for file in ("test.json", "test_images.csv"):
        assert (kept / file).read_bytes() == (read / file).read_bytes()
    weights = [load_weights(folder / "checkpoints" / "last.pt") for folder in (kept, read)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize(
    "overrides",
    [
        ("scheduler=onecycle",),
        ("trainer.ema_decay=0.9",),
        ("mix=cutmix",),
        ("model=resnet34_unet_cbam", "loss=cross_entropy"),
    ],
)
def test_an_interrupted_run_goes_on_to_the_same_end(start, apart, stop_after_epoch, overrides):
    model_size = ("data.image_size=64", "model.width=4") if len(overrides) == 2 else ()
    whole = start(*overrides, *model_size, apart("whole"))
    disarm = stop_after_epoch(1)
    cut = start(*overrides, *model_size, apart("cut"))
    assert (cut.status, cut.signal_number) == ("interrupted", signal.SIGTERM)
    record = RunRecord(cut.folder)
    assert record.status() == "interrupted"
    assert load_checkpoint(record.checkpoints / "last.pt")["batch"] == 1  # stopped inside the second epoch
    disarm()
    resumed = start(*overrides, *model_size, apart("cut"))
    assert resumed.status == "finished" and resumed.scores == whole.scores
    ends = [load_checkpoint(folder / "checkpoints" / "last.pt") for folder in (whole.folder, cut.folder)]
    for one, other in zip(*(weights_of(end) for end in ends), strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)
    varies = ("images_per_second", "train_seconds", "peak_memory_bytes", "device_jobs")
    timeless = [
        [{key: row[key] for key in row if key not in varies}]
        for folder in (whole.folder, cut.folder)
        for row in RunRecord(folder).read_epochs()
    ]
    assert timeless[:2] == timeless[2:]


def test_best_weights_of_an_epoch_that_was_lost_are_not_kept(start, stop_after_epoch):
    # as if the process had died after writing the best weights of epoch 2 and before last.pt knew of that epoch
    disarm = stop_after_epoch(1)
    checkpoints = start("trainer.epochs=3").folder / "checkpoints"
    disarm()
    lost = torch.load(checkpoints / "best.pt", weights_only=True) | {"epoch": 2}
    torch.save(lost, checkpoints / "best.next.pt")
    outcome = start("trainer.epochs=3")
    assert outcome.status == "finished" and not (checkpoints / "best.next.pt").exists()
    assert load_checkpoint(checkpoints / "best.pt")["epoch"] == RunRecord(outcome.folder).read()["best_epoch"]


def test_a_loss_that_is_no_number_fails_the_run_and_keeps_the_last_good_checkpoint(start, stop_after_epoch):
    disarm = stop_after_epoch(1)
    folder = start().folder
    disarm()
    last = folder / "checkpoints" / "last.pt"
    state = torch.load(last, weights_only=True)
    state["model"]["head.weight"].fill_(float("nan"))
    torch.save(state, last)
    poisoned = last.read_bytes()
    outcome = start()
    assert outcome.status == "failed"
    assert "training loss is nan from batch 2 of epoch 2 on (lr 0.0005)" in outcome.error
    assert RunRecord(folder).read()["error"] == outcome.error
    assert last.read_bytes() == poisoned  # nothing of the bad epoch was saved
    assert len(RunRecord(folder).read_epochs()) == 1
    assert "Traceback" in (folder / "train.log").read_text()


def test_a_run_that_cannot_see_its_neighbours_says_so_and_goes_on(start, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/proc")  # where nobody can make a folder
    outcome = start()
    assert outcome.status == "finished"
    assert [row["device_jobs"] for row in RunRecord(outcome.folder).read_epochs()] == [None, None]
    assert (outcome.folder / "train.log").read_text().count("WARNING how many runs share cpu is not known") == 1


def test_other_data_are_another_run(start):
    first, second = start(), start("data.seed=1")
    assert first.folder != second.folder and second.ran
    run_file = second.folder / "run.json"
    run_file.write_text(run_file.read_text().replace('"fingerprint": "', '"fingerprint": "0123456789ab'))
    with pytest.raises(
        ValueError, match=r"run\.json: is not the record of this run, it has schema 2 and .* 0123456789ab"
    ):
        start("data.seed=1")


def test_accumulated_batches_make_the_step_of_one_large_batch(start):
    # without BatchNorm, the only thing that sees the batch is the mean; 18 images are 4 batches of 4 and one of 2
    plain = ("model=unet_nobn", "loss=cross_entropy", "trainer.epochs=1", "augmentation=none", "optimizer=sgd")
    small_batches = start(*plain, "trainer.batch_size=4", "trainer.accumulate=2")
    large_batches = start(*plain, "trainer.batch_size=8")
    one, other = (load_weights(o.folder / "checkpoints" / "last.pt") for o in (small_batches, large_batches))
    assert small_batches.folder != large_batches.folder
    for key in one:
        assert torch.allclose(one[key], other[key], atol=1e-6)


def test_early_stopping_counts_epochs_without_a_better_validation_dice(start):
    # a learning rate this small changes nothing, so the first epoch stays the best
    still = ("model=unet_nobn", "loss=cross_entropy", "optimizer.lr=1e-30", "optimizer.weight_decay=0")
    outcome = start(*still, "scheduler=constant", "trainer.epochs=9", "trainer.early_stop_patience=2")
    record = RunRecord(outcome.folder)
    assert len(record.read_epochs()) == 3 and record.read()["best_epoch"] == 1


@pytest.mark.parametrize(
    ("select_by", "best"), [("valid_dice", 1), ("null", 1), ("valid_dice_batch_flattened", 2), ("valid_loss", 3)]
)
def test_which_epoch_is_best_is_a_choice(start, monkeypatch, select_by, best):
    # a small image and a large one (pixels); in epoch 1 the small one is right, in epoch 2 the large one
    small_right = [[10, 0, 0, 0], [50, 50, 50, 0]]  # Dice 1 and 0.5: mean 0.75, of both at once 120/220
    large_right = [[0, 5, 5, 0], [100, 0, 0, 0]]  # Dice 0 and 1: mean 0.5, of both at once 200/210
    none_right = [[0, 5, 5, 0], [0, 50, 50, 0]]
    epochs = iter([(0.9, small_right), (0.8, large_right), (0.7, none_right)])
    evaluate = loop.evaluate

    def judged(network, loss, loader, what, after_batch):
        evaluate(network, loss, loader, what, after_batch)
        valid_loss, counts = next(epochs)
        return EpochMetrics(np.array([valid_loss]), np.array(counts), np.array([2]))

    monkeypatch.setattr(loop, "evaluate", judged)
    outcome = start("trainer.epochs=3", f"trainer.select_by={select_by}")
    weights = load_checkpoint(outcome.folder / "checkpoints" / "best.pt")
    assert (RunRecord(outcome.folder).read()["best_epoch"], weights["epoch"]) == (best, best)
    assert weights["valid_dice"] == outcome.scores["valid_dice"] == [0.75, 0.5, 0.0][best - 1]


def test_one_batch_can_be_learned_by_heart(start):
    outcome = start(
        "debug=overfit_batch", "trainer.epochs=2", "model.width=8", "scheduler=constant",
        "optimizer.lr=0.01",
    )  # fmt: skip
    first, second = RunRecord(outcome.folder).read_epochs()
    assert second["train_loss"] < first["train_loss"] / 2 and second["train_dice"] > 0.95


def test_one_batch_is_enough_to_try_the_chain(start):
    outcome = start("debug=one_batch")
    assert outcome.status == "finished"
    assert len(RunRecord(outcome.folder).read_test_images()) == 4  # one batch


def test_a_run_may_start_from_the_weights_of_another(start):
    first = start()
    best = first.folder / "checkpoints" / "best.pt"
    second = start(f"init_from={best}", "optimizer.lr=1e-30", "optimizer.weight_decay=0", "scheduler=constant")
    assert second.folder.name[-9:] != first.folder.name[-9:]
    before, after = load_weights(best), load_weights(second.folder / "checkpoints" / "last.pt")
    assert torch.equal(before["head.weight"], after["head.weight"])


def test_a_border_that_is_trained_otherwise_is_scored_that_way_too(start):
    folder = start("data.border=ignore").folder
    rows = RunRecord(folder).read_test_images()
    pixels = {
        protocol: sum(int(row["tp"]) + int(row["fn"]) for row in rows if row["protocol"] == protocol)
        for protocol in ("headline", "border_ignore")
    }
    assert 0 < pixels["border_ignore"] < pixels["headline"]  # the ignored border is no foreground
    wrong = sum(int(row["fp"]) + int(row["fn"]) for row in rows if row["protocol"] == "border_ignore")
    counted = 6 * 32 * 32 - (pixels["headline"] - pixels["border_ignore"])  # nor anything else
    assert scores_of_test(folder, "border_ignore")["accuracy"] == pytest.approx(1 - wrong / counted)


@pytest.mark.parametrize(("kind", "counts"), [("foreground", [0, 0, 5, 95]), ("background", [5, 95, 0, 0])])
def test_a_run_that_calls_all_pixels_the_same_says_so(kind, counts, caplog):
    with caplog.at_level(logging.WARNING):
        warn_of_one_class(np.array([counts, counts]))
    assert caplog.messages == [
        f"no pixel of the 2 test images is predicted as {kind} (10 of 200 pixels are foreground in the masks)"
    ]


def test_a_run_that_predicts_both_classes_somewhere_is_quiet(caplog):
    with caplog.at_level(logging.WARNING):
        warn_of_one_class(np.array([[0, 0, 5, 95], [1, 0, 0, 99]]))
    assert caplog.messages == []


def test_a_run_warns_of_its_data_and_of_predictions_without_foreground(start, small):
    outcome = start("optimizer.lr=1e-30", "optimizer.weight_decay=0", "data.image_size=64")
    log = (outcome.folder / "train.log").read_text()
    tp, fp = (
        sum(int(row[key]) for row in csv.DictReader((outcome.folder / "test_images.csv").open()))
        for key in ("tp", "fp")
    )
    assert ("no pixel of the 6 test images is predicted as foreground" in log) == (tp + fp == 0)


def test_the_next_epoch_is_asked_for_before_validation(start, monkeypatch):
    events = []
    start_of, evaluate = TrainLoader.start, loop.evaluate
    monkeypatch.setattr(TrainLoader, "start", lambda *asked: events.append(asked[1]) or start_of(*asked))
    monkeypatch.setattr(loop, "evaluate", lambda *given: events.append(given[3]) or evaluate(*given))
    start("trainer.epochs=3")
    assert events == [1, 2, "validation", 3, "validation", "validation"]


def test_runs_of_one_process_change_nothing_for_one_another(start, apart):
    """As the launchers of Hydra's call them: exact after fast has the bits of exact alone."""

    def state():
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]
        cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
        switches = cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
        logs = [*logging.getLogger().handlers], logging.getLogger("src").level, logging.getLogger("src").propagate
        return torch.are_deterministic_algorithms_enabled(), switches, torch.get_num_threads(), handlers, logs

    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    torch.backends.cudnn.benchmark = True
    try:
        before = state()
        outcomes = [start(f"numerics={name}", "trainer.epochs=1", apart(number)) for number, name in enumerate(ORDER)]
        assert state() == before
    finally:
        torch.set_num_threads(threads)
        torch.backends.cudnn.benchmark = False
    alone, fast, after = (load_weights(outcome.folder / "checkpoints/best.pt") for outcome in outcomes)
    assert all(torch.equal(alone[name], after[name]) for name in alone)
    assert not all(torch.equal(alone[name], fast[name]) for name in alone)
    assert scores_of_test(outcomes[0].folder) == scores_of_test(outcomes[2].folder)
