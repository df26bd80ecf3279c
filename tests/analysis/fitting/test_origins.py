"""Which origin a fit measures from, how old it is, and several origins compared and averaged."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis import Curve, average_origins, compare, compare_origins, fit, fit_layers, scan
from analysis.errors import AnalysisError, SeedError
from analysis.fitting import origin_average
from analysis.fitting.age import Age, age_of, memory_time
from analysis.fitting.invariance import origin_invariance
from analysis.fitting.log_bins import Bins
from analysis.synthetic import noise
from trajectory import Recorder, Run
from ultraslow.cli.compare import compare as compare_command
from ultraslow.cli.fit import fit as fit_command
from ultraslow.cli.origins import origins
from ultraslow.cli.scan import scan as scan_command


def settings(**noted):
    return Curve(np.array([1.0, 2.0]), np.array([1.0, 1.1]), config=noted)


@pytest.mark.parametrize(
    ("noted", "memory"),
    [
        ({"lr": 0.1, "momentum": 0.9, "weight_decay": 0.002}, 500),
        ({"lr": 0.1, "weight_decay": 0.002}, 5000),
        ({"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.002}, 500),
        ({"lr": 0.1, "momentum": 0.9, "dampening": 0.9, "weight_decay": 0.002}, 5000),
        ({"lr": 0.1, "momentum": 0.0, "dampening": 0.9, "weight_decay": 0.002}, 5000),
        ({"lr": 0.1, "momentum": 0.9, "dampening": 1.0, "weight_decay": 0.002}, None),
        ({"lr": 0.001, "momentum": 0.9, "weight_decay": 0.1, "optimizer": "adamw"}, 10_000),
        ({"lr": 0.1, "weight_decay": 0}, math.inf),
        ({"weight_decay": 0.0, "optimizer": "adam"}, math.inf),
        ({"lr": 0.1, "weight_decay": 0.1, "optimizer": "adam"}, None),
        ({"weight_decay": 0.1}, None),
        ({"lr": "fast", "weight_decay": 0.1}, None),
        ({"lr": 0.1, "weight_decay": "some"}, None),
        ({"lr": 0.1, "momentum": 1.5, "weight_decay": 0.1}, None),
        ({}, None),
    ],
)
def test_the_memory_time_follows_from_what_is_noted(noted, memory):
    found = memory_time(settings(**noted))
    assert found == (memory if memory is None else pytest.approx(memory))


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ({}, "age unknown: no weight decay recorded"),
        ({"weight_decay": 0.1}, "age unknown: no learning rate recorded"),
        ({"lr": 1, "weight_decay": 0.1, "optimizer": "adam"}, "age unknown: weight decay under adam has no memory"),
        ({"lr": 0.1, "weight_decay": 0}, "without weight decay τ is infinite"),
    ],
)
def test_an_age_that_is_not_known_is_said_to_be(noted, said):
    assert said in str(age_of([settings(**noted)], (1.0, 2.0)))


def test_each_regime_is_told():
    young, old = Age((0,), (10.0, 400.0), 500.0), Age((5000,), (10.0, 400.0), 500.0)
    assert (young.steady, old.steady, old.origin_age) == (False, True, 10.0)
    assert "not steady" in young.expected
    assert "look like α ≈ 2. " not in young.warnings[0]
    assert "together look like α ≈ 2" in young.warnings[0]
    assert "nearest law" in old.expected
    assert old.warnings == ()
    assert "Measure from update 2500 or later." in Age((0,), (10.0, 4000.0), 500.0).warnings[0]
    assert "at update 2500, which these curves do not reach." in young.warnings[0]
    assert "Beyond about t = 1500 = 3τ" in Age((5000,), (10.0, 4000.0), 500.0).warnings[0]
    assert str(old) == "w_5000 is 10τ old, t = 0.02τ .. 0.8τ; τ = (1 − μ)/(ηλ) = 500 updates"
    assert json.loads(json.dumps(young.to_dict(), allow_nan=False))["t_max_age"] == pytest.approx(0.8)
    assert "nothing decays" in Age((0,), (1.0, 10.0), math.inf).expected


ORIGINS, UPDATES, MEMORY = (100, 300, 600, 2900), 3000, 25.0


def record(folder, seed, updates=UPDATES, **noted):
    """A random walk: the same law, d ~ t^(1/2), from every origin."""
    weights = torch.nn.Parameter(torch.zeros(100))
    optimizer = torch.optim.SGD([weights], lr=1.0)
    steps = torch.randn(UPDATES, 100, generator=torch.Generator().manual_seed(seed))
    path = folder / f"{seed}.zarr"
    module = torch.nn.ParameterList([weights])
    with Recorder(path, module, optimizer, schedule=5, origins=ORIGINS, config=noted) as recorder:
        assert recorder.origins == [0, *ORIGINS]
        for step in steps[:updates]:
            weights.grad = step
            optimizer.step()
    return Run(path)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three random walks that note a memory time of 25 updates."""
    folder = tmp_path_factory.mktemp("origins")
    return [record(folder, seed, lr=1.0, momentum=0.0, weight_decay=1 / MEMORY) for seed in range(3)]


