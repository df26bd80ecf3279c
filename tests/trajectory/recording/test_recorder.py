"""What a recorded run is, and that recording does not change it.

With and without a recorder the training is the same program in one process, so the weights' bits can be compared.
"""

import math
import platform
import subprocess
import threading
import time
from functools import partial

import numpy as np
import pytest
import torch
import xarray
from small_training import network, train
from torch import nn

from trajectory import At, Every, LogSpaced, Recorder, RecordingError, Run, StoreError
from trajectory.schema.layout import QUANTITIES

OPTIONS = {
    "plain": {},
    "every quantity": {"quantities": QUANTITIES, "group_by": "module"},
    "origins": {"origins": [3, 60], "include": "0.*"},
    "sketches": {"sketch": 16, "sketches": 9},
    "rounded snapshots": {"snapshot_dtype": "bfloat16", "compression": "zstd"},
    "capturable": {"capturable": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("make", [partial(torch.optim.SGD, momentum=0.9), torch.optim.AdamW], ids=["sgd", "adamw"])
def test_a_recorded_run_is_bit_identical_to_an_unrecorded_one(tmp_path, make, options, monkeypatch):
    monkeypatch.setattr("trajectory.recording.session.has_graphs", lambda _: True)
    plain = network()
    train(plain, make(plain.parameters(), lr=0.1), 150)
    state = torch.get_rng_state()

    recorded = network()
    optimizer = make(recorded.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", recorded, optimizer, snapshots=Every(20), **options) as recorder:
        train(recorded, optimizer, 150, recorder)

    assert all(
        torch.equal(a, b) for a, b in zip(plain.state_dict().values(), recorded.state_dict().values(), strict=True)
    )
    assert torch.equal(state, torch.get_rng_state())


def test_distances_equal_a_float64_twin_at_every_step(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    origin = [p.detach().double().clone() for p in model.parameters()]
    twin = []
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(200):
            train(model, optimizer, 1, recorder)
            moves = [(p.detach().double() - w).norm().item() for p, w in zip(model.parameters(), origin, strict=True)]
            twin.append(moves)
    run = Run(tmp_path / "run.zarr")
    assert list(run.distance.index) == list(range(1, 201))
    np.testing.assert_allclose(run.layers("distance").to_numpy(), twin, rtol=1e-6)
    np.testing.assert_allclose(run.distance, np.linalg.norm(twin, axis=1), rtol=1e-6)
    assert list(run.layers().columns) == [name for name, _ in model.named_parameters()]
    assert run.origin_norm == pytest.approx(math.sqrt(sum(float(w.square().sum()) for w in origin)))


def test_distances_from_other_origins_equal_a_float64_twin(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    origins, twin = {0: None, 3: None, 70: None}, {0: [], 3: [], 70: []}
    with Recorder(tmp_path / "run.zarr", model, optimizer, origins=[70, 3]) as recorder:
        for t in range(100):
            if t in origins:
                origins[t] = [p.detach().double().clone() for p in model.parameters()]
            train(model, optimizer, 1, recorder)
            for at in twin:
                if origins[at]:
                    pairs = zip(model.parameters(), origins[at], strict=True)
                    twin[at].append([(p.detach() - w).norm().item() for p, w in pairs])
    run = Run(tmp_path / "run.zarr")
    assert run.origins == [0, 3, 70]
    for at, moves in twin.items():
        assert list(run.displacement(at).index) == list(range(at + 1, 101))
        np.testing.assert_allclose(run.displacement(at), np.linalg.norm(moves, axis=1), rtol=1e-6)
        np.testing.assert_allclose(run.layers("distance", origin=at), moves, rtol=1e-6)
    seen = xarray.open_zarr(tmp_path / "run.zarr")
    assert float(seen["displacement"].sel(step=90, origin=70)) == run.displacement(70)[90]
    assert run.to_xarray()["layer_displacement"].dims == ("step", "origin", "parameter")
    with pytest.raises(StoreError, match="no distances from step 4"):
        run.displacement(4)
    for wrong, message in [
        ([-1], "from 1 on"),
        (LogSpaced(1), "has no end"),
        (range(1, 10), r"9 origins keep as many copies .*max_origins=8 at most"),
    ]:
        with pytest.raises(RecordingError, match=message):
            Recorder(tmp_path / "other.zarr", model, optimizer, origins=wrong)
    with Recorder(tmp_path / "other.zarr", model, optimizer, origins=LogSpaced(1, until=100)) as recorder:
        assert recorder.origins == [0, 1, 10, 100]


def test_schedules_choose_rows_and_snapshots(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "a.zarr", model, optimizer, schedule=7, snapshots=LogSpaced(2)) as recorder:
        train(model, optimizer, 40, recorder)
    run = Run(tmp_path / "a.zarr")
    assert list(run.distance.index) == [7, 14, 21, 28, 35]
    assert run.snapshots == [0, 1, 3, 10, 32]
    assert len(run.metrics["loss"].dropna()) == 40  # scalars are filed at any step


def test_snapshots_restore_the_network_as_it_was(tmp_path):
    model = network()
    model[0].double()
    model[4].bfloat16()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = {}
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=At([0, 2, 5])) as recorder:
        for step in range(6):
            kept[step] = {name: value.clone() for name, value in model.state_dict().items()}
            for p in model.parameters():
                p.grad = torch.randn_like(p)
            model[1].running_mean.add_(1)
            model[1].num_batches_tracked.add_(1)
            optimizer.step()
            recorder.flush(wait=False)
    run = Run(tmp_path / "run.zarr")
    for step in run.snapshots:
        state = run.state_dict(step)
        assert state.keys() == kept[step].keys()
        for name, value in kept[step].items():
            assert state[name].dtype == value.dtype
            assert torch.equal(state[name], value), (step, name)
    other = network(seed=1)
    other[0].double()
    other[4].bfloat16()
    run.load_into(other, 5)
    assert all(torch.equal(value, kept[5][name]) for name, value in other.state_dict().items())


def test_the_next_update_cannot_change_a_snapshot(tmp_path):
    """The copy is taken in the step, however late it is written."""
    model = nn.Linear(200, 200)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1) as recorder:
        write = recorder._pipeline._snapshots._write
        recorder._pipeline._snapshots._write = lambda *snapshot: (time.sleep(0.02), write(*snapshot))[1]
        for _ in range(10):
            for p in model.parameters():
                p.grad = -torch.ones_like(p)
            optimizer.step()
    run = Run(tmp_path / "run.zarr")
    start = run.state_dict(0)["weight"]
    for step in run.snapshots:
        torch.testing.assert_close(run.state_dict(step)["weight"], start + step)


def test_tied_weights_are_counted_once_and_restored_under_both_names(tmp_path):
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    model[1].weight = model[0].weight
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1):
        model[0].weight.grad = torch.ones(4, 4)
        optimizer.step()
    run = Run(tmp_path / "run.zarr")
    assert run.distance[1] == pytest.approx(4.0)
    assert run.state_dict(1).keys() == {"0.weight", "1.weight"}
    assert torch.equal(run.state_dict(1)["1.weight"], model[1].weight)


def test_scalars_and_events_are_filed_under_the_step(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer, config={"batch_size": 5}, seed=3) as recorder:
        recorder.log(validation_error=0.9)
        train(model, optimizer, 3, recorder)
        recorder.log(**{"validation/error": torch.tensor(0.25)})
        recorder.flush()
        recorder.log(late=1)
        recorder.event("lr_drop", lr_from=0.1, lr_to=0.01, at=np.float32(0.5), note=float("nan"))
    run = Run(tmp_path / "run.zarr")
    assert run.metrics.loc[0, "validation_error"] == 0.9
    assert run.metrics.loc[3, ["validation/error", "late"]].tolist() == [0.25, 1]
    assert run.metrics["learning_rate"].tolist()[1:] == [0.1] * 3
    assert [(e.step, e.name, e.details) for e in run.drops] == [
        (3, "lr_drop", {"lr_from": 0.1, "lr_to": 0.01, "at": 0.5, "note": "nan"})
    ]
    assert (run.config, run.seed, run.status) == ({"batch_size": 5}, 3, "complete")


def test_nan_weights_are_recorded_and_flagged(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        train(model, optimizer, 3)
        with torch.no_grad():
            model[0].weight[0, 0] = torch.nan
        train(model, optimizer, 3)
        recorder.log(loss=float("nan"))
    run = Run(tmp_path / "run.zarr")
    assert run.distance.isna().tolist() == [False] * 3 + [True] * 3
    assert [(e.step, e.name) for e in run.events] == [(4, "non_finite_weights")]


@pytest.mark.parametrize("fused", [False, True])
def test_a_skipped_update_is_marked(tmp_path, fused):
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    kinds = ["distance", "update_norm", "grad_norm"]
    with Recorder(tmp_path / "run.zarr", model, optimizer, quantities=kinds) as recorder:
        for inputs in (torch.ones(3, 4), torch.full((3, 4), torch.inf), torch.ones(3, 4)):
            optimizer.zero_grad()
            scaler.scale(model(inputs).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
            recorder.log(scale=scaler.get_scale())
    run = Run(tmp_path / "run.zarr")
    assert [event.step for event in run.events if event.name == "skipped_update"] == ([2] if fused else [])
    moved = run.total("update_norm")
    assert list(moved.index) == ([1, 2, 3] if fused else [1, 2])
    assert (moved == 0).tolist() == ([False, True, False] if fused else [False, False])
    # the gradient of a sum over three rows of ones, without the scale
    made = run.total("grad_norm")[moved > 0]
    np.testing.assert_allclose(made, np.sqrt(8 * 9 + 2 * 9), rtol=1e-6)
    assert "skipped_update" not in run.metrics


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
def test_a_compiled_model_and_optimizer_are_recorded_alike(tmp_path):
    runs = []
    for compiled in (False, True):
        model = network().double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        called, step = model, optimizer.step
        if compiled:
            called, step = torch.compile(model, backend="eager"), torch.compile(optimizer.step, backend="eager")
        path = tmp_path / f"{compiled}.zarr"
        with Recorder(path, called, optimizer, quantities=["distance", "update_norm"]):
            for k in range(5):
                inputs = torch.randn(5, 6, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
                torch.manual_seed(k)  # dropout's
                optimizer.zero_grad()
                called(inputs).square().mean().backward()
                step()
        runs.append(Run(path))
    for quantity in ("distance", "update_norm"):
        plain, compiled = (run.layers(quantity) for run in runs)
        assert list(compiled.columns) == list(plain.columns)
        # the captured operations may be grouped otherwise, so they are rounded otherwise: a millionth of an update is
        # far above float64's rounding, and biases before a batch norm move by that rounding alone
        np.testing.assert_allclose(compiled, plain, rtol=1e-6, atol=1e-10)
        assert len(compiled) == 5


def test_a_run_knows_where_it_came_from(tmp_path, monkeypatch):
    def git(*command):
        subprocess.run(["git", "-c", "user.name=n", "-c", "user.email=e", *command], check=True, capture_output=True)

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monkeypatch.chdir(tmp_path)
    Recorder("outside.zarr", model, optimizer).close()
    assert Run("outside.zarr").commit is None
    assert Run("outside.zarr").host == platform.node()
    (tmp_path / "train.py").write_text("")
    git("init")
    git("add", "train.py")
    git("commit", "-m", "start")
    head = subprocess.run(["git", "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    Recorder("clean.zarr", model, optimizer).close()
    (tmp_path / "train.py").write_text("changed")
    Recorder("changed.zarr", model, optimizer).close()
    assert Run("clean.zarr").commit == head
    assert Run("changed.zarr").commit == f"{head}-dirty"


def test_a_subscriber_may_flush_also_while_the_run_is_closed(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        recorder.subscribe(lambda rows: recorder.flush())
        train(model, optimizer, 3)
    assert len(Run(tmp_path / "run.zarr").distance) == 3


def test_another_thread_may_log_while_an_update_is_measured(tmp_path, monkeypatch):
    """It leaves the update to the thread that trains; to record it twice would damage the run."""
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, quantities=["distance", "update_norm"])
    observables, logged = recorder._session.observables, []
    write = observables.write

    def write_while_another_logs(*arguments, **options):
        write(*arguments, **options)
        if threading.current_thread() is threading.main_thread():
            other = threading.Thread(target=lambda: logged.append(recorder.log(loss=1.0)))
            other.start()
            other.join()

    monkeypatch.setattr(observables, "write", write_while_another_logs)
    for _ in range(3):
        model.weight.grad = torch.tensor([[3.0, 4.0]])
        optimizer.step()
    monkeypatch.undo()
    recorder.close()
    run = Run(tmp_path / "run.zarr")
    assert run.total("update_norm").tolist() == pytest.approx([5.0, 5.0, 5.0], rel=1e-6)
    assert (run.events, len(logged)) == ([], 5)  # the weights are looked at before updates 2 and 3, too
