"""Directions of scale-invariant weights: the angles of the weights themselves, and theory's saturation of them.

Gradients orthogonal to w, of size 1/‖w‖, under weight decay: cos θ = e^(−t/τ), τ = 1/(ηλ) without momentum. In 3000
dimensions a cosine fluctuates by 1/√3000 = 1.8 %, a fifth of what the tolerances allow.
"""

import json

import numpy as np
import pytest
import torch

from analysis import (
    AnalysisError,
    CurveError,
    average_origins,
    compare,
    compare_origins,
    directions,
    fit,
    fit_layers,
)
from trajectory import Recorder, Run
from trajectory.errors import StoreError
from ultraslow.cli.compare import compare as compare_command
from ultraslow.cli.fit import fit as fit_command
from ultraslow.cli.origins import origins as origins_command
from ultraslow.cli.scan import scan as scan_command

DIMENSIONS, MEMORY = 3000, 40
EARLY, ORIGIN, LATER = 20, 200, 300  # before the norm is steady, and after


def turn(path, seed, quantities=("distance", "norm")):
    """Record a scale-invariant layer and an output layer; return the first layer's weights by update."""
    generator = torch.manual_seed(seed)
    model = torch.nn.Sequential(torch.nn.Linear(DIMENSIONS, 1), torch.nn.Linear(20, 1))
    inner, output = model[0].weight, model[1].weight
    settings = {"lr": 0.1, "momentum": 0.0, "weight_decay": 1 / (0.1 * MEMORY)}
    optimizer = torch.optim.SGD(model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])
    kept = [inner.detach().clone()]
    with Recorder(
        path,
        model,
        optimizer,
        quantities=list(quantities),
        config=settings,
        origins=[EARLY, ORIGIN, LATER],
        seed=seed,
    ):
        for _ in range(600):
            w = inner.detach()
            noise = torch.randn(w.shape, generator=generator)
            inner.grad = (noise - (noise * w).sum() / w.square().sum() * w) / w.norm()
            output.grad = torch.randn(output.shape, generator=generator)
            optimizer.step()
            kept.append(inner.detach().clone())
    return torch.cat(kept).double().numpy()


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("turned")
    weights = [turn(folder / f"seed-{seed}.zarr", seed) for seed in range(3)]
    return [folder / f"seed-{seed}.zarr" for seed in range(3)], weights


@pytest.mark.parametrize("origin", [0, EARLY, ORIGIN])
def test_directions_are_those_of_the_weights(recorded, origin):
    paths, weights = recorded
    curve = directions(paths[0], origin=origin)[0]
    unit = weights[0] / np.linalg.norm(weights[0], axis=1, keepdims=True)
    expected = np.linalg.norm(unit[origin + 1 :] - unit[origin], axis=1)
    assert curve.t.tolist() == list(range(1, 601 - origin))
    np.testing.assert_allclose(curve.d, expected, rtol=1e-3)  # of float32 distances
    assert (curve.origin, curve.config["directions"]) == (origin, 1)


def test_theory_gives_the_saturation_of_forgotten_directions_and_its_time(recorded):
    paths, _ = recorded
    found = compare(directions([Run(path) for path in paths], origin=ORIGIN), ["saturation", "pure log"], t_min=1)
    assert found.best == "saturation"
    best = found.fits[0]
    assert best.predicted == {"tau": pytest.approx(MEMORY), "D": pytest.approx(2**0.5)}
    assert best.parameters["tau"] == pytest.approx(MEMORY, rel=0.1)
    assert best.parameters["D"] == pytest.approx(2**0.5, rel=0.03)
    assert "a random walk that one rate pulls back" in str(found)
    assert "predicted 1.41" in str(found)
    assert found.to_dict()["laws"][0]["motion"].startswith("a random walk")


def test_the_origin_is_the_one_that_fit_takes(recorded):
    paths, _ = recorded
    assert directions(paths[:1])[0].origin == 0  # after 200 no two decades are left
    assert fit(directions(paths, origin=ORIGIN), t_min=2, t_max=40).origin == ORIGIN


def test_directions_are_measured_from_other_origins_and_averaged_over_them(recorded):
    paths, _ = recorded
    here, later = (directions(paths, origin=origin) for origin in (ORIGIN, LATER))
    found = fit(here, t_min=1, t_max=100)
    ((change),) = [change for change in found.invariance.changes if change.origin == LATER]
    assert change.value == pytest.approx(fit(later, t_min=1, t_max=100).alpha)
    assert (found.origin, fit(here, origin=LATER, t_min=1, t_max=100).alpha) == (ORIGIN, pytest.approx(change.value))
    compared = compare_origins(here, [ORIGIN, LATER], t_min=1, t_max=100)
    assert compared.frame.alpha.tolist() == pytest.approx([found.alpha, change.value])
    mean = average_origins(here, [ORIGIN, LATER])
    both = np.log(here[0].d[:300]) + np.log(later[0].d)
    np.testing.assert_allclose(np.log(mean.curves[0].d), both / 2, rtol=1e-12, atol=1e-12)
    assert fit(list(mean.curves), t_min=1, t_max=100).invariance.changes[-1].origin is None
    with pytest.raises(CurveError, match=f"holds no distances from update {LATER}"):
        fit(list(mean.curves), origin=LATER)