def test_a_run_that_was_killed_is_named_where_several_origins_are_read(runs, tmp_path, capsys):
    killed = record(tmp_path, 9, updates=700, lr=1.0, momentum=0.0, weight_decay=1 / MEMORY)
    for call in (compare_origins, average_origins):
        with pytest.warns(UserWarning, match="9 is left out") as caught:
            call([*runs, killed], [100, 300], t_min=10)
        said = [str(one.message) for one in caught]
        assert [sentence.split(";")[0] for sentence in said] == [
            "9 is left out: it ends at t = 600, where others go on to t = 2900",
            "9 is left out: it ends at t = 400, where others go on to t = 2700",
        ]
    paths = [str(run.path) for run in (*runs, killed)]
    origins(paths[0], tuple(paths[1:]), origins=(100, 300), t_min=20)
    assert "! 9 is left out" in capsys.readouterr().err


def test_without_an_origin_the_oldest_that_leaves_two_decades_is_taken_and_said(runs):
    found = fit(runs)
    assert (found.origin, found.age.origin_age, found.age.steady) == (600, 24.0, True)
    said = "t counts from update 600, 24τ old, the oldest recorded origin after which two decades of t are left"
    assert said in found.warnings[0]
    assert found.fit_range[1] == UPDATES - 600
    assert compare(runs).origin == 600
    assert scan(runs).attrs["origin"] == 600
    assert "24τ old" in fit_layers(runs).attrs["age"]
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["age"]["origin_age"] == 24.0
    assert document["age"]["t_max_age"] == pytest.approx((UPDATES - 600) / MEMORY)


def test_an_origin_that_is_given_is_taken(runs):
    assert fit(runs, origin=0).origin == 0
    assert not any("origin was not given" in sentence for sentence in fit(runs, origin=0).warnings)
    assert fit([run.distance for run in runs]).origin == 0
    assert fit([(run.distance.index, run.distance.to_numpy()) for run in runs]).origin == 0


@pytest.mark.parametrize(("options", "origin"), [({"t_min": 25}, 300), ({"t_min": 100}, 0), ({"t_max": 1000}, 0)])
def test_what_is_enough_counts_from_t_min_to_t_max(runs, options, origin):
    found = fit(runs, **options)
    assert found.origin == origin
    if not origin:
        assert "t counts from w_0, since after none of the other recorded origins (100, 300" in found.warnings[0]


def test_a_law_that_is_the_same_from_other_steady_origins_holds(runs):
    """100 is four memory times old, and so not asked; 2900 leaves too little."""
    changes = fit(runs, t_min=20).invariance.changes
    assert [change.origin for change in changes] == [None, None, 300]
    assert [change.origin for change in compare(runs, ["power law"], t_min=20).invariance.changes] == [
        None,
        None,
        300,
    ]
    alone = fit(runs[0], t_min=20)
    assert alone.invariance.changes[-1].origin == 300
    assert not alone.invariance.moves


def test_alpha_that_differs_between_origins_is_no_law(runs, monkeypatch):
    """The walks from update 300 are replaced by ones that slow down."""
    from analysis.fitting import origin_choice

    read = origin_choice.read_seeds

    def slowed(data, origin, *rest, **options):
        group, notes = read(data, origin, *rest, **options)
        bent = [replace(curve, d=np.log(curve.t / 0.1) ** 0.5 * (curve.d / curve.t**0.5) ** 0.1) for curve in group]
        return (bent if origin == 300 else group), notes

    monkeypatch.setattr(origin_choice, "read_seeds", slowed)
    found = fit(runs, t_min=20)
    assert found.verdict == "α moves with the origin"
    assert any("α moves with the origin: α is" in s and "from update 300" in s for s in found.warnings)
    best = compare(runs, ["power law"], t_min=20)
    assert "moves with the origin" in best.verdict


u = np.log(np.geomspace(10, 1e4, 37))
covered = np.exp(u) * (u[1] - u[0])


def bins(z):
    return Bins(u, z, covered, covered, (10.0, 1e4), ("seed",) * len(z))


