"""What a section is given, and what it writes: a report that is on the disk after each table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TypeVar

from recording.report import Report, comparison, in_turns, where

T = TypeVar("T")
FEWEST_ROUNDS = 5


@dataclass(kw_only=True)
class Measured(Report):
    """A report that is written as it grows, with the section's device and time.

    Attributes:
        out: The file.
        device: "cuda", or "cpu" to try the section out on small sizes.
        seconds: How long the section is meant to take.
        data_root: The folder of the data sets.
    """

    out: Path
    device: str
    seconds: float
    data_root: Path
    started: float = field(default_factory=perf_counter)

    @property
    def trial(self) -> bool:
        """Whether sizes are small."""
        return self.device == "cpu"

    def save(self) -> None:
        """Writes what there is."""
        self.out.write_text(self.text())

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a Markdown table."""
        super().table(title, head, rows)
        self.save()

    def target(self, what: str, value: float | None, *, at_most: float = 0.0, at_least: float = 0.0) -> None:
        """Adds whether a figure is where it should be."""
        super().target(what, value, at_most=at_most, at_least=at_least)
        self.save()

    def say(self, sentence: str) -> None:
        """Adds a line."""
        self.lines += ["", sentence]
        self.save()

    def compare(
        self, title: str, variants: Mapping[str, Callable[[], float]], share: float, unit: str = "ms", digits: int = 3
    ) -> dict[str, list[float]]:
        """Times variants in turns, for a share of the section's time, and adds their table; returns the seconds.

        Variants return seconds; each is run once before, to warm up.
        """
        in_turns(variants, 1)
        begun, rounds = perf_counter(), 0
        found: dict[str, list[float]] = {name: [] for name in variants}
        while rounds < FEWEST_ROUNDS or perf_counter() - begun < share * self.seconds:
            for name, (value,) in in_turns(variants, 1).items():
                found[name].append(value)
            rounds += 1
        rows = comparison(found, {"ms": 1e3, "µs": 1e6}[unit], digits)
        head = ["", unit, "ratio", "quartiles"]
        self.table(f"{title}, {where(self.device)}, {rounds} rounds", head, rows)
        return found
