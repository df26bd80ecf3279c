"""Arguments that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ultraslow.cli.console import plain_warnings

if TYPE_CHECKING:
    from analysis import Curve, OriginAverage

RunPath = Annotated[str, Positional, arg(metavar="RUN")]  # a folder or a URL, whose // a Path would lose
MoreRuns = Annotated[tuple[str, ...], Positional, arg(metavar="[RUN ...]", help_behavior_hint="")]
Updates = Annotated[float | None, arg(metavar="T", help_behavior_hint="")]  # the help says what None stands for
Origin = Annotated[int, arg(metavar="T")]
AnyOrigin = Annotated[int | None, arg(metavar="T", help_behavior_hint="")]
Origins = Annotated[tuple[str, ...], arg(metavar="all | T [T ...]", help_behavior_hint="")]
Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Seeds = Annotated[tuple[str, ...], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Columns = Annotated[Literal[1, 2], arg(metavar="{1,2}")]
Scalar = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]


def named_curves(paths: Sequence[str], scalar: str | None, origin: int | None) -> "list[str | Curve]":
    """Read a scalar of that name from tables and logs; runs stay paths, which the analysis opens.

    Args:
        paths: of runs, tables and logs.
        scalar: the distance's name in tables and logs; None for what the analysis takes by default.
        origin: the update that the distances were measured from; None for w_0.

    Returns:
        Curves and paths, in order.
    """
    from analysis.logs import is_log
    from analysis.reading import read_curves

    found: list[str | Curve] = []
    for path in paths:
        read = scalar is not None and is_log(path)
        found += read_curves(path, scalar=scalar, origin=origin or 0) if read else [path]
    return found


def fitted_curves(
    paths: Sequence[str], scalar: str | None, origin: int | None, mean: "OriginAverage | None", directions: bool
) -> "list[str | Curve]":
    """Return what is to be fitted: the averages, the directions, or the distances.

    Args:
        paths: as of `named_curves`.
        scalar: likewise.
        origin: likewise.
        mean: what `averaged` returned.
        directions: whether `--directions` was given.

    Returns:
        Curves and paths, in order.

    Raises:
        AnalysisError: for directions of tables and logs.
    """
    from analysis import directions as read_directions
    from analysis.errors import AnalysisError

    if directions and scalar is not None:
        raise AnalysisError("got --directions with --scalar; expected it of recorded runs")
    if mean is not None:
        return list(mean.curves)
    return list(read_directions(paths, origin=origin)) if directions else named_curves(paths, scalar, origin)


def averaged(
    paths: Sequence[str],
    origins: Sequence[str],
    origin: int | None,
    t_min: float | None,
    t_max: float | None,
    force: bool,
    directions: bool = False,
) -> "OriginAverage | None":
    """Average runs over the origins that `--origins` names.

    Args:
        paths: of runs.
        origins: "all", or updates; none to average nothing.
        origin: what `--origin` says.
        t_min: as `average_origins` takes it.
        t_max: likewise.
        force: likewise.
        directions: average the angle instead of the distance.

    Returns:
        The average; None where nothing is to be averaged.

    Raises:
        AnalysisError: for origins that are no updates, or both options.
    """
    from analysis import average_origins
    from analysis import directions as read_directions
    from analysis.errors import AnalysisError

    if not origins:
        return None
    if origin is not None:
        raise AnalysisError("got --origin and --origins; expected one of them")
    if list(origins) != ["all"] and not all(one.isdecimal() for one in origins):
        raise AnalysisError(f"--origins {' '.join(origins)}: expected all, or the numbers of updates")
    chosen = None if list(origins) == ["all"] else [int(one) for one in origins]
    data = list(read_directions(list(paths))) if directions else list(paths)
    with plain_warnings():
        return average_origins(data, chosen, t_min=t_min, t_max=t_max, force=force)
