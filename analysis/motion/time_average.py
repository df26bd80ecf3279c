"""Does one run stand for all? Squared displacements averaged over time, and how they differ between runs.

The average over time, δ²(τ) = mean over t of ‖w_{t+τ} − w_t‖², is that of an ensemble for an ergodic motion.
EB(τ) = var(δ²)/mean(δ²)² over runs measures by how much it is not (He et al. 2008, PRL 101, 058101); for Brownian
motion in N dimensions observed over T it is 4τ/(3TN) at τ ≪ T.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.curve import Run
from analysis.errors import MotionError
from analysis.fitting.seed_group import check_seeds
from analysis.inputs import update_number
from analysis.motion.ageing import last_at_one_rate, left_out
from analysis.run_curves import runs_in
from analysis.serialize import Part, Table, Tabulated, records

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class TimeAveraged(Tabulated):
    """Squared displacements averaged over time, and how much they differ between runs.

    Attributes:
        frame: one row per lag. Columns: lag (updates), msd (δ², the mean over runs), ergodicity_breaking (EB; NaN for
            one run) and windows (pairs of steps averaged over, in each run).
        n: number of runs.
        steps: the first and the last step that were used.
        warnings: plain sentences.

    Examples:
        >>> import pandas as pd
        >>> from analysis import TimeAveraged
        >>> table = pd.DataFrame({"lag": [10], "msd": [2.5], "ergodicity_breaking": [0.01], "windows": [9]})
        >>> TimeAveraged(table, 2, (10, 100)).to_frame().msd.tolist()
        [2.5]
    """

    frame: pd.DataFrame
    n: int
    steps: tuple[int, int]
    warnings: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        found = {"n": self.n, "steps": list(self.steps), "warnings": list(self.warnings)}
        return found | {"lags": records(self.frame)}

    def to_frame(self) -> pd.DataFrame:
        """Return the table of lags."""
        return self.frame.copy()

    def _summary(self) -> Sequence[Part]:
        rows = [
            [f"{row['lag']:g}", f"{row['msd']:.4g}", f"{row['ergodicity_breaking']:.3g}", f"{row['windows']:g}"]
            for row in self.frame.to_dict("records")
        ]
        return [
            Table(rows, ("lag", "δ²", "EB", "windows")),
            f"{self.n} runs, steps {self.steps[0]} to {self.steps[1]}.",
            *(f"! {sentence}" for sentence in self.warnings),
        ]


def time_averaged(data: Any, *, start: int = 1, force: bool = False) -> TimeAveraged:
    """Average squared displacements over time, from sketches that are evenly spaced.

    What follows the first learning-rate drop is left out: it is another motion.

    Args:
        data: a Run, its path, or a list of runs with sketches at the same steps: `Recorder(sketch=4096,
            sketches=Every(100))`, `ultraslow train --sketch 4096 --sketches every:100`.
        start: the first step used; leave out the initial transient.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same.

    Returns:
        δ² by lag, and from two runs on the ergodicity breaking parameter EB.

    Raises:
        CurveError: where no runs are given.
        SeedError: where two runs are one, or runs of different settings.
        AnalysisError: for a start that is no update.
        MotionError: the sketches are not evenly spaced, are fewer than four, or differ between runs; or the weights
            are no numbers.
        StoreError: for a path that is no run.

    Examples:
        >>> import torch
        >>> from analysis import time_averaged
        >>> from trajectory import Every, Recorder
        >>> walker = torch.nn.Linear(2000, 1, bias=False)
        >>> optimizer = torch.optim.SGD(walker.parameters(), lr=0.01)
        >>> with Recorder("walk.zarr", walker, optimizer, sketch=1024, sketches=Every(20)):
        ...     for _ in range(200):
        ...         walker.weight.grad = torch.randn(1, 2000)
        ...         optimizer.step()
        >>> time_averaged("walk.zarr").frame.lag.tolist()
        [20, 40, 60, 80, 100]
    """
    first = update_number(start, "start")
    runs = runs_in(data)
    check_seeds(runs, force=force)
    steps = [[step for step in run.sketches if first <= step <= last_at_one_rate(run)] for run in runs]
    for run, own in zip(runs, steps, strict=True):
        if len(own) < 4 or len(set(np.diff(own))) > 1:
            until = " before its learning rate drops" if math.isfinite(last_at_one_rate(run)) else ""
            raise MotionError(
                f"{run.name}: holds sketches at {_few(own)}{until}; expected four or more, evenly spaced, for "
                "averages over time: record with sketches=Every(n), or ultraslow train --sketch 4096 --sketches "
                "every:n"
            )
        if own != steps[0]:
            raise MotionError(f"{run.name} and {runs[0].name} hold sketches at other steps; expected the same")
    shared, gap = steps[0], steps[0][1] - steps[0][0]
    msd = np.array([_averaged(run, shared) for run in runs])  # (run, lag)
    lags = gap * np.arange(1, msd.shape[1] + 1)
    with np.errstate(invalid="ignore"):  # weights that stand still have no spread to compare with
        breaking = msd.var(axis=0, ddof=1) / msd.mean(axis=0) ** 2 if len(runs) > 1 else np.full(len(lags), math.nan)
    frame = pd.DataFrame({"lag": lags, "msd": msd.mean(axis=0), "ergodicity_breaking": breaking})
    frame["windows"] = len(shared) - np.arange(1, len(lags) + 1)
    return TimeAveraged(frame, len(runs), (shared[0], shared[-1]), tuple(left_out(runs)))


def _averaged(run: Run, steps: Sequence[int]) -> Array:
    """Return δ² at lags of 1, 2, ... steps, up to half of them: longer lags average over too few windows."""
    squares = run.pairwise_distance(steps, steps).to_numpy() ** 2
    lost = np.flatnonzero(~np.isfinite(squares[0]))
    if len(lost):
        raise MotionError(
            f"{run.name}: its weights are no numbers at update {steps[lost[0]]}; expected a run whose weights stay "
            "finite"
        )
    return np.array([np.diagonal(squares, lag).mean() for lag in range(1, len(steps) // 2 + 1)])


def _few(steps: Sequence[int]) -> str:
    shown = ", ".join(map(str, steps[:6]))
    return f"steps {shown}{', ...' if len(steps) > 6 else ''}" if steps else "no step"
