"""α from several origins of the same seeds: a law of the motion has one."""

from collections.abc import Sequence

from analysis.curve import Curve, CurvesLike
from analysis.errors import AnalysisError, SeedError
from analysis.fitting.invariance import Invariance, origin_invariance
from analysis.fitting.log_bins import binned, constant_phase
from analysis.fitting.seed_group import read_seeds
from analysis.fitting.start_scan import choose, starts


def compare_origins(
    data: CurvesLike, origins: Sequence[int], *, t_min: float | None = None, t_max: float | None = None
) -> Invariance:
    """Test whether α is the same from several origins, on one range of t.

    The change of α from one origin to another is taken seed by seed, so that what the origins of a seed have in
    common is counted; Student's t over the seeds, times the number of changes.

    Args:
        data: three runs or more, seeds of one experiment that hold these origins.
        origins: two updates or more that d is measured from; the others are compared with the first.
        t_min: the first update used, counted from the origin; by default the latest start that `fit` takes.
        t_max: the last update used, counted from the origin; by default what all origins reach.

    Returns:
        The test: a change for each origin but the first, and a p-value over all.

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
        >>> [change.what for change in found.changes]
        ['from origin 100']
    """
    if len(set(origins)) < 2:
        raise AnalysisError(f"origins = {list(origins)}: expected two updates or more, to be compared")
    groups = [read_seeds(data, origin, t_min, t_max)[0] for origin in origins]
    names = [sorted(curve.name for curve in group) for group in groups]
    if len(groups[0]) < 3 or any(other != names[0] for other in names):
        counts = ", ".join(f"{len(group)} from {origin}" for group, origin in zip(groups, origins, strict=True))
        raise SeedError(f"seeds: {counts}; expected the same three or more from each origin")
    start = t_min if t_min is not None else max(_start(group, t_max) for group in groups)
    end = min(constant_phase(group, start, t_max)[1] for group in groups)
    return origin_invariance([binned(group, start, end) for group in groups], list(origins))


def _start(group: Sequence[Curve], t_max: float | None) -> float:
    return choose(starts(group, None, t_max, 0.95), None)[0].t
