"""Motion budget, equilibrium and collapse, against walks whose answer is known in a formula.

Each walk lives in 3,000 dimensions, where ‖w‖² fluctuates about its mean by √(2/3000) = 2.6 % of itself; tolerances
are five standard errors or more.
"""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from analysis import AnalysisError, Curve, budget, collapse, curves, equilibrium, figures, time_averaged, two_time
from analysis.errors import FitRangeError, MotionError
from trajectory import LogSpaced, Recorder, Run

DIMENSIONS, SEEDS = 3000, 3
MOTION = ["distance", "update_norm", "norm"]


def walk(path, seed, *, momentum=0.9, spring=0.0, speed=0.0, noise=0.01, updates=900, **options):
    """Record Δw_t = μ Δw_{t−1} + noise − spring (w − w_0) + speed along one direction."""
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(DIMENSIONS, 1, bias=False)
    start, ahead = model.weight.detach().clone(), torch.full((1, DIMENSIONS), DIMENSIONS**-0.5)
    step = torch.zeros(1, DIMENSIONS)
    options = {"quantities": MOTION, "config": {"momentum": momentum}} | options
    with Recorder(path, model, **options) as recorder, torch.no_grad():
        for _ in range(updates):
            kick = noise * torch.randn(1, DIMENSIONS, generator=generator)
            step = momentum * step + kick - spring * (model.weight - start) + speed * ahead
            model.weight += step
            recorder.update()
    return Run(path)


@pytest.fixture(scope="module")
def walks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("walks")
    return [walk(folder / f"seed{i}.zarr", i) for i in range(SEEDS)]


def test_a_random_walk_with_momentum_has_r_1(walks):
    found = budget(walks)
    assert found.frame.t_start.tolist() == [100, 200, 400]
    # increments of d² over a window of n updates: sd √(2/D) (1 + d²(start)/gain …) < 4 % a run
    assert np.allclose(found.frame.ratio, 1, atol=5 * 0.04 / SEEDS**0.5)
    assert (found.frame.motion == "diffusion").all()
    assert found.exact
    assert found.warnings == ()


@pytest.mark.parametrize(("true", "noted"), [(0.9, 0.0), (0.0, 0.9), (0.9, 0.9)])
def test_a_noted_momentum_is_held_against_the_correlation_of_neighbouring_updates(tmp_path, true, noted):
    """⟨Δw_1, Δw_2⟩ of 6000 numbers has a standard error of √(1/6000) = 1.3 %."""
    run = walk(tmp_path / "run.zarr", 0, momentum=true, updates=430, origins=[50, 200], config={"momentum": noted})
    found = budget(run)
    assert found.correlation == pytest.approx(true, abs=5 * 0.013)
    assert found.to_dict()["momentum_given"] is False
    assert f"μ = {noted:g}, as the runs note; neighbouring updates have correlation {found.correlation:.2f}." in repr(
        found
    )
    warned = [sentence for sentence in found.warnings if "the momentum was another" in sentence]
    assert len(warned) == (true != noted)
    assert budget(run, momentum=true).warnings == ()
    assert "as given" in repr(budget(run, momentum=true))


def test_a_budget_knows_no_momentum_of_mixed_runs_and_no_window_across_a_drop(tmp_path, walks):
    other = walk(tmp_path / "other.zarr", 5, momentum=0.5)
    with pytest.raises(MotionError, match=r"note several values of momentum \(0\.9, 0\.5\); expected one"):
        budget([walks[0], other], force=True)
    early = budget(walks, t_min=10)
    assert early.warnings == ("The first window begins before t = 100 = 10/(1 − μ): R is too small there.",)
    (curve,) = curves(walks[0])
    with pytest.raises(FitRangeError, match="lies past the learning-rate drop at update 400"):
        budget([replace(curve, drops=(400.0,))], t_max=800)


