"""The scheduler in real loops: one weight moved along a chosen noisy distance, recorded, and matched."""

import io
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from analysis.errors import DifferentNetworksError
from analysis.matching.reference import Reference
from trajectory import Recorder, Run
from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR
from ultraslow.large_batch.errors import NotMatchedError, SettingError

REFERENCE = Reference(
    targets=(10.0, 11.0, 11.5),
    target_errors=(0.004, 0.004, 0.004),
    drop_steps=(400, 600, 700),
    ratios=(0.1, 0.2, 0.5),
    learning_rate=0.1,
    batch_size=128,
    parameter_specs={"parameters": [["weight", [1, 1], "float64"]]},
    relative=False,
    names=("small batch",),
)


def steady(t):
    """Reaches 10 at t = 625."""
    return 2 * t**0.25


def overshooting(t):
    """Past 10 within 25 updates."""
    return 12 * (1 - math.exp(-t / 15)) + 0.001 * t


class Walk:
    """A recorded loop in which the weight goes where `law` says, whatever the learning rate."""

    def __init__(self, path, law=steady, noise=0.001, lr=0.1, groups=1, origins=(), resume="never", **scheduler):
        self.law, self.noise = law, np.random.default_rng(7).normal(0, noise, 5000)
        self.model = torch.nn.Linear(1, 1, bias=groups == 2, dtype=torch.float64)
        torch.nn.init.zeros_(self.model.weight)
        rates = [lr * 2**k for k in range(groups)]
        self.optimizer = torch.optim.SGD(
            [{"params": [p], "lr": rate} for p, rate in zip(self.model.parameters(), rates, strict=True)]
        )
        self.recorder = Recorder(path, self.model, self.optimizer, origins=origins, resume=resume)
        self.scheduler = DistanceMatchedLR(self.optimizer, self.recorder, **({"reference": REFERENCE} | scheduler))

    def update(self):
        t, weight = self.recorder.step + 1, self.model.weight
        aim = self.law(t) * math.exp(self.noise[t])
        weight.grad = (weight.detach() - aim) / self.optimizer.param_groups[0]["lr"]
        self.optimizer.step()

    def run(self, updates):
        with self.recorder:
            for _ in range(updates):
                self.update()
                self.scheduler.step()
        return Run(self.recorder.path)


def events(run, name):
    return [event for event in run.events if event.name == name]


def test_drops_at_the_crossing_then_by_updates(tmp_path):
    run = Walk(tmp_path / "run.zarr").run(1000)
    first, second, third = run.drops
    assert abs(math.log(first.step / 625)) < 0.06
    assert (second.step, third.step) == (first.step + 200, first.step + 300)
    assert [event.details["reason"] for event in run.drops] == ["distance", "updates", "updates"]
    rates = run.metrics["learning_rate"]
    expected = {first.step: 0.1, first.step + 1: 0.01, second.step + 1: 0.002, third.step + 1: 0.001}
    for t, rate in expected.items():
        assert rates[t] == pytest.approx(rate)
    details = first.details
    assert details["target"] == 10.0
    assert details["distance"] == pytest.approx(run.distance[details["matched_step"]], rel=0.01)
    assert 0 < details["standard_error"] < 0.002
    assert 0 <= math.log(first.step / details["matched_step"]) <= 0.05 / 8 + 1 / 625  # one evaluation
    assert details["lr_to"] == pytest.approx(details["lr_from"] * 0.1)


@pytest.mark.parametrize("every", [1, 10])
def test_drops_within_six_percent_whatever_the_recorded_steps(tmp_path, every):
    """A record of every tenth update, and the noiseless law: the same crossing."""
    walk = Walk(tmp_path / "run.zarr", noise=0.0)
    walk.recorder.close()
    walk.recorder = Recorder(tmp_path / "sparse.zarr", walk.model, walk.optimizer, schedule=every)
    walk.scheduler = DistanceMatchedLR(walk.optimizer, walk.recorder, REFERENCE)
    run = walk.run(700)
    assert abs(math.log(run.drops[0].step / 625)) < 0.06


def test_several_groups_and_gamma(tmp_path):
    walk = Walk(tmp_path / "run.zarr", groups=2, gamma=0.5, reference=_with_signature_of_two())
    walk.run(700)
    assert walk.scheduler.get_last_lr() == [0.05, 0.1]
    assert [group["lr"] for group in walk.optimizer.param_groups] == [0.05, 0.1]


def _with_signature_of_two():
    two = {"parameters": [["weight", [1, 1], "float64"], ["bias", [1], "float64"]]}
    return replace(REFERENCE, parameter_specs=two)


