"""Stores in trackio's database, read back with the library: each step once, also after a resume."""

import pytest
import torch

from trajectory import Recorder, Run
from trajectory.integrations.trackio_rows import send_to_trackio


@pytest.fixture
def logs(tmp_path, monkeypatch):
    """Return what reads trackio's rows of a run: (step, distance, loss)."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio import utils
    from trackio.sqlite_storage import SQLiteStorage

    monkeypatch.setattr(utils, "TRACKIO_DIR", tmp_path / "trackio")  # read once, when the library is loaded
    monkeypatch.setattr("trackio.sqlite_storage.TRACKIO_DIR", tmp_path / "trackio")

    def read(name, run_id=None):
        rows = SQLiteStorage.get_logs("walk", name, run_id=run_id)
        return [(row["step"], row["distance"], row.get("loss")) for row in rows]

    return read


class Walk:
    """A walk of steps of length .5, whose loss at step t is t."""

    def __init__(self):
        self.model = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.model.weight)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.5)

    def record(self, path, **options):
        return Recorder(path, self.model, self.optimizer, config={"lr": 0.5}, **options)

    def steps(self, recorder, *steps):
        for t in steps:
            self.model.weight.grad = -torch.ones(1, 1)
            self.optimizer.step()
            recorder.log(loss=float(t))


def test_what_was_stored_after_a_resume_is_not_stored_twice(tmp_path, logs):
    path, walk = tmp_path / "run.zarr", Walk()
    with walk.record(path) as recorder:
        walk.steps(recorder, 1, 2, 3, 4, 5)
    assert [send_to_trackio(Run(path), "walk"), send_to_trackio(Run(path), "walk")] == [5, 0]
    torch.nn.init.constant_(walk.model.weight, 1.0)
    with walk.record(path, resume="must", step=2) as recorder:
        walk.steps(recorder, 3, 4, 5, 6, 7)
    assert send_to_trackio(Run(path), "walk") == 2
    assert logs("run") == [(t, t / 2, t) for t in range(1, 8)]


def test_the_newest_step_waits_for_its_scalars_while_the_run_is_recorded(tmp_path, logs):
    path, walk = tmp_path / "run.zarr", Walk()
    with walk.record(path) as recorder:
        walk.steps(recorder, 1)
        walk.model.weight.grad = -torch.ones(1, 1)
        walk.optimizer.step()
        recorder.flush()
        assert send_to_trackio(Run(path), "walk") == 1
        recorder.log(loss=2.0)
    assert send_to_trackio(Run(path), "walk") == 1
    assert logs("run") == [(1, 0.5, 1), (2, 1.0, 2)]


def test_a_run_that_replaced_another_is_a_run_of_its_own(tmp_path, logs):
    path, identifiers = tmp_path / "run.zarr", []
    for steps in ((1, 2, 3), (1, 2)):
        walk = Walk()
        with walk.record(path, overwrite=True) as recorder:
            walk.steps(recorder, *steps)
        send_to_trackio(Run(path), "walk")
        identifiers.append(Run(path).id)
    assert [len(logs("run", run_id)) for run_id in identifiers] == [3, 2]
