"""A run is as of the moment it was opened, whatever a recorder does to its store afterwards."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn
from zarr.storage import MemoryStore

from trajectory import Recorder, Run, StoreError
from trajectory.storage import table_reader
from trajectory.storage.location import open_backend
from trajectory.storage.moment import Moment

READS = {
    "layers": lambda run: run.layers().to_numpy(),
    "a snapshot": lambda run: run.state_dict(1000)["weight"].numpy(),
    "sketches": lambda run: run.pairwise_distance().to_numpy(),
    "a displacement": lambda run: run.displacement(50).to_numpy(),
    "one Dataset": lambda run: run.to_xarray().to_dataframe().to_numpy(),
    "a snapshot's displacement": lambda run: run.layer_displacement(500).to_numpy(),
}
UPDATES = 1300  # more than one chunk of rows
TOTALS = {"distance": lambda run: run.distance.to_numpy(), "metrics": lambda run: run.metrics.to_numpy()}


def record(where, scale, updates, start=0, **options):
    torch.manual_seed(0)
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(where, model, optimizer, snapshots=500, origins=[50], sketch=8, **options)
    for t in range(start + 1, updates + 1):
        model.weight.grad = torch.full((1, 2), float(scale))
        optimizer.step()
        recorder.log(scale=scale, **{f"since {start}": t})
    recorder.close()


def cut(where):
    record(where, 2, 1200, 700, resume="must", step=700)


def replace(where):
    record(where, 2, 1200, overwrite=True)


def go_on(where):
    record(where, 2, 1500, UPDATES, resume="must", step=UPDATES)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A run in a folder and one in a zarr store, to be copied."""
    folder, store = tmp_path_factory.mktemp("recorded") / "run.zarr", MemoryStore()
    for where in (folder, store):
        record(where, 1, UPDATES)
    return folder, store


@pytest.fixture(params=["a folder", "a zarr store"])
def where(request, recorded, tmp_path):
    folder, store = recorded
    if request.param == "a folder":
        return shutil.copytree(folder, tmp_path / "run.zarr")
    return MemoryStore(dict(store._store_dict))


def test_totals_are_those_of_the_opening_however_the_run_goes_on(where):
    run, before = Run(where), {name: read(Run(where)) for name, read in TOTALS.items()}
    go_on(where)
    for name, read in TOTALS.items():
        np.testing.assert_array_equal(read(run), before[name])
    assert "since 0" in Run(where).metrics


@pytest.mark.parametrize(
    ("rewrite", "message"), [(cut, "was resumed at step 700 since"), (replace, "was replaced by another run since")]
)
def test_of_a_rewritten_run_what_was_not_read_is_refused_and_totals_are_those_of_the_opening(where, rewrite, message):
    runs = {name: Run(where) for name in READS}
    read_before = Run(where)
    before, totals = read_before.layers(), {name: read(Run(where)) for name, read in TOTALS.items()}
    rewrite(where)
    for name, read in READS.items():
        with pytest.raises(StoreError, match=message) as caught:
            read(runs[name])
        assert str(caught.value).endswith("since it was opened; open it again")
    np.testing.assert_array_equal(read_before.layers(), before)
    for name, read in TOTALS.items():
        np.testing.assert_array_equal(read(read_before), totals[name])
    assert all(len(read(Run(where))) for read in READS.values())
    assert "since 0" in Run(where).metrics


def test_long_tables_are_read_when_they_are_asked_for(where, monkeypatch):
    monkeypatch.setattr(table_reader, "_READ_AT_ONCE", UPDATES - 1)
    runs = {name: Run(where) for name in TOTALS}
    cut(where)
    for name, read in TOTALS.items():
        with pytest.raises(StoreError, match="was resumed at step 700 since it was opened"):
            read(runs[name])


@pytest.mark.parametrize("rewrite", [cut, replace])
def test_a_run_that_is_rewritten_while_it_is_opened_is_read_anew(where, monkeypatch, rewrite):
    """Between the root and the arrays."""
    now, opened = Moment.now, []

    def then_rewritten(backend):
        moment = now(backend)
        if not opened:
            rewrite(where)
        opened.append(moment)
        return moment

    monkeypatch.setattr(Moment, "now", then_rewritten)
    run = Run(where)
    assert len(opened) == 2
    assert len(run.distance) == 1200
    np.testing.assert_array_equal(run.distance, Run(where).distance)


def test_a_run_that_is_only_written_on_stays_readable(tmp_path):
    """Rows, metrics and snapshots that are added change nothing of what was there."""
    model = nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=100) as recorder:
        opened = []
        for t in range(1, 1301):
            model.weight.grad = torch.ones(1, 2)
            optimizer.step()
            recorder.log(**{f"m{t // 500}": t})
            if t % 200 == 0:
                recorder.flush()
                opened.append((t, Run(tmp_path / "run.zarr")))
    for t, run in opened:
        assert list(run.layers().index) == list(run.distance.index) == list(range(1, t + 1))
        assert run.snapshots == list(range(0, t + 1, 100))
        assert set(run.metrics) == {"learning_rate", *(f"m{k}" for k in range(t // 500 + 1))}
        assert len(run.state_dict(t)) == 1


def test_a_deleted_run_is_told_from_a_damaged_one(tmp_path):
    record(tmp_path / "run.zarr", 1, 200)
    run = Run(tmp_path / "run.zarr")
    open_backend(tmp_path / "run.zarr").clear()
    with pytest.raises(StoreError, match="no run yet"):
        run.layers()
