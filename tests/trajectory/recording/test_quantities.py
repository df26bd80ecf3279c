"""Norms, updates, gradients, groups and angles against float64 twins."""

import json

import numpy as np
import pytest
import torch
import xarray
from torch import nn

from trajectory import LogSpaced, Recorder, RecordingError, Run, StoreError, verify
from trajectory.measure.observables import Observables
from trajectory.schema.angle import angle
from trajectory.schema.layout import QUANTITIES
from trajectory.schema.parameter_groups import group


def network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def update(model, optimizer):
    loss = model(torch.randn(5, 6)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def doubles(model):
    return [p.detach().double().clone() for p in model.parameters()]


def norms(left, right=None):
    return [float((a.double() - (0 if right is None else right[k])).norm()) for k, a in enumerate(left)]


@pytest.fixture(scope="module", params=[1, 3, LogSpaced(6)], ids=["every step", "every third", "log-spaced"])
def recorded(request, tmp_path_factory):
    """A run of 40 updates with every quantity, and the float64 twin {quantity: {t: by parameter}}."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    path = tmp_path_factory.mktemp("quantities") / "run.zarr"
    start, twin = doubles(model), {name: {} for name in QUANTITIES}
    with Recorder(path, model, optimizer, schedule=request.param, quantities=QUANTITIES[::-1]) as recorder:
        for t in range(1, 41):
            before = doubles(model)
            update(model, optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 0.1)  # after the step: too late to be seen
            twin["distance"][t] = norms(doubles(model), start)
            twin["norm"][t] = norms(doubles(model))
            twin["update_norm"][t] = norms(doubles(model), before)
            twin["momentum_norm"][t] = norms([optimizer.state[p]["momentum_buffer"] for p in model.parameters()])
            recorder.log(grad_norm=t)
    return Run(path), twin, start


def test_norms_and_updates_equal_a_float64_twin_whatever_the_schedule(recorded):
    run, twin, _ = recorded
    assert run.quantities == list(QUANTITIES)
    for name in (*QUANTITIES[:3], "momentum_norm"):
        expected = np.array([twin[name][t] for t in run.total(name).index])
        np.testing.assert_allclose(run.layers(name), expected, rtol=1e-6)
        np.testing.assert_allclose(run.total(name), np.linalg.norm(expected, axis=1), rtol=1e-6)
    assert run.total().equals(run.distance)


def test_the_angle_is_that_between_the_weights(recorded):
    run, twin, start = recorded
    lengths, (n, d) = np.array(norms(start)), (np.array(list(twin[name].values())) for name in ("norm", "distance"))
    steps = run.distance.index
    cosine = ((n**2 + lengths**2 - d**2) / (2 * n * np.where(lengths, lengths, np.nan)))[steps - 1]
    # the batch norm's shift starts from 0 and has no angle
    np.testing.assert_array_equal(run.layers("angle").isna().all(), lengths == 0)
    np.testing.assert_allclose(np.cos(run.layers("angle")), cosine, atol=1e-6)
    whole = (n**2 + lengths**2 - d**2).sum(1) / (2 * np.linalg.norm(n, axis=1) * np.linalg.norm(lengths))
    np.testing.assert_allclose(np.cos(run.total("angle")), whole[steps - 1], atol=1e-6)


def test_a_small_angle_keeps_its_digits():
    theta = np.array([1e-6, 1e-3, 1.0, np.pi])
    d = 2 * np.sin(theta / 2)
    np.testing.assert_allclose(angle(d, np.ones(4), 1.0), theta, rtol=1e-9)
    assert np.isnan(angle(1.0, 1.0, 0.0))


def test_every_reader_sees_the_quantities(recorded):
    run, _, _ = recorded
    stored = xarray.open_zarr(run.path)
    np.testing.assert_array_equal(stored["layer_update_norm"], run.layers("update_norm"))
    merged = run.to_xarray().sel(step=run.distance.index)
    np.testing.assert_array_equal(merged["grad_norm"], run.total("grad_norm"))
    np.testing.assert_array_equal(merged["metrics/grad_norm"], run.distance.index)  # logged under the same name
    np.testing.assert_array_equal(merged["layer_angle"], run.layers("angle"))


def test_the_gradient_is_the_one_the_optimizer_saw(tmp_path):
    model, unused = network(), nn.Linear(2, 2)
    model.append(nn.Flatten()).register_module("unused", unused)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    twin = []
    with Recorder(tmp_path / "run.zarr", model, optimizer, quantities=["distance", "grad_norm"]):
        optimizer.step()  # no gradient at all
        for clip in (1e9, 0.01):
            loss = model[:4](torch.randn(5, 6)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            twin.append([0.0 if p.grad is None else float(p.grad.double().norm()) for p in model.parameters()])
            optimizer.step()
    run = Run(tmp_path / "run.zarr")
    assert run.total("grad_norm").isna().tolist() == [True, False, False]
    assert run.layers("grad_norm").loc[1].isna().all()
    np.testing.assert_allclose(run.layers("grad_norm").loc[2:], twin, rtol=1e-6)
    assert run.total("grad_norm")[3] == pytest.approx(0.01, rel=1e-4)
    assert run.layers("grad_norm").loc[3, ["unused.weight", "unused.bias"]].tolist() == [0, 0]
    assert run.events == []  # no weight is NaN


OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"momentum": 0.9}, "momentum_buffer"),
    "adam": (torch.optim.Adam, {}, "exp_avg"),
    "adamw": (torch.optim.AdamW, {"foreach": True}, "exp_avg"),
}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_momentum_is_the_norm_of_the_optimizers_buffers_through_a_resume_and_a_new_optimizer(tmp_path, kind):
    make, options, name = OPTIMIZERS[kind]
    model, twin = network(), []

    def optimizer():
        return make(model.parameters(), lr=0.01, **options)

    def record(recorder, first, updates):
        for _ in range(updates):
            update(model, first)
            twin.append(norms([first.state[p][name] for p in model.parameters()]))

    path, first = tmp_path / "run.zarr", optimizer()
    with Recorder(path, model, first, quantities=["distance", "momentum_norm"]) as recorder:
        record(recorder, first, 5)
        state, saved = recorder.state_dict(), first.state_dict()
        update(model, first)  # taken back
    resumed = optimizer()
    resumed.load_state_dict(saved)
    how = {"quantities": ["distance", "momentum_norm"], "resume": "must"}
    with Recorder(path, model, resumed, **how) as recorder:
        recorder.load_state_dict(state)
        record(recorder, resumed, 3)
        rebuilt = optimizer()
        recorder.follow(rebuilt)
        record(recorder, rebuilt, 3)
    run = Run(path)
    np.testing.assert_allclose(run.layers("momentum_norm"), twin, rtol=1e-6)
    np.testing.assert_allclose(run.total("momentum_norm"), np.linalg.norm(twin, axis=1), rtol=1e-6)


def test_momentum_of_stacked_networks_is_each_ones_own(tmp_path):
    networks = [network(seed) for seed in range(2)]
    pairs = zip(*(each.parameters() for each in networks), strict=True)
    stacked = [torch.stack(pair).detach().requires_grad_() for pair in pairs]
    for k, each in enumerate(networks):
        for p, whole in zip(each.parameters(), stacked, strict=True):
            p.data = whole.data[k]
    optimizer = torch.optim.SGD(stacked, lr=0.1, momentum=0.9)
    how = {"quantities": ["distance", "momentum_norm"]}
    recorders = [Recorder(tmp_path / f"{k}.zarr", each, optimizer, **how) for k, each in enumerate(networks)]
    for _ in range(3):
        for whole in stacked:
            whole.grad = torch.randn_like(whole)
        optimizer.step()
    for k, recorder in enumerate(recorders):
        recorder.close()
        expected = norms([optimizer.state[whole]["momentum_buffer"][k] for whole in stacked])
        np.testing.assert_allclose(Run(recorder.path).layers("momentum_norm").loc[3], expected, rtol=1e-6)


def test_without_momentum_there_is_none_and_the_run_says_so(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    how = {"quantities": ["distance", "momentum_norm"]}
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, **how)
    update(model, optimizer)
    with pytest.warns(RuntimeWarning, match="the optimizer keeps no momentum, so that momentum_norm is NaN"):
        recorder.close()
    run = Run(tmp_path / "run.zarr")
    assert run.total("momentum_norm").isna().all()
    assert [event.name for event in run.events] == ["no_momentum"]
    with pytest.raises(RecordingError, match="momentum_norm without an optimizer"):
        Recorder(tmp_path / "by_hand.zarr", model, **how)


@pytest.mark.parametrize("gap", [False, True], ids=["kernel", "foreach"])
def test_every_quantity_of_a_mixed_list_equals_its_float64_twin(gap):
    torch.manual_seed(0)
    parameters = [
        torch.randn(300_001),
        torch.randn(40, 3).bfloat16(),
        torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.randn(17).double(),
        torch.randn(8),
        torch.zeros(0),
        torch.randn(20, 20)[:, ::2] if gap else torch.randn(20, 10).t(),
    ]
    for p in parameters:
        p.requires_grad_()
    observables = Observables(parameters, QUANTITIES, origins=2)
    optimizer = torch.optim.SGD(parameters, lr=0.0)
    observables.follow([optimizer])
    out = torch.empty(observables.measurements, len(parameters), dtype=torch.float64)
    positions = [[p.detach().double().clone() for p in parameters]]
    for step in range(3):
        with torch.no_grad():
            for p in parameters:
                p.add_(torch.randn_like(p))
                p.grad = torch.randn(p.shape).to(p) if step else None
                optimizer.state[p]["momentum_buffer"] = torch.randn(p.shape).to(p)
        observables.write(out, keep=True)
        positions.append([p.detach().double().clone() for p in parameters])
        if step == 0:
            observables.add_origin(0)
        if step == 1:
            parameters[2].data = parameters[2].data.contiguous()  # another order in memory, and another place
            parameters[4].data = parameters[4].data.clone()
    start, first, before, now = positions
    expected = [
        norms(now, start), norms(now, first), [np.nan] * len(parameters),
        norms(now), norms(now, before), norms([p.grad for p in parameters]),
        norms([optimizer.state[p]["momentum_buffer"] for p in parameters]),
    ]  # fmt: skip
    np.testing.assert_allclose(out.sqrt(), expected, rtol=2e-6)


def test_groups_and_patterns(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    kinds = {
        "all": {},
        "module": {"group_by": "module", "exclude": "1.*"},
        "kind": {"group_by": lambda name: name.rpartition(".")[2], "include": ["0.*", "3.bias"]},
    }
    recorders = [
        Recorder(tmp_path / f"{kind}.zarr", model, optimizer, quantities=QUANTITIES, snapshots=10, origins=[5], **how)
        for kind, how in kinds.items()
    ]
    for _ in range(10):
        update(model, optimizer)
    for recorder in recorders:
        recorder.close()
    every, module, kind = (Run(tmp_path / f"{name}.zarr") for name in kinds)
    assert module.groups == {"0": ["0.weight", "0.bias"], "3": ["3.weight", "3.bias"]}
    assert kind.groups == {"weight": ["0.weight"], "bias": ["0.bias", "3.bias"]}
    for run in (module, kind):
        members = [name for names in run.groups.values() for name in names]
        for quantity in QUANTITIES:
            squares = every.layers(quantity)[members].pow(2)
            np.testing.assert_allclose(run.total(quantity), squares.sum(axis=1).pow(0.5), rtol=1e-12)
            for name, inside in run.groups.items():
                expected = squares[inside].sum(axis=1).pow(0.5)
                np.testing.assert_allclose(run.layers(quantity)[name], expected, rtol=1e-12)
        further = every.layers(origin=5)[members].pow(2).sum(axis=1).pow(0.5)
        np.testing.assert_allclose(run.displacement(5), further, rtol=1e-12)
        started = {name: weight.double().norm().item() for name, weight in run.state_dict(0).items()}
        assert run.origin_norm == pytest.approx(np.linalg.norm([started[name] for name in members]))
        assert run.state_dict(10).keys() == model.state_dict().keys()
        assert sorted(name for name, *_ in run.parameter_specs["parameters"]) == sorted(members)
    assert kind.weight_count == 6 * 8 + 8 + 3
    assert [recorder.parameter_specs for recorder in recorders] == [
        run.parameter_specs for run in (every, module, kind)
    ]
    assert list(xarray.open_zarr(kind.path)["parameter"].to_numpy()) == ["weight", "bias"]


def test_wrong_choices_are_named(tmp_path, recorded):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for wrong, message in [
        ({"quantities": ["norm"]}, "expected 'distance' and any of norm"),
        ({"quantities": ["distance", "curvature"]}, "expected 'distance' and any of norm"),
        ({"include": "conv*"}, r"pattern 'conv\*' matches no parameter; expected .* '0.weight'"),
        ({"exclude": "*"}, "leave no parameter to measure"),
        ({"group_by": "block"}, "expected 'parameter', 'module' or a function"),
        ({"group_by": len}, "expected the name of its group"),
    ]:
        with pytest.raises(RecordingError, match=message):
            Recorder(tmp_path / "run.zarr", model, optimizer, **wrong)
    assert group(["weight"], "module").names == ("(root)",)
    run, _, _ = recorded
    with pytest.raises(StoreError, match="only the distance has an origin"):
        run.layers("norm", origin=5)
    Recorder(tmp_path / "run.zarr", model, optimizer).close()
    for missing in ("norm", "angle"):
        with pytest.raises(StoreError, match="no quantity 'norm'; this run holds: distance"):
            Run(tmp_path / "run.zarr").total(missing)


def test_a_store_that_tells_of_no_quantities_holds_the_distance_by_parameter(tmp_path):
    """Stores were written before there was a choice."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    path = tmp_path / "run.zarr"
    recorder = Recorder(path, model, optimizer)
    update(model, optimizer)
    recorder.flush()
    root = json.loads((path / "zarr.json").read_text())
    for key in ("quantities", "layers", "origin_norms"):
        del root["attributes"]["ultraslow"][key]
    del root["attributes"]["ultraslow_blake3"]  # which the first version did not write
    (path / "zarr.json").write_text(json.dumps(root))
    run = Run(path)
    assert run.quantities == ["distance"]
    assert list(run.layers().columns) == [name for name, _ in model.named_parameters()]
    assert len(run.distance) == 1
    recorder.close()
    assert verify(path) == []


def test_replays_of_a_captured_step_are_recorded_as_steps_are(tmp_path, monkeypatch):
    """On a CPU what the hook does within a capture stands for a replay: it is all that a graph would hold.

    The two trainings are one program in one process, so their rows are the same.
    """
    with pytest.raises(RecordingError, match="CUDA alone has graphs"):
        Recorder(tmp_path / "refused", network(), capturable=True)
    monkeypatch.setattr("trajectory.recording.session.has_graphs", lambda _: True)
    for name, how in {"eager": {}, "replayed": {"capturable": True}}.items():
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        path = tmp_path / f"{name}.zarr"
        with Recorder(path, model, optimizer, quantities=QUANTITIES, snapshots=50, **how) as recorder:
            for t in range(150):
                with monkeypatch.context() as patch:
                    replay = how and t >= 10  # before, steps that warm up
                    patch.setattr("trajectory.recording.pipeline.is_capturing", lambda _, replay=replay: replay)
                    update(model, optimizer)
                if replay:
                    recorder.replayed()
                recorder.log(loss=t)
                if t % 37 == 0:
                    recorder.flush(wait=False)
    eager, replayed = Run(tmp_path / "eager.zarr"), Run(path)
    for quantity in QUANTITIES:
        assert eager.layers(quantity).equals(replayed.layers(quantity))
    assert len(replayed.distance) == 150
    assert eager.metrics.equals(replayed.metrics)
    assert replayed.snapshots == [0, 50, 100, 150]
    with (
        pytest.raises(RecordingError, match="without capturable=True"),
        Recorder(tmp_path / "a", model, optimizer) as r,
    ):
        r.replayed()
    with pytest.raises(RecordingError, match="give neither"):
        Recorder(tmp_path / "b", model, optimizer, capturable=True, schedule=2)


@pytest.mark.parametrize(
    ("make", "memory"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), 100),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, dampening=0.5), 200),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.05), 200),
    ],
)
def test_origins_may_be_multiples_of_the_optimizers_memory_time(tmp_path, make, memory):
    """(1 − μ)/(ηλ) for SGD, 1/(ηλ) for AdamW, with the rate that a warm-up grows to."""
    model = torch.nn.Linear(2, 1)
    optimizer = make(model.parameters())
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01)
    Recorder(tmp_path / "run.zarr", model, optimizer, origins=[3, "0.5tau", "2tau"]).close()
    assert Run(tmp_path / "run.zarr").origins == [0, 3, memory // 2, 2 * memory]


def test_a_memory_time_needs_weight_decay(tmp_path):
    model = torch.nn.Linear(2, 1)
    for optimizer in (
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.optim.Adam(model.parameters(), weight_decay=1),
    ):
        with pytest.raises(RecordingError, match="needs SGD or AdamW"):
            Recorder(tmp_path / "run.zarr", model, optimizer, origins=["5tau"])
