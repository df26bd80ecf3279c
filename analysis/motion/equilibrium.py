"""`equilibrium`: has weight decay balanced the norm? The rotation an update makes, against what balance would give.

Of weights that a following normalisation makes scale-invariant, gradients are orthogonal to w and weight decay
shrinks it; where the two balance, an update turns w by √(2ηλ/(1 + μ)) (SGD with momentum μ, learning rate η, decay
λ) or √(2ηλ (1 − β₁)/(1 + β₁)) (AdamW), and the norm is steady (Kosson, Messmer and Jaggi 2024, arXiv 2305.17212).
Nesterov's updates are longer, by √(1 + 2μ − 2μ³) (`momentum`), and turn the weights by as much more. The balance is
reached after some multiples of the memory τ = (1 − μ)/(ηλ), which for AdamW, whose step knows no (1 − μ), is 1/(ηλ).
Dampening makes the rate of SGD with momentum smaller, to η(1 − dampening).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from analysis.curve import Curve, CurvesLike, Run
from analysis.errors import MotionError
from analysis.fitting.age import optimizer_of, undamped
from analysis.fitting.log_bins import constant_phase
from analysis.fitting.seed_group import read_seeds
from analysis.inputs import check_confidence_level, is_finite_number
from analysis.motion.momentum import noted_momentum
from analysis.motion.recorded_motion import HOW_TO_RECORD, standing_still
from analysis.serialize import Part, Table, Tabulated, jsonable, records

MEMORIES = 5.0  # multiples of τ after which the norm has been steady in every run seen
CLOSE = 0.05  # of the expected rotation: hidden layers in balance lie within .3 %, other weights far off
_SAME_RATE = 0.01
_STEADY = 0.05  # of the norm, over the window


@dataclass(frozen=True, eq=False, repr=False)
class Equilibrium(Tabulated):
    """How near each parameter's motion is to the balance of gradients and weight decay.

    Attributes:
        frame: one row per parameter. Columns: parameter, rotation (root mean square angle an update turned the
            weights by over the window, radians), expected (at the balance), ratio, low, high (confidence interval of
            the ratio over runs; NaN for one), norm_change (of ‖w‖ over the window, relative) and state ("reached";
            "not steady", with the norm still changing; "not balanced", with another rotation than the balance's, as
            weights have that are not scale-invariant; "not yet", the same before 5 memory times have passed; or
            "still", without a rotation, as of weights that are 0 or never change).
        memory: τ, in updates.
        age: the window's end over τ.
        t_range: the window, in updates.
        n: number of runs.
        warnings: plain sentences.

    Examples:
        >>> import pandas as pd
        >>> from analysis import Equilibrium
        >>> table = pd.DataFrame({"parameter": ["weight"], "ratio": [1.01], "state": ["reached"]})
        >>> Equilibrium(table, 100.0, 6.0, (300.0, 600.0), 1, ()).to_dict()["age"]
        6.0
    """

    frame: pd.DataFrame
    memory: float
    age: float
    t_range: tuple[float, float]
    n: int
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        found = {"memory": self.memory, "age": self.age, "t_range": self.t_range, "n": self.n}
        found |= {"warnings": self.warnings, "parameters": records(self.frame)}
        return {key: jsonable(value) for key, value in found.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the table of parameters."""
        return self.frame.copy()

    def _summary(self) -> Sequence[Part]:
        rows = [
            [
                row["parameter"],
                _number(row["rotation"], ".3g"),
                f"{row['expected']:.3g}",
                _number(row["ratio"], ".3f"),
                "" if math.isnan(row["low"]) else f"[{row['low']:.3f}, {row['high']:.3f}]",
                _number(row["norm_change"], "+.1%"),
                row["state"],
            ]
            for row in self.frame.to_dict("records")
        ]
        head = ("parameter", "radians an update", "in balance", "ratio", "interval", "norm", "")
        said = (
            f"Between t = {self.t_range[0]:g} and {self.t_range[1]:g}, {self.age:.2g} memory times "
            f"(1 − μ)/(ηλ) = {self.memory:.4g} updates old; the balance takes about {MEMORIES:g}."
        )
        return [Table(rows, head), said, *(f"! {sentence}" for sentence in self.warnings)]


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else format(value, form)


