"""How the local launcher divides a machine among its jobs, and when it starts no more of them."""

import json
from types import SimpleNamespace

import pytest

from src.base.errors import ConfigError
from src.base.record import RunRecord
from src.sweep import local
from src.sweep.local import Budget, LocalBackend
from src.sweep.progress import Progress

SETTINGS = {"jobs": None, "slots_per_gpu": 1, "on_error": "continue", "budget_hours": None}


@pytest.fixture
def machine(monkeypatch):
    """A machine of 8 cores and as many GPUs as are asked for."""
    monkeypatch.setattr(local, "usable_cores", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return lambda gpus: monkeypatch.setattr(local.torch.cuda, "device_count", lambda: gpus)


def slots(*devices, **settings):
    jobs = [SimpleNamespace(config=SimpleNamespace(device=device)) for device in devices or ["auto"]]
    return LocalBackend({**SETTINGS, **settings}).slots(jobs)


def test_without_a_gpu_four_cores_make_a_slot_unless_jobs_says_otherwise(machine):
    machine(0)
    assert slots() == [{"OMP_NUM_THREADS": "4", "SEGSWEEP_CORES": "4"}] * 2
    assert slots(jobs=3) == [{"OMP_NUM_THREADS": "2", "SEGSWEEP_CORES": "2"}] * 3
    assert slots(jobs=20) == [{"OMP_NUM_THREADS": "1", "SEGSWEEP_CORES": "1"}] * 20


def test_each_gpu_has_its_slots_and_jobs_is_the_most_at_a_time(machine, monkeypatch):
    machine(2)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots()] == ["0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(slots_per_gpu=2)] == ["0", "1", "0", "1"]
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots(slots_per_gpu=2, jobs=3)] == ["0", "1", "0"]
    assert [slot["SEGSWEEP_CORES"] for slot in slots(slots_per_gpu=2)] == ["2"] * 4
    assert slots("cpu") == [{"OMP_NUM_THREADS": "4", "SEGSWEEP_CORES": "4"}] * 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5, 7")
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots()] == ["5", "7"]


def test_a_job_names_none_of_several_gpus(machine):
    machine(2)
    with pytest.raises(ConfigError) as refused:
        slots("cuda:1", "cuda", "cuda:0", "cuda:1")
    assert refused.value.problems == [
        f"device: got 'cuda:{number}'; a sweep gives each run its GPU: take device=cuda, and choose GPUs with "
        "CUDA_VISIBLE_DEVICES"
        for number in (1, 0)
    ]
    machine(1)
    assert [slot["CUDA_VISIBLE_DEVICES"] for slot in slots("cuda:0")] == ["0"]


@pytest.mark.parametrize(
    ("on_error", "failures"), [("continue", None), ("stop", 1), ("stop_after_1", 1), ("stop_after_12", 12)]
)
def test_it_gives_up_after_as_many_failures_as_allowed(on_error, failures):
    settings = LocalBackend({**SETTINGS, "on_error": on_error}).settings
    given_up = [number for number in range(100) if settings.gives_up(number)]
    assert given_up == ([] if failures is None else list(range(failures, 100)))


def test_wrong_settings_are_refused_together():
    with pytest.raises(ConfigError) as refused:
        LocalBackend({"jobs": 0, "slots_per_gpu": 0, "on_error": "stop_after_0", "budget_hours": 0, "gpus": 1})
    assert [problem.split("; ")[0] for problem in refused.value.problems] == [
        "hydra.launcher.jobs: got 0",
        "hydra.launcher.slots_per_gpu: got 0",
        "hydra.launcher.on_error: got 'stop_after_0'",
        "hydra.launcher.budget_hours: got 0",
        "hydra.launcher.gpus: unknown key (got 1)",
    ]


def test_no_run_starts_that_is_not_likely_to_end_in_time(monkeypatch, tmp_path):
    now = 1000.0
    monkeypatch.setattr(local.time, "monotonic", lambda: now)
    budget = Budget(hours=0.1, started=now)  # 360 seconds

    def finished(name: str, config_id: str, model: str, seconds: float, status: str = "finished") -> None:
        run = {"schema": 2, "status": status, "config_id": config_id, "choices": {"model": model}, "seconds": seconds}
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(run))
        budget.learn(RunRecord(tmp_path / name))

    def allowed(config_id: str, model: str) -> bool:
        config = SimpleNamespace(model={"name": model})
        return budget.allows(SimpleNamespace(config=config, identity=SimpleNamespace(config_id=config_id)))

    for number, seconds in enumerate((90, 100, 900)):  # the median, so that one slow run is not the measure
        finished(f"a{number}", "a", "unet", seconds)
    finished("b", "b", "unet", 300)
    finished("c", "c", "unet", 1, status="failed")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "run.json").write_text("no record")
    budget.learn(RunRecord(tmp_path / "d"))
    now = 1000 + 259  # 101 seconds are left
    assert allowed("a", "unet") and not allowed("b", "unet")
    assert not allowed("c", "unet")  # as the network's runs: 90, 100, 300, 900
    assert allowed("d", "resnet34_unet")  # nothing is known of it
    now = 1000 + 361
    assert not allowed("d", "resnet34_unet")
    assert Budget(hours=None).allows(SimpleNamespace())


