"""Ageing: does the walk slow down with its age?

D(t_w, τ) = ‖w_{t_w + τ} − w_{t_w}‖ depends on the lag τ alone where the motion is stationary. Where it ages, curves
of several waiting times t_w fall on one over τ/t_w^μ: μ = 0 is stationary, 1 full ageing (a function of log t alone
has it), between them is subageing (Vincent et al. 1997, cond-mat/9607224).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.curve import Run
from analysis.errors import MotionError
from analysis.fitting.log_bins import BINS_PER_DECADE
from analysis.fitting.seed_group import check_seeds
from analysis.inputs import check_confidence_level
from analysis.run_curves import names_of, runs_in
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_SHAPE = 4  # degree of the polynomial in log that stands for the common curve
_MU = np.round(np.arange(-0.5, 1.5001, 0.01), 2)
_FEWEST = 3  # waiting times
_BALLISTIC = 20  # lags: momentum carries the weights on a straight line until then


@dataclass(frozen=True, eq=False, repr=False)
class TwoTime(Tabulated):
    """Displacements D(t_w, τ) of one or more runs, and the exponent that makes one curve of them.

    Attributes:
        frame: one row per run, waiting time and log bin of the lag. Columns: run, waiting_time, lag (updates),
            distance.
        mu: the exponent μ of τ/t_w^μ; the mean over runs.
        interval: its confidence interval, Student's over the runs; NaN for one.
        spread: root mean square of log D about the common curve, at μ.
        spread_stationary: the same at μ = 0.
        spread_full_ageing: the same at μ = 1.
        n: number of runs.
        confidence_level: of the interval.
        sketched: whether the distances come from sketches, and hold to about 1/√(2K).
        warnings: plain sentences.

    Examples:
        >>> import pandas as pd
        >>> from analysis import TwoTime
        >>> table = pd.DataFrame({"run": ["a"], "waiting_time": [10], "lag": [30.0], "distance": [1.5]})
        >>> TwoTime(table, 0.98, (0.9, 1.1), 0.01, 0.2, 0.01, 3, 0.95, False).to_dict()["mu"]
        0.98
    """

    frame: pd.DataFrame
    mu: float
    interval: tuple[float, float]
    spread: float
    spread_stationary: float
    spread_full_ageing: float
    n: int
    confidence_level: float
    sketched: bool
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        return {key: records(value) if key == "frame" else jsonable(value) for key, value in vars(self).items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the displacements."""
        return self.frame.copy()

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw D against τ, and against τ/t_w^μ.

        Args:
            ax: draw D against τ there.

        Returns:
            The figure.
        """
        from analysis import figures

        return figures.ageing(self, ax)

    def _summary(self) -> Sequence[Part]:
        low, high = self.interval
        interval = "" if math.isnan(low) else f"   {100 * self.confidence_level:g} % interval [{low:.2f}, {high:.2f}]"
        waits = sorted(self.frame.waiting_time.unique())
        rows = [
            ("waiting times", ", ".join(f"{wait:g}" for wait in waits)),
            ("runs", str(self.n)),
            ("μ", f"{self.mu:.2f}{interval}"),
            ("spread of log D", f"{self.spread:.1%} at μ"),
            ("stationary, μ = 0", f"{self.spread_stationary:.1%}"),
            ("full ageing, μ = 1", f"{self.spread_full_ageing:.1%}"),
        ]
        said = "D(t_w, τ) is one curve over τ/t_w^μ: μ = 0 where the motion does not age, 1 where log t alone counts."
        return [
            Table(rows),
            said,
            *(["! From sketches: each distance holds to about 1/√(2K)."] if self.sketched else []),
            *(f"! {sentence}" for sentence in self.warnings),
        ]


def two_time(data: Any, *, confidence_level: float = 0.95, force: bool = False) -> TwoTime:
    """Compare displacements from several waiting times, and find the μ that makes them one curve over τ/t_w^μ.

    Waiting times are the run's origins, or else the steps that hold a sketch. Lags under 20 updates are left out:
    momentum makes them ballistic. So are updates after the first learning-rate drop, which slows every walk down.

    Args:
        data: a Run, its path, or a list of runs that differ in their seed.
        confidence_level: of μ's interval over the runs.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same.

    Returns:
        The displacements and μ.

    Raises:
        CurveError: where no runs are given.
        SeedError: where two runs are one, or runs of different settings.
        MotionError: a run has fewer than three waiting times from which it moved, or weights that are no numbers.
        StoreError: for a path that is no run.

    Examples:
        >>> import torch
        >>> from analysis import two_time
        >>> from trajectory import Recorder
        >>> walker = torch.nn.Linear(2000, 1, bias=False)
        >>> optimizer = torch.optim.SGD(walker.parameters(), lr=0.01)
        >>> with Recorder("aged.zarr", walker, optimizer, origins=[20, 60, 180]):
        ...     for _ in range(600):
        ...         walker.weight.grad = torch.randn(1, 2000)
        ...         optimizer.step()
        >>> bool(abs(two_time("aged.zarr").mu) < 0.1)  # a random walk does not age
        True
    """
    check_confidence_level(confidence_level)
    runs = runs_in(data)
    check_seeds(runs, force=force)
    sketched = not all(len(run.origins) > _FEWEST for run in runs)
    tables = [_from_sketches(run) if sketched and run.sketches else _from_origins(run) for run in runs]
    found = [_best(table) for table in tables]
    mus = np.array([mu for mu, _ in found])
    half = math.nan
    if len(mus) > 1:
        quantile = special.stdtrit(len(mus) - 1, (1 + confidence_level) / 2)
        half = float(quantile * mus.std(ddof=1) / math.sqrt(len(mus)))
    mean = float(mus.mean())
    spread, stationary, full = (
        float(np.sqrt(np.mean([_spread(table, mu) ** 2 for table in tables]))) for mu in (mean, 0.0, 1.0)
    )
    frame = pd.concat(
        [table.assign(run=name) for name, table in zip(names_of(runs), tables, strict=True)], ignore_index=True
    )
    columns = ["run", "waiting_time", "lag", "distance"]
    warnings = (
        *left_out(runs),
        *(f"μ = {mu:g} is the end of the range searched." for mu in dict.fromkeys(mus) if mu in (_MU[0], _MU[-1])),
    )
    return TwoTime(
        frame[columns],
        mean,
        (mean - half, mean + half),
        spread,
        stationary,
        full,
        len(runs),
        confidence_level,
        sketched,
        warnings,
    )


def last_at_one_rate(run: Run) -> float:
    """Return the last update before the first learning-rate drop; infinity without one.

    Args:
        run: the run.
    """
    return float(min(run.phase_ends, default=math.inf))


def left_out(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each run of which what follows a learning-rate drop is left out.

    Args:
        runs: the runs.
    """
    ends = {run.name: last_at_one_rate(run) for run in runs if math.isfinite(last_at_one_rate(run))}
    return [f"{name} drops its rate after update {end:g}: the rest is left out." for name, end in ends.items()]