def equilibrium(
    data: CurvesLike, *, t_max: float | None = None, confidence_level: float = 0.95, force: bool = False
) -> Equilibrium:
    """Compare each parameter's rotation an update with that of the balance of gradients and weight decay.

    It is taken over the last half of the updates up to `t_max`.

    Args:
        data: a Run or its path, or seeds of one experiment, that recorded `update_norm` and `norm`, and noted `lr`,
            `momentum` and `weight_decay` in their configuration (and `optimizer`, if it is "adamw", whose β₁ is the
            momentum; `nesterov` and `dampening`, if SGD has them).
        t_max: the window's end; by default the first learning-rate drop or the last update.
        confidence_level: of the intervals over runs (Student's).
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same.

    Returns:
        The table of parameters.

    Raises:
        MotionError: for arrays, runs without those quantities or settings, without weight decay, or of several
            settings.
        FitRangeError: where t_max lies past a learning-rate drop.
        AnalysisError: what `fit` raises for the data.

    Examples:
        >>> import torch
        >>> from analysis import equilibrium
        >>> from trajectory import Recorder
        >>> layer = torch.nn.Linear(100, 1, bias=False)
        >>> optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, weight_decay=0.1)
        >>> settings = {"lr": 0.1, "momentum": 0.0, "weight_decay": 0.1}
        >>> quantities = ["distance", "update_norm", "norm"]
        >>> with Recorder("sphere.zarr", layer, optimizer, quantities=quantities, config=settings):
        ...     for _ in range(600):
        ...         w = layer.weight.data
        ...         g = torch.randn_like(w)
        ...         layer.weight.grad = (g - (g * w).sum() / w.square().sum() * w) / w.norm()
        ...         optimizer.step()
        >>> found = equilibrium("sphere.zarr")
        >>> round(found.memory), found.frame.state.tolist()
        (100, ['reached'])
    """
    check_confidence_level(confidence_level)
    group, notes = read_seeds(data, 0, None, t_max, force=force)
    runs = [_run_of(curve) for curve in group]
    balances = {_balance(curve): curve.name for curve in group}
    if len(balances) > 1:
        raise MotionError(
            f"{' and '.join(balances.values())} note other rates, momenta or decays (memory times of "
            f"{' and '.join(f'{time:g}' for _, time in balances)} updates); expected runs of one setting"
        )
    ((expected, memory),) = balances
    _, end = constant_phase(group, None, t_max)
    notes += tuple(filter(None, (_other_rate(curve, end / 2, end) for curve in group)))
    notes += tuple(standing_still(group, end)) if len(group) > 1 else ()  # one run's states say so
    measured = [_rotation(run, end / 2, end) for run in runs]
    rotation = np.sqrt(np.mean([table["rotation"].to_numpy() ** 2 for table in measured], axis=0))
    ratios = np.array([table["rotation"].to_numpy() / expected for table in measured])
    n = len(runs)
    half = np.full(ratios.shape[1], math.nan)
    if n > 1:
        half = special.stdtrit(n - 1, (1 + confidence_level) / 2) * ratios.std(axis=0, ddof=1) / math.sqrt(n)
    frame = pd.DataFrame(
        {
            "parameter": measured[0].index.astype(str),
            "rotation": rotation,
            "expected": expected,
            "ratio": ratios.mean(axis=0),
            "low": ratios.mean(axis=0) - half,
            "high": ratios.mean(axis=0) + half,
            "norm_change": np.mean([table["norm_change"].to_numpy() for table in measured], axis=0),
        }
    )
    steady, close = frame.norm_change.abs() <= _STEADY, (frame.ratio - 1).abs() <= CLOSE
    age = end / memory
    found = np.where(close & (age >= 1), "reached", "not balanced" if age >= MEMORIES else "not yet")
    frame["state"] = np.where(frame.rotation > 0, np.where(steady, found, "not steady"), "still")
    if age < MEMORIES:
        notes += (f"{age:.2g} of the {MEMORIES:g} memory times that the balance takes have passed.",)
    return Equilibrium(frame, memory, age, (end / 2, end), n, notes)