class FakeProcess:
    """In the place of a JobProcess: `job` is None as long as it waits."""

    made: list["FakeProcess"]
    most = 100

    def __init__(self, sweep, environment, job=None):
        if len(self.made) == self.most:
            raise BlockingIOError(11, "Resource temporarily unavailable")
        self.environment, self.job, self.usable, self.killed = environment, job, True, False
        self.made.append(self)

    def is_usable(self):
        return self.usable

    def give(self, job):
        assert self.job is None and not self.killed
        self.job = job

    def finish(self, stopped=False):
        return "finished"

    def kill(self):
        self.killed = True


@pytest.fixture
def sweep(monkeypatch, tmp_path):
    """`sweep(jobs, slots)`: a backend and its jobs, which FakeProcess does."""
    monkeypatch.setattr(FakeProcess, "made", [], raising=False)
    monkeypatch.setattr(local, "JobProcess", FakeProcess)

    def begin(jobs: int, slots: int):
        backend = LocalBackend(SETTINGS)
        monkeypatch.setattr(backend, "slots", lambda jobs: [{"CUDA_VISIBLE_DEVICES": str(i)} for i in range(slots)])
        names = [f"run{number}" for number in range(jobs)]
        return backend, [SimpleNamespace(record=RunRecord(tmp_path / name)) for name in names]

    return begin


def waiting():
    return [process for process in FakeProcess.made if process.job is None and not process.killed]


def test_the_next_run_of_a_slot_gets_the_process_that_waits_there(sweep, monkeypatch):
    backend, jobs = sweep(5, slots=2)

    def follow(jobs, backend, progress):
        first = backend.submit(backend.choose(jobs, 0))
        assert [process.job for process in first] == jobs[:2]
        spares = waiting()
        assert [spare.environment for spare in spares] == [process.environment for process in first]
        backend.result(first[1])
        (third,) = backend.submit(backend.choose(jobs[2:], 1))
        assert third is spares[1] and len(waiting()) == 2
        backend.result(first[0])
        backend.result(third)
        last = backend.submit(backend.choose(jobs[3:], 0))
        assert {*last} == {spares[0], FakeProcess.made[-1]}
        assert len(FakeProcess.made) == 5 and waiting() == []  # no other run waits

    monkeypatch.setattr(local, "follow", follow)
    backend.run(jobs, Progress(0))


def test_of_two_free_slots_the_one_with_a_waiting_process_is_taken(sweep, monkeypatch):
    backend, jobs = sweep(3, slots=2)

    def follow(jobs, backend, progress):
        first = backend.submit(backend.choose(jobs, 0))
        (spare,) = waiting()
        for process in reversed(first):
            backend.result(process)
        assert backend.submit(backend.choose(jobs[2:], 0)) == [spare]

    monkeypatch.setattr(local, "follow", follow)
    backend.run(jobs, Progress(0))


def test_a_waiting_process_that_cannot_do_the_next_run_is_replaced(sweep, monkeypatch):
    backend, jobs = sweep(2, slots=1)

    def follow(jobs, backend, progress):
        (first,) = backend.submit(backend.choose(jobs, 0))
        (spare,) = waiting()
        spare.usable = False
        backend.result(first)
        (second,) = backend.submit(backend.choose(jobs[1:], 0))
        assert spare.killed and spare.job is None and second is not spare and second.job is jobs[1]

    monkeypatch.setattr(local, "follow", follow)
    backend.run(jobs, Progress(0))


def test_no_waiting_process_outlives_a_sweep_that_is_stopped(sweep, monkeypatch):
    backend, jobs = sweep(5, slots=2)

    def follow(jobs, backend, progress):
        backend.submit(backend.choose(jobs, 0))
        assert len(waiting()) == 2
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "follow", follow)
    with pytest.raises(KeyboardInterrupt):
        backend.run(jobs, Progress(0))
    assert waiting() == []


def test_a_machine_without_room_for_a_waiting_process_runs_the_sweep_all_the_same(sweep, monkeypatch):
    backend, jobs = sweep(2, slots=1)

    def follow(jobs, backend, progress):
        monkeypatch.setattr(FakeProcess, "most", 1)
        (first,) = backend.submit(backend.choose(jobs, 0))
        monkeypatch.setattr(FakeProcess, "most", 2)
        backend.result(first)
        (second,) = backend.submit(backend.choose(jobs[1:], 0))
        assert second.job is jobs[1]

    monkeypatch.setattr(local, "follow", follow)
    backend.run(jobs, Progress(0))
