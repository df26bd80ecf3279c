"""`ultraslow demo`: from the start to the figures, and interrupted."""

import json
from importlib.util import find_spec

import pytest

from trajectory import Run
from ultraslow.cli.console import ProgressBars
from ultraslow.cli.demo import _where_the_rest_is


def test_interrupting_leaves_readable_stores(tmp_path, run, monkeypatch, ctrl_c):
    """Ctrl-C while the demo trains."""
    monkeypatch.setattr(ProgressBars, "__call__", lambda bars, name, done, total: done == 100 and ctrl_c())
    done = run("demo", "--out", tmp_path)
    assert done.returncode == 130
    assert str(tmp_path) in done.stderr
    left = Run(tmp_path / "sb-0.zarr")
    assert left.status == "interrupted (KeyboardInterrupt)"
    assert len(left.distance) >= 100


@pytest.fixture(scope="module")
def demo(tmp_path_factory, run):
    out = tmp_path_factory.mktemp("demo")
    done = run("demo", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out, json.loads(done.stdout)


def test_the_demo_finds_the_known_exponent(demo):
    _, found = demo
    walk = found["walk"]
    low, high = walk["fit"]["interval"]
    assert low < walk["true_alpha"] < high < low + 0.1
    assert walk["fit"]["verdict"] == "holds"
    assert found["found"][0].endswith("which holds it.")


def test_the_large_batch_is_worse_and_the_matched_one_is_not(demo):
    """The gap is several times what seeds differ by: 2 points, of which one test image is .2."""
    _, found = demo
    small, large, matched = found["methods"]
    assert large["updates"] == small["updates"] * 16 / 256
    assert large["epochs"] == small["epochs"]
    assert all(worse > its for worse, its in zip(large["errors"], small["errors"], strict=True))
    assert large["validation_error"] > small["validation_error"] + 0.01
    assert matched["validation_error"] < small["validation_error"] + 0.005
    assert "above that of batch 16" in found["found"][1]


def test_the_demo_matches_the_large_batch_to_the_small_one(demo):
    _, found = demo
    small, large, matched = found["methods"]
    assert small["drop_step"] == 400
    assert large["distance"] < matched["drop_distance"]
    assert matched["drop_distance"] == pytest.approx(small["drop_distance"], rel=0.02)
    assert 200 < matched["drop_step"] < 800  # a crossing, not the overshoot of the first updates


def test_the_demo_says_what_the_curve_follows_and_warns_thrice_at_most(demo):
    _, found = demo
    fit = found["reference_fit"]
    assert fit["n"] == 3
    assert not fit["provisional"]
    assert fit["interval"][0] < fit["alpha"] < fit["interval"][1]
    assert len(found["comparison"]["laws"]) == 15
    assert found["found"][2].startswith(("Of 15 laws, ", "None of 15 laws holds; "))
    assert 1 <= len(found["warnings"]) <= 3


def test_the_demo_writes_stores_and_figures(demo):
    out, found = demo
    for path in found["paths"]:
        assert path.startswith(str(out))
    for name in ("walk", "distance", "error", "laws"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    left = Run(out / "lb-matched.zarr")
    assert left.status == "complete"
    assert {"loss", "learning_rate", "validation_error", "epoch"} <= set(left.metrics.columns)
    assert len(left.snapshots) > 5
    assert any(name.endswith("running_mean") for name in left.state_dict(left.snapshots[-1]))


def test_the_demo_writes_the_report_where_plotly_is_installed(demo):
    out, found = demo
    report = out / "report.html"
    there = find_spec("plotly") is not None
    assert report.is_file() == there
    assert (str(report) in found["paths"]) == there
    assert str(report) in _where_the_rest_is(report, out)
    assert "pip install 'ultraslow[report]'" in _where_the_rest_is(None, out)
