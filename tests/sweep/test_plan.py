"""The runs that a grid asks for: several values are several runs, or they are refused; nothing collapses in silence."""

import itertools
import json
import shutil
import sys

import cv2
import pytest

from src.analysis.records.files import read_commands
from src.base.errors import ConfigError
from src.cli.console import remember_arguments
from src.data.open_data import open_verified
from src.sweep import plan
from src.sweep.plan import distinct, make_jobs, write_plan

NO_AXIS = "give it one value, since a sweep has one folder, and this key alone makes no other run"


@pytest.fixture
def jobs(composed, small):
    """`jobs(["seed=0", "seed=1"], ["device=cpu"])`: the jobs of the product of these overrides."""

    def make(*axes):
        points = [[*small, *point] for point in itertools.product(*axes)]
        return distinct(make_jobs([(composed(*point), point) for point in points], "adhoc"))

    return make


@pytest.mark.parametrize(
    ("axis", "said"),
    [
        (["device=cpu", "device=auto"], f"device: got several ('cpu', 'auto'); {NO_AXIS}"),
        (["data.workers=0", "data.workers=1"], f"data.workers: got several (0, 1); {NO_AXIS}"),
        (
            ["data.decode_once=true", "data.decode_once=false"],
            f"data.decode_once: got several (True, False); {NO_AXIS}",
        ),
        (["data.on_error=raise", "data.on_error=skip"], f"data.on_error: got several ('raise', 'skip'); {NO_AXIS}"),
        (["tags=[a]", "tags=[b]"], f"tags: got several (['a'], ['b']); {NO_AXIS}"),
        (["notes=a", "notes=b", "notes=a"], f"notes: got several ('a', 'b'); {NO_AXIS}"),
        (["notes=a", "notes=b", "notes=c", "notes=d"], f"notes: got several ('a', 'b', 'c', …); {NO_AXIS}"),
        (["trainer.keep_every=1", "trainer.keep_every=null"], f"trainer.keep_every: got several (1, None); {NO_AXIS}"),
        (["sweep.retry_failed=true", "sweep.retry_failed=false"], "sweep.retry_failed: got several (True, False); "),
        (["output=/a", "output=/b"], f"output: got several ('/a', '/b'); {NO_AXIS}"),
        (["sweep.name=a", "sweep.name=b"], f"sweep.name: got several ('a', 'b'); {NO_AXIS}"),
        (["data.name=a", "data.name=b"], f"data.name: got several ('a', 'b'); {NO_AXIS}"),
    ],
)
def test_a_key_that_makes_no_other_run_is_not_swept_over(jobs, axis, said):
    for others in ([""], ["seed=0", "seed=1"]):
        with pytest.raises(ConfigError) as refusal:
            jobs(axis, [other or "seed=0" for other in others])
        (problem,) = refusal.value.problems
        assert problem.startswith(said)


def test_null_and_false_are_one_value_of_one_run(jobs):
    (job,) = jobs(["model.attention=null", "model.attention=false"])
    assert not job.config.model.get("attention")


@pytest.mark.parametrize("seeds_first", [True, False])
def test_each_setting_has_its_first_seed_before_any_has_its_second(jobs, seeds_first):
    seeds, settings = ["seed=7", "seed=3"], ["loss=dice", "loss=bce", "loss=focal"]
    ordered = jobs(seeds, settings) if seeds_first else jobs(settings, seeds)
    assert [(job.config.seed, job.config.loss["name"]) for job in ordered] == [
        (seed, loss) for seed in (7, 3) for loss in ("dice", "bce", "focal")
    ]


def test_progress_names_what_is_swept_as_it_was_typed(jobs):
    titles = [job.title for job in jobs(["optimizer.lr=1e-2", "optimizer.lr=0.1"], ["seed=3", "seed=5"])]
    assert [title.partition(" (c")[0] for title in titles] == [
        *("optimizer.lr=1e-2 seed=3", "optimizer.lr=0.1 seed=3"),
        *("optimizer.lr=1e-2 seed=5", "optimizer.lr=0.1 seed=5"),
    ]
    (alone,) = jobs(["seed=3"])
    assert alone.title == alone.identity.run_id and titles[0].endswith("(" + titles[0][-10:])


@pytest.mark.parametrize("key", ["output=/o/${seed}", "sweep.name=s${seed}"])
def test_nor_by_an_interpolation(jobs, key):
    with pytest.raises(ConfigError, match=f"{key.partition('=')[0]}: got several "):
        jobs(["seed=0", "seed=1"], [key])


def test_all_of_them_are_named_at_once(jobs):
    with pytest.raises(ConfigError) as refusal:
        jobs(["device=cpu", "device=auto"], ["data.root=/a", "data.root=/b"], ["tags=[a]", "tags=[b]"])
    assert sorted(problem.partition(":")[0] for problem in refusal.value.problems) == ["device", "tags"]


