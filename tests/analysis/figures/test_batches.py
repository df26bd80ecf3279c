"""Figures of several batch sizes, rates and origins: what is on the axes is what the results hold."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from analysis import Curve, OriginComparison, collapse, critical_batch_size, figures
from analysis.fitting.age import Age
from analysis.fitting.invariance import Change
from trajectory import Recorder
from ultraslow.cli.collapse import collapse as collapse_command
from ultraslow.cli.critical_batch import critical_batch as critical_batch_command
from ultraslow.cli.origins import origins as origins_command

T = np.geomspace(1, 1000, 80)


def paths(rates, sizes, seeds=2):
    rng = np.random.default_rng(0)
    return [
        Curve(
            T,
            np.log(9 * T) * lr**0.6 * size**-0.3 * (1 + 0.01 * rng.normal()),
            f"{lr} {size} {seed}",
            config={"lr": lr, "batch_size": size},
        )
        for lr in rates
        for size in sizes
        for seed in range(seeds)
    ]


def test_a_collapse_is_drawn_before_and_after_and_each_setting_has_its_look():
    found = collapse(paths((0.05, 0.2), (16, 64, 256)))
    figure = found.plot()
    before, after, exponents = figure.axes
    assert len(before.lines) == len(after.lines) == 6
    spread = [np.ptp([np.log(line.get_ydata()[-1]) for line in ax.lines]) for ax in (before, after)]
    assert spread[0] > 1.5 > 0.05 > spread[1]
    assert len({(line.get_color(), line.get_linestyle()) for line in after.lines}) == 6
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [
        *("$B$ = 16", "$B$ = 64", "$B$ = 256", r"$\eta$ = 0.05", r"$\eta$ = 0.2")
    ]
    np.testing.assert_array_equal(exponents.lines[0].get_ydata(), found.frame["a"])
    ax = Figure().subplots()
    assert found.plot(ax) is ax.figure
    assert len(ax.lines) == 6


def test_many_batch_sizes_have_colours_of_their_own_and_one_rate_no_dashes():
    found = collapse(paths((0.1,), [2**k for k in range(8)], seeds=1))
    figure = figures.collapse(found, columns=1)
    assert (
        len(
            {
                line.get_color() if isinstance(line.get_color(), str) else tuple(line.get_color())
                for line in figure.axes[0].lines
            }
        )
        == 8
    )
    assert {text.get_text()[:3] for text in figure.legends[0].texts} == {"$B$"}
    assert [line.get_label() for line in figure.axes[2].lines] == ["$b$"]
    assert figure.get_figwidth() * 2.54 == pytest.approx(8.4)


def sweep(scatter):
    rng, t = np.random.default_rng(1), np.arange(1.0, 3001)
    needed = [(size, 100 * (1 + 64 / size) * math.exp(scatter * rng.normal())) for size in (8, 32, 128, 512) * 2]
    return [Curve(t, t / updates, config={"batch_size": size}) for size, updates in needed]


def test_the_critical_batch_is_drawn_with_its_interval_and_left_out_where_nothing_bounds_it():
    found = critical_batch_size(sweep(0.05), distance=1.0)
    (ax,) = found.plot().axes
    law, line, _, runs = ax.lines
    np.testing.assert_allclose(law.get_ydata(), found.fewest_updates * (1 + found.batch_size / law.get_xdata()))
    assert line.get_xdata()[0] == found.batch_size
    np.testing.assert_array_equal(runs.get_ydata(), found.frame["updates"])
    low, high = found.interval
    assert line.get_label() == f"$B_c$ = {found.batch_size:.3g} [{low:.3g}, {high:.3g}]"
    assert ax.get_ylabel() == "updates $S$ to $d$ = 1"
    open_above = replace(found, interval=(2000.4, math.inf), batch_size=3000.2)
    panel = Figure().subplots()
    assert open_above.plot(panel) is panel.figure
    assert panel.lines[1].get_label() == "$B_c$ = 3000 [2000, ∞]"
    assert panel.get_xlim()[1] > 3000
    unbounded = figures.critical_batch(replace(found, interval=(0.0, math.inf)), columns=2)
    assert [line.get_label() for line in unbounded.axes[0].lines][1:] == ["8 runs"]


def test_origins_stand_below_each_other_with_their_ages_and_the_verdict():
    frame = pd.DataFrame(
        {
            "origin": [500, 2500],
            "origin_age": [1.0, 5.0],
            "alpha": [1.2, 2.0],
            "low": [1.0, 1.9],
            "high": [1.4, 2.1],
            "p_value": [0.001, 0.4],
        }
    )
    change = Change("from update 2500", "alpha", 2.0, 0.8, 0.05, 1e-4, 2500)
    ages = tuple(Age((s,), (10.0, 1000.0), 500.0) for s in (500, 2500))
    found = OriginComparison((change,), frame, (10.0, 1000.0), ages, 3)
    figure = found.plot()
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["$w_{500}$, 1τ", "$w_{2500}$, 5τ"]
    assert figure.legends[0].get_title().get_text() == r"$\alpha$ moves with the origin ($p$ = 1.0$\times$10$^{-4}$)"
    points = {line.get_label(): line.get_xdata().tolist() for line in left.lines if "law" in str(line.get_label())}
    assert points == {"law holds ($p$ ≥ 0.05)": [2.0], "law rejected": [1.2]}
    assert right.get_xscale() == "log"
    unknown = replace(found, changes=(replace(change, p_value=0.4),), frame=frame.assign(origin_age=math.nan))
    ax = Figure().subplots()
    assert unknown.plot(ax) is ax.figure
    assert ax.get_yticklabels()[0].get_text() == "$w_{500}$"
    assert "is not seen to move" in ax.get_legend().get_title().get_text()


def record(path, seed, lr, size, updates=60):
    """A walk of rate lr/√B."""
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(300, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=lr * size**-0.5)
    config = {"lr": lr, "batch_size": size}
    with Recorder(path, model, optimizer, origins=[5, 10], config=config, seed=seed):
        for _ in range(updates):
            model.weight.grad = torch.randn(1, 300, generator=generator)
            optimizer.step()
    return str(path)


def test_the_commands_draw(tmp_path, capsys):
    first, *others = [
        record(tmp_path / f"{seed}.zarr", seed, lr, size)
        for seed, (lr, size) in enumerate([(0.1, 4), (0.2, 4), (0.1, 8), (0.2, 16), (0.1, 16)])
    ]
    collapse_command(first, tuple(others), plot=tmp_path / "collapse.svg")
    critical_batch_command(first, tuple(others), distance=2.0, plot=tmp_path / "critical.pdf", columns=2)
    seeds = [record(tmp_path / f"seed-{seed}.zarr", seed, 0.1, 4) for seed in range(10, 13)]
    origins_command(seeds[0], tuple(seeds[1:]), origins=(5, 10), t_min=1, plot=tmp_path / "origins.png")
    assert "b − a/2" in capsys.readouterr().out
    for name in ("collapse.svg", "critical.pdf", "origins.png"):
        assert (tmp_path / name).stat().st_size > 1000
