"""Sweeps that are run, in this process, in several and on Dask workers. The oracle: `train`, run by run.

Distances are equal to the last bit where one process trains both runs: it does the same twice.
"""

import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from train.engine.run_training import train
from train.errors import ConfigError
from train.sweeps.executors import in_processes, on_cluster
from train.sweeps.runner import run_sweep
from train.sweeps.spec import read_sweep
from train.sweeps.survey import survey, updates_of
from trajectory import Recorder, Run

# 20 updates each; the last method diverges, and what is matched to it cannot be made
SPEC = """
out = "{out}"
recipes = ["f1-digits"]
batch_sizes = [64]
[settings]
epochs = 1
drops = [[0.5, 0.1]]
snapshots_per_decade = 1
[methods.matched]
match = "SB"
[methods.SB]
seeds = [0, 1]
"""
FAILING = """
[methods.wild]
lr = 1e30
max_grad_norm = 0
[methods.follower]
match = "wild"
"""


@pytest.fixture
def sweep(tmp_path):
    def sweep(extra="", **changes):
        text = SPEC.format(out=tmp_path / "runs") + extra
        for old, new in changes.items():
            text = text.replace(f"{old} = ", f"{old} = {new} # ")
        (tmp_path / "spec.toml").write_text(text)
        return read_sweep(tmp_path / "spec.toml")

    return sweep


def statuses(found):
    return [status.status for status in found.values()]


def distances(path):
    return Run(path).distance.tolist()


def test_a_failure_does_not_stop_the_others(sweep, tmp_path):
    reported = []
    planned = sweep(FAILING)
    found = run_sweep(planned, watch=lambda run, at: reported.append((run.path, at.status, at.t)))
    one, two, matched, wild, follower = found
    assert statuses(found) == ["done", "done", "done", "failed", "failed"]
    assert "the loss is" in found[wild].failure
    assert found[follower].failure == "a run that it needs failed"
    assert [path for path, status, _ in reported if status == "done"] == [one, two, matched]
    assert (one, "running", 20) in reported
    assert (found[one].t, found[one].updates) == (20, 20)
    assert 0 < found[one].seconds < 600
    alone = train(replace(planned.runs[1].config, label="elsewhere"), tmp_path / "alone.zarr")
    assert Run(two).distance.tolist() == Run(alone).distance.tolist()
    assert Run(matched).config["match"] == [one, two]


def test_processes_work_side_by_side_and_one_that_dies_is_a_failure(sweep):
    planned = sweep()
    one, two, _ = (run.path for run in planned.runs)

    def kill_the_second(run, status):
        children = {child.name: child for child in multiprocessing.active_children()}
        if run.path == two and two in children:
            assert one in children
            children[two].kill()

    found = run_sweep(planned, executor=in_processes(2), watch=kill_the_second)
    failures = ["", "its process ended with status -9", "a run that it needs failed"]
    assert [status.failure for status in found.values()] == failures
    assert Run(one).status == "complete"


def seconds(planned):
    """How long each run took, which no second training would give again."""
    return [Run(run.path).metrics["wall_time"].iloc[-1] for run in planned.runs]


def test_what_is_there_is_kept_unless_it_is_another_run(sweep):
    planned = sweep()
    assert list(updates_of(planned).values()) == [20] * 3
    run_sweep(planned)
    first = seconds(planned)
    assert list(survey(planned).values()) == ["done"] * 3
    for path, kept in run_sweep(planned).items():
        made = len(Run(path).distance)
        assert (kept.status, kept.began, kept.t, kept.updates) == ("done", None, made, made)
    assert seconds(planned) == first

    other = sweep('lr_scaling = "sqrt"')  # of the last method: SB
    with pytest.raises(ConfigError, match=r"sb-64-seed0.zarr: .*lr_scaling = 'none' for 'sqrt'.*--overwrite"):
        run_sweep(other)
    shutil.rmtree(other.runs[1].path)
    assert list(survey(other, overwrite=True).values()) == ["other", "missing", "other"]
    run_sweep(other, overwrite=True)
    assert list(survey(other).values()) == ["done"] * 3
    assert Run(other.runs[0].path).config["lr"] == pytest.approx(0.1)
    assert seconds(other)[2] != first[2]  # matched to what was replaced


def test_what_cannot_be_run_is_told_before_anything_is(sweep, tmp_path):
    with pytest.raises(ConfigError, match="batch_size is 4096; expected 1 to 1280"):
        updates_of(sweep(batch_sizes="[4096]"))
    with pytest.raises(ConfigError, match=r"matched 64 is matched to .*nowhere.zarr: no such run"):
        run_sweep(sweep(match=f'"{tmp_path}/nowhere.zarr"'))
    with pytest.raises(ConfigError, match=r"SB 64 starts from .*nowhere.zarr: no such run"):
        run_sweep(sweep(f'warm_start = "{tmp_path}/nowhere.zarr@3"'))
    model = nn.Linear(1, 1)
    planned = sweep()
    with Recorder(planned.runs[-1].path, model, torch.optim.SGD(model.parameters())):
        pass
    with pytest.raises(ConfigError, match="`ultraslow train` did not make"):
        run_sweep(planned)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [Path(planned.runs[-1].path).name]
    with pytest.raises(ConfigError, match="jobs is 0"):
        in_processes(0)


@pytest.fixture(scope="module")
def scheduler():
    """A Dask scheduler with a worker, a process of one thread."""
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        yield cluster.scheduler_address


def test_a_cluster_makes_the_runs(sweep, scheduler):
    reported = []
    found = run_sweep(
        sweep(FAILING), executor=on_cluster(scheduler), watch=lambda run, at: reported.append((run.path, at.status))
    )
    one, two, matched, wild, follower = found
    assert statuses(found) == ["done", "done", "done", "failed", "failed"]
    assert "the loss is" in found[wild].failure
    assert found[follower].failure == "a run that it needs failed"
    assert (one, "running") in reported
    assert reported.index((matched, "done")) > max(reported.index((path, "done")) for path in (one, two))
    assert Run(matched).config["match"] == [one, two]


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_on_another_worker_when_its_own_is_killed(tmp_path):
    """A nanny starts a new worker in place of the one that is killed; the sweep tells of it."""
    from distributed import LocalCluster

    spec = SPEC.format(out=tmp_path / "runs").replace("epochs = 1", "epochs = 100").replace("seeds = [0, 1]", "")
    (tmp_path / "spec.toml").write_text(spec[: spec.index("[methods.matched]")] + "[methods.SB]\n")
    planned = read_sweep(tmp_path / "spec.toml")
    (run,) = planned.runs
    checkpoint, lost = Path(f"{run.path}.checkpoint.pt"), []
    with LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:

        def kill_once(_, status):
            if checkpoint.exists() and not lost and status.t >= 100:
                lost.append(status.t)
                os.kill(cluster.workers[0].pid, signal.SIGKILL)

        found = run_sweep(planned, executor=on_cluster(cluster.scheduler_address), watch=kill_once)[run.path]
    assert (found.status, found.lost) == ("done", 1)
    assert lost
    done = Run(run.path)
    assert done.status == "complete"
    assert done.resumed
    assert len(done.distance) == 2000


def test_a_scheduler_that_is_not_there_is_told_in_one_line(monkeypatch):
    monkeypatch.setattr("train.sweeps.executors._CONNECT", 1)
    with pytest.raises(ConfigError, match=r"no Dask scheduler answers at tcp://127.0.0.1:9"):
        on_cluster("tcp://127.0.0.1:9")