@pytest.fixture
def two_roots(jobs, small, synthetic_root, tmp_path):
    """Overrides for the drawn animals as `oxford_pet`: in `a`, and in `b` with one image mirrored."""
    jobs(["seed=0"])  # which draws them
    for name in "ab":
        shutil.copytree(synthetic_root / "20-6-48-0", tmp_path / name)
    image = next((tmp_path / "b" / "images").glob("*.jpg"))
    assert cv2.imwrite(str(image), cv2.imread(str(image))[:, ::-1])
    drawn = ("data=", "data.root", "data.trainval", "data.test", "data.size")
    shared = [override for override in small if not override.startswith(drawn)]
    return [[*shared, "data=oxford_pet", f"data.root={tmp_path}/{name}"] for name in "ab"]


def test_two_data_sets_are_two_runs_and_each_is_opened_once(composed, two_roots, monkeypatch):
    opened = []
    monkeypatch.setattr(plan, "open_verified", lambda data, make: opened.append(data.root) or open_verified(data))
    points = [[*overrides, f"seed={seed}"] for overrides in two_roots for seed in (0, 1)]
    jobs = distinct(make_jobs([(composed(*point), point) for point in points], "adhoc"))
    assert len({job.identity.run_id for job in jobs}) == 4 and len({job.identity.config_id for job in jobs}) == 2
    assert [job.data_fingerprint == jobs[0].data_fingerprint for job in jobs] == [True, False, True, False]
    assert len(opened) == 2


def test_the_same_files_in_two_places_are_one_run(jobs, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.root: got several \(.*this key alone makes no other run"):
        jobs([f"data.root={tmp_path}/a", f"data.root={tmp_path}/b"])


def test_all_data_that_are_not_there_are_named_at_once(composed, tmp_path):
    points = [["data=oxford_pet", "device=cpu", f"output={tmp_path}", f"data.root=/{name}"] for name in "ab"]
    with pytest.raises(ValueError, match=r"(?s)/a.*\n.*/b"):
        make_jobs([(composed(*point), point) for point in points], "adhoc")


@pytest.mark.parametrize(
    ("axes", "count"),
    [
        ([["seed=0", "seed=0", "seed=1"]], 2),
        ([["optimizer.lr=1e-3", "optimizer.lr=0.001"]], 1),
        ([["trainer=default", "trainer=report_c"], ["trainer.epochs=2"]], 1),  # one setting of two names
        ([["trainer.by_model.unet.batch_size=8", "trainer.by_model.resnet34_unet.batch_size=4"]], 1),
        ([["seed=0", "seed=1"], ["notes=run ${seed}"], ["tags=[s${seed}]"]], 2),
        ([["seed=0", "seed=1"], ["data.fold=${seed}"]], 2),
    ],
)
def test_what_is_asked_for_twice_is_one_run(jobs, axes, count):
    assert len(jobs(*axes)) == count


@pytest.mark.parametrize(
    "content",
    [
        '{"runs": [], "commands": 1}',
        *("[]", "1", "{}", '{"runs": 1}', '{"runs": [{}]}', '{"runs": ["x"]}', '{"runs": {"a": 1}}'),
    ],
)
def test_a_plan_of_a_wrong_shape_is_named_and_stays(composed, small, tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"^{path}: is not the plan of a sweep; delete it"):
        write_plan(make_jobs([(composed(*small), small)], "adhoc"), tmp_path)
    assert path.read_text() == content


def test_a_plan_keeps_each_command_once_and_what_the_names_of_options_do_not_tell(jobs, tmp_path, monkeypatch):
    learning_rates = ["optimizer.lr=0.01", "optimizer.lr=0.1"]
    monkeypatch.setenv("SEGSWEEP_ARGUMENTS", "null")  # so that it is undone
    for typed in (["-m", "a"], ["-m", "notes=a b"], ["-m", "a"]):
        monkeypatch.setattr(sys, "argv", ["train.py", *typed])
        remember_arguments()
        write_plan(jobs(learning_rates), tmp_path)
    monkeypatch.delenv("SEGSWEEP_ARGUMENTS")  # as in a notebook
    write_plan(jobs(["model=unet", "model=unet_bias"]), tmp_path)
    written = json.loads((tmp_path / "plan.json").read_text())
    assert [run.get("values") for run in written["runs"]] == [{"optimizer.lr": 0.01}, {"optimizer.lr": 0.1}, None, None]
    assert read_commands(tmp_path) == ["python -m src.train -m a", "python -m src.train -m 'notes=a b'"]


def test_of_a_plan_of_schema_1_only_what_has_begun_stays(composed, small, tmp_path):
    (tmp_path / "unet-begun").mkdir()
    (tmp_path / "plan.json").write_text(
        json.dumps({"schema": 1, "runs": [{"run_id": "unet-begun"}, {"run_id": "unet-not"}]})
    )
    (job,) = make_jobs([(composed(*small), small)], "adhoc")
    write_plan([job], tmp_path)
    written = json.loads((tmp_path / "plan.json").read_text())
    assert written["schema"] == 2
    assert [run["run_id"] for run in written["runs"]] == ["unet-begun", job.identity.run_id]
