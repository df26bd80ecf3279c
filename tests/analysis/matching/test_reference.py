"""Reference and replay on recorded walks whose distance is chosen: one weight, moved to d(t) by its gradient."""

import json

import numpy as np
import pytest
import torch

from analysis import Curve, predict_match
from analysis.errors import AnalysisError, DifferentNetworksError, MatchError, ReferenceRunError, SeedError
from analysis.matching.match import match
from analysis.matching.reference import Reference
from trajectory import Recorder, Run, StoreError

DROPS = (500, 700)
UPDATES = 800


def record(
    path,
    law,
    updates=UPDATES,
    drops=(),
    batch_size=128,
    weights=1,
    start=0.0,
    dtype=torch.float64,
    origins=(),
    config=None,
):
    """A run whose distance after t updates is law(t); the rate falls tenfold at the drops."""
    model = torch.nn.Linear(weights, 1, bias=False, dtype=dtype)
    torch.nn.init.constant_(model.weight, start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    group = optimizer.param_groups[0]
    with Recorder(
        path, model, optimizer, config=(config or {}) | {"batch_size": batch_size}, origins=origins
    ) as recorder:
        for t in range(1, updates + 1):
            if t - 1 in drops:
                recorder.event("lr_drop", lr_from=group["lr"], lr_to=group["lr"] / 10)
                group["lr"] /= 10
            model.weight.grad = (model.weight.detach() - start - law(t) / weights**0.5) / group["lr"]
            optimizer.step()
    return path


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Three seeds of a small-batch reference, d = A t^.25 with A = 1.98, 2, 2.02."""
    folder = tmp_path_factory.mktemp("small")
    amplitudes = (1.98, 2.0, 2.02)
    return [record(folder / f"{a}.zarr", lambda t, a=a: a * t**0.25, drops=DROPS) for a in amplitudes]


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A large batch without drops, d = 1.9 t^.25: at the reference's distance after 614 updates."""
    return record(tmp_path_factory.mktemp("large") / "lb.zarr", lambda t: 1.9 * t**0.25, batch_size=1024)


def test_targets_and_their_errors(small):
    reference = Reference.from_runs(small)
    logs = np.log([1.98, 2.0, 2.02])
    np.testing.assert_allclose(reference.targets, np.exp(logs.mean()) * np.array(DROPS) ** 0.25, rtol=1e-9)
    np.testing.assert_allclose(reference.target_errors, logs.std(ddof=1) / np.sqrt(3), rtol=1e-6)
    assert reference.drop_steps == DROPS
    assert reference.phase_lengths == (500, 200)
    np.testing.assert_allclose(reference.ratios, 0.1)
    assert (reference.learning_rate, reference.batch_size) == (0.1, 128)
    assert reference.parameter_specs == Run(small[0]).parameter_specs
    json.dumps(reference.to_dict(), allow_nan=False)


def test_reads_what_it_wrote_and_what_version_0_1_wrote(small):
    reference = Reference.from_runs(small)
    document = json.loads(json.dumps(reference.to_dict(), allow_nan=False))
    assert Reference.from_dict(document) == reference
    document["signature"] = document.pop("parameter_specs")
    assert Reference.from_dict(document) == reference
    assert np.isnan(Reference.from_dict(Reference.from_runs(small[0]).to_dict()).target_errors).all()
    with pytest.warns(DeprecationWarning, match=r"Reference.signature is now Reference.parameter_specs"):
        assert reference.signature == reference.parameter_specs
    with pytest.warns(DeprecationWarning, match=r"Reference\(signature=\) is now Reference\(parameter_specs=\)"):
        assert Reference((1.0,), (0.0,), (9,), (0.1,), 0.1, signature={"parameters": []}).drop_steps == (9,)
    with pytest.raises(MatchError, match="a reference without targets"):
        Reference.from_dict({})


def test_results_show_themselves_as_tables(small, large):
    """No field's repr, and a table of its own in a notebook."""
    found = match(small, large)
    first, second = found.matches
    lines = repr(found).splitlines()
    assert lines[0] == "lb compared with 1.98, 2.0, 2.02"
    assert lines[1].split() == ["drop", "status", "step", "distance", "target", "±", "%"]
    assert lines[2].split()[:3] == ["1", "matched", str(first.step)]
    assert lines[4] == f"1: {first.sentence}"
    assert repr(first).splitlines()[0] == f"matched: {first.sentence}"
    assert repr(first).splitlines()[1].startswith(f"met the target at update {first.crossing:.0f}, at 2 SE ")
    assert repr(second) == f"waiting: {second.sentence}"
    assert "<td>waiting</td>" in found._repr_html_()
    assert repr(found.reference).splitlines()[2].split()[:2] == ["1", "500"]


def test_one_seed_has_no_standard_error(small):
    reference = Reference.from_runs(small[0])
    assert np.isnan(reference.target_errors).all()
    assert reference.to_dict()["target_errors"] == [None, None]


def test_relative_targets_are_in_units_of_the_origin(tmp_path):
    run = record(tmp_path / "a.zarr", lambda t: t**0.25, 60, (50,), start=4.0)
    assert Reference.from_runs(run, relative=True).targets[0] == pytest.approx(50**0.25 / 4)


def one_line(error):
    assert "\n" not in str(error.value)


def test_refuses_a_run_without_a_drop(large):
    with pytest.raises(ReferenceRunError, match="no learning-rate drop is recorded") as error:
        Reference.from_runs(large)
    one_line(error)


def test_refuses_arrays():
    with pytest.raises(ReferenceRunError, match="recorded run"):
        Reference.from_runs((np.arange(1, 9), np.arange(1, 9)))


def test_refuses_a_run_cut_short_before_its_drop(tmp_path):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "cut.zarr", model, optimizer, schedule=40) as recorder:
        for _ in range(55):
            model.weight.grad, model.bias.grad = torch.ones(1, 1), torch.ones(1)
            optimizer.step()
        recorder.event("lr_drop", lr_from=0.1, lr_to=0.01)
    with pytest.raises(ReferenceRunError, match="end after 40 updates, before the drop at 55") as error:
        Reference.from_runs(tmp_path / "cut.zarr")
    one_line(error)


