"""The balance of rotation, on weights that turn in a plane by exactly what is asked of them."""

import json
import math

import numpy as np
import pytest
import torch

from analysis import equilibrium
from analysis.errors import AnalysisError, MotionError, SeedError
from trajectory import Recorder, Run

UPDATES = 100


def turn(path, ratio=1.0, *, age=6.0, norms=(1.0, 1.0), still=False, **noted):
    """Record updates of ratio times the balance's length, at an age in memory times; the norm goes evenly.

    A list of ratios is one for each update. Without momentum the balance turns by √(2ηλ), τ = 1/(ηλ).
    """
    decay = age / UPDATES / 0.1
    settings = {"lr": 0.1, "momentum": 0.0, "weight_decay": decay, **noted}
    chords = np.broadcast_to(np.asarray(ratio, float) * math.sqrt(2 * 0.1 * decay), UPDATES)
    angles = np.concatenate([[0.0], np.cumsum(2 * np.arcsin(chords / 2))]) * (not still)
    radii = np.linspace(*norms, UPDATES + 1)
    places = torch.tensor(np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1))
    model = torch.nn.Linear(2, 1, bias=False, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(places[0])
        with Recorder(path, model, quantities=["distance", "update_norm", "norm"], config=settings) as recorder:
            for place in places[1:]:
                model.weight.copy_(place)
                recorder.update()
    return Run(path)


@pytest.mark.parametrize(
    ("ratio", "age", "norms", "state"),
    [
        (1.0, 6, (1, 1), "reached"),
        (1.04, 6, (1, 1), "reached"),
        (1.0, 1.1, (1, 1), "reached"),
        (1.06, 6, (1, 1), "not balanced"),
        (0.94, 6, (1, 1), "not balanced"),
        (0.94, 4.9, (1, 1), "not yet"),
        (1.0, 0.9, (1, 1), "not yet"),
        (1.0, 6, (1, 1.13), "not steady"),
        (1.0, 6, (1, 0.88), "not steady"),
        (1.0, 6, (1, 1.06), "reached"),
    ],
)
def test_each_state_is_told(tmp_path, ratio, age, norms, state):
    found = equilibrium(turn(tmp_path / "run.zarr", ratio, age=age, norms=norms))
    (row,) = found.to_dict()["parameters"]
    assert row["state"] == state
    assert (row["low"], found.n, found.age) == (None, 1, pytest.approx(age))
    assert found.memory == pytest.approx(UPDATES / age)
    middle, end = np.interp((UPDATES / 2, UPDATES), (0, UPDATES), norms)
    assert row["norm_change"] == pytest.approx(end / middle - 1, abs=1e-9)
    if norms == (1, 1):
        assert row["ratio"] == pytest.approx(ratio, rel=1e-6)
    assert len(found.warnings) == (age < 5)


def test_the_window_is_the_last_half_and_holds_the_root_of_the_mean_square(tmp_path):
    ratios = np.array([3.0] * 49 + [0.5, 1.5] * 25 + [0.5])
    run = turn(tmp_path / "run.zarr", ratios)
    found = equilibrium(run)
    assert found.t_range == (50, 100)
    assert found.frame.ratio[0] == pytest.approx(math.sqrt(np.mean(ratios[49:] ** 2)), rel=1e-6)
    early = equilibrium(run, t_max=48)
    assert (early.t_range, early.age) == ((24, 48), pytest.approx(0.48 * 6))
    assert early.frame.ratio[0] == pytest.approx(3, rel=1e-6)


def test_seeds_give_the_interval(tmp_path):
    runs = [turn(tmp_path / f"{ratio}.zarr", ratio) for ratio in (0.98, 1.0, 1.02)]
    for level, quantile in ((0.95, 4.30265), (0.9, 2.91999)):  # of Student's t with two degrees of freedom
        (row,) = equilibrium(runs, confidence_level=level).to_dict()["parameters"]
        half = quantile * 0.02 / math.sqrt(3)
        assert [row["low"], row["ratio"], row["high"]] == pytest.approx([1 - half, 1, 1 + half], rel=1e-5)
    assert row["rotation"] == pytest.approx(row["expected"] * math.sqrt((0.98**2 + 1 + 1.02**2) / 3), rel=1e-6)
    assert row["norm_change"] == pytest.approx(0, abs=1e-9)
    turned = [runs[0], turn(tmp_path / "longer.zarr", norms=(1, 1.2))]
    assert equilibrium(turned).frame.norm_change[0] == pytest.approx((1.2 / 1.1 - 1) / 2, abs=1e-9)


def test_adamw_turns_by_its_own_balance_and_others_have_none(tmp_path):
    found = equilibrium(turn(tmp_path / "w.zarr", momentum=0.9, optimizer="AdamW"))
    assert found.memory == pytest.approx(UPDATES / 6)
    assert found.frame.expected[0] == pytest.approx(math.sqrt(2 * 0.06 * 0.1 / 1.9))
    plain = equilibrium(turn(tmp_path / "none.zarr", momentum=0.9, optimizer=None))
    assert plain.memory == pytest.approx(0.1 * UPDATES / 6)
    assert plain.frame.expected[0] == pytest.approx(math.sqrt(2 * 0.06 / 1.9))
    with pytest.raises(MotionError, match="was trained with adam; expected sgd or adamw"):
        equilibrium(turn(tmp_path / "adam.zarr", optimizer="adam"))


@pytest.mark.parametrize(
    ("noted", "said"),
    [
        ({"momentum": 1.0}, "notes momentum 1; expected a number from 0 on, below 1"),
        ({"lr": "fast"}, "expected the numbers lr, momentum and weight_decay"),
        ({"weight_decay": 0.0}, "has lr 0.1 and weight_decay 0: without decay"),
        ({"lr": -0.1, "weight_decay": -0.1}, "has lr -0.1 and weight_decay -0.1: without decay"),
        ({"nesterov": "yes"}, "nesterov = 'yes': expected True or False"),
    ],
)
def test_settings_without_a_balance_are_refused_in_a_line(tmp_path, noted, said):
    run = turn(tmp_path / "run.zarr", **noted)
    with pytest.raises(AnalysisError, match=said) as refused:
        equilibrium(run)
    assert "\n" not in str(refused.value)


def test_what_never_turns_is_still_and_other_seeds_are_refused(tmp_path):
    for name, options in (("zero", {"norms": (0, 0)}), ("still", {"still": True})):
        found = equilibrium(turn(tmp_path / f"{name}.zarr", **options))
        assert found.frame.state.tolist() == ["still"]
        assert "nan" not in repr(found)
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["parameters"][0]["ratio"] == 0
    with pytest.raises(SeedError, match="weight_decay is"):
        equilibrium([turn(tmp_path / "one.zarr"), turn(tmp_path / "other.zarr", age=7)])