def test_the_budget_adds_up(walks):
    """Gain = path + 2 drift, and the drift is the sum of inner products, which snapshots give too."""
    found = budget(walks[:1], t_min=100, t_max=800, factor=8)
    (row,) = found.to_dict()["windows"]
    assert row["gain"] == pytest.approx(row["path"] + 2 * row["drift"], rel=1e-12)
    distance, update = walks[0].distance, walks[0].total("update_norm")
    assert row["gain"] == pytest.approx(distance[800] ** 2 - distance[100] ** 2, rel=1e-12)
    assert row["path"] == pytest.approx((update.loc[101:800] ** 2).sum(), rel=1e-12)
    assert row["low"] is None
    norm = walks[0].total("norm")
    assert row["norm_drift"] == pytest.approx((norm[800] ** 2 - norm[100] ** 2 - row["path"]) / 2, rel=1e-9)


def test_a_spring_confines_and_a_force_drifts(tmp_path):
    """An Ornstein–Uhlenbeck process stops gaining; with d = v t, R over [t, 2t] is 3 v² t (1 − μ)/((1 + μ) v²)."""
    bound = budget([walk(tmp_path / f"bound{i}.zarr", i, spring=2e-3, momentum=0.0) for i in range(SEEDS)], t_min=100)
    # d² = (1 − e^(−2 k t)) σ² D/(2 k): over [100, 200] a share (e^−.4 − e^−.8)/(2 k · 100) of the path
    assert bound.frame.ratio[0] == pytest.approx((np.exp(-0.4) - np.exp(-0.8)) / 0.4, abs=5 * 0.04 / SEEDS**0.5)
    assert bound.frame.motion.tolist() == ["confinement"] * 3
    straight = {"speed": 1.0, "momentum": 0.0, "noise": 1e-4}
    ahead = budget([walk(tmp_path / f"ahead{i}.zarr", i, **straight) for i in range(2)], t_min=10)
    expected = (ahead.frame.t_end**2 - ahead.frame.t_start**2) / (ahead.frame.t_end - ahead.frame.t_start)
    assert np.allclose(ahead.frame.ratio, expected, rtol=1e-3)
    assert set(ahead.frame.motion) == {"drift"}


def test_log_spaced_rows_give_the_same_budget_to_what_interpolation_leaves(tmp_path, walks):
    sparse = walk(tmp_path / "sparse.zarr", 0, schedule=LogSpaced(24))
    found, exact = (budget(run, t_min=100, t_max=750, factor=7.4) for run in (sparse, walks[0]))
    assert not found.exact
    assert "Not every update was recorded" in found.warnings[0]
    with pytest.raises(MotionError, match=r"t = 100 and 115, where all runs recorded 2 updates"):
        budget(sparse, t_min=100, t_max=115, factor=1.05)  # windows end at rows, and 105 is none
    per_update = [(b.frame.path / (b.frame.t_end - b.frame.t_start))[0] for b in (found, exact)]
    # ‖Δw‖² fluctuates by 2.6 % from update to update, and some twenty of them are seen
    assert per_update[0] == pytest.approx(per_update[1], rel=5 * 0.026 / 20**0.5)


def test_layers_and_origins_have_budgets_of_their_own(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(40, 40, bias=False), torch.nn.Linear(40, 1, bias=False))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.5)
    with Recorder(tmp_path / "r.zarr", model, optimizer, quantities=MOTION, origins=[20], config={"momentum": 0.5}):
        for _ in range(200):
            optimizer.zero_grad()
            (model(torch.randn(8, 40)) - torch.randn(8, 1)).square().mean().backward()
            optimizer.step()
    run = Run(tmp_path / "r.zarr")
    found = budget(run, per_layer=True)
    assert list(found.frame.parameter.unique()) == ["all", "0.weight", "1.weight"]
    parts = found.frame.groupby("t_start")[["path", "gain"]]
    assert all(np.allclose(rows.iloc[0], rows.iloc[1:].sum(), rtol=1e-6) for _, rows in parts)
    later = budget(run, origin=20, t_min=10)
    row = later.frame.iloc[0]
    moved = run.displacement(20)
    assert row.gain == pytest.approx(moved[20 + row.t_end] ** 2 - moved[20 + row.t_start] ** 2, rel=1e-12)
    assert later.origin == 20


