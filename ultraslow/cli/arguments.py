"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

RunPath = Annotated[str, Positional, arg(metavar="RUN")]  # a folder or a URL, whose // a Path would lose
MoreRuns = Annotated[tuple[str, ...], Positional, arg(metavar="[RUN ...]")]
Updates = Annotated[float | None, arg(metavar="T")]
Origin = Annotated[int, arg(metavar="T")]
Count = Annotated[int | None, arg(metavar="N")]
Seeds = Annotated[tuple[str, ...], arg(metavar="RUN [RUN ...]")]
OnFailure = Annotated[Literal["keep", "drop", "raise"] | None, arg(metavar="{keep,drop,raise}")]
File = Annotated[Path | None, arg(metavar="FILE")]
Columns = Annotated[Literal[1, 2], arg(metavar="{1,2}")]