def test_refuses_a_run_given_twice(small):
    """Its spread would be none, and the interval of the first drop one update wide."""
    with pytest.raises(SeedError, match="are one curve; expected independent seeds: give it once"):
        Reference.from_runs([small[0], *small])


@pytest.mark.parametrize(
    ("other", "message"),
    [({"drops": (400, 700)}, "drop steps are"), ({"batch_size": 64}, "batch sizes are 64 and 128")],
)
def test_refuses_seeds_of_different_experiments(small, tmp_path, other, message):
    run = record(tmp_path / "other.zarr", lambda t: t**0.25, **({"drops": DROPS} | other))
    with pytest.raises(ReferenceRunError, match=message) as error:
        Reference.from_runs([small[0], run])
    one_line(error)


@pytest.mark.parametrize("other", [{"weights": 3}, {"dtype": torch.float32}])
def test_refuses_another_network_unless_relative(small, tmp_path, other):
    run = record(tmp_path / "other.zarr", lambda t: t**0.25, 300, drops=(200,), start=1.0, **other)
    with pytest.raises(DifferentNetworksError, match="relative=True") as error:
        match(small, run)
    one_line(error)
    with pytest.raises(DifferentNetworksError):
        Reference.from_runs([small[0], run])
    seen = record(tmp_path / "seen.zarr", lambda t: 2 * t**0.25, drops=DROPS, start=1.0)
    assert match(seen, run, relative=True).reference.relative


def test_replay_finds_the_crossing_and_counts_updates_from_there(small, large):
    reference = Reference.from_runs(small)
    first, second = match(reference, large).matches
    crossing = (reference.targets[0] / 1.9) ** 4
    assert first.status == "matched"
    assert 0 < np.log(first.step / crossing) <= 2 * 0.05 / 8 + 4 / crossing
    assert first.crossing == pytest.approx(crossing, rel=1e-3)
    assert first.interval[0] < first.crossing * (1 - 2 * reference.target_errors[0] / 0.25)  # t* ± SE/q at least
    assert (second.status, second.step) == ("waiting", UPDATES)
    assert f"due after {first.step + 200} updates" in second.sentence


