"""`equivalent`: do runs of two configurations travel the same path? Their distance curves, within the seeds' spread.

In each half decade of t, a run's mean log d is one observation. The deviation is the difference of the two
configurations' means over their seeds; its standard error comes from the seeds' variance, pooled over both (Student's
t, n_a + n_b − 2 degrees of freedom). Intervals hold together over all K half decades: each is made at the level
1 − (1 − confidence_level)/K (Bonferroni). Two paths are one if all intervals lie within ±margin: the two one-sided
tests of Schuirmann 1987 (J. Pharmacokinet. Biopharm. 15, 657).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from analysis.curve import Curve, CurvesLike
from analysis.errors import MatchError
from analysis.fitting.log_bins import BINS_PER_DECADE, Bins, binned
from analysis.fitting.outliers import standing_apart
from analysis.fitting.seed_group import check_differ, check_measured_alike, read_seeds
from analysis.inputs import check_confidence_level, is_finite_number
from analysis.matching.seeds import check_network
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.float64]
Per = Literal["updates", "samples"]
MARGIN = 0.05  # in log d: five times what seeds of one configuration differ by on real runs
_BINS = BINS_PER_DECADE // 2  # log bins in a half decade


@dataclass(frozen=True, eq=False, repr=False)
class Equivalence(Tabulated):
    """Whether runs of two configurations travel the same path.

    Attributes:
        state: "equivalent" (every interval lies within the margin), "apart" (some interval does not hold 0, nor lie
            within the margin), or "undecided" (the seeds are too few, or their spread is too large, to say).
        deviation: the largest deviation over t: mean log d of the second configuration minus that of the first.
        interval: its confidence interval, which holds together with those at all other t.
        p_value: of one common path, from the largest ratio of a deviation to its standard error.
        margin: the deviation that counts as none, in log d.
        frame: one row per half decade. Columns: t_start, t_end, deviation, low, high, and spread (standard deviation
            of a seed's log d, pooled over both configurations).
        n: numbers of runs of the two configurations.
        names: their labels.
        per: what t counts.
        origin: the update that distances are measured from.
        confidence_level: of all intervals together.
        warnings: plain sentences.

    Examples:
        >>> import numpy as np
        >>> from analysis import Equivalence, equivalent
        >>> t = np.geomspace(1, 1000, 60)
        >>> seeds = [(t, np.exp(wobble) * t**0.3) for wobble in (-0.004, 0.0, 0.004, 0.001, -0.002, 0.003)]
        >>> found = equivalent(seeds[:3], seeds[3:])
        >>> isinstance(found, Equivalence), found.state, round(found.deviation, 4)
        (True, 'equivalent', 0.0007)
    """

    state: str
    deviation: float
    interval: tuple[float, float]
    p_value: float
    margin: float
    frame: pd.DataFrame
    n: tuple[int, int]
    names: tuple[str, str]
    per: Per
    origin: int
    confidence_level: float
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        return {key: records(value) if key == "frame" else jsonable(value) for key, value in vars(self).items()}

    def to_frame(self) -> pd.DataFrame:
        """Return the deviation in each half decade."""
        return self.frame.copy()

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw the deviation against t.

        Args:
            ax: draw there; by default in a figure of its own.

        Returns:
            The figure.
        """
        from analysis import figures

        return figures.equivalent(self, ax)

    def _summary(self) -> Sequence[Part]:
        head = (f"t in {self.per}", "log d apart by", "interval", "a seed's spread")
        rows = [
            [
                f"{row['t_start']:.4g} .. {row['t_end']:.4g}",
                f"{row['deviation']:+.4f}",
                f"[{row['low']:+.4f}, {row['high']:+.4f}]",
                f"{row['spread']:.4f}",
            ]
            for row in self.frame.to_dict("records")
        ]
        said = {
            "equivalent": f"{self.names[1]} travels the path of {self.names[0]}, to within {self.margin:g} in log d.",
            "apart": f"{self.names[1]} does not travel the path of {self.names[0]}.",
            "undecided": f"These seeds do not decide whether {self.names[1]} travels the path of {self.names[0]}, to"
            f" within {self.margin:g} in log d: give more of them, or a larger margin.",
        }[self.state]
        low, high = self.interval
        largest = (
            f"The largest deviation is {self.deviation:+.4f}, {100 * self.confidence_level:g} % confidence interval "
            f"[{low:+.4f}, {high:+.4f}] over all t; p = {self.p_value:.3g} for one path ({self.n[0]} and "
            f"{self.n[1]} runs)."
        )
        return [Table(rows, head), largest, said, *(f"! {sentence}" for sentence in self.warnings)]


def equivalent(
    runs_a: CurvesLike,
    runs_b: CurvesLike,
    *,
    margin: float = MARGIN,
    per: Per = "updates",
    t_min: float | None = None,
    t_max: float | None = None,
    origin: int = 0,
    confidence_level: float = 0.95,
    force: bool = False,
) -> Equivalence:
    """Compare the distance curves of two configurations, each with its seeds, over their constant-rate phase.

    Args:
        runs_a: runs or their paths, or curves: seeds of one configuration.
        runs_b: seeds of the other one.
        margin: the deviation in log d that counts as none.
        per: compare after as many "updates", or after as many "samples" (updates × batch size, which the runs note).
        t_min: the first t used, in that unit; by default the end of the warm-up.
        t_max: the last t used, in that unit; by default the first learning-rate drop, or the end of the shortest run.
        origin: d is the displacement from this update's weights, and t counts from it.
        confidence_level: of all intervals together.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same.

    Returns:
        The deviations, and whether they are within the margin.

    Raises:
        MatchError: for fewer than four runs in all, a margin that is none, another unit, or runs that do not note
            their batch size where samples are asked for.
        SeedError: where two of the runs are one, in either configuration or in both.
        DifferentNetworksError: if the two configurations are of different networks.
        AnalysisError: what `fit` raises for the data.

    Examples:
        >>> import numpy as np
        >>> from analysis import Curve, equivalent
        >>> t = np.arange(1.0, 1001.0)
        >>> small = [Curve(t, a * np.sqrt(t), config={"batch_size": 16}) for a in (0.999, 1.0, 1.001)]
        >>> large = [Curve(t, a * np.sqrt(4 * t), config={"batch_size": 64}) for a in (0.998, 1.0, 1.001)]
        >>> equivalent(small, large, per="samples", t_max=16_000).state, equivalent(small, large).state
        ('equivalent', 'apart')
    """
    check_confidence_level(confidence_level)
    if per not in get_args(Per):
        raise MatchError(f"per is {per!r}; expected updates or samples")
    if not (is_finite_number(margin) and margin > 0):
        raise MatchError(f"margin is {margin}; expected a number above 0: a deviation in log d")
    groups: list[list[Curve]] = []
    notes: tuple[str, ...] = ()
    for data in (runs_a, runs_b):
        # whether t_min and t_max leave enough of a curve is seen below, where t has its unit
        group, said = read_seeds(data, origin, None, None, force=force)
        groups.append([_in_unit(curve, per) for curve in group])
        notes += said
    a, b = groups
    check_differ([*a, *b])
    check_measured_alike([*a, *b])
    if len(a) + len(b) < 4:
        raise MatchError(
            f"got {len(a)} and {len(b)} runs; expected four or more in all: the seeds' spread is the measure"
        )
    if a[0].run is not None and b[0].run is not None:
        check_network(a[0].run.parameter_specs, a[0].name, b[0].run.parameter_specs, b[0].name)
    bins = binned([*a, *b], t_min, t_max)
    starts = np.arange(0, len(bins.u), _BINS)
    starts = starts[:-1] if len(starts) > 1 and len(bins.u) - starts[-1] < _BINS / 2 else starts
    z = np.add.reduceat(bins.z, starts, axis=1) / np.diff([*starts, len(bins.u)])
    edges = np.exp(bins.u[[*starts[1:], -1]])
    edges[-1] = bins.fit_range[1]
    table, p_value = deviations(z[: len(a)], z[len(a) :], confidence_level)
    frame = pd.DataFrame({"t_start": [bins.fit_range[0], *edges[:-1]], "t_end": edges, **table})
    largest = int(np.argmax(np.abs(table["deviation"])))
    within = bool(((frame.low > -margin) & (frame.high < margin)).all())
    return Equivalence(
        state="equivalent" if within else "apart" if p_value < 1 - confidence_level else "undecided",
        deviation=float(table["deviation"][largest]),
        interval=(float(table["low"][largest]), float(table["high"][largest])),
        p_value=p_value,
        margin=float(margin),
        frame=frame,
        n=(len(a), len(b)),
        names=(a[0].label, b[0].label) if a[0].label != b[0].label else (a[0].name, b[0].name),
        per=per,
        origin=a[0].origin,
        confidence_level=confidence_level,
        warnings=(*notes, *_outliers(bins, len(a))),
    )


def _outliers(bins: Bins, first: int) -> list[str]:
    """Name the seeds that stand apart from the others of their configuration, the first so many or the rest."""
    groups = (replace(bins, z=bins.z[held], names=bins.names[held]) for held in (slice(first), slice(first, None)))
    return [sentence for group in groups for sentence in standing_apart(group)]


def _in_unit(curve: Curve, per: Per) -> Curve:
    """Return the curve with t counted in updates, or in samples."""
    if per == "updates":
        return curve
    batch = curve.batch_size
    if not (is_finite_number(batch) and batch > 0):  # type: ignore[operator]
        raise MatchError(
            f"{curve.name}: notes batch_size {batch}; expected a positive number in its configuration, to count "
            "samples: Recorder(..., config={'batch_size': ...})"
        )
    size = float(batch)  # type: ignore[arg-type]
    drops = tuple(size * drop for drop in curve.drops)
    return replace(curve, t=size * curve.t, drops=drops, warmup_end=size * curve.warmup_end)


def deviations(a: Array, b: Array, confidence_level: float) -> tuple[dict[str, Array], float]:
    """Compare two groups of seeds in several windows of t at once.

    Args:
        a: (run, window) mean log d of the first configuration's seeds.
        b: (run, window) those of the second one's.
        confidence_level: of all intervals together.

    Returns:
        By name, for each window: the deviation b − a, low and high of its interval, and the seeds' spread; and the
        p-value of no deviation in any window.
    """
    spare, windows = len(a) + len(b) - 2, a.shape[1]
    squares = sum(((group - group.mean(axis=0)) ** 2).sum(axis=0) for group in (a, b))
    spread = np.sqrt(squares / spare)
    deviation = b.mean(axis=0) - a.mean(axis=0)
    error = spread * math.sqrt(1 / len(a) + 1 / len(b))
    half = float(special.stdtrit(spare, 1 - (1 - confidence_level) / (2 * windows))) * error
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(deviation == 0, 0.0, np.abs(deviation) / error)
    p_value = min(1.0, windows * 2 * float(special.stdtr(spare, -ratio.max())))
    table = {"deviation": deviation, "low": deviation - half, "high": deviation + half, "spread": spread}
    return table, p_value