@pytest.mark.parametrize("n", [1, 3])
def test_one_law_is_seldom_said_to_move_with_the_origin(n):
    rng, law = np.random.default_rng(3), 2 * np.log(u - np.log(0.1))
    moved = sum(
        origin_invariance([(1, bins(law + noise(rng, u, n)), bins(law + noise(rng, u, n)))]).moves for _ in range(20)
    )
    assert moved <= 20 * 0.05 + 3 * np.sqrt(20 * 0.05 * 0.95)


def test_two_laws_of_single_runs_are_told_apart():
    rng, law = np.random.default_rng(4), 2 * np.log(u - np.log(0.1))
    for _ in range(3):
        pair = bins(0.3 * u + noise(rng, u, 1)), bins(law + noise(rng, u, 1))
        assert origin_invariance([(1, *pair)]).moves


def test_origins_are_compared_and_shown(runs):
    found = compare_origins(runs, t_min=20)
    assert found.frame.origin.tolist() == [100, 300, 600]
    assert [change.origin for change in found.changes] == [300, 600]
    assert not found.moves
    assert "No change is seen" in repr(found)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["ages"][2]["origin_age"] == 24.0
    with pytest.raises(AnalysisError, match="expected two updates or more"):
        compare_origins(runs, [300])
    for bare in (300, "300", "100,300"):
        with pytest.raises(AnalysisError, match=r"origins = .*300.?: expected a list of two updates or more"):
            compare_origins(runs, bare)
        with pytest.raises(AnalysisError, match="expected a list of two updates or more"):
            average_origins(runs, bare)
    with pytest.raises(AnalysisError, match="got no runs; expected three or more"):
        compare_origins([(run.distance.index, run.distance.to_numpy()) for run in runs], [100, 300])
    with pytest.raises(SeedError, match="1 from 100, 1 from 300"):
        compare_origins(runs[0], [100, 300])


def test_a_mean_over_origins_is_one_curve_a_seed_and_steadier(runs):
    mean = average_origins(runs)
    assert mean.origins == (300, 600)
    assert [len(mean.curves), mean.curves[0].t[-1]] == [3, UPDATES - 600]
    single = [run.displacement(origin) for origin in mean.origins for run in runs[:1]]
    expected = np.sqrt(single[0].loc[300 + 500] * single[1].loc[600 + 500])
    assert mean.curves[0].d[99] == pytest.approx(expected, rel=1e-12)
    assert 1 <= mean.independent <= 2
    found = fit(list(mean.curves), t_min=20)
    assert found.age.origins == (300, 600)
    assert "2 origins are 12τ to 24τ old" in str(found)
    assert "after each of 2 origins (300, 600)" in str(found)
    layers = fit_layers(mean.curves, t_min=20)  # of the one parameter
    assert layers.alpha.tolist() == pytest.approx([found.alpha])
    with pytest.raises(AnalysisError, match="got no runs"):
        average_origins([run.distance for run in runs])


def test_identical_origins_count_as_one():
    rng = np.random.default_rng(0)
    t = np.arange(1.0, 2001.0)
    each = [Curve(t, t**0.5 * np.exp(0.02 * rng.normal() * np.log(t))) for _ in range(5)]
    assert origin_average._independent([each, each], each) == pytest.approx(1.0)
    other = [replace(curve, d=curve.t**0.5 * np.exp(0.02 * rng.normal() * np.log(t))) for curve in each]
    wide = [replace(curve, d=curve.t**0.5 * np.exp(0.02 * rng.normal() * np.log(t))) for curve in each]
    means = [origin_average.mean_curve(pair, (1, 2)) for pair in zip(other, wide, strict=True)]
    assert 1.0 <= origin_average._independent([other, wide], means) <= 2.0


def test_the_commands_compare_and_average_origins(runs, capsys):
    paths = [str(run.path) for run in runs]
    origins(paths[0], tuple(paths[1:]), t_min=20)
    assert "No change is seen" in capsys.readouterr().out
    for command in (fit_command, compare_command):
        command(paths[0], tuple(paths[1:]), origins=("all",), t_min=20, json=True)
        found = json.loads(capsys.readouterr().out)
        assert found["average"]["origins"] == found["age"]["origins"] == [300, 600]
    scan_command(paths[0], tuple(paths[1:]), origins=("300", "600"), t_min=20)
    printed = capsys.readouterr().out
    assert "mean over 2 origins (300, 600)" in printed
    assert "2 origins are 12τ to 24τ old" in printed
    scan_command(paths[0], tuple(paths[1:]), json=True)
    assert {row["origin_age"] for row in json.loads(capsys.readouterr().out)} == {24.0}
