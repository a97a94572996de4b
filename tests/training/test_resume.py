"""Where a run resumes when its checkpoints are damaged: from the one before, or else from the start."""

import random

import pytest
import torch

from src.base.record import RunRecord
from src.training.checkpoint import load_checkpoint, save_checkpoint
from tests.conftest import _trained as trained
from tests.training.attempts import differences, end_of

IMPROVING = ("optimizer.lr=0.03", "seed=1", "trainer.epochs=4")  # so that the second epoch is better than the first


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_garbage(path):
    path.write_bytes(random.Random(0).randbytes(1000))


def place(path):
    state = load_checkpoint(path)
    return state["epoch"], state["batch"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, synthetic_root):
    """What an undisturbed run of four epochs left."""
    output = tmp_path_factory.mktemp("whole")
    trained(output, synthetic_root, "trainer.epochs=4")
    return end_of(output)


def test_a_damaged_checkpoint_gives_way_to_the_one_before(start, begun, whole, tmp_path, monkeypatch):
    checkpoints = begun()
    assert place(checkpoints / "last.pt") == (3, 1)
    assert place(checkpoints / "previous.pt") == (3, 0)  # from the end of the second epoch
    truncate(checkpoints / "last.pt")
    append, kept = RunRecord.append_epoch, []

    def look_and_append(record, row):
        kept.append(place(checkpoints / "previous.pt"))
        append(record, row)

    monkeypatch.setattr(RunRecord, "append_epoch", look_and_append)
    assert start("trainer.epochs=4", "trainer.checkpoint_seconds=0").status == "finished"
    assert kept == [(3, 4), (4, 4)]  # the damaged one is never kept in place of a sound one
    log = (checkpoints.parent / "train.log").read_text()
    assert f"WARNING {checkpoints / 'last.pt'}: " in log
    assert f"resuming from the checkpoint before, {checkpoints / 'previous.pt'}" in log
    assert "resuming in epoch 3 after 0 of its batches" in log
    assert differences(whole, end_of(tmp_path / "runs")) == []


def test_without_any_checkpoint_that_can_be_read_the_run_starts_again(start, begun, whole, tmp_path):
    checkpoints = begun()
    truncate(checkpoints / "last.pt")
    fill_with_garbage(checkpoints / "previous.pt")
    assert start("trainer.epochs=4").status == "finished"
    log = (checkpoints.parent / "train.log").read_text()
    assert f"{checkpoints} has no checkpoint that can be read: the run starts again" in log
    assert log.count("epoch 1/4") == 2
    assert differences(whole, end_of(tmp_path / "runs")) == []


@pytest.fixture
def damaged_after_a_better_epoch(begun, monkeypatch):
    """Checkpoints of a run whose second epoch was better than the first, as the last.pt that knows of it was lost."""
    append, kept = RunRecord.append_epoch, {}

    def keep_and_append(record, row):
        append(record, row)
        if row["epoch"] == 2 and not kept:
            kept["last"] = (record.checkpoints / "last.pt").read_bytes()

    monkeypatch.setattr(RunRecord, "append_epoch", keep_and_append)
    checkpoints = begun(*IMPROVING)
    (checkpoints / "previous.pt").write_bytes(kept["last"])
    assert load_checkpoint(checkpoints / "previous.pt")["best_epoch"] == 1
    assert load_checkpoint(checkpoints / "best.pt")["epoch"] == 2
    truncate(checkpoints / "last.pt")
    return checkpoints


@pytest.mark.long
def test_the_epoch_whose_checkpoint_is_damaged_may_have_been_the_best(
    damaged_after_a_better_epoch, start, tmp_path, synthetic_root
):
    assert start(*IMPROVING).status == "finished"
    trained(tmp_path / "undisturbed", synthetic_root, *IMPROVING)
    assert differences(end_of(tmp_path / "undisturbed"), end_of(tmp_path / "runs")) == []


def test_the_best_weights_are_kept_when_a_repeated_epoch_comes_out_worse(damaged_after_a_better_epoch, start):
    # as with numerics=fast, where the second time may differ: as if the first time had been better than all others
    checkpoints = damaged_after_a_better_epoch
    best = load_checkpoint(checkpoints / "best.pt") | {"valid_dice": 0.99}
    save_checkpoint(checkpoints / "best.pt", best)
    outcome = start(*IMPROVING)
    assert (outcome.status, outcome.scores["valid_dice"]) == ("finished", 0.99)
    assert RunRecord(outcome.folder).read()["best_epoch"] == 2
    assert differences(load_checkpoint(checkpoints / "best.pt"), best) == []


@pytest.mark.long
def test_lost_best_weights_are_no_reason_to_start_again_unasked(start, begun):
    checkpoints = begun()
    truncate(checkpoints / "best.pt")
    last = (checkpoints / "last.pt").read_bytes()
    outcome = start("trainer.epochs=4")
    assert outcome.status == "failed" and "best.pt: the weights of the best epoch" in outcome.error
    assert (checkpoints / "last.pt").read_bytes() == last


def test_checkpoints_do_not_pile_up(start, begun):
    checkpoints = begun("trainer.keep_every=2")
    assert {file.name for file in checkpoints.iterdir()} == {"last.pt", "previous.pt", "best.pt", "epoch_0002.pt"}
    outcome = start("trainer.epochs=4", "trainer.keep_every=2")
    assert outcome.folder == checkpoints.parent and outcome.status == "finished"
    assert {file.name for file in checkpoints.iterdir()} == {"last.pt", "best.pt", "epoch_0002.pt", "epoch_0004.pt"}


@pytest.mark.long
def test_a_crash_between_the_two_renames_leaves_the_checkpoint_under_its_second_name(start, begun):
    checkpoints = begun()
    (checkpoints / "last.pt").replace(checkpoints / "previous.pt")
    outcome = start("trainer.epochs=4")
    assert outcome.status == "finished"
    log = (checkpoints.parent / "train.log").read_text()
    assert "resuming in epoch 3 after 1 of its batches" in log


def test_no_flipped_bit_of_a_checkpoint_goes_unseen(tmp_path):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"weight": torch.arange(1000.0)}, "epoch": 3, "best_dice": 0.5})
    sound, content, draw = path.read_bytes(), load_checkpoint(path), random.Random(0)
    refused = 0
    for _ in range(200):
        flipped = bytearray(sound)
        flipped[draw.randrange(len(flipped))] ^= 1 << draw.randrange(8)
        path.write_bytes(flipped)
        try:
            read = load_checkpoint(path)
        except ValueError as error:
            assert str(error).startswith(f"{path}: ")
            refused += 1
        else:  # a bit that is never read, such as of the padding between two entries
            assert differences(read, content) == []
    assert refused > 100


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_checkpoint_is_refused_by_name(tmp_path, share):
    path = tmp_path / "last.pt"
    save_checkpoint(path, {"model": {"weight": torch.zeros(10_000)}})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=r"last\.pt: not a readable checkpoint"):
        load_checkpoint(path)