def sphere(path, seed, *, lr=0.1, decay=0.05, momentum=0.9, updates=900):
    """Record gradients orthogonal to scale-invariant weights, of size 1/‖w‖, under decay; and a bias beside them."""
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(DIMENSIONS, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=decay)
    config = {"lr": lr, "momentum": momentum, "weight_decay": decay}
    with Recorder(path, model, optimizer, quantities=MOTION, config=config):
        for _ in range(updates):
            w = model.weight.detach()
            noise = torch.randn(w.shape, generator=generator)
            model.weight.grad = (noise - (noise * w).sum() / w.square().sum() * w) / w.norm()
            model.bias.grad = torch.randn(1, generator=generator)
            optimizer.step()
    return Run(path)


def test_scale_invariant_weights_reach_the_rotation_of_the_balance(tmp_path):
    """√(2ηλ/(1 + μ)) to 2 % after 40 memory times; a bias is no such weight, and a young run is said to be young."""
    runs = [sphere(tmp_path / f"seed{i}.zarr", i) for i in range(SEEDS)]
    found = equilibrium(runs)
    assert found.memory == pytest.approx(0.1 / (0.1 * 0.05))
    weight, bias = found.frame.iloc[0], found.frame.iloc[1]
    assert weight.ratio == pytest.approx(1, abs=0.02)
    assert weight.expected == pytest.approx((2 * 0.1 * 0.05 / 1.9) ** 0.5)
    assert weight.state == "reached"
    assert bias.state != "reached"
    assert found.warnings == ()
    young = equilibrium(runs, t_max=40)
    assert young.age == pytest.approx(2)
    assert "2 of the 5 memory times" in young.warnings[0]


def test_a_balance_is_that_of_one_setting_and_of_the_rate_noted(tmp_path):
    one, other = (
        sphere(tmp_path / "one.zarr", 0, updates=60),
        sphere(tmp_path / "other.zarr", 1, updates=60, decay=0.1),
    )
    with pytest.raises(MotionError, match="one and other note other rates, momenta or decays"):
        equilibrium([one, other], force=True)
    (curve,) = curves(one)
    noted = equilibrium([replace(curve, config={**curve.config, "lr": 0.2})])
    assert "one notes lr 0.2, and its recorded rate is 0.1 to 0.1 between t = 30 and 60" in noted.warnings[0]


def path_of(lr, batch, seed, exponents=(0.6, 0.3)):
    t = np.geomspace(1, 1000, 80)
    noise = 1 + 0.01 * np.random.default_rng(seed).normal()
    d = np.log(9 * t) * float(lr) ** exponents[0] * batch ** -exponents[1] * noise
    return Curve(t, d, f"{lr} {batch} {seed}", config={"lr": lr, "batch_size": batch})


def test_the_exponents_of_rate_and_batch_are_recovered():
    """One factor of 1 % a run: the standard error of a is .01/(√18 · sd of log η), of b likewise; five of them."""
    runs = [path_of(lr, batch, seed) for lr in (0.05, 0.1, 0.2) for batch in (16, 64) for seed in range(3)]
    found = collapse([*runs, path_of(0.1, 32, 9)])
    assert found.a == pytest.approx(0.6, abs=5 * 0.01 / 19**0.5 / 0.57)
    assert found.b == pytest.approx(0.3, abs=5 * 0.01 / 19**0.5 / 0.69)
    assert found.a_interval[0] < found.a < found.a_interval[1]
    assert found.excess_interval[0] < 0 < found.excess_interval[1]
    assert found.after < 0.02 < found.before
    assert np.allclose(found.frame.a, found.a, atol=1e-9)  # the same factor at every t