def test_each_layer_turns_by_itself_from_one_origin_and_on_average_over_several(recorded):
    paths, _ = recorded
    options = {"t_min": 1, "t_max": 100}
    both = {"parameters": ["0.weight", "1.weight"]}
    alphas = fit_layers(directions(paths, origin=ORIGIN, **both), **options).alpha
    averaged = fit_layers(average_origins(directions(paths, **both), [ORIGIN, LATER]).curves, **options)
    for name in both["parameters"]:
        one = {"parameters": [name]}
        assert alphas[name] == pytest.approx(fit(directions(paths, origin=ORIGIN, **one), **options).alpha)
        mean = average_origins(directions(paths, **one), [ORIGIN, LATER])
        assert averaged.alpha[name] == pytest.approx(fit(list(mean.curves), **options).alpha)
    assert "2 origins are" in averaged.attrs["age"]


def test_what_has_no_direction_is_refused_in_a_line(recorded, tmp_path):
    paths, _ = recorded
    for data, options, error, said in (
        (([1, 2], [1.0, 2.0]), {}, CurveError, "got no runs; expected recorded runs"),
        (paths, {"parameters": ["2.weight"]}, CurveError, r"records no parameter 2\.weight; expected names out of 0"),
        (paths, {"parameters": []}, CurveError, "records no parameter of two or more dimensions but the last"),
        (paths, {"parameters": "2.weight"}, CurveError, r"records no parameter 2\.weight; expected"),
        (paths, {"parameters": 3}, AnalysisError, r'parameters = 3: expected names or patterns .*\["0\.weight"\]'),
        (paths, {"parameters": [0]}, AnalysisError, r"parameters = \[0\]: expected names or patterns"),
        (paths, {"origin": 7}, StoreError, "no distances from step 7"),
        (paths, {"origin": "200"}, AnalysisError, "origin = '200': expected the number of an update"),
    ):
        with pytest.raises(error, match=said):
            directions(data, **options)
    turn(tmp_path / "plain.zarr", 0, ["distance"])
    with pytest.raises(StoreError, match="an angle needs the norm"):
        directions(tmp_path / "plain.zarr")


@pytest.mark.parametrize(
    ("parameters", "count"),
    [("0.weight", 1), (["0.weight", "0.weight"], 1), ("*.weight", 2), (["?.weight", "1.weight"], 2)],
)
def test_parameters_are_named_one_or_several_each_once_or_by_pattern(recorded, parameters, count):
    paths, _ = recorded
    (curve,) = directions(paths[:1], parameters=parameters, origin=0)
    assert curve.config["directions"] == count
    if count == 1:
        assert curve.d.tolist() == directions(paths[:1], origin=0)[0].d.tolist()


def test_the_commands_measure_directions(recorded, tmp_path, capsys):
    first, *others = map(str, recorded[0])
    options = {"directions": True, "origin": ORIGIN, "t_min": 1, "json": True}
    compare_command(first, tuple(others), laws=("saturation",), **options)
    assert json.loads(capsys.readouterr().out)["laws"][0]["predicted"]["D"] == pytest.approx(2**0.5)
    for command in (fit_command, scan_command):
        command(first, tuple(others), **options)
        assert json.loads(capsys.readouterr().out)
    origins_command(first, tuple(others), origins=(ORIGIN, LATER), t_min=1, t_max=100, directions=True, json=True)
    expected = compare_origins(directions(recorded[0]), [ORIGIN, LATER], t_min=1, t_max=100)
    assert json.loads(capsys.readouterr().out)["p_value"] == pytest.approx(expected.p_value)
    fit_command(first, tuple(others), per_layer=True, plot=tmp_path / "layers.svg", **options)
    assert json.loads(capsys.readouterr().out)[0]["parameter"] == "0.weight"
    assert "0.weight" in (tmp_path / "layers.svg").read_text()
    fit_command(first, tuple(others), origins=(str(ORIGIN), str(LATER)), **options | {"origin": None})
    assert json.loads(capsys.readouterr().out)["average"]["origins"] == [ORIGIN, LATER]
    with pytest.raises(AnalysisError, match="got --directions with --scalar"):
        fit_command(first, tuple(others), directions=True, scalar="distance")
