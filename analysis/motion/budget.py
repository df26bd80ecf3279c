"""`budget`: is the motion a random walk? The squared distance gained, against what its updates would diffuse.

With ‖w_t − w_0‖² = ‖w_{t−1} − w_0‖² + ‖Δw_t‖² + 2⟨w_{t−1} − w_0, Δw_t⟩, distance and update norm give the radial
drift Σ⟨w − w_0, Δw⟩ exactly, and likewise that of ‖w‖². Where gradients are uncorrelated in time, momentum μ
correlates updates k apart by μ^k, and the squared distance grows over a window by (1 + μ)/(1 − μ) · Σ‖Δw‖²;
Nesterov's momentum has a factor of its own (`momentum`). R, the growth measured over that, is 1 for diffusion, above
it for drift, below it for confinement; no law is fitted.

μ is what the runs note or what is given, so it is held against what they recorded: neighbouring updates of such
gradients have correlation μ (`neighbour_correlations`), or Nesterov's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.curve import Curve, CurvesLike
from analysis.errors import MotionError
from analysis.fitting.log_bins import constant_phase
from analysis.fitting.seed_group import read_seeds
from analysis.inputs import check_confidence_level, check_switch, is_finite_number
from analysis.motion.momentum import Momentum, doubts, noted_momentum, other_optimizers, restarts
from analysis.motion.recorded_motion import ALL, RecordedMotion, neighbour_correlations, standing_still
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]

_LEAST_FACTOR = 1.01  # a thousand windows in four decades of t


@dataclass(frozen=True, eq=False, repr=False)
class MotionBudget(Tabulated):
    """Where the squared distance of one or more runs came from, window by window.

    Attributes:
        frame: one row per parameter and window. Columns: parameter ("all" for all together), t_start, t_end (updates
            since the origin), path (Σ‖Δw‖²), gain (of ‖w − w_origin‖²), drift (Σ⟨w − w_origin, Δw⟩), norm_drift
            (Σ⟨w, Δw⟩; NaN where no norm was recorded), ratio (R), low, high (its confidence interval over the runs;
            NaN for one run) and motion ("drift", "diffusion" or "confinement", "" for one run; "still" where nothing
            moved, which has no R, as where one of several runs did not move); means over runs.
        momentum: μ.
        n: number of runs.
        origin: the update from which distances are measured and t counts.
        confidence_level: of the intervals.
        exact: whether every update was recorded; otherwise ‖Δw‖² is interpolated between those that were.
        warnings: plain sentences.
        momentum_given: whether μ was given, and not taken from what the runs note.
        correlation: of neighbouring updates, as the runs recorded it after their origins; NaN where they did not.
        nesterov: whether the momentum is Nesterov's.

    Examples:
        >>> import pandas as pd
        >>> from analysis import MotionBudget
        >>> windows = pd.DataFrame({"parameter": ["all"], "t_start": [100.0], "t_end": [200.0], "ratio": [1.3]})
        >>> MotionBudget(windows, 0.9, 1, 0, 0.95, True, ()).to_frame().ratio.tolist()
        [1.3]
    """

    frame: pd.DataFrame
    momentum: float
    n: int
    origin: int
    confidence_level: float
    exact: bool
    warnings: tuple[str, ...]
    momentum_given: bool = True
    correlation: float = math.nan
    nesterov: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        found = {
            "momentum": self.momentum,
            "momentum_given": self.momentum_given,
            "nesterov": self.nesterov,
            "correlation": self.correlation,
            "n": self.n,
            "origin": self.origin,
            "confidence_level": self.confidence_level,
            "exact": self.exact,
            "warnings": self.warnings,
            "windows": records(self.frame),
        }
        return {key: jsonable(value) for key, value in found.items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the table of windows."""
        return self.frame.copy()

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw R against t.

        Args:
            ax: axes to draw into; by default a figure of its own.

        Returns:
            The figure.
        """
        from analysis import figures

        return figures.budget(self, ax)

    def _summary(self) -> Sequence[Part]:
        seen = [name for name in ("path", "gain", "drift", "norm_drift") if self.frame[name].notna().any()]
        rows = [
            [
                row["parameter"],
                f"{row['t_start']:g} .. {row['t_end']:g}",
                *(f"{row[name]:.4g}" for name in seen),
                "" if math.isnan(row["ratio"]) else f"{row['ratio']:.2f}",
                "" if math.isnan(row["low"]) else f"[{row['low']:.2f}, {row['high']:.2f}]",
                row["motion"],
            ]
            for row in self.frame.to_dict("records")
        ]
        momentum = Momentum(self.momentum, self.nesterov)
        since = f", t since update {self.origin}" if self.origin else ""
        said = (
            f"R is the squared distance gained over {momentum.formula} · Σ‖Δw‖²{since}: 1 for diffusion, more for "
            "drift, less for confinement."
        )
        source = f"{momentum}, as {'given' if self.momentum_given else 'the runs note'}"
        if not math.isnan(self.correlation):
            source += f"; neighbouring updates have correlation {self.correlation:.2f}"
        interval = f"{100 * self.confidence_level:g} % interval"
        windows = Table(rows, ("parameter", "t", *seen, "R", interval, ""))
        return [windows, said, f"{source}.", *(f"! {s}" for s in self.warnings)]


def budget(
    data: CurvesLike,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    origin: int = 0,
    momentum: float | None = None,
    nesterov: bool | None = None,
    factor: float = 2.0,
    per_layer: bool = False,
    confidence_level: float = 0.95,
    force: bool = False,
) -> MotionBudget:
    """Compare the squared distance that a run gained with what its updates would diffuse, window by window.

    Args:
        data: a Run or its path, or seeds of one experiment, that recorded the quantity `update_norm` (and, for the
            drift of the norm, `norm`).
        t_min: the start of the first window, in updates since the origin; by default 10/(1 − μ), from where on the
            momentum's start is forgotten, or the end of the learning rate's warm-up.
        t_max: the end of the last window; by default the first learning-rate drop.
        origin: the update from which distances are measured; one that the runs recorded.
        momentum: μ; by default the runs' setting `momentum`. β₁ for Adam.
        nesterov: whether it is Nesterov's, as `torch.optim.SGD(nesterov=True)` has it; by default the runs' setting
            `nesterov`, or not.
        factor: the ratio of a window's ends.
        per_layer: also one set of windows for each parameter.
        confidence_level: of the intervals over runs (Student's).
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same.

    Returns:
        The budget.

    Raises:
        MotionError: for arrays, runs without `update_norm` or with one that is no number, a momentum that is unknown
            or that the runs do not share, or a range without a window.
        FitRangeError: where t_max lies past a learning-rate drop.
        AnalysisError: what `fit` raises for the data.

    Examples:
        >>> import torch
        >>> from analysis import budget
        >>> from trajectory import Recorder
        >>> walker = torch.nn.Linear(1000, 1, bias=False)
        >>> optimizer = torch.optim.SGD(walker.parameters(), lr=0.01)
        >>> with Recorder("walk.zarr", walker, optimizer, quantities=["distance", "update_norm"]):
        ...     for _ in range(80):
        ...         walker.weight.grad = torch.randn(1, 1000)
        ...         optimizer.step()
        >>> found = budget("walk.zarr", momentum=0.0, t_min=10)
        >>> found.frame.t_end.tolist(), bool((abs(found.frame.ratio - 1) < 0.5).all())
        ([20.0, 40.0, 80.0], True)
    """
    check_confidence_level(confidence_level)
    check_switch(per_layer, "per_layer")
    if not is_finite_number(factor) or factor < _LEAST_FACTOR:
        raise MotionError(f"factor = {factor!r}: expected the ratio of a window's ends, {_LEAST_FACTOR:g} or more")
    group, notes = read_seeds(data, origin, t_min, t_max, force=force)
    runs = [RecordedMotion(curve, per_layer) for curve in group]
    inertia = noted_momentum(group, momentum, nesterov)
    shared = np.array(sorted(set.intersection(*({*run.steps.tolist()} for run in runs))))
    windows = _windows(group, shared, t_min, t_max, inertia.settled, factor)
    for run in runs:
        run.check_finite(windows[0][0], windows[-1][1])
    rows = [
        {
            "parameter": name,
            "t_start": start,
            "t_end": end,
            **_row([run.budget(name, start, end) for run in runs], inertia.diffusion),
        }
        for name in runs[0].names
        for start, end in windows
    ]
    frame = pd.DataFrame(rows)
    ratios = np.array(frame.pop("ratios").tolist())
    frame = pd.concat([frame, _intervals(ratios, confidence_level)], axis=1)
    exact, correlations = all(run.exact for run in runs), neighbour_correlations(group, per_layer)
    correlation = correlations.pop(ALL)
    notes += (
        *other_optimizers(group),
        *doubts(inertia, correlation, correlations, windows[0][0], exact),
        *restarts(group, inertia, windows[0][0], windows[-1][1]),
        *standing_still(group, windows[-1][1]),
    )
    return MotionBudget(
        frame,
        inertia.mu,
        len(group),
        group[0].origin,
        confidence_level,
        exact,
        notes,
        momentum is not None,
        correlation,
        inertia.nesterov,
    )


def _windows(
    group: Sequence[Curve], steps: Array, t_min: float | None, t_max: float | None, settled: int, factor: float
) -> list[tuple[float, float]]:
    """Return windows whose ends grow by a factor, each end a recorded step."""
    warmed = max(curve.warmup_end for curve in group)
    start, end = constant_phase(group, max(settled, warmed) if t_min is None else t_min, t_max)
    inside = steps[(steps >= start) & (steps <= end)]
    count = math.floor(math.log(inside[-1] / inside[0], factor) + 1e-9) if len(inside) else 0
    wanted = inside[:1] * factor ** np.arange(count + 1.0) * (1 + 1e-12)
    ends = inside[np.searchsorted(inside, wanted, side="right") - 1]
    windows = [(float(a), float(b)) for a, b in pairwise(ends) if b > a]
    if not windows:
        raise MotionError(
            f"no window fits between t = {start:g} and {end:g}, where all runs recorded {len(inside)} updates: "
            f"expected an end {factor:g} times the start among them; lower t_min or factor, record longer, or the "
            "same updates"
        )
    return windows


def _row(budgets: Sequence[tuple[float, float, float]], diffusion: float) -> dict[str, Any]:
    path, gain, norm_gain = np.array(budgets).T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = gain / (diffusion * path)
    return {
        "path": path.mean(),
        "gain": gain.mean(),
        "drift": (gain - path).mean() / 2,
        "norm_drift": (norm_gain - path).mean() / 2,
        "ratios": ratios,
    }


def _intervals(ratios: Array, confidence_level: float) -> pd.DataFrame:
    """Return R, Student's interval over the runs, and what it says."""
    n = ratios.shape[1]
    mean = ratios.mean(axis=1)
    half = np.full(len(mean), math.nan)
    if n > 1:
        half = special.stdtrit(n - 1, (1 + confidence_level) / 2) * ratios.std(axis=1, ddof=1) / math.sqrt(n)
    low, high = mean - half, mean + half
    motion = np.where(low > 1, "drift", np.where(high < 1, "confinement", "diffusion" if n > 1 else ""))
    motion = np.where(np.isnan(mean), "", motion)  # some of the runs stand still
    motion = np.where(np.isnan(ratios).all(axis=1), "still", motion)
    return pd.DataFrame({"ratio": mean, "low": low, "high": high, "motion": motion})