def test_replay_of_a_run_that_dropped_counts_from_its_own_drop(small, tmp_path):
    run = record(tmp_path / "lb.zarr", lambda t: 1.9 * t**0.25, 900, drops=(640,))
    first, second = match(small, run).matches
    assert first.status == "matched"
    assert (second.status, second.step) == ("matched", 840)
    assert second.distance == pytest.approx(1.9 * 840**0.25)


def test_later_phase_by_the_distance_travelled_since_the_drop(small, tmp_path):
    run = record(tmp_path / "lb.zarr", lambda t: 1.9 * t**0.25, 1200, drops=(640,))
    reference = Reference.from_runs(small)
    second = match(reference, run, later_phases="distance").matches[1]
    target = 1.9 * 640**0.25 + reference.targets[1] - reference.targets[0]
    assert second.target == pytest.approx(target)
    assert 0 < np.log(second.step / (target / 1.9) ** 4) <= 0.02


def test_complete_run_that_falls_short_never_reached(small, tmp_path):
    run = record(tmp_path / "short.zarr", lambda t: 1.5 * t**0.25, 400)
    found = match(small, run)
    assert [m.status for m in found.matches] == ["never_reached", "waiting"]
    text = str(found)
    assert "never_reached" in text
    assert "not looked for before drop 1 is matched" in text
    json.dumps(found.to_dict(), allow_nan=False)


def test_arrays_can_be_compared_with_a_reference(small):
    t = np.arange(1, 1000)
    assert match(small, (t, 1.9 * t**0.25)).matches[0].status == "matched"


def test_reference_that_does_not_move_on_cannot_be_matched_by_distance(tmp_path, large):
    run = record(tmp_path / "flat.zarr", lambda t: 2 * min(t, 500) ** 0.25 - t / 1e6, drops=DROPS)
    with pytest.raises(MatchError, match="match this drop by updates") as error:
        match(run, large, later_phases="distance")
    one_line(error)


def test_refuses_an_unknown_criterion_and_several_runs(small, large):
    with pytest.raises(MatchError, match="later_phases='epochs'"):
        match(small, large, later_phases="epochs")
    with pytest.raises(MatchError, match="got 2 runs"):
        match(small, [large, small[0]])


ORIGIN = 100


def overshooting(t):
    """An initial transient to 12, past the reference's 9.5, within fifty updates; then on its way as 1.9 t^.25."""
    return 12 * (1 - np.exp(-t / 10)) + 1.9 * t**0.25


def test_from_an_origin_the_initial_transient_is_not_travel(tmp_path):
    """w_t moves along one axis: ‖w_t − w_100‖ is the difference of the distances from w_0."""
    small = record(tmp_path / "small.zarr", lambda t: 2 * t**0.25, drops=DROPS, origins=[ORIGIN])
    large = record(tmp_path / "large.zarr", overshooting, 1000, batch_size=1024, origins=[ORIGIN])
    assert match(small, large).matches[0].status == "already_above"

    found = match(small, large, origin=ORIGIN)
    target = 2 * (500**0.25 - 100**0.25)
    assert found.reference.targets[0] == pytest.approx(target)
    assert found.reference.phase_lengths == (500, 200)  # updates count from w_0 all the same
    crossing = (target / 1.9 + 100**0.25) ** 4
    first, second = found.matches
    assert first.status == "matched"
    assert first.crossing == pytest.approx(crossing, rel=2e-3)
    assert 0 < first.step - crossing < 2 * 0.05 / 8 * (crossing - ORIGIN) + 6
    assert f"due after {first.step + 200} updates" in second.sentence
    assert "measured from update 100" in str(found)

    arrays = np.arange(101, 1000), 1.9 * (np.arange(101, 1000) ** 0.25 - 100**0.25)  # t counts from w_0
    assert match(found.reference, arrays).matches[0].crossing == pytest.approx(crossing, rel=2e-3)


