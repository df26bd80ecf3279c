"""Is α the same from several origins of the same seeds?

Distances from several origins of one run overlap. So each seed's own change of α from one origin to another counts,
in which what its origins share drops out (`origin_invariance`).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.curve import Curve, CurvesLike
from analysis.errors import AnalysisError, SeedError
from analysis.fitting.age import Age, age_of
from analysis.fitting.estimator import estimate
from analysis.fitting.invariance import Invariance, origin_invariance
from analysis.fitting.log_bins import binned, constant_phase
from analysis.fitting.origin_choice import asked_for, read_origins, sources
from analysis.fitting.outliers import standing_apart
from analysis.fitting.seed_noise import seed_noise
from analysis.fitting.start_scan import choose, numbers, starts
from analysis.serialize import Part, Table, Tabulated, jsonable, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, eq=False, repr=False)
class OriginComparison(Tabulated, Invariance):
    """α from several origins, and whether it is the same.

    Attributes:
        frame: one row per origin. Columns: origin, origin_age (memory times; NaN where not known), alpha, low, high
            (95 % confidence interval), local_exponent, p_value, rms_residual, max_residual, residual_in_spreads,
            noise (chosen at the first origin, for all) and verdict as in `scan`.
        fit_range: the first and last t used, counted from each origin.
        ages: of each origin and the fit range.
        n: number of seeds.

    Examples:
        >>> import pandas as pd
        >>> from analysis import OriginComparison
        >>> found = OriginComparison((), pd.DataFrame({"origin": [0, 100]}), (1.0, 300.0), (), 3)
        >>> found.moves, found.to_dict()["fit_range"]
        (False, [1.0, 300.0])
    """

    frame: pd.DataFrame
    fit_range: tuple[float, float]
    ages: tuple[Age, ...]
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return everything, fit for JSON."""
        ages = [age.to_dict() for age in self.ages]
        found = {"n": self.n, "fit_range": jsonable(self.fit_range), "origins": records(self.frame), "ages": ages}
        return super().to_dict() | found

    def to_frame(self) -> pd.DataFrame:
        """Return the table of origins."""
        return self.frame.copy()

    def plot(self, ax: "Axes | None" = None) -> "Figure":
        """Draw α from each origin.

        Args:
            ax: axes to draw into; by default a figure of its own, with the p-values beside it.

        Returns:
            The figure.
        """
        from analysis import figures

        return figures.origins(self, ax)

    def _summary(self) -> Sequence[Part]:
        head = ("origin", "s/τ", "α", "low", "high", "p-value", "rms", "verdict")
        shown = {"origin": "d", "origin_age": ".3g", "alpha": ".3f", "low": ".3f", "high": ".3f", "p_value": ".2g"}
        shown["rms_residual"] = ".2%"
        rows = [
            (*(format(row[name], form) for name, form in shown.items()), row["verdict"])
            for row in self.frame.to_dict("records")
        ]
        said = f"p = {self.p_value:.2g} that α is the same from all of them"
        verdict = f"α moves with the origin: {self.worst} ({said})." if self.moves else f"No change is seen ({said})."
        start, end = self.fit_range
        return [
            f"t = {start:g} .. {end:g} after each origin, n = {self.n}",
            Table(rows, head),
            *dict.fromkeys(f"expected: {age.expected}" for age in self.ages),
            verdict,
        ]


def compare_origins(
    data: CurvesLike,
    origins: Sequence[int] | None = None,
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    force: bool = False,
) -> OriginComparison:
    """Test whether α is the same from several origins, on one range of t.

    The change of α from one origin to another is taken seed by seed, so that what the origins of a seed have in
    common is counted; Student's t over the seeds, times the number of changes.

    Args:
        data: three runs or more, seeds of one experiment that hold these origins; or their `directions`. One that
            ends early is left out, as by `fit`, and that or one that stands apart is named in a Python warning.
        origins: two updates or more that d is measured from; the others are compared with the first. By default all
            recorded ones after w_0 that leave two decades of t.
        t_min: the first update used, counted from the origin; by default the latest start that `fit` takes.
        t_max: the last update used, counted from the origin; by default what all origins reach.
        force: take runs whose settings differ (`SETTINGS`) for seeds all the same, with a warning.

    Returns:
        The test: a change for each origin but the first, and a p-value over all; and α from each origin.

    Raises:
        SeedError: for fewer than three seeds, or other seeds from one of the origins.
        AnalysisError: for fewer than two origins, and what `fit` raises.

    Examples:
        >>> import torch
        >>> from analysis import compare_origins
        >>> from trajectory import Recorder, Run
        >>> def walk(seed):
        ...     torch.manual_seed(seed)
        ...     weights = torch.nn.Parameter(torch.zeros(200))
        ...     optimizer = torch.optim.SGD([weights], lr=1.0)
        ...     with Recorder(f"seed-{seed}.zarr", torch.nn.ParameterList([weights]), optimizer, origins=[100]):
        ...         for _ in range(400):
        ...             weights.grad = torch.randn(200)
        ...             optimizer.step()
        ...     return Run(f"seed-{seed}.zarr")
        >>> found = compare_origins([walk(seed) for seed in range(3)], [0, 100], t_min=1)
        >>> [change.what for change in found.changes], found.frame.origin.tolist()
        (['from update 100'], [0, 100])
    """
    found = sources(data)
    if not found:
        raise AnalysisError(
            "got no runs; expected three or more, their paths, or their directions: other data have one origin"
        )
    chosen = asked_for(found, origins, t_min, t_max)
    groups = read_origins(found, chosen, t_min, t_max, force)
    names = [sorted(curve.name for curve in group) for group in groups]
    if len(groups[0]) < 3 or any(other != names[0] for other in names):
        counts = ", ".join(f"{len(group)} from {origin}" for group, origin in zip(groups, chosen, strict=True))
        raise SeedError(f"seeds: {counts}; expected the same three or more from each origin")
    start = t_min if t_min is not None else max(_start(group, t_max) for group in groups)
    end = min(constant_phase(group, start, t_max)[1] for group in groups)
    bins = [binned(group, start, end) for group in groups]
    for sentence in standing_apart(bins[0]):
        warnings.warn(sentence, stacklevel=2)
    ages = tuple(age_of(group, bins[0].fit_range) for group in groups)
    noise = seed_noise(bins[0])
    rows = [
        {"origin": origin, "origin_age": age.origin_age, **numbers(estimate(one, 0.95, noise))}
        for origin, age, one in zip(chosen, ages, bins, strict=True)
    ]
    pairs = [(origin, there, bins[0]) for origin, there in zip(chosen[1:], bins[1:], strict=True)]
    tested = origin_invariance(pairs, noise)
    return OriginComparison(tested.changes, pd.DataFrame(rows), bins[0].fit_range, ages, len(groups[0]))


def _start(group: Sequence[Curve], t_max: float | None) -> float:
    return choose(starts(group, None, t_max, 0.95), None)[0].t
