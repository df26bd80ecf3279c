"""Rival laws: each found when it is the truth, and said to be inseparable where it cannot be."""

import json

import numpy as np
import pytest

from analysis import compare, fit
from analysis.errors import AnalysisError, GrowthError, LawError
from analysis.fitting.model_comparison import SEPARABLE
from analysis.fitting.rival_laws import LAWS
from analysis.synthetic import noise, synthetic

TRUTHS = {
    "power law": {"q": 0.25},
    "pure log": {"t0": 0.5},
    "sinai": {"t0": 0.1},
    "ultraslow": {"alpha": 3.0, "t0": 3.0},
    "normal": {},
    "saturation": {"tau": 1000.0},
    "stretched saturation": {"tau": 1000.0, "beta": 0.5},
    "power times log": {"nu": 0.3},
    "jump + power": {"nu": 0.4, "c2": 200.0, "K": 1.0},
    "jump + normal": {"c2": 200.0, "K": 0.26},
    "jump + pure log": {"c2": 50.0, "t0": 0.5},
    "jump + sinai": {"c2": 500.0, "t0": 0.1},
    "jump + log": {"c2": 500.0, "alpha": 1.5, "t0": 1.0},
    "jump + saturation": {"c2": 50.0, "K": 300.0, "tau": 2000.0},
    "jump + stretched saturation": {"c2": 50.0, "K": 300.0, "tau": 2000.0, "beta": 0.6},
}
t = np.geomspace(10, 1e4, 37)


@pytest.mark.parametrize("law", LAWS)
def test_a_noiseless_law_is_found_with_its_parameters(law):
    curves = synthetic(law, t=t, std=0.0, step_std=0.0, **TRUTHS[law])
    found = compare(curves, t_min=10)
    own = next(one for one in found.fits if one.law.name == law)
    assert own.rms_residual < 1e-9
    for name, value in TRUTHS[law].items():
        shown = np.exp(own.parameters["log_t0"]) if name == "t0" else own.parameters[name]
        assert shown == pytest.approx(value, rel=1e-6)
    wider = [name for name in LAWS if law in LAWS[name].contains]
    assert found.best in [law, *wider]


@pytest.mark.parametrize(
    "law", ["power law", "pure log", "sinai", "saturation", "jump + normal", "jump + saturation"]
)
def test_five_noisy_seeds_find_the_law_and_separate_it_from_its_rivals(law):
    found = compare(synthetic(law, seeds=5, seed=2, **TRUTHS[law]), t_min=10)
    assert found.best == law
    assert all(law in LAWS[name].contains for name in found.not_separable)
    assert "is separated from the other laws" in found.verdict
    best = found.fits[0]
    assert best.holdout == min(one.holdout for one in found.fits if law not in one.law.contains)


def test_weights_and_differences_are_those_of_the_bic():
    found = compare(synthetic("sinai", t0=0.1), t_min=10)
    bic = np.array([one.bic for one in found.fits])
    weights = np.exp(-(bic - bic.min()) / 2)
    assert [one.weight for one in found.fits] == pytest.approx(weights / weights.sum())
    assert [one.delta for one in found.fits] == pytest.approx(bic - bic.min())
    assert {one.law.name for one in found.fits[1:] if one.delta < SEPARABLE} <= set(found.not_separable)


def test_bic_alone_rules_no_law_out():
    # Matérn noise of 2 % and five e-folds is smoother than the Brownian motion that BIC supposes
    beaten = kept = 0
    for seed in range(16):
        curves = synthetic("power law", t=t, q=0.25, kind="Matérn", std=0.02, length=5.0, seed=seed)
        found = compare(curves, ("power law", "pure log", "sinai", "ultraslow"), t_min=10)
        truth = next(one for one in found.fits if one.law.name == "power law")
        low, high = fit(curves, t_min=10).interval
        assert truth.ruled_out == (truth.delta >= SEPARABLE and not low <= 0 <= high)
        beaten += truth.delta >= SEPARABLE
        kept += truth.delta >= SEPARABLE and not truth.ruled_out
    assert beaten >= 4
    assert kept >= 1