def _run_of(curve: Curve) -> Run:
    run = curve.run
    missing = [name for name in ("update_norm", "norm") if run is None or name not in run.quantities]
    if run is None or missing:
        raise MotionError(
            f"{curve.name}: the equilibrium needs a run that recorded {' and '.join(missing)}: {HOW_TO_RECORD}"
        )
    return run


def _balance(curve: Curve) -> tuple[float, float]:
    """Return the expected rotation an update, and the memory τ."""
    settings = curve.settings
    numbers = {name: settings.get(name, math.nan) for name in ("lr", "momentum", "weight_decay")}
    if not all(is_finite_number(value) for value in numbers.values()):
        raise MotionError(
            f"{curve.name}: notes {dict(settings)}; expected the numbers lr, momentum and weight_decay in its "
            "configuration: Recorder(..., config={'lr': ..., 'momentum': ..., 'weight_decay': ...})"
        )
    lr, mu, decay = (float(numbers[name]) for name in ("lr", "momentum", "weight_decay"))
    if not 0 <= mu < 1:
        raise MotionError(f"{curve.name}: notes momentum {mu:g}; expected a number from 0 on, below 1")
    if not (lr > 0 and decay > 0):
        raise MotionError(
            f"{curve.name}: has lr {lr:g} and weight_decay {decay:g}: without decay there is no balance"
        )
    optimizer = optimizer_of(curve)
    if optimizer not in ("sgd", "adamw"):
        raise MotionError(
            f"{curve.name}: was trained with {optimizer}; expected sgd or adamw, whose balance is known"
        )
    if optimizer == "adamw":
        return math.sqrt(2 * lr * decay * (1 - mu) / (1 + mu)), 1 / (lr * decay)
    momentum, pull = noted_momentum([curve], None, None), undamped(curve) * lr * decay
    if not pull > 0:
        raise MotionError(
            f"{curve.name}: notes dampening {curve.settings['dampening']!r}; expected a number from 0 on, below 1"
        )
    return math.sqrt(2 * pull * momentum.size / (1 + mu)), (1 - mu) / pull


def _other_rate(curve: Curve, start: float, end: float) -> str:
    """Say where the learning rate recorded in the window is not the one noted, from which the balance is expected."""
    if curve.run is None or "learning_rate" not in curve.run.metrics:
        return ""
    rate = curve.run.metrics["learning_rate"].loc[start:end].dropna()
    noted = float(curve.settings["lr"])
    if not len(rate) or bool(((rate - noted).abs() <= _SAME_RATE * noted).all()):
        return ""
    return (
        f"{curve.name} notes lr {noted:g}, and its recorded rate is {rate.min():.3g} to {rate.max():.3g} between "
        f"t = {start:g} and {end:g}: the rotation in balance is that of the noted one."
    )


def _rotation(run: Run, start: float, end: float) -> pd.DataFrame:
    """Measure each parameter's rms rotation an update, and the relative change of its norm, between two updates."""
    update, norm = (run.layers(name).loc[start:end] for name in ("update_norm", "norm"))
    if len(norm) < 2:
        raise MotionError(
            f"{run.name}: holds {len(norm)} recorded updates between t = {start:g} and {end:g}; expected two or more"
        )
    lost = np.flatnonzero(~np.isfinite((update + norm).to_numpy()).all(axis=1))
    if len(lost):
        raise MotionError(
            f"{run.name}: the weights are no numbers at update {norm.index[lost[0]]:g}; expected finite ones: end "
            "the window before that with t_max"
        )
    rotation = np.sqrt(((update / norm.where(norm > 0)) ** 2).mean())
    change = norm.iloc[-1] / norm.iloc[0].where(norm.iloc[0] > 0) - 1
    return pd.DataFrame({"rotation": rotation, "norm_change": change})
