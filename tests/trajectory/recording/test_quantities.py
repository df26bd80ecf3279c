"""Norms, updates, gradients, groups and angles against float64 twins."""

import json

import numpy as np
import pytest
import torch
import xarray
from float64_twin import doubles, network, norms, update
from torch import nn

from trajectory import LogSpaced, Recorder, RecordingError, Run, StoreError, verify
from trajectory.measure.observables import Observables
from trajectory.schema.angle import angle
from trajectory.schema.layout import QUANTITIES
from trajectory.schema.parameter_groups import group


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
        ({"quantities": 3}, "expected 'distance' and any of norm"),
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
