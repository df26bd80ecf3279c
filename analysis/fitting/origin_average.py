"""The mean over several origins of each seed: one law, and less noise.

Distances from several origins of one run overlap, so they are no seeds: each seed remains one curve, the geometric
mean over its origins, and an interval over seeds is as wide as these means differ. So what origins share is counted.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from analysis.curve import Curve, CurvesLike, Run, Source
from analysis.errors import AnalysisError, SeedError
from analysis.fitting.age import STEADY, Age, age_of, in_memories
from analysis.fitting.laws import Array
from analysis.fitting.log_bins import Bins, binned
from analysis.fitting.origin_choice import asked_for, measured, read_origins, sources
from analysis.fitting.seed_group import read_seeds
from analysis.serialize import Part, Tabulated, jsonable


@dataclass(frozen=True, eq=False, repr=False)
class OriginAverage(Tabulated):
    """Seeds, each the geometric mean over several origins; `fit`, `scan` and `compare` take its `curves`.

    Attributes:
        curves: one per seed; t counts from each origin.
        origins: the updates averaged over.
        age: of the origins, and of the range that they share.
        independent: as how many independent origins they count, by the spread of the seeds' means over that of single
            curves; between 1 and their number, NaN below three seeds.

    Examples:
        >>> import numpy as np
        >>> from analysis import Curve, OriginAverage
        >>> from analysis.fitting.age import Age
        >>> mean = Curve(np.array([1.0, 2.0]), np.array([0.5, 0.7]), origin=100, origins=(100, 200))
        >>> OriginAverage((mean,), (100, 200), Age((100, 200), (1.0, 2.0), 20.0), 1.4).to_dict()["independent"]
        1.4
    """

    curves: tuple[Curve, ...]
    origins: tuple[int, ...]
    age: Age
    independent: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the curves, fit for JSON."""
        found: dict[str, Any] = jsonable({"origins": self.origins, "independent": self.independent})
        return found | {"age": self.age.to_dict()}

    def _summary(self) -> Sequence[Part]:
        worth = ""
        if not math.isnan(self.independent):
            worth = f"; by the spread of the seeds they count as {self.independent:.1f} independent ones"
        listed = ", ".join(map(str, self.origins))
        return [f"mean over {len(self.origins)} origins ({listed}){worth}"]


def average_origins(
    data: CurvesLike,
    origins: Sequence[int] | None = None,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    force: bool = False,
) -> OriginAverage:
    """Average each run's log distance over several of its origins, at equal t since the origin.

    In the steady state all origins have one law and noise of their own, so that their mean has less. How much less is
    not supposed but measured: each run remains one curve, and an interval over seeds rests on how these differ.

    Args:
        data: runs or their paths, seeds of one experiment that recorded these origins; or their `directions`. One
            that ends early is left out, as by `fit`, with a Python warning.
        origins: the updates to measure from. By default all recorded ones after w_0 that leave two decades of t, and
            of these, where the memory time of weight decay is known, the steady ones (5τ and older).
        t_min: the first t that has to be left, with which the default is chosen.
        t_max: the last t that is asked for, likewise.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same.

    Returns:
        The seeds, up to the last t that all origins reach.

    Raises:
        SeedError: where an origin has other seeds than the rest.
        AnalysisError: for fewer than two origins, and what `fit` raises for the data.

    Examples:
        >>> import torch
        >>> from analysis import average_origins, fit
        >>> from trajectory import Recorder
        >>> weights = torch.nn.Parameter(torch.zeros(200))
        >>> optimizer = torch.optim.SGD([weights], lr=1.0)
        >>> with Recorder("walk.zarr", torch.nn.ParameterList([weights]), optimizer, origins=[100, 200]):
        ...     for _ in range(400):
        ...         weights.grad = torch.randn(200)
        ...         optimizer.step()
        >>> mean = average_origins("walk.zarr", [100, 200])
        >>> mean.curves[0].t[-1], fit(list(mean.curves), t_min=1).age.origins
        (np.float64(200.0), (100, 200))
    """
    runs = sources(data)
    if not runs:
        raise AnalysisError(
            "got no runs; expected runs, their paths, or their directions: other data have one origin"
        )
    chosen = asked_for(runs, origins, t_min, t_max)
    if origins is None:
        chosen = _steady(runs, chosen)
    groups = read_origins(runs, chosen, t_min, t_max, force)
    names = {tuple(curve.name for curve in group) for group in groups}
    if len(names) > 1:
        raise SeedError(f"seeds differ between the origins {chosen}; expected runs that reach equally far")
    curves = tuple(mean_curve([group[i] for group in groups], tuple(chosen)) for i in range(len(groups[0])))
    age = age_of(curves, (float(curves[0].t[0]), min(float(curve.t[-1]) for curve in curves)))
    return OriginAverage(curves, tuple(chosen), age, _independent(groups, curves))


def _steady(runs: Sequence[Run | Source], origins: list[int]) -> list[int]:
    """Keep the steady origins, if the memory time is known."""
    age = age_of(read_seeds(measured(runs[:1], origins[0]), origins[0], None, None)[0], (1.0, 1.0))
    if age.memory is None or math.isinf(age.memory):
        return origins
    steady = [origin for origin in origins if age.of(origin) >= STEADY]
    if len(steady) < 2:
        raise AnalysisError(
            f"origins of {', '.join(in_memories(age.of(origin)) for origin in origins)} leave two decades of t; "
            "expected two of 5τ or more, where the motion is steady; name the origins, to average them all the same"
        )
    return steady


def mean_curve(curves: Sequence[Curve], origins: tuple[int, ...]) -> Curve:
    """Return the geometric mean of a seed's distances from its origins, at the t of the curve with the fewest.

    Args:
        curves: of one seed, one from each origin.
        origins: the updates that they are measured from.
    """
    first, last = max(curve.t[0] for curve in curves), min(curve.t[-1] for curve in curves)
    t = min((curve.t for curve in curves), key=len)
    t = t[(t >= first) & (t <= last)]
    with np.errstate(divide="ignore"):  # a distance of 0 remains one, and is refused where it is fitted
        log_d = np.mean([np.interp(np.log(t), np.log(curve.t), np.log(curve.d)) for curve in curves], axis=0)
    drops = tuple(sorted({drop for curve in curves for drop in curve.drops}))
    warmup_end = max(curve.warmup_end for curve in curves)
    return replace(
        curves[0],
        t=t,
        d=np.exp(log_d),
        origins=origins,
        origin=min(origins),
        drops=drops,
        warmup_end=warmup_end,
    )


def _independent(groups: Sequence[Sequence[Curve]], means: Sequence[Curve]) -> float:
    """Divide the variance over seeds of single origins' curves by that of the means."""
    if len(means) < 3:
        return math.nan
    start, end = max(curve.t[0] for curve in means), min(curve.t[-1] for curve in means)
    single = np.mean([_spread(binned(group, start, end)) for group in groups])
    averaged = _spread(binned(means, start, end))
    return float(np.clip(single / averaged, 1.0, len(groups))) if averaged > 0 else math.nan


def _spread(bins: Bins) -> float:
    z: Array = bins.z - bins.z.mean(axis=1, keepdims=True)
    return float(np.mean(z.var(axis=0, ddof=1)))
