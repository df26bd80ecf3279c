"""Two-time displacements and averages over time, against walks whose ageing is known.

A Brownian path at clock time s(t) has D² = N σ² (s(t_w + τ) − s(t_w)): s = t does not age (μ = 0), and s = log t ages
fully (D² = log(1 + τ/t_w), μ = 1). In N = 3000 dimensions D fluctuates by 1/√(2N) = 1.3 %.
"""

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from analysis import AnalysisError, CurveError, figures, time_averaged, two_time
from analysis.errors import MotionError
from trajectory import Every, Recorder

DIMENSIONS = 3000
WAITS = [20, 50, 120, 300]


def path(where, clock, seed, updates=900, **options):
    generator = torch.Generator().manual_seed(seed)
    model = torch.nn.Linear(DIMENSIONS, 1, bias=False)
    with Recorder(where, model, **options) as recorder, torch.no_grad():
        for t in range(1, updates + 1):
            passed = max(clock(t) - clock(t - 1), 0.0) ** 0.5
            model.weight += passed * torch.randn(1, DIMENSIONS, generator=generator)
            recorder.update()
    return where


def logarithm(t):
    return np.log(max(t, 1))


@pytest.mark.parametrize(("clock", "mu"), [(float, 0.0), (logarithm, 1.0)], ids=["stationary", "full ageing"])
def test_the_exponent_of_ageing_is_recovered(tmp_path, clock, mu):
    runs = [path(tmp_path / f"{i}.zarr", clock, i, origins=WAITS) for i in range(3)]
    found = two_time(runs)
    assert found.mu == pytest.approx(mu, abs=0.05)
    assert found.spread < 0.03
    assert max(found.spread_stationary, found.spread_full_ageing) > 0.2
    assert sorted(found.frame.waiting_time.unique()) == WAITS
    row = found.frame.iloc[0]
    expected = (DIMENSIONS * (clock(row.waiting_time + row.lag) - clock(row.waiting_time))) ** 0.5
    assert row.distance == pytest.approx(expected, rel=0.07)
    assert not found.sketched
    drawn = figures.ageing(found)
    assert len(drawn.axes) == 2
    drawn.draw_without_rendering()
    heights = [label.get_text() for label in drawn.axes[0].yaxis.get_majorticklabels() if label.get_text()]
    assert heights
    assert not any("10^" in label for label in heights)  # 2, 5, 10 over less than two decades
    ax = Figure().subplots()
    assert found.plot(ax) is ax.figure
    assert [line.get_label() for line in ax.lines] == [f"{wait:g}" for wait in WAITS]