def _from_origins(run: Run) -> pd.DataFrame:
    """Read D(t_w, τ) by log bins of τ from what was measured from each origin but 0."""
    moved = {origin: run.displacement(origin).loc[: last_at_one_rate(run)] for origin in run.origins[1:]}
    return _joined(run, [(w, np.asarray(d.index, float) - w, d.to_numpy(float)) for w, d in moved.items()])


def _from_sketches(run: Run) -> pd.DataFrame:
    """Estimate D(t_w, τ) from the sketches of each pair of steps."""
    steps = [step for step in run.sketches if 0 < step <= last_at_one_rate(run)]
    distances = run.pairwise_distance(steps, steps).to_numpy() if steps else np.zeros((0, 0))
    at = np.array(steps, float)
    return _joined(run, [(step, at[i + 1 :] - step, distances[i, i + 1 :]) for i, step in enumerate(steps)])


def _joined(run: Run, moved: Sequence[tuple[int, Array, Array]]) -> pd.DataFrame:
    """Bin D(t_w, τ) of each waiting time, and keep those from which the weights moved over some range of lags."""
    for wait, lag, distance in moved:
        lost = np.flatnonzero(~np.isfinite(distance))
        if len(lost):
            raise MotionError(
                f"{run.name}: its distance from update {wait} is no number at update {wait + lag[lost[0]]:g}; "
                "expected a run whose weights stay finite"
            )
    tables = [table for one in moved if len(table := _binned(*one)) > 2]
    if len(tables) < _FEWEST:
        raise MotionError(
            f"{run.name}: has {len(run.origins) - 1} origins after w_0 and {len(run.sketches)} sketches to measure "
            f"from, and moves on from {len(tables)} of them; expected {_FEWEST} or more before the learning rate "
            "drops, in each run: record with origins=[...] or sketch=4096, or ultraslow train --sketch 4096"
        )
    return pd.concat(tables, ignore_index=True)


def _binned(origin: int, lag: Array, distance: Array) -> pd.DataFrame:
    kept = (lag >= _BALLISTIC) & (distance > 0)
    table = pd.DataFrame({"lag": np.log(lag[kept]), "distance": np.log(distance[kept])})
    means = table.groupby(np.floor(BINS_PER_DECADE * np.log10(lag[kept]))).mean()
    return means.apply(np.exp).assign(waiting_time=origin).reset_index(drop=True)


def _best(table: pd.DataFrame) -> tuple[float, float]:
    """Return the μ of the least spread, between grid points by a parabola, and that spread."""
    spreads = np.array([_spread(table, mu) for mu in _MU])
    i = int(np.argmin(spreads))
    if not 0 < i < len(_MU) - 1:
        return float(_MU[i]), float(spreads[i])
    before, at, after = spreads[i - 1 : i + 2] ** 2
    curvature = before - 2 * at + after
    shift = (before - after) / (2 * curvature) if curvature > 0 else 0.0
    return float(_MU[i] + shift * (_MU[1] - _MU[0])), float(spreads[i])


def _spread(table: pd.DataFrame, mu: float) -> float:
    """Return the root mean square of log D about a smooth curve in log τ − μ log t_w."""
    x = np.log(table.lag.to_numpy()) - mu * np.log(table.waiting_time.to_numpy(float))
    z = np.log(table.distance.to_numpy())
    curve = np.polynomial.Polynomial.fit(x, z, min(_SHAPE, len(x) - 1))
    return float(np.sqrt(np.mean((z - curve(x)) ** 2)))