def test_rate_is_left_alone_between_drops(tmp_path):
    """A warm-up that the loop sets, and a scheduler that multiplies, keep their effect."""
    walk = Walk(tmp_path / "run.zarr")
    warm = torch.optim.lr_scheduler.LinearLR(walk.optimizer, 0.1, total_iters=50)
    with walk.recorder:
        for t in range(1, 701):
            walk.update()
            warm.step()
            walk.scheduler.step()
            if t in (25, 50, 300):
                assert walk.scheduler.get_last_lr()[0] == pytest.approx(0.1 * min(1, 0.1 + 0.9 * t / 50))
    assert walk.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    assert abs(math.log(Run(walk.recorder.path).drops[0].step / 625)) < 0.06


@pytest.mark.filterwarnings("ignore:The epoch parameter")  # SequentialLR's own call, in some torch versions
def test_sequential_after_a_warm_up(tmp_path):
    walk = Walk(tmp_path / "run.zarr")
    warm = torch.optim.lr_scheduler.LinearLR(walk.optimizer, 0.1, total_iters=50)
    both = torch.optim.lr_scheduler.SequentialLR(walk.optimizer, [warm, walk.scheduler], milestones=[50])
    with walk.recorder:
        for _ in range(700):
            walk.update()
            both.step()
    assert walk.optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_run_that_overshoots_keeps_its_rate_and_says_why(tmp_path):
    run = Walk(tmp_path / "run.zarr", overshooting, noise=0.0).run(300)
    assert not run.drops
    (failed,) = events(run, "match_failed")
    assert failed.details["status"] == "already_above"
    assert "warm the learning rate up" in failed.details["sentence"]


def test_a_run_that_overshoots_drops_or_raises_by_choice(tmp_path):
    run = Walk(tmp_path / "drop.zarr", overshooting, noise=0.0, already_above="drop", min_step=150).run(200)
    (drop,) = run.drops
    assert 150 <= drop.step < 160
    assert drop.details["reason"] == "already_above"
    with pytest.raises(NotMatchedError, match="above the target") as error:
        Walk(tmp_path / "raise.zarr", overshooting, noise=0.0, already_above="raise").run(300)
    assert "\n" not in str(error.value)
    assert events(Run(tmp_path / "raise.zarr"), "match_failed")


def test_from_an_origin_a_run_that_overshoots_drops_where_it_has_travelled(tmp_path):
    """An initial transient to 12 by update 100, then on its way: ‖w_t − w_100‖ is 2 t^.25 − 2 · 100^.25."""
    travelled = steady(625) - steady(100)
    reference = replace(REFERENCE, origin=100, targets=(travelled, 4.7, 5.2), last_phase=50)
    walk = Walk(
        tmp_path / "run.zarr",
        lambda t: overshooting(100) * min(1.0, t / 50) + steady(t),
        origins=[100],
        reference=reference,
        noise=1e-4,
    )
    assert walk.scheduler.last_update is None
    run = walk.run(1000)
    first, second, third = run.drops
    assert abs(math.log(first.step / 625)) < 0.06
    assert first.details["target"] == pytest.approx(travelled)
    assert (second.step, third.step) == (first.step + 200, first.step + 300)
    assert walk.scheduler.last_update == third.step + 50


def test_refuses_a_recorder_without_the_references_origin(tmp_path):
    with pytest.raises(SettingError, match=r"measures from \[0\]; expected Recorder\(..., origins=\[100\]\)"):
        Walk(tmp_path / "run.zarr", reference=replace(REFERENCE, origin=100))


def test_timeout_keeps_drops_or_raises(tmp_path):
    kept = Walk(tmp_path / "keep.zarr", timeout=200).run(700)
    assert not kept.drops
    assert [event.details["status"] for event in events(kept, "match_failed")] == ["never_reached"]
    dropped = Walk(tmp_path / "drop.zarr", timeout=200, on_timeout="drop").run(500)
    assert 200 <= dropped.drops[0].step <= 203
    assert dropped.drops[0].details["reason"] == "never_reached"
    assert dropped.drops[1].step == dropped.drops[0].step + 200
    with pytest.raises(NotMatchedError, match="after all 20"):
        Walk(tmp_path / "raise.zarr", timeout=200, on_timeout="raise").run(500)


def test_diverged_run_keeps_its_rate(tmp_path):
    run = Walk(tmp_path / "run.zarr", lambda t: steady(t) if t < 300 else math.nan).run(700)
    assert not run.drops
    (failed,) = events(run, "match_failed")
    assert failed.details == {"status": "diverged", "sentence": "the distance is nan after 300 updates"}


