"""The demo's sentences: each result in words, whichever way it comes out."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis import compare, fit
from analysis.fitting.fit_result import MOVES
from analysis.synthetic import synthetic
from train.reproduce.demo import Demo, MethodRow, _report, _warnings, configs


def row(label, errors, drop=400.0):
    mean = sum(errors) / len(errors)
    return MethodRow(label, 16, 800.0, 10.0, 16.5, drop, drop and 16.4, errors, mean)


@pytest.fixture(scope="module")
def demo():
    seeds = synthetic("ultraslow", alpha=1.0, t0=0.1, seeds=3, t=np.arange(1.0, 2001.0))
    walk = fit(seeds, t_min=1)
    rows = (row("small", (0.02, 0.03)), row("large", (0.05, 0.05)), row("matched", (0.01, 0.01)))
    laws = compare(seeds, ["ultraslow", "pure log", "normal"], t_min=1)
    return Demo(walk, rows, walk, laws, (), ())


def test_a_gap_has_a_side_and_a_sign_by_seed(demo):
    assert demo.found()[1].splitlines() == [
        "large: the error is 2.5 percentage points above that of small (+3.0, +2.0 by seed).",
        "matched: the error is 1.5 percentage points below that of small (−1.0, −2.0 by seed).",
    ]


def test_an_interval_that_misses_is_said_to_miss(demo):
    assert "which holds it" in demo.found()[0]
    missed = replace(demo, walk=replace(demo.walk, interval=(1.1, 1.3)))
    assert "which misses it" in missed.found()[0]


def test_the_third_part_names_the_best_law_and_what_is_not_ruled_out(demo):
    best, law = demo.found()[2].splitlines()
    assert best == "Of 3 laws, ultraslow, log(t/t0)^(2/alpha), fits best; the curves rule out the others."
    assert "has α = 1.0" in law


def test_a_rejected_law_has_no_exponent(demo):
    rejected = replace(demo, reference=replace(demo.reference, p_value=1e-4))
    assert demo.reference.verdict == "holds"
    assert rejected.found()[2].endswith("there is no α to quote.")


def test_an_exponent_that_moves_is_said_to_move(demo):
    moving = SimpleNamespace(
        rejected=False,
        verdict=MOVES,
        fit_range=(1.0, 2000.0),
        rms_residual=0.002,
        alpha=1.2,
        quoted_interval=None,
    )
    sentence = replace(demo, reference=moving).found()[2].splitlines()[1]
    assert sentence.endswith("has α = 1.20, without an interval; α moves with the fit range.")


def test_a_run_without_a_drop_says_so(demo):
    lacking = replace(demo, methods=(*demo.methods[:2], row("matched", (0.01, 0.01), None)))
    assert [cells["drop (distance)"] for cells in lacking.table()] == ["400 (16.40)", "400 (16.40)", "none"]


def test_a_run_that_did_not_match_comes_first_among_three_warnings(demo):
    event = SimpleNamespace(name="match_failed", details={"status": "already_above", "sentence": "it was above"})
    first, *others = _warnings([SimpleNamespace(events=[event])], demo.reference)
    assert first == "Not matched (already_above): it was above."
    assert len(others) == 2


def test_the_large_batch_differs_from_the_small_one_in_its_size_alone():
    small, large, matched = configs(0, ("sb-0.zarr",)).values()
    assert replace(large, batch_size=small.batch_size, label=small.label) == small
    assert matched.schedule(1280).updates == small.schedule(1280).updates


def test_without_plotly_there_is_no_report(demo, monkeypatch, tmp_path):
    monkeypatch.setattr("train.reproduce.demo.find_spec", lambda name: None)
    assert _report([], tmp_path / "report.html") == []
    assert demo.report is None
    assert replace(demo, paths=(tmp_path / "report.html",)).report == tmp_path / "report.html"