def test_from_three_seeds_on_a_law_whose_p_value_holds_is_not_ruled_out():
    for seed in range(10):
        curves = synthetic("power law", t=t, q=0.25, seeds=3, kind="Matérn", std=0.02, length=5.0, seed=seed)
        found = compare(curves, ("power law", "pure log", "ultraslow"), t_min=10)
        for one in found.fits[1:]:
            assert one.ruled_out == (one.delta >= SEPARABLE and one.p_value < 0.05)


def test_squared_log_and_power_times_log_are_never_separated_the_wrong_way():
    # t^.064 log t is (log t/t₀)² over these decades to a few per cent, the noise of one run
    rivals = ("power times log", "ultraslow", "sinai")
    open_verdicts = 0
    for truth, parameters in (("power times log", {"nu": 0.064}), ("sinai", {"t0": 0.1})):
        for seed in range(10):
            curves = synthetic(truth, t=t, std=0.02, length=3.0, seed=seed, **parameters)
            found = compare(curves, rivals, t_min=10)
            open_verdicts += found.verdict.startswith("Not separable")
            assert truth in (found.best, *found.not_separable)
    assert open_verdicts >= 10


def test_diffusion_and_saturation_far_away_are_not_separable():
    curves = synthetic("saturation", t=t, tau=1e6)
    found = compare(curves, ("normal", "saturation"), t_min=10)
    assert {found.best, *found.not_separable} == {"normal", "saturation"}


def test_a_curve_that_no_law_describes_is_said_to_be_so():
    waves = [
        type(curve)(curve.t, curve.d * np.exp(0.2 * np.sin(4 * np.log(curve.t))), curve.name)
        for curve in synthetic("sinai", seeds=5, t0=0.1)
    ]
    assert compare(waves, t_min=10).verdict.startswith("None of these laws fits this range: the best")


def test_a_comparison_names_its_one_test_and_speaks_of_no_other():
    smooth = np.exp(-0.5 * ((np.log(t)[:, None] - np.log(t)) / 2) ** 2) + 1e-8 * np.eye(len(t))
    path = 0.01 * np.linalg.cholesky(smooth) @ np.random.default_rng(0).normal(size=len(t))
    data = (t, np.log(t / 0.1) ** 2 * np.exp(path))
    found = compare(data)
    assert "F-test" in found.goodness_test
    assert found.goodness_test == fit(data).goodness_test
    assert f"p-value: {found.goodness_test}" in str(found)
    assert found.to_dict()["goodness_test"] == found.goodness_test
    assert not any("holds" in sentence or "good fit" in sentence for sentence in found.warnings)
    assert "rejects a true law in .05 of cases, in up to .10" in found.goodness_test
    many = compare(synthetic("sinai", t=t, t0=0.1, seeds=3))
    assert "t-tests over the seeds" in many.goodness_test
    assert "a true law is rejected in .05" in many.goodness_test


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_start_chosen_from_the_data_is_said_to_be_so_and_what_it_does_to_intervals(seeds):
    curves = synthetic("sinai", t=t, t0=0.1, seeds=seeds)
    chosen, given = (compare(curves, ["sinai", "pure log"], t_min=t_min) for t_min in (None, 10))
    for found in (chosen, given):
        first, *_ = str(found).splitlines()
        assert ("start chosen from the data" in first) == found.start_chosen == found.to_dict()["start_chosen"]
        assert any("chosen beforehand" in sentence for sentence in found.warnings) == found.start_chosen
    assert (chosen.start_chosen, given.start_chosen) == (True, False)


@pytest.mark.parametrize("options", [{}, {"t_min": 10}, {"laws": ["saturation"]}])
def test_a_distance_that_falls_is_refused_as_by_fit(options):
    falling = [(t, (1 + i / 10) * t**-0.2) for i in range(3)]
    for data in (falling, falling[0], [*synthetic("sinai", t=t, t0=0.1, seeds=2), falling[0]]):
        with pytest.raises(GrowthError, match=r"curve.*distances do not grow"):
            compare(data, **options)