def recorded(where, change, updates=900, **options):
    """A walk of three waiting times, whose update t is changed from the middle on."""
    model = torch.nn.Linear(DIMENSIONS, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    generator = torch.Generator().manual_seed(0)
    with Recorder(where, model, optimizer, origins=WAITS[:3], **options):
        for t in range(1, updates + 1):
            model.weight.grad = torch.randn(1, DIMENSIONS, generator=generator)
            if t > updates // 2:
                change(optimizer.param_groups[0], model.weight.grad)
            optimizer.step()
    return where


def test_what_follows_a_drop_does_not_age_the_walk(tmp_path):
    found = two_time(recorded(tmp_path / "drop.zarr", lambda group, grad: group.update(lr=0.01)))
    assert found.warnings == ("drop drops its rate after update 450: the rest is left out.",)
    assert found.frame.lag.max() < 450
    assert found.mu == pytest.approx(0, abs=0.05)
    assert "! drop drops its rate" in repr(found)


def test_weights_that_are_no_numbers_or_stand_still_are_refused_in_a_line(tmp_path):
    with pytest.raises(MotionError, match="lost: its distance from update 20 is no number at update 451"):
        two_time(recorded(tmp_path / "lost.zarr", lambda group, grad: grad.fill_(np.nan)))
    still = path(tmp_path / "still.zarr", lambda t: 0.0, 0, origins=WAITS)
    with pytest.raises(
        MotionError, match=r"still: has 4 origins after w_0 and 0 sketches .* moves on from 0 of them"
    ):
        two_time(still)


def test_sketches_give_waiting_times_too_and_say_how_well(tmp_path):
    run = path(tmp_path / "run.zarr", float, 0, sketch=1024, sketches=Every(50))
    found = two_time(run)
    assert found.mu == pytest.approx(0, abs=0.1)
    assert found.sketched
    assert "From sketches" in repr(found)
    assert found.to_dict()["interval"] == [None, None]


def test_averages_over_time_grow_as_those_over_walks(tmp_path):
    """δ² = N τ for s = t, to the sketch's 1/√(2K) = 2 % of a distance and the walk's own fluctuation."""
    runs = [path(tmp_path / f"{i}.zarr", float, i, sketch=1024, sketches=Every(50)) for i in range(3)]
    found = time_averaged(runs, start=50)
    assert found.frame.lag.tolist() == [50 * k for k in range(1, 10)]
    assert np.allclose(found.frame.msd[:4], DIMENSIONS * found.frame.lag[:4], rtol=0.1)
    assert (found.frame.ergodicity_breaking[:4] < 0.02).all()
    assert time_averaged(runs[0], start=50).to_dict()["lags"][0]["ergodicity_breaking"] is None


def test_what_follows_a_drop_is_no_part_of_the_average_over_time(tmp_path):
    every = {"sketch": 1024, "sketches": Every(50)}
    slower = recorded(tmp_path / "drop.zarr", lambda group, grad: group.update(lr=0.01), **every)
    found = time_averaged(slower)
    assert found.steps == (50, 450)
    assert found.warnings == ("drop drops its rate after update 450: the rest is left out.",)
    assert "! drop drops its rate" in repr(found)
    assert np.allclose(found.frame.msd[:2], DIMENSIONS * found.frame.lag[:2], rtol=0.15)
    with pytest.raises(
        MotionError, match="holds sketches at steps 400, 450 before its learning rate drops; expected"
    ):
        time_averaged(slower, start=400)
    with pytest.raises(MotionError, match="lost: its weights are no numbers at update 500; expected a run whose"):
        time_averaged(recorded(tmp_path / "lost.zarr", lambda group, grad: grad.fill_(np.nan), **every))


def test_weights_that_stand_still_have_no_spread_over_runs(tmp_path):
    every = {"sketch": 64, "sketches": Every(20)}
    runs = [path(tmp_path / f"{i}.zarr", lambda t: min(t, 90.0), i, 200, **every) for i in range(2)]
    assert time_averaged(runs, start=100).frame.msd.tolist() == [0.0] * 3


def test_runs_with_origins_and_runs_with_sketches_go_together(tmp_path):
    one = path(tmp_path / "origins.zarr", float, 0, origins=WAITS)
    other = path(tmp_path / "sketches.zarr", float, 1, sketch=1024, sketches=Every(50))
    found = two_time([one, other])
    assert found.n == 2
    assert found.sketched
    assert found.mu == pytest.approx(0, abs=0.1)


def test_a_start_that_is_no_update_is_refused(tmp_path):
    run = path(tmp_path / "run.zarr", float, 0, updates=200, sketch=64, sketches=Every(20))
    assert time_averaged(run, start=40).steps == (40, 200)
    for start in ("40", None, -1, 40.5, float("nan")):
        with pytest.raises(AnalysisError, match=r"start = .*: expected the number of an update"):
            time_averaged(run, start=start)


def test_averages_over_time_need_even_spacing(tmp_path):
    run = path(tmp_path / "run.zarr", float, 0, updates=200, sketch=64)
    with pytest.raises(MotionError, match=r"expected four or more, evenly spaced.*--sketches every:n"):
        time_averaged(run)
    plain = path(tmp_path / "plain.zarr", float, 0, updates=200, origins=[50])
    with pytest.raises(MotionError, match=r"has 1 origins after w_0 and 0 sketches .* moves on from 1 of them"):
        two_time(plain)
    with pytest.raises(MotionError, match="holds sketches at no step"):
        time_averaged(plain)


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(CurveError, match="no run is in that folder"):
        two_time(tmp_path)
