"""What the sections share: a report of tables and targets, variants timed in turns, and a place for their stores."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter
from typing import Any, TypeVar

import torch
from torch import nn

from trajectory import Recorder

NOT_RUN = "not run on a GPU"
Turn = Callable[[], object]
T = TypeVar("T")


@dataclass
class Report:
    """What a section prints and writes."""

    lines: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)

    def table(self, title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Adds a Markdown table."""
        rule = "|".join(["---", *["---:"] * (len(head) - 1)])
        self.lines += [f"\n### {title}\n", f"| {' | '.join(head)} |", f"|{rule}|"]
        self.lines += [f"| {' | '.join(row)} |" for row in rows]

    def target(self, what: str, value: float | None, *, at_most: float = 0.0, at_least: float = 0.0) -> None:
        """Adds whether a figure is where it should be; None: it was not measured."""
        bound = f"≤ {at_most:g}" if at_most else f"≥ {at_least:g}"
        met = value is not None and (value <= at_most if at_most else value >= at_least)
        verdict = f"{value:.4g} | {'met' if met else 'missed'}" if value is not None else f"{NOT_RUN} | "
        self.targets.append(f"| {what} | {bound} | {verdict} |")

    def text(self) -> str:
        """The whole, targets first."""
        head = ["\n### Targets\n", "| what | target | measured | |", "|---|---:|---:|---|"] if self.targets else []
        return "\n".join([*head, *self.targets, *self.lines]) + "\n"


def devices() -> list[str]:
    """Where to measure."""
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def where(device: str) -> str:
    """As a title says it."""
    return {"cpu": "CPU", "cuda": "GPU"}[device]


def seconds(turn: Turn, device: str = "cpu") -> float:
    """How long a turn takes, the device's work included."""
    if device == "cuda":
        torch.cuda.synchronize()
    started = perf_counter()
    turn()
    if device == "cuda":
        torch.cuda.synchronize()
    return perf_counter() - started


def standing_still(turn: Turn, device: str = "cpu") -> float:
    """How long a turn holds up the stream that training goes on in; copies on other streams go on beside it."""
    if device == "cpu":
        return seconds(turn)
    torch.cuda.synchronize()
    started = perf_counter()
    turn()
    torch.cuda.current_stream().synchronize()
    return perf_counter() - started


def repeated(update: Turn, after: Turn, steps: int, device: str) -> float:
    """Seconds an update takes with what follows it."""

    def turn() -> None:
        for _ in range(steps):
            update()
            after()

    return seconds(turn, device) / steps


def in_turns(variants: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """What each variant returns in each round."""
    order, results = list(variants), {name: [] for name in variants}
    for _ in range(rounds):
        for name in random.sample(order, len(order)):
            results[name].append(variants[name]())
    return results


def ratios(results: Mapping[str, Sequence[float]], name: str, to: str) -> list[float]:
    """Round by round."""
    return [a / b for a, b in zip(results[name], results[to], strict=True)]


def comparison(results: Mapping[str, Sequence[float]], scale: float, digits: int) -> list[list[str]]:
    """Rows of variant, median time, and ratio to the first variant with its quartiles."""
    first, rows = next(iter(results)), []
    for name, times in results.items():
        low, middle, high = quantiles(ratios(results, name, first), n=4)
        rows.append([name, f"{scale * median(times):.{digits}f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"])
    return rows


_open: list[Recorder] = []


def record(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, **options: Any) -> Recorder:
    """A recorder in a scratch folder, which closes it."""
    recorder = Recorder(path, model, optimizer, **options)
    _open.append(recorder)
    return recorder


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for stores, gone afterwards, and with it the recorders."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        finally:
            while _open:
                _open.pop().close()


def rounds_of(rounds: int, scale: float) -> int:
    """Quartiles need two."""
    return max(2, round(rounds * scale))
