"""Each name of a figure draws; options and names that do not exist are refused before any run is opened."""

from typing import get_args

import numpy as np
import pytest
import torch

from analysis import figures
from analysis.errors import FigureError, SeedError
from trajectory import Recorder
from ultraslow.cli.plot import FIGURES, Name, draw, plot


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs of 2000 updates, the first with a learning-rate drop after 1500, the second large; 20 an epoch."""
    folder = tmp_path_factory.mktemp("runs")
    return [
        record(folder / "sb.zarr", {"batch_size": 8, "base_batch_size": 8}, drop=1500),
        record(folder / "lb.zarr", {"batch_size": 64, "base_batch_size": 8}),
        record(folder / "adapted.zarr", {"batch_size": 64, "base_batch_size": 8, "ghost_batch_size": 8}),
    ]


def record(path, config, drop=None):
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = np.random.default_rng(config["batch_size"]).normal(0, 1e-3, 2001)
    with Recorder(path, model, optimizer, config={"label": path.stem, **config}) as recorder:
        for t in range(1, 2001):
            model.weight.grad = (model.weight.detach() - t**0.25 * np.exp(noise[t])) / 0.1
            optimizer.step()
            if t == drop:
                recorder.event("lr_drop", lr_from=0.1, lr_to=0.01)
            if t % 500 == 0:
                recorder.log(epoch=t / 20, validation_error=1 / t, train_error=1 / t, wall_time=t / 10)
    return str(path)


@pytest.mark.parametrize("name", get_args(Name))
def test_each_name_draws(runs, tmp_path, capsys, name):
    of_seeds = name in ("fit", "scan", "compare", "layers")  # of one experiment, whose first drop ends what is fitted
    plot(name, runs[0], () if of_seeds else runs[1:2] if name == "match" else runs[1:], out=tmp_path / "x.svg")
    assert capsys.readouterr().out.split() == [str(tmp_path / "x.svg")]
    assert (tmp_path / "x.svg").stat().st_size > 1000


def test_options_reach_the_figure(runs):
    assert len(FIGURES["error"](runs, training=True, zoom=30).axes) == 8
    assert len(FIGURES["error-epochs"](runs, zoom=30).axes) == 2


def test_range_origin_width_and_style_reach_the_figure(runs, tmp_path):
    drawn = draw("fit", runs[0], t_min=100.0, columns=2)
    assert drawn.get_figwidth() * 2.54 == pytest.approx(17.4)
    assert drawn.axes[0].lines[1].get_xdata()[0] == pytest.approx(100)
    plot("scan", runs[0], out=tmp_path / "x.svg", t_min=10, t_max=1000, columns=1, style="dark_background")
    assert "#ffffff" in (tmp_path / "x.svg").read_text()
    with pytest.raises(FigureError, match="error takes no --t-min; expected one of fit, scan, compare, layers"):
        plot("error", "no-such-run", out=tmp_path / "x.png", t_min=10)


@pytest.mark.filterwarnings("ignore:.*seeds")  # by layer, there is no other place to say it
@pytest.mark.parametrize("name", ["fit", "scan", "compare", "layers"])
def test_runs_of_other_settings_are_seeds_only_by_force(runs, tmp_path, name):
    with pytest.raises(SeedError, match=r"no seeds of one experiment: batch_size .*\(--force\)"):
        plot(name, runs[0], runs[1:2], out=tmp_path / "x.svg")
    plot(name, runs[0], runs[1:2], out=tmp_path / "x.svg", force=True)
    assert (tmp_path / "x.svg").stat().st_size > 1000


@pytest.mark.parametrize("option", [{"training": True}, {"zoom": 1.0}])
def test_an_option_of_another_figure_is_refused_before_a_run_is_opened(tmp_path, option):
    with pytest.raises(FigureError, match=r"figure distance takes no --\w+; expected one of error, error-updates"):
        plot("distance", "no-such-run", out=tmp_path / "x.png", **option)


def test_a_match_needs_two_runs(runs, tmp_path):
    with pytest.raises(FigureError, match="got 1 run"):
        plot("match", runs[0], out=tmp_path / "x.png")


def test_the_former_draw_computes_and_draws_with_a_warning(runs):
    with pytest.warns(DeprecationWarning, match=r"now ultraslow\.cli\.plot\.draw"):
        assert figures.draw("distance", runs).axes
    with pytest.raises(FigureError, match="no figure is named 'nope'; expected one of distance, "):
        draw("nope", runs)