def test_a_curve_measured_from_another_update_is_refused(small):
    later = Curve(np.arange(1.0, 301.0), np.arange(1.0, 301.0), "later", origin=50)
    reference = Reference.from_runs(small)
    for call in (lambda: match(reference, later), lambda: predict_match(later, reference)):
        with pytest.raises(MatchError, match="later is measured from update 50 and the reference from update 0; exp"):
            call()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda run: Reference(6.0, 0.01, 900, 0.1, 0.1),
            r"targets = 6\.0: expected numbers in a tuple",
        ),
        (lambda run: Reference((6.0,), (0.01,), (9, 10), (0.1,), 0.1), r"drop_steps = \(9, 10\): expected numbers"),
        (lambda run: Reference.from_dict([run]), "got list; expected what Reference.to_dict"),
        (lambda run: match(run, run, relative="no"), "relative = 'no': expected True or False"),
        (lambda run: match(run, run, extrapolate=1), "extrapolate = 1: expected True or False"),
        (lambda run: predict_match(run, run, samples=0), "samples = 0: expected a number of paths, 1 or more"),
        (lambda run: predict_match(run, run, seed="a"), "seed = 'a': expected a whole number, 0 or more"),
        (lambda run: predict_match(run, run, drop=-1), "drop = -1: expected the number of a drop, 0 to 1"),
        (lambda run: predict_match(run, run, drop="0"), "drop = '0': expected the number of a drop"),
    ],
)
def test_arguments_of_another_kind_are_refused_in_a_line(small, call, said):
    with pytest.raises(AnalysisError, match=said) as refused:
        call(small[0])
    assert "\n" not in str(refused.value)


def test_refuses_an_origin_that_was_not_recorded_or_is_past_the_drop(tmp_path):
    run = record(tmp_path / "small.zarr", lambda t: 2 * t**0.25, drops=DROPS, origins=[600])
    with pytest.raises(StoreError, match="distances from update 100 are unknown") as error:
        Reference.from_runs(run, origin=ORIGIN)
    one_line(error)
    with pytest.raises(ReferenceRunError, match="no later than the origin 600") as error:
        Reference.from_runs(run, origin=600)
    one_line(error)


def test_a_reference_cut_short_is_extrapolated_on_request_alone(tmp_path, large):
    """Three seeds of 2 t^.25 with .1 % of noise, seen up to 300 of the 500 updates before their drop."""
    noise = np.random.default_rng(5).normal(0, 1e-3, (3, UPDATES))
    planned = {"lr": 0.1, "drop_steps": [[500, 0.1], [700, 0.5]], "updates": 800}
    cut = [
        record(tmp_path / f"{k}.zarr", lambda t, k=k: 2 * t**0.25 * np.exp(noise[k, t]), 300, config=planned)
        for k in range(3)
    ]
    with pytest.raises(ReferenceRunError, match="no learning-rate drop is recorded") as error:
        Reference.from_runs(cut)
    one_line(error)

    reference = Reference.from_runs(cut, extrapolate=True)
    (target, later), (error, _) = reference.targets, reference.target_errors
    assert reference.extrapolated == (0,)
    assert abs(np.log(target / (2 * 500**0.25))) < 3 * error
    assert 0 < error < 0.02
    assert np.isnan(later)
    assert (reference.drop_steps, reference.last_phase) == ((500, 700), 100)
    assert reference.ratios == pytest.approx((0.1, 0.5))
    json.dumps(reference.to_dict(), allow_nan=False)

    found = match(reference, large)
    low, high = found.matches[0].interval
    crossing = (2 / 1.9) ** 4 * 500
    assert low < crossing < high
    assert np.log(high / low) > 4 * error / 0.25  # the target's own error, at 2 SE either way and q = .25
    assert "target 1 is extrapolated to update 500" in str(found)
    with pytest.raises(MatchError, match="match this drop by updates"):
        reference.matcher(1, 10.0)
