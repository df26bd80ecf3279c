"""What the commands of the loss landscape share: their runs, what they will cost, and Ctrl-C."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

if TYPE_CHECKING:
    from pathlib import Path

    from trajectory import Run
    from trajectory.errors import UltraslowError

Samples = Annotated[int | None, arg(metavar="N", help_behavior_hint="")]
Step = Annotated[int | None, arg(metavar="T", help_behavior_hint="")]
Modes = Literal["running", "batch", "both"]
_WORTH_SAYING = 60.0  # seconds


@dataclass
class Interruption:
    """Whether Ctrl-C or an error ended a measurement.

    Attributes:
        happened: whether Ctrl-C came.
        error: the error.
    """

    happened: bool = False
    error: "UltraslowError | None" = None

    def end(self, done: str) -> None:
        """After what is done was printed: end with status 130 if Ctrl-C came, or with the error.

        Args:
            done: what is done, in words.

        Raises:
            UltraslowError: the one that ended the measurement.
        """
        if self.error is not None:
            print(f"ultraslow: {done}", file=sys.stderr)
            raise self.error
        if self.happened:
            print(f"ultraslow: interrupted; {done}", file=sys.stderr)
            sys.exit(130)


@contextmanager
def keeping_what_is_done(found: Sequence[object]) -> Iterator[Interruption]:
    """Let Ctrl-C or an error end a measurement, so that what is done can be printed.

    Args:
        found: what is done; where it is empty an error goes on.

    Yields:
        What came.
    """
    from trajectory.errors import UltraslowError

    interruption = Interruption()
    try:
        yield interruption
    except KeyboardInterrupt:
        interruption.happened = True
    except UltraslowError as error:
        if not found:
            raise
        interruption.error = error


def open_runs(paths: Sequence[str]) -> "list[Run]":
    """Open runs, and refuse one that is given twice.

    Args:
        paths: their stores.

    Returns:
        The runs.

    Raises:
        LandscapeError: for one that is given twice.
        StoreError: for a path that is no run.
    """
    from analysis.errors import LandscapeError
    from trajectory import Run

    runs = [Run(path) for path in paths]
    say_rounding(runs)
    for k, run in enumerate(runs):
        if any(str(run.path) == str(other.path) for other in runs[:k]):
            raise LandscapeError(f"{run.path}: given twice; expected different runs")
    return runs


def check_plot(plot: "Path | None") -> None:
    """Refuse a figure's file that no figure can be written to, before anything is measured.

    Args:
        plot: the file; None for no figure.

    Raises:
        FigureError: for a suffix of no format.
    """
    if plot is not None:
        from analysis.figures.style import formats_of

        formats_of(plot)


def say_rounding(runs: "Sequence[Run]") -> None:
    """Say on stderr what the rounding of runs' snapshots costs.

    Args:
        runs: the runs.
    """
    from analysis.landscape.directions import rounding_of

    for sentence in map(rounding_of, runs):
        say(sentence)


def say(sentence: str) -> None:
    """Print a sentence on stderr, where there is one to print.

    Args:
        sentence: the sentence; empty for none.
    """
    if sentence:
        print(f"ultraslow: {sentence}", file=sys.stderr)


def step_of(run: "Run", step: int | None) -> int:
    """Return the snapshot to measure at.

    Args:
        run: the run.
        step: the one asked for; None: the last.

    Raises:
        LandscapeError: for a run without snapshots.
    """
    from analysis.landscape.directions import check_snapshots

    check_snapshots(run)
    return run.snapshots[-1] if step is None else step


def label_of(run: "Run") -> str:
    """Return what figures call a run: its label, or else its name.

    Args:
        run: the run.
    """
    return str(run.config.get("label") or run.name)


def modes_of(statistics: Modes) -> tuple[Literal["running", "batch"], ...]:
    """Return the statistics that an option names.

    Args:
        statistics: the option.
    """
    return ("running", "batch") if statistics == "both" else (statistics,)


def announce(count: int, what: str, once: Callable[[], object]) -> None:
    """Say on stderr what a measurement will cost, where it takes over a minute.

    Args:
        count: the number of evaluations.
        what: what is evaluated, in the plural.
        once: one evaluation; the second of two is timed.
    """
    once()
    start = perf_counter()
    once()
    seconds = perf_counter() - start
    if count * seconds > _WORTH_SAYING:
        minutes = count * seconds / 60
        print(f"about {count} {what} of {seconds:.2g} s: {minutes:.0f} min", file=sys.stderr, flush=True)