def test_a_run_that_ends_early_is_left_out_of_a_collapse_and_named():
    runs = [path_of(0.1, batch, seed) for seed, batch in enumerate((16, 64, 256))]
    short = path_of(0.1, 1024, 9)
    short = replace(short, t=short.t[short.t < 50], d=short.d[short.t < 50])
    found = collapse([*runs, short])
    assert found.n == 3
    assert found.warnings[0].startswith("0.1 1024 9 is left out: it ends at t = ")
    assert f"! {found.warnings[0]}" in repr(found)


def test_what_varies_alone_has_an_exponent():
    found = collapse([path_of(0.1, batch, seed) for batch in (16, 64, 256) for seed in range(2)])
    assert np.isnan(found.a)
    assert found.b_interval[0] < 0.3 < found.b_interval[1]
    assert found.to_dict()["a"] is None
    assert "all runs have one value" in repr(found)


@pytest.mark.parametrize(
    ("analyse", "said"),
    [
        (lambda walks: budget((np.arange(1, 99), np.arange(1, 99))), "needs a recorded run"),
        (lambda walks: budget(walks, momentum=1.0), r"momentum = 1\.0: expected a number from 0 on, below 1"),
        (lambda walks: budget(walks, t_min=700), "t = 700 and 900, where all runs recorded 201 updates: expected an"),
        (lambda walks: budget(walks, momentum=math.nan), "momentum = nan: expected a number from 0 on, below 1"),
        (lambda walks: budget(walks, factor=1), "factor = 1: expected"),
        (lambda walks: budget(walks, factor=1 + 1e-9), r"factor = 1\.000000001: expected .*, 1\.01 or more"),
        (lambda walks: budget(walks, per_layer="no"), "per_layer = 'no': expected True or False"),
        (lambda walks: budget(walks, nesterov="no"), "nesterov = 'no': expected True or False"),
        (lambda walks: equilibrium(walks), "expected the numbers lr, momentum and weight_decay"),
        (lambda walks: collapse(walks), "notes lr None and batch_size None"),
        (lambda walks: collapse([path_of(0.1, 16, 0)] * 2), "are one curve"),
        (lambda walks: collapse([path_of(0.1, 16, 0), path_of("0.2", 64, 1)]), "notes lr '0.2' and batch_size 64"),
        (lambda walks: two_time(np.arange(9.0)), "got float64; expected recorded runs"),
        (lambda walks: time_averaged(None), "got no run, but NoneType; expected recorded runs"),
        (lambda walks: two_time([]), "got no run, but list; expected"),
        (lambda walks: two_time([walks[0], walks[0]]), "are one curve"),
        (lambda walks: time_averaged([walks[0], walks[0]]), "are one curve"),
        (lambda walks: collapse([path_of(0.1, 16, 0), path_of(0.1, 16, 1)]), "one learning rate and one batch size"),
        (lambda walks: collapse([path_of(0.1, 16, 0), path_of(0.2, 64, 1)]), "do not determine the exponents"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_in_a_line(walks, analyse, said):
    with pytest.raises(AnalysisError, match=said) as refused:
        analyse(walks)
    assert "\n" not in str(refused.value)


def test_weights_that_become_nan_are_named_and_no_diffusion(tmp_path):
    settings = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.1}
    model = torch.nn.Linear(20, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "lost.zarr", model, optimizer, quantities=MOTION, config=settings) as recorder:
        for t in range(1, 81):
            model.weight.grad = torch.randn(1, 20) if t != 60 else torch.full((1, 20), math.nan)
            optimizer.step()
    run = Run(tmp_path / "lost.zarr")
    assert recorder is not None
    with pytest.raises(MotionError, match="lost: the motion of all is no number from t = 60 on; expected finite"):
        budget(run, momentum=0.0)
    with pytest.raises(MotionError, match="lost: the weights are no numbers at update 60; expected finite"):
        equilibrium(run)
    layers = budget(run, momentum=0.0, t_max=50, per_layer=True)
    bias = layers.frame[layers.frame.parameter == "bias"]
    assert set(bias.motion) == {"still"}  # it got no gradient
    assert "nan" not in repr(layers)
    balance = equilibrium(run, t_max=50).frame.set_index("parameter")
    assert balance.state.to_dict() == {"weight": "not steady", "bias": "still"}


def test_one_run_that_stands_still_does_not_still_the_others(tmp_path, walks):
    """It is named, and takes from its windows the R that a mean without it would not have."""
    model = torch.nn.Linear(DIMENSIONS, 1, bias=False)
    settings = {"quantities": MOTION, "config": {"momentum": 0.9}}
    with Recorder(tmp_path / "dead.zarr", model, **settings) as recorder, torch.no_grad():
        for t in range(1, 901):
            model.weight += 0.01 * torch.randn(1, DIMENSIONS) if t <= 350 else 0.0
            recorder.update()
    found = budget([*walks, Run(tmp_path / "dead.zarr")])
    assert found.frame.motion.tolist()[-1] == ""
    assert math.isnan(found.frame.ratio.iloc[-1])
    (said,) = [sentence for sentence in found.warnings if "stands still" in sentence]
    assert said.startswith("dead stands still from t = 350 on")
    assert not any("stands still" in sentence for sentence in budget(walks).warnings)
    assert budget(Run(tmp_path / "dead.zarr")).frame.motion.tolist()[-1] == "still"


def test_a_run_that_stands_still_is_named_in_a_collapse():
    runs = [path_of(0.1, batch, seed) for batch in (16, 64, 256) for seed in range(2)]
    dead = replace(runs[0], d=np.where(runs[0].t > runs[0].t[-8], runs[0].d[-8], runs[0].d), name="dead")
    (said,) = collapse([*runs[1:], dead]).warnings
    assert said.startswith("dead stands still from t = ")


def test_a_balance_is_not_read_from_one_update_nor_called_missed_before_its_time(tmp_path):
    run = sphere(tmp_path / "young.zarr", 0, updates=60)
    with pytest.raises(MotionError, match=r"holds 1 recorded updates between t = 0\.5 and 1; expected two"):
        equilibrium(run, t_max=1)
    assert "not balanced" not in set(equilibrium(run).frame.state)  # three memory times old


def test_runs_without_the_quantities_are_refused_with_the_way_to_record_them(tmp_path):
    plain = walk(tmp_path / "plain.zarr", 0, updates=20, quantities=["distance"])
    for analyse in (budget, equilibrium):
        with pytest.raises(AnalysisError, match="ultraslow train --quantities"):
            analyse(plain)


def test_the_budget_is_drawn_with_the_line_of_diffusion(walks):
    figure = figures.budget(budget(walks))
    (panel,) = figure.axes
    assert "squared distance gained" in panel.get_ylabel()
    assert "updates" in panel.get_xlabel()
    assert [text.get_text() for text in panel.texts] == ["diffusion"]
    assert panel.get_ylim()[0] == 0
    ax = Figure().subplots()
    assert budget(walks).plot(ax) is ax.figure
    assert ax.get_xlabel() == panel.get_xlabel()


def test_budgets_that_differ_by_powers_of_ten_are_drawn_so_and_the_figure_says_how_many_it_shows(walks):
    found = budget(walks)
    ratios = pd.DataFrame({"parameter": [f"{k}.weight" for k in range(9)], "ratio": np.geomspace(0.1, 100, 9)})
    window = {"t_start": 100.0, "t_end": 200.0, "low": np.nan, "high": np.nan}
    figure = figures.budget(replace(found, frame=ratios.assign(**window)))
    assert figure.axes[0].get_yscale() == "log"
    (legend,) = figure.legends
    assert legend.get_title().get_text() == "6 of 9 parameters"
    assert len(legend.get_texts()) == 6
