"""What a recorded run is, and that recording does not change it.

With and without a recorder the training is the same program in one process, so the weights' bits can be compared.
"""

import math
import platform
import random
import subprocess
import time

import numpy as np
import pytest
import torch
import xarray
from torch import nn

from trajectory import At, Every, LogSpaced, Recorder, RecordingError, Run, StoreError


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3))


def train(model, optimizer, updates, recorder=None):
    for _ in range(updates):
        loss = model(torch.randn(5, 6)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if recorder:
            recorder.log(loss=loss)


OPTIONS = {
    "plain": {},
    "every quantity": {"quantities": ["distance", "norm", "update_norm", "grad_norm"], "group_by": "module"},
    "origins": {"origins": [3, 60], "include": "0.*"},
    "sketches": {"sketch": 16, "sketches": 9},
    "rounded snapshots": {"snapshot_dtype": "bfloat16", "compression": "zstd"},
    "capturable": {"capturable": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.AdamW])
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


def test_scalars_reach_the_store_however_seldom_rows_are_recorded(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, schedule=LogSpaced(1))
    train(model, optimizer, 200, recorder)
    recorder._pipeline._thread.wait()
    left = Run(tmp_path / "run.zarr")  # as a kill would leave it
    assert list(left.distance.index) == [1, 10, 100]
    assert left.metrics["loss"].notna().sum() >= 200 - 64
    recorder.close()


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


def test_a_drop_nobody_filed_is_seen_in_the_optimizer(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4], gamma=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for _ in range(8):
            train(model, optimizer, 1)
            schedule.step()
    (drop,) = Run(tmp_path / "run.zarr").drops
    assert drop.step == 4
    assert drop.details["lr_from"] == pytest.approx(0.1)
    assert drop.details["lr_to"] == pytest.approx(0.01)


def test_a_filed_drop_is_not_filed_twice_and_smooth_schedules_have_none(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(30):
            train(model, optimizer, 1)
            cosine.step()
        recorder.event("lr_drop", lr_from=optimizer.param_groups[0]["lr"], lr_to=1e-4)
        optimizer.param_groups[0]["lr"] = 1e-4
        train(model, optimizer, 2)
    assert [event.step for event in Run(tmp_path / "run.zarr").drops] == [30]


@pytest.mark.parametrize("every", [1, 5], ids=["each update", "each epoch"])
@pytest.mark.parametrize("shape", ["linear", "cosine", "square root", "exponential"])
def test_a_schedule_that_ends_at_zero_files_no_drop(tmp_path, shape, every):
    rate = {
        "linear": lambda x: 1 - x,
        "cosine": lambda x: (1 + math.cos(math.pi * x)) / 2,
        "square root": lambda x: 1 - math.sqrt(x),
        "exponential": lambda x: 1e-3**x,
    }[shape]
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: rate(min(t // every / 20, 1.0)))
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for _ in range(21 * every + 1):
            train(model, optimizer, 1)
            schedule.step()
    assert not Run(tmp_path / "run.zarr").drops


def test_drops_within_a_schedule_and_after_it_is_resumed_are_told_from_it(tmp_path):
    def go_on(recorder, steps):
        for t in steps:
            optimizer.param_groups[0]["lr"] = (0.1 if t < 8 else 0.01 if t < 10 else 0.001) * (1 - t / 20)
            train(model, optimizer, 1)

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        go_on(recorder, range(18))
        state = recorder.state_dict()
    with Recorder(tmp_path / "run.zarr", model, optimizer, resume="must") as recorder:
        recorder.load_state_dict(state)
        go_on(recorder, range(18, 21))
    assert [event.step for event in Run(tmp_path / "run.zarr").drops] == [8, 10]


def test_a_rate_of_zero_does_not_drop_at_every_update(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for rate in (0.0, 0.0, 0.1, 0.0, 0.0):
            optimizer.param_groups[0]["lr"] = rate
            train(model, optimizer, 1)
    assert [event.step for event in Run(tmp_path / "run.zarr").drops] == [3]


def test_subscribers_get_every_row_once_and_in_order(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        recorder.subscribe(lambda rows: seen.extend(zip(rows.step, rows.distance, strict=True)))
        for _ in range(150):
            train(model, optimizer, 1)
            if random.random() < 0.1:
                recorder.flush(wait=False)
                assert seen[-1][0] == recorder.step  # on a CPU nothing is left on its way
    run = Run(tmp_path / "run.zarr")
    assert seen == list(zip(run.distance.index, run.distance, strict=True))


def test_a_run_that_has_just_begun_shows_its_distance(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        for t in range(1, 64):
            train(model, optimizer, 1)
            recorder._pipeline._thread.wait()
            run = Run(tmp_path / "run.zarr")
            shown = 2 ** int(math.log2(t))
            assert (run.status, list(run.distance.index)) == ("recording", list(range(1, shown + 1)))
        assert run.to_dict()["distance"] == pytest.approx(run.distance[32])


def test_subscribers_get_the_displacement_from_every_origin(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with Recorder(tmp_path / "run.zarr", model, optimizer, origins=[10, 70]) as recorder:
        assert recorder.origins == [0, 10, 70]
        recorder.subscribe(lambda rows: seen.append(rows.displacement))
        train(model, optimizer, 150)
    run = Run(tmp_path / "run.zarr")
    for origin in recorder.origins:
        displacement = np.concatenate([block[origin] for block in seen])
        assert np.isnan(displacement[:origin]).all()
        np.testing.assert_array_equal(displacement[origin:], run.displacement(origin))


def test_flush_without_waiting_sends_rows_early_and_drain_is_its_former_name(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        recorder.subscribe(lambda rows: seen.extend(rows.step))
        train(model, optimizer, 35)
        assert seen == list(range(1, 33))
        recorder.flush(wait=False)
        assert seen == list(range(1, 36))
        train(model, optimizer, 1)
        with pytest.warns(DeprecationWarning, match=r"flush\(wait=False\)"):
            recorder.drain()
        assert seen == list(range(1, 37))
    with pytest.raises(RecordingError, match="closed"):
        recorder.flush()


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


def test_the_recorder_refuses_what_it_cannot_file(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        with pytest.raises(StoreError, match="'step'"):
            recorder.log(step=3)
        for value in (torch.zeros(2), torch.tensor(1j), "x", None, 10**400):
            with pytest.raises(RecordingError, match=r"log\(loss=\.\.\.\)"):
                recorder.log(loss=value)
        holds_itself = []
        holds_itself.append(holds_itself)
        with pytest.raises(RecordingError, match="holds itself"):
            recorder.event("e", x=holds_itself)
        recorder.event("vector", x=torch.arange(2), y=torch.tensor(1.5))
    with pytest.raises(RecordingError, match="closed"):
        recorder.log(loss=1)


@pytest.mark.parametrize("config", [["lr", 0.1], "lr=0.1", dict])
def test_a_config_without_names_is_refused(tmp_path, config):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(RecordingError, match="expected a mapping"):
        Recorder(tmp_path / "run.zarr", model, optimizer, config=config)
    assert not (tmp_path / "run.zarr").exists()


def test_a_taken_path_is_kept_unless_it_is_a_run_to_overwrite(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    Recorder(path, model, optimizer, seed=1).close()
    with pytest.raises(StoreError, match="already exists"):
        Recorder(path, model, optimizer)
    Recorder(path, model, optimizer, seed=2, overwrite=True).close()
    assert Run(path).seed == 2
    foreign = tmp_path / "thesis"
    foreign.mkdir()
    (foreign / "chapter1.txt").write_text("precious")
    with pytest.raises(StoreError, match="not a run"):
        Recorder(foreign, model, optimizer, overwrite=True)
    assert (foreign / "chapter1.txt").read_text() == "precious"


def test_an_unwritable_place_is_one_line(tmp_path):
    model = network()
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot write a run there") as caught:
        Recorder(tmp_path / "file" / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert "\n" not in str(caught.value)


def test_a_failing_disk_stops_the_run_at_the_next_step_and_keeps_what_was_written(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    recorder = Recorder(path, model, optimizer)
    train(model, optimizer, 64)
    recorder.flush()

    def full(*_):
        raise OSError(28, "No space left on device")

    recorder._session.store._journal.append = full
    train(model, optimizer, 63)
    with pytest.raises(RecordingError, match="No space left on device"):
        train(model, optimizer, 100)
    assert list(Run(path).distance.index) == list(range(1, 65))


def test_training_goes_on_where_a_failing_disk_only_warns(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    recorder = Recorder(path, model, optimizer, on_error="warn")
    train(model, optimizer, 64, recorder)
    recorder.flush()

    def full(*_):
        raise OSError(28, "No space left on device")

    recorder._session.store._journal.append = full
    with pytest.warns(RuntimeWarning, match="No space left on device.*training goes on unrecorded"):
        train(model, optimizer, 400, recorder)
    train(model, optimizer, 10, recorder)
    assert recorder.step == 474
    recorder.close()
    assert Run(path).status == "interrupted (recording failed)"
    assert list(Run(path).distance.index) == list(range(1, 65))
    with pytest.raises(RecordingError, match="expected 'raise' or 'warn'"):
        Recorder(tmp_path / "other.zarr", model, optimizer, on_error="ignore")


def test_an_interrupted_run_says_so(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def interrupted():
        with Recorder(tmp_path / "run.zarr", model, optimizer):
            train(model, optimizer, 10)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    run = Run(tmp_path / "run.zarr")
    assert run.status == "interrupted (KeyboardInterrupt)"
    assert len(run.distance) == 10


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


def test_a_scalar_that_cannot_be_filed_is_left_out_where_failures_are_warned_of(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer, on_error="warn") as recorder:
        for t in range(3):
            train(model, optimizer, 1)
            if t:
                recorder.log(loss=1.0, **{"x" * 300: 1.0})
            else:
                with pytest.warns(RuntimeWarning, match="takes 300 bytes.*it is left out"):
                    recorder.log(loss=1.0, **{"x" * 300: 1.0})
    assert set(Run(tmp_path / "run.zarr").metrics) == {"loss", "learning_rate"}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # the weights are NaN from there on
def test_a_rate_that_is_no_number_is_logged_and_no_drop(tmp_path):
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer):
        for rate in (0.1, 0.1, float("nan"), 0.1):
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
    run = Run(tmp_path / "run.zarr")
    assert run.status == "complete"
    assert run.drops == []
    assert run.metrics["learning_rate"].isna().tolist() == [False, False, True, False]
