"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

RunPath = Annotated[str, Positional, arg(metavar="RUN")]  # a folder or a URL, whose // a Path would lose
MoreRuns = Annotated[tuple[str, ...], Positional, arg(metavar="[RUN ...]", help_behavior_hint="")]
Updates = Annotated[float | None, arg(metavar="T", help_behavior_hint="")]  # the help says what None stands for
Origin = Annotated[int, arg(metavar="T")]
Count = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Seeds = Annotated[tuple[str, ...], arg(metavar="RUN [RUN ...]", help_behavior_hint="")]
File = Annotated[Path | None, arg(metavar="FILE", help_behavior_hint="")]
Columns = Annotated[Literal[1, 2], arg(metavar="{1,2}")]