@pytest.mark.parametrize("name", ["white", None, ["brownian"]])
def test_an_unknown_noise_is_refused(name):
    with pytest.raises(AnalysisError, match=r"noise = .*: expected one of chosen, brownian, independent"):
        compare(synthetic("sinai", t0=0.1), ["pure log"], t_min=10, noise=name)


def test_correlated_noise_finds_a_power_law_that_independent_errors_miss():
    rng, repetitions = np.random.default_rng(9), 40
    paths = noise(rng, np.log(t), repetitions, std=0.008, length=1.0)
    nested = ("power law", "pure log", "sinai", "ultraslow")
    hits = {
        kind: sum(
            compare((t, t**0.25 * np.exp(path)), nested, t_min=10, noise=kind).best == "power law" for path in paths
        )
        for kind in ("brownian", "independent")
    }
    # 83–100 % against 27–48 % in the study; three binomial errors of 40 on either side
    assert hits["brownian"] >= 0.83 * repetitions - 3 * np.sqrt(40 * 0.83 * 0.17)
    assert hits["independent"] <= 0.48 * repetitions + 3 * np.sqrt(40 * 0.48 * 0.52)


def test_the_fit_range_is_that_of_fit_and_residuals_belong_to_it():
    curves = synthetic("sinai", seeds=3, t0=0.1)
    found, fitted = compare(curves), fit(curves)
    assert found.fit_range == fitted.fit_range
    residuals = found.residuals
    assert list(residuals.columns) == [one.law.name for one in found.fits]
    assert residuals[found.best].to_numpy() == pytest.approx(found.z.mean(axis=0) - found.fits[0].curve)
    assert residuals.mean().to_numpy() == pytest.approx(0.0, abs=1e-12)


def test_a_law_without_a_value_at_one_is_left_out_and_named():
    curves = synthetic("sinai", t=np.geomspace(1, 1e4, 49), t0=0.1)
    found = compare(curves, t_min=1)
    assert "power times log" not in [one.law.name for one in found.fits]
    assert any("power times log is left out" in sentence for sentence in found.warnings)


def test_the_result_reads_as_table_and_dictionary():
    found = compare(synthetic("sinai", t0=0.1), t_min=10)
    text = str(found)
    assert all(name in text for name in LAWS)
    assert found.verdict in text
    again = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert again["best"] == found.best
    assert len(again["laws"]) == len(LAWS)


@pytest.mark.parametrize("laws", [["cubic"], [], [None], [["power law"]], 5])
def test_unknown_laws_are_refused_by_name(laws):
    with pytest.raises(LawError, match=r"laws = .*expected .*power law"):
        compare(synthetic("sinai", t=t), laws)


def test_a_law_that_is_alone_is_not_said_to_be_separated():
    said = compare(synthetic("sinai", t=t, t0=0.1, seeds=3), ["sinai"], t_min=10).verdict
    assert said.startswith("sinai: holds (p = ")
    assert said.endswith("no other law was asked for.")
    assert compare(synthetic("sinai", t=t, t0=0.1, seeds=3), ["normal"], t_min=10).verdict.startswith("None of these")


def test_laws_may_come_in_any_order_and_more_than_once():
    curve = synthetic("sinai", t=t, t0=0.1)
    once = compare(curve, ["power law", "sinai"], t_min=10).to_frame()
    for laws in (["sinai", "power law", "sinai"], iter(["power law", "sinai"])):
        assert compare(curve, laws, t_min=10).to_frame().equals(once)


def test_a_law_s_name_is_no_list_of_names():
    with pytest.raises(LawError, match=r"laws = 'power law': expected a list of names, as in \['power law'\]"):
        compare(synthetic("sinai", t=t), "power law")


def test_a_curve_that_hardly_grows_has_no_law():
    still = 1 + 1e-4 * np.log(t)
    for ask in (fit, compare):
        with pytest.raises(GrowthError, match="distances hardly grow between t = 10 and 10000"):
            ask((t, still), t_min=10)
