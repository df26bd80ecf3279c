"""The whole job on bundled data: small batch, large batch, matched large batch; fits; figures.

Only public functions are called, in the order a user would: train, fit, match, draw.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any

import torch

from analysis import AnalysisError, Fit, figures, fit
from analysis.fitting.goodness_of_fit import ACCEPTED
from train.configs.config import TrainConfig
from train.configs.recipes import f1_digits
from train.engine.run_training import train
from trajectory import Run

SEEDS = 3  # of the small batch: from three on, α's interval comes from the spread between seeds
LARGE_BATCH = 256

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoRow:
    """One run's line of the table, or the small batch's three seeds together."""

    run: str
    label: str
    batch_size: int
    updates: int
    distance: float
    """‖w_t − w_0‖ at the end."""
    validation_error: float
    """Fraction of the test set at the end."""
    alpha: float
    interval: tuple[float, float]
    """95 %."""
    provisional: bool
    """Whether α is from one run alone."""
    p_value: float
    """The law's p-value: below .05 it does not hold and α describes nothing."""
    drop_step: int | None
    drop_distance: float
    """‖w_t − w_0‖ at the first learning-rate drop."""


@dataclass(frozen=True)
class Demo:
    """What the demo made."""

    rows: tuple[DemoRow, ...]
    reference: Fit
    """The small batch's fit over its seeds, with its scan over t_min."""
    notes: tuple[str, ...]
    """Plain sentences: how the match went, what to be wary of."""
    paths: tuple[Path, ...]
    """Stores and figures."""

    def table(self) -> list[dict[str, str]]:
        """The rows as text, by column; α is marked * if provisional, ? if the law does not hold."""
        return [_cells(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Everything, fit for JSON: None where a number does not exist."""
        rows = [{key: _number(value) for key, value in asdict(row).items()} for row in self.rows]
        return {
            "runs": rows,
            "reference_fit": self.reference.to_dict(),
            "notes": list(self.notes),
            "paths": [str(path) for path in self.paths],
        }


def configs(seed: int, reference: tuple[str, ...]) -> tuple[list[TrainConfig], TrainConfig, TrainConfig]:
    """Small batch (three seeds), large batch with everything else equal, and matched large batch.

    The matched one has the √ rule, ghost batches of the small batch's size, as many updates, and a warm-up
    long enough that the first updates do not throw it past the reference's distance.
    """
    small = f1_digits()
    large = replace(small, batch_size=LARGE_BATCH, seed=seed)
    matched = replace(
        large,
        lr_scaling="sqrt",
        ghost_batch_size=small.batch_size,
        warmup_steps=100,
        regime_adaptation=True,
        match=reference,
    )
    return [replace(small, seed=seed + k) for k in range(SEEDS)], large, matched


def demo(out: str | Path, *, seed: int = 0, progress: Progress | None = None) -> Demo:
    """Trains five runs on the digits, fits α, matches the large batch to the small one, and draws.

    Runs are written to `out`/*.zarr, replacing those of an earlier demo, and figures to `out`/*.png and
    *.pdf. progress(name, done, total) is called after each update.
    Raises StoreError if `out` cannot be written.
    """
    out = Path(out)
    small_paths = [out / f"sb-{k}.zarr" for k in range(SEEDS)]
    small, large, matched = configs(seed, tuple(map(str, small_paths)))
    plan = dict(zip(small_paths, small, strict=True))
    plan |= {out / "lb.zarr": large, out / "lb-matched.zarr": matched}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers of 64 units: a second thread costs more than it does
    try:
        for path, config in plan.items():
            train(config, path, overwrite=True, progress=_named(progress, path.name), checkpoint_every=None)
    finally:
        torch.set_num_threads(threads)

    runs = [Run(path) for path in plan]
    reference = fit(runs[:SEEDS])
    notes = [f"small batch: {warning}" for warning in reference.warnings]
    rows = [_row(run, None) for run in runs[:SEEDS]]
    rows.append(_together(rows, reference))
    for run in runs[SEEDS:]:
        try:
            estimate = fit(run)
            rows.append(_row(run, estimate))
            notes += [f"{run.name}: {warning}" for warning in estimate.warnings if estimate.p_value < ACCEPTED]
        except AnalysisError as error:
            rows.append(_row(run, None))
            notes.append(f"{run.name}: no α: {error}")
    notes += _how_it_matched(runs[-1])
    drawn = {
        "distance": figures.distance(runs),
        "error": figures.error(runs),
        "fit": figures.fit(reference),
        "scan": figures.scan(reference),
    }
    files = [file for name, figure in drawn.items() for file in figures.save(figure, out / name)]
    return Demo(tuple(rows), reference, tuple(notes), (*plan, *files))


def _named(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def _row(run: Run, estimate: Fit | None) -> DemoRow:
    drop = run.drops[0].step if run.drops else None
    return DemoRow(
        run=run.name,
        label=run.config["label"],
        batch_size=run.config["batch_size"],
        updates=int(run.distance.index[-1]),
        distance=float(run.distance.iloc[-1]),
        validation_error=float(run.metrics["validation_error"].dropna().iloc[-1]),
        alpha=estimate.alpha if estimate else nan,
        interval=estimate.interval if estimate else (nan, nan),
        provisional=estimate is not None and estimate.provisional,
        p_value=estimate.p_value if estimate else nan,
        drop_step=drop,
        drop_distance=float(run.distance[drop]) if drop else nan,
    )


def _together(rows: list[DemoRow], estimate: Fit) -> DemoRow:
    """The seeds' means, and the α they give together."""

    def mean(name: str) -> float:
        return sum(getattr(row, name) for row in rows) / len(rows)

    return replace(
        rows[0],
        run=f"sb, {len(rows)} seeds",
        distance=mean("distance"),
        validation_error=mean("validation_error"),
        alpha=estimate.alpha,
        interval=estimate.interval,
        provisional=estimate.provisional,
        p_value=estimate.p_value,
        drop_distance=mean("drop_distance"),
    )


def _how_it_matched(run: Run) -> list[str]:
    """How the distance-matched drop came about, or by name why it did not."""
    drops = [_in_words(run.name, drop.details) for drop in run.drops]
    failures = [event for event in run.events if event.name == "match_failed"]
    return drops + [f"{run.name}: {event.details['status']}: {event.details['sentence']}" for event in failures]


def _in_words(name: str, drop: Mapping[str, Any]) -> str:
    travelled = f"distance {drop['distance']:.2f} against {drop['target']:.2f}"
    rates = f"learning rate {drop['lr_from']:.3g} → {drop['lr_to']:.3g}"
    return f"{name}: matched at update {drop['matched_step']}, {travelled}; {rates}"


def _cells(row: DemoRow) -> dict[str, str]:
    return {
        "run": row.run,
        "batch": str(row.batch_size),
        "updates": str(row.updates),
        "distance": f"{row.distance:.2f}",
        "error %": f"{100 * row.validation_error:.2f}",
        "α [95 %]": _alpha(row),
        "drop at": "none" if row.drop_step is None else f"{row.drop_step} ({row.drop_distance:.2f})",
    }


def _alpha(row: DemoRow) -> str:
    if isnan(row.alpha):
        return ""
    low, high = row.interval
    mark = "?" if row.p_value < ACCEPTED else "*" if row.provisional else ""
    return f"{row.alpha:.2f} [{low:.2f}, {high:.2f}] {mark}".rstrip()


def _number(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_number(item) for item in value]
    return None if isinstance(value, float) and isnan(value) else value
