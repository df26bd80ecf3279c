"""How results show themselves, and the names that they had before."""

import copy
import dataclasses
import pickle

import numpy as np
import pytest

from analysis import compare, fit
from analysis.synthetic import synthetic


@pytest.fixture(scope="module")
def found():
    return fit(synthetic("sinai", t0=0.1, seeds=3))


@pytest.fixture(scope="module")
def compared():
    return compare(synthetic("sinai", t0=0.1, seeds=3), ["sinai", "power law"], t_min=10)


def test_a_fit_is_shown_as_its_table_and_printed_with_its_scan(found):
    shown = repr(found)
    assert len(shown) < 1700
    assert f"{found.alpha:.3f}" in shown
    assert all(sentence in shown for sentence in found.warnings)
    assert "against the start" in str(found)
    assert "against the start" not in shown
    assert len(str(found).splitlines()) == len(shown.splitlines()) + len(found.scan) + 4
    assert shown.splitlines()[0] == str(found).splitlines()[0]


def test_even_a_single_runs_fit_with_its_warnings_is_short():
    assert len(repr(fit(synthetic("power law", q=0.3)))) < 1500


def test_what_is_not_a_number_excludes_nothing(found):
    for chosen, name in ((False, "interval"), (True, "interval_over_starts")):
        excluded = [
            dataclasses.replace(found, start_chosen=chosen, **{name: interval}).power_law_excluded
            for interval in ((np.nan, np.nan), (0.5, 1.0), (-0.5, 1.0))
        ]
        assert excluded == [False, True, False]
    assert not dataclasses.replace(found, start_chosen=True, interval_over_starts=None).power_law_excluded


def test_a_comparison_is_shown_as_its_table(compared):
    assert repr(compared) == str(compared)
    assert "power law" in repr(compared)
    assert compared.verdict in repr(compared)


@pytest.mark.parametrize("name", ["found", "compared"])
def test_notebooks_get_html(name, request):
    shown = request.getfixturevalue(name)._repr_html_()
    assert shown.startswith("<div><")
    assert shown.count("<tr>") == shown.count("</tr>") > 2


def test_a_seeds_name_cannot_break_the_html():
    curves = synthetic("sinai", t0=0.1, seeds=3)
    odd = [type(curve)(curve.t, curve.d, f"<script>{i}") for i, curve in enumerate(curves)]
    assert "<script>" not in fit(odd, t_min=10)._repr_html_()


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("goodness", "p_value"),
        ("misfit", "rms_residual"),
        ("q", "local_exponent"),
        ("window", "fit_range"),
        ("window_interval", "interval_over_starts"),
        ("level", "confidence_level"),
    ],
)
def test_a_fits_former_names_are_read_with_a_warning(found, former, now):
    with pytest.warns(DeprecationWarning, match=f"Fit.{former} is now Fit.{now}") as caught:
        value = getattr(found, former)
    assert value == getattr(found, now)
    assert caught[0].filename == __file__


def test_the_other_results_former_names_are_read_too(found, compared):
    law = compared.fits[0]
    pairs = [
        (compared, "window", compared.fit_range),
        (compared, "held_out_from", compared.holdout_from),
        (law, "goodness", law.p_value),
        (law, "misfit", law.rms_residual),
        (law, "held_out", law.holdout),
        (law, "bound", law.at_bound),
        (found.seeds[0], "q", found.seeds[0].local_exponent),
    ]
    for result, former, value in pairs:
        with pytest.warns(DeprecationWarning, match=former):
            assert getattr(result, former) == value


def test_former_keywords_are_taken_with_a_warning():
    curves = synthetic("sinai", t0=0.1, seeds=3)
    with pytest.warns(DeprecationWarning, match=r"fit\(level=\) is now fit\(confidence_level=\)") as caught:
        assert fit(curves, t_min=10, level=0.5).confidence_level == 0.5
    assert caught[0].filename == __file__
    with pytest.raises(TypeError, match="both confidence_level= and level="):
        fit(curves, level=0.5, confidence_level=0.5)


def test_any_other_name_is_unknown_and_copies_are_equal(found):
    with pytest.raises(AttributeError, match="'Fit' object has no attribute 'gamma'"):
        found.gamma  # noqa: B018
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert again.alpha == found.alpha
        assert np.array_equal(again.z, found.z)


def test_a_comparison_can_be_sent_to_another_process(compared):
    for again in (copy.deepcopy(compared), pickle.loads(pickle.dumps(compared))):
        assert again.to_dict() == compared.to_dict()
        for law, other in zip(compared.fits, again.fits, strict=True):
            branch, copied = law.law.on(compared.u), other.law.on(compared.u)
            assert [axis.tolist() for axis in branch.axes] == [axis.tolist() for axis in copied.axes]


def test_results_cannot_be_changed(found, compared):
    for result in (found, compared, compared.fits[0]):
        with pytest.raises(AttributeError):
            result.origin = 3
