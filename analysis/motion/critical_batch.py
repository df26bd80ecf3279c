"""`critical_batch_size`: beyond which batch do more samples an update no longer save updates?

Runs of several batch sizes B that reach one target, a loss or a distance, after S(B) updates are fitted by

    S(B) = S_min (1 + B_c/B)

(McCandlish, Kaplan, Amodei and the OpenAI Dota Team 2018, arXiv 1812.06162): far below B_c twice the batch takes half
the updates, far above it just as many. Least squares in log S, in which the seeds' scatter is even; the interval of
B_c holds the values whose sum of squares is within F's quantile of the least one (a profile, so that it may be open).

A loss is recorded with the noise of its batch, which is larger for a small one, so that the first update below a
target comes too early, and earlier for small batches. The loss is therefore taken from the non-increasing curve that
is nearest to it in least squares (isotonic regression), which knows no bandwidth.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from analysis.curve import Curve, CurvesLike
from analysis.errors import MotionError
from analysis.fitting.seed_group import check_differ, check_measured_alike
from analysis.inputs import check_confidence_level, is_finite_number
from analysis.reading import curves
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
_ONE_TASK = ("network", "dataset", "train_size", "protocol", "optimizer")  # the rest may be tuned to each batch size
_SYMBOLS = {"distance": "d"}
_BEYOND = 1e4  # B_c is sought up to so many times the largest batch, and down to so small a part of the smallest


@dataclass(frozen=True, eq=False, repr=False)
class CriticalBatch(Tabulated):
    """The critical batch size of a sweep over batch sizes.

    Attributes:
        batch_size: B_c, samples.
        interval: its confidence interval; 0 or infinity where the runs set no bound.
        fewest_updates: S_min, the updates that the largest batches would need.
        frame: one row per run. Columns: name, batch_size, updates (to the target) and fitted.
        target: the distance or loss that all runs reached.
        quantity: what the target is of: "distance", or the name of the loss.
        warnings: plain sentences.
        scatter: root mean square of log S about the fit.
        confidence_level: of the interval.

    Examples:
        >>> import numpy as np
        >>> from analysis import CriticalBatch, Curve, critical_batch_size
        >>> t = np.arange(1.0, 2001.0)
        >>> def walk(batch):  # reaches 1 after 100 (1 + 64/batch) updates
        ...     return Curve(t, t / (100 * (1 + 64 / batch)), config={"batch_size": batch})
        >>> found = critical_batch_size([walk(batch) for batch in (8, 16, 64, 256, 1024)], distance=1.0)
        >>> isinstance(found, CriticalBatch), round(found.batch_size, 3), round(found.fewest_updates, 3)
        (True, 64.0, 100.0)
    """

    batch_size: float
    interval: tuple[float, float]
    fewest_updates: float
    frame: pd.DataFrame
    target: float
    scatter: float
    confidence_level: float
    quantity: str = "distance"
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        return {key: records(value) if key == "frame" else jsonable(value) for key, value in vars(self).items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the updates that each run needed."""
        return self.frame.copy()

    def predict(self, batch: ArrayLike) -> Array:
        """Return the updates that batches of any size need: S_min (1 + B_c/B).

        Args:
            batch: samples.
        """
        return self.fewest_updates * (1 + self.batch_size / np.asarray(batch, float))

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the updates against the batch size, and the fit.

        Args:
            ax: axes to draw into; by default a figure of its own.

        Returns:
            The figure.
        """
        from analysis import figures

        return figures.critical_batch(self, ax)

    def _summary(self) -> Sequence[Part]:
        level = f"{100 * self.confidence_level:g} % confidence interval"
        rows = [
            ("S(B)", "S_min (1 + B_c/B)"),
            ("runs", f"{len(self.frame)}, to {_SYMBOLS.get(self.quantity, self.quantity)} = {self.target:g}"),
            ("B_c", "{:.4g}   {} [{:.4g}, {:.4g}]".format(self.batch_size, level, *self.interval)),
            ("S_min", f"{self.fewest_updates:.4g}"),
            ("scatter of log S", f"{self.scatter:.2%}"),
        ]
        return [Table(rows), *(f"! {sentence}" for sentence in self.warnings)]


def critical_batch_size(
    data: CurvesLike,
    *,
    distance: float | None = None,
    loss: float | None = None,
    metric: str = "loss",
    origin: int = 0,
    confidence_level: float = 0.95,
) -> CriticalBatch:
    """Fit S(B) = S_min (1 + B_c/B) to the updates after which runs of several batch sizes reach a distance or a loss.

    The learning rate of each batch size should be the best for it, as McCandlish et al. ask; runs are taken as given.
    Runs that branch off one snapshot (`ultraslow train --warm-start`) give the critical batch size there.

    Args:
        data: runs or their paths that noted `batch_size`, or `Curve`s with such a `config`; of three batch sizes at
            least, with seeds.
        distance: the target d, which every run reaches after its first recorded update.
        loss: the target loss instead, below where every run begins.
        metric: the logged quantity that `loss` is a value of: "loss", the training loss of each update, or
            "validation_loss", say. A curve that rises again after the target counts as the flat one nearest to it.
        origin: d is the displacement from this update's weights, and t counts from it.
        confidence_level: of the interval.

    Returns:
        The critical batch size.

    Raises:
        MotionError: for runs that do not note their batch size, do not reach the target, are too few, or differ in
            network, data or optimizer; for no target, or two.
        SeedError: where two of the runs are one.
        AnalysisError: what `fit` raises for the data.

    Examples:
        >>> import numpy as np
        >>> from analysis import Curve, critical_batch_size
        >>> t = np.arange(1.0, 1001.0)
        >>> runs = [Curve(t, t / (50 + 1600 / batch), config={"batch_size": batch}) for batch in (8, 32, 128, 512)]
        >>> round(critical_batch_size(runs, distance=2.0).batch_size, 3)
        32.0
    """
    check_confidence_level(confidence_level)
    target, quantity = _target(distance, loss, metric, origin)
    group = curves(data, origin=origin)
    check_differ(group)
    _check_one_task(group)
    batch = np.array([_batch_of(curve) for curve in group])
    spare = len(group) - 2
    if spare < 1 or len(np.unique(batch)) < 3:
        raise MotionError(
            f"got {len(group)} runs of {len(np.unique(batch))} batch sizes; expected three batch sizes or more, "
            "whose updates to the target are to be fitted"
        )
    reach = _updates_to_distance if quantity == "distance" else _updates_to_loss(quantity)
    updates = np.array([reach(curve, target) for curve in group])

    def squares(u: float) -> float:
        found = np.log(updates) - np.log1p(math.exp(u) / batch)
        return float(((found - found.mean()) ** 2).sum())

    grid = np.linspace(math.log(batch.min() / _BEYOND), math.log(batch.max() * _BEYOND), 400)
    best = int(np.argmin([squares(u) for u in grid]))
    bounds = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
    u = float(optimize.minimize_scalar(squares, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x)
    least = squares(u)
    limit = least * (1 + float(special.fdtri(1, spare, confidence_level)) / spare)
    fitted = np.log1p(math.exp(u) / batch)
    level = float(np.mean(np.log(updates) - fitted))
    frame = pd.DataFrame({"name": [curve.name for curve in group], "batch_size": batch, "updates": updates})
    frame["fitted"] = np.exp(level + fitted)
    low, high = (_bound(squares, limit, u, float(grid[i]), beyond) for i, beyond in ((0, 0.0), (-1, math.inf)))
    neither = ("These runs bound B_c on neither side: B_c and S_min mean nothing.",) * ((low, high) == (0, math.inf))
    flat = ("Larger batches take no fewer updates here: B_c is below all that they can tell.",) * (best == 0)
    return CriticalBatch(
        batch_size=math.exp(u),
        interval=(low, high),
        fewest_updates=math.exp(level),
        frame=frame,
        target=target,
        scatter=math.sqrt(least / spare),
        confidence_level=confidence_level,
        quantity=quantity,
        warnings=(*_dropped(group, updates), *(neither or flat)),
    )


def _check_one_task(group: Sequence[Curve]) -> None:
    """Refuse runs of another network, data set, optimizer or origin: their updates to a target do not compare."""
    check_measured_alike(group)
    for name in _ONE_TASK:
        values = sorted({str(curve.settings[name]) for curve in group if name in curve.settings})
        if len(values) > 1:
            raise MotionError(f"the runs differ in {name} ({', '.join(values)}); expected runs of one task")


def _dropped(group: Sequence[Curve], updates: Array) -> tuple[str, ...]:
    """Name the runs whose learning rate drops before they reach the target."""
    names = [curve.name for curve, t in zip(group, updates, strict=True) if min(curve.drops, default=math.inf) < t]
    if not names:
        return ()
    return (
        f"The learning rate of {', '.join(names)} drops before the target is reached: S(B) then depends on when it "
        "drops, too.",
    )


def _target(distance: float | None, loss: float | None, metric: str, origin: int) -> tuple[float, str]:
    """Return the one target that is given, and what it is of."""
    if (distance is None) == (loss is None):
        got = "neither a distance nor a loss" if loss is None else "a distance and a loss"
        raise MotionError(f"got {got}; expected one of them, which every run reaches")
    target, quantity = (distance, "distance") if loss is None else (loss, metric)
    if target is None or not (is_finite_number(target) and target > 0):
        raise MotionError(f"{quantity} is {target}; expected a number above 0, which every run reaches")
    if loss is not None and origin:
        raise MotionError(f"got a loss with origin {origin}, which distances are measured from; leave one out")
    return float(target), quantity


def _bound(squares: Any, limit: float, best: float, end: float, beyond: float) -> float:
    """Return the B_c between the best one and an end of the range where the squares reach the limit."""
    if squares(end) <= limit:
        return beyond
    if squares(best) >= limit:
        return math.exp(best)
    return math.exp(optimize.brentq(lambda u: squares(u) - limit, best, end))


def _batch_of(curve: Curve) -> float:
    batch = curve.batch_size
    if batch is None or not (is_finite_number(batch) and batch > 0):
        raise MotionError(
            f"{curve.name}: notes batch_size {batch}; expected a positive number in its configuration: "
            "Recorder(..., config={'batch_size': ...})"
        )
    return float(batch)


def _updates_to_distance(curve: Curve, distance: float) -> float:
    """Return the t at which d first reaches a distance, by a straight line in log-log between recorded updates."""
    above = np.flatnonzero(curve.d >= distance)
    if not len(above) or above[0] == 0:
        got = f"goes up to {curve.d.max():.4g}" if not len(above) else f"begins at {curve.d[0]:.4g}"
        raise MotionError(
            f"{curve.name}: its distance {got}; expected it to reach {distance:g} after its first recorded update: "
            "choose a distance that every run passes"
        )
    k = int(above[0])
    before, after = np.log(curve.d[k - 1 : k + 1])
    return _between(curve.t, k, float((math.log(distance) - before) / (after - before)))


def _updates_to_loss(metric: str) -> Callable[[Curve, float], float]:
    def updates(curve: Curve, loss: float) -> float:
        """Return the t at which the non-increasing curve through the losses is at a loss."""
        recorded = curve.run.metrics.get(metric) if curve.run is not None else None
        recorded = None if recorded is None else recorded.dropna()
        if recorded is None or not len(recorded):
            raise MotionError(
                f"{curve.name}: logs no {metric}; expected a run that logged it: recorder.log({metric}=...)"
            )
        t, values = recorded.index.to_numpy(float), recorded.to_numpy(float)
        if not np.isfinite(values).all():
            raise MotionError(f"{curve.name}: its {metric} is not finite; expected a run that did not diverge")
        falling = optimize.isotonic_regression(values, increasing=False).x
        below = np.flatnonzero(falling <= loss)
        if not len(below) or below[0] == 0:
            got = f"goes down to {falling[-1]:.4g}" if not len(below) else f"begins at {falling[0]:.4g}"
            raise MotionError(
                f"{curve.name}: its {metric}, averaged where it does not fall, {got}; expected it to reach {loss:g}"
                " after its first recorded update: choose a loss that every run passes"
            )
        k = int(below[0])
        return _between(t, k, float((falling[k - 1] - loss) / (falling[k - 1] - falling[k])))

    return updates


def _between(t: Array, k: int, share: float) -> float:
    """Return the time a share of the way from t[k − 1] to t[k], in log t."""
    return float(np.exp(np.log(t[k - 1]) + share * math.log(t[k] / t[k - 1])))
