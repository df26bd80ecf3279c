"""Arguments that several commands share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

if TYPE_CHECKING:
    from analysis import Curve

RunPath = Annotated[str, Positional, arg(metavar="RUN")]  # a folder or a URL, whose // a Path would lose
MoreRuns = Annotated[tuple[str, ...], Positional, arg(metavar="[RUN ...]", help_behavior_hint="")]
Updates = Annotated[float | None, arg(metavar="T", help_behavior_hint="")]  # the help says what None stands for
Origin = Annotated[int, arg(metavar="T")]
Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Seeds = Annotated[tuple[str, ...], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Columns = Annotated[Literal[1, 2], arg(metavar="{1,2}")]
Scalar = Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")]


def named_curves(paths: Sequence[str], scalar: str | None, origin: int) -> "list[str | Curve]":
    """Read a scalar of that name from tables and logs; runs stay paths, which the analysis opens.

    Args:
        paths: of runs, tables and logs.
        scalar: the distance's name in tables and logs; None for what the analysis takes by default.
        origin: the update that the distances were measured from.

    Returns:
        Curves and paths, in order.
    """
    from analysis.logs import is_log
    from analysis.reading import read_curves

    found: list[str | Curve] = []
    for path in paths:
        read = scalar is not None and is_log(path)
        found += read_curves(path, scalar=scalar, origin=origin) if read else [path]
    return found