def test_later_phases_by_distance(tmp_path):
    """After the drop at d ≈ 10, another 1.0 and then another .5 further."""
    run = Walk(tmp_path / "run.zarr", later_phases="distance").run(1400)
    distances = [run.distance[event.step] for event in run.drops]
    assert [event.details["reason"] for event in run.drops] == ["distance"] * 3
    np.testing.assert_allclose(np.diff(distances), [1.0, 0.5], atol=0.06 * 0.25 * 11)  # 6 % in step


def parts(walk):
    """The state that a checkpoint holds."""
    return walk.scheduler, walk.optimizer, walk.model, walk.recorder


@pytest.mark.parametrize("options", [{}, {"later_phases": "distance"}])
def test_resumed_equals_uninterrupted(tmp_path, options):
    """Saved with torch.save in the middle of a window and of a phase, and loaded with weights_only.

    The one weight goes where the law says, by the same arithmetic before and after.
    """
    whole = Walk(tmp_path / "whole.zarr", **options)
    expected = whole.run(1400)
    for cut in (617, 760):
        path = tmp_path / f"{cut}.zarr"
        first = Walk(path, **options)
        for _ in range(cut):
            first.update()
            first.scheduler.step()
        file = io.BytesIO()
        torch.save([part.state_dict() for part in parts(first)], file)
        file.seek(0)
        first.recorder.close()

        second = Walk(path, resume="must", **options)
        for part, state in zip(parts(second), torch.load(file, weights_only=True), strict=True):
            part.load_state_dict(state)
        assert second.scheduler.get_last_lr() == first.scheduler.get_last_lr()
        found = second.run(1400 - cut)
        assert [(e.step, e.details) for e in found.drops] == [(e.step, e.details) for e in expected.drops]
        assert second.scheduler.last_epoch == whole.scheduler.last_epoch == 1400


def test_reads_a_checkpoint_of_version_0_1(tmp_path):
    """There the bandwidth was called window."""
    walk = Walk(tmp_path / "run.zarr", bandwidth=0.1)
    state = walk.scheduler.state_dict()
    state["window"] = state.pop("bandwidth")
    walk.scheduler.bandwidth = None
    walk.scheduler.load_state_dict(state)
    assert walk.scheduler.bandwidth == 0.1
    assert "window" not in walk.scheduler.state_dict()
    walk.recorder.close()


def test_refuses_another_network_unless_relative(tmp_path):
    with pytest.raises(DifferentNetworksError, match="recorded model has 2 parameters") as error:
        Walk(tmp_path / "run.zarr", groups=2)
    assert "\n" not in str(error.value)


def test_relative_distances_are_in_units_of_the_origin(tmp_path):
    walk = Walk(tmp_path / "first.zarr")
    walk.recorder.close()
    torch.nn.init.constant_(walk.model.weight, -2.0)
    walk.recorder = Recorder(tmp_path / "run.zarr", walk.model, walk.optimizer)
    walk.law = lambda t: steady(t) - 2.0
    relative = replace(REFERENCE, relative=True, targets=(5.0, 5.5, 6.0), parameter_specs={"parameters": []})
    walk.scheduler = DistanceMatchedLR(walk.optimizer, walk.recorder, relative)
    run = walk.run(700)
    assert abs(math.log(run.drops[0].step / 625)) < 0.06


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma": 10.0}, "gamma is 10"),
        ({"gamma": "a"}, "gamma is 'a'; expected a factor"),
        ({"timeout": -5}, "timeout is -5; expected a number of updates"),
        ({"min_step": 1.5}, "min_step is 1.5; expected a number of updates"),
        ({"grow": 3}, "grow is 3; expected a function"),
        ({"already_above": "wait"}, "already_above is 'wait'"),
        ({"on_timeout": "drop"}, "without a timeout"),
    ],
)
def test_refuses_bad_options(tmp_path, options, message):
    with pytest.raises(SettingError, match=message):
        Walk(tmp_path / "run.zarr", **options)


def test_refuses_what_is_no_recorder():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    with pytest.raises(SettingError, match=r"recorder is 'run\.zarr'; expected the Recorder"):
        DistanceMatchedLR(optimizer, "run.zarr", REFERENCE)


def test_looking_at_get_lr_changes_nothing(tmp_path):
    walk = Walk(tmp_path / "run.zarr", timeout=10, on_timeout="drop")
    with walk.recorder:
        for _ in range(30):
            walk.update()
        assert walk.scheduler.get_lr() == [0.1]
        walk.scheduler.step()
        assert walk.scheduler.get_last_lr()[0] == pytest.approx(0.01)
