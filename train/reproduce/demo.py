"""The whole job on bundled data: a small batch, a large batch and a matched large batch; their fits and figures.

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
from analysis.serialize import jsonable
from train.configs.config import TrainConfig
from train.configs.recipes import f1_digits
from train.engine.run_training import train
from trajectory import Run

SEEDS = 3  # of the small batch: from three on, α's interval comes from the spread between seeds
LARGE_BATCH = 256

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class DemoRow:
    """One run's line of the table, or that of the small batch's three seeds together.

    Attributes:
        run: the run's name.
        label: the name of its method.
        batch_size: samples in an update.
        updates: updates made.
        distance: ‖w_t − w_0‖ at the end.
        validation_error: fraction of the test set that is misclassified at the end.
        alpha: the estimate of α; NaN where none was made.
        interval: the interval to quote for α, at 95 %, its start being chosen from the data; NaN where none fits.
        provisional: True if α is from one run alone.
        p_value: the law's p-value: below .05 the law does not hold and α describes nothing.
        drop_step: the update of the first learning-rate drop; None without one.
        drop_distance: ‖w_t − w_0‖ there.
    """

    run: str
    label: str
    batch_size: int
    updates: int
    distance: float
    validation_error: float
    alpha: float
    interval: tuple[float, float]
    provisional: bool
    p_value: float
    drop_step: int | None
    drop_distance: float


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        rows: the runs' lines of the table.
        reference: the fit of the small batch's seeds.
        notes: sentences on how the match went and what to be wary of.
        paths: stores and figures.
    """

    rows: tuple[DemoRow, ...]
    reference: Fit
    notes: tuple[str, ...]
    paths: tuple[Path, ...]

    def table(self) -> list[dict[str, str]]:
        """Return the rows as text, by column; α is marked * if provisional, ? if the law does not hold."""
        return [_cells(row) for row in self.rows]

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON; None where a number does not exist."""
        return {
            "runs": [jsonable(asdict(row)) for row in self.rows],
            "reference_fit": self.reference.to_dict(),
            "notes": list(self.notes),
            "paths": jsonable(self.paths),
        }


def configs(seed: int, reference: tuple[str, ...]) -> tuple[list[TrainConfig], TrainConfig, TrainConfig]:
    """Return the configurations of the small batch, the large batch and the matched large batch.

    The large batch differs from the small one in nothing else. The matched one has the √ rule, ghost batches of the
    small batch's size, as many updates, and a warm-up that is long enough for its first updates not to overshoot the
    reference's distance.

    Args:
        seed: seed of the first run; the small batch's take it and the next ones.
        reference: paths of the small batch's runs, which the matched run is compared with.
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
    """Train five runs on the digits, fit α, match the large batch to the small one, and draw.

    Args:
        out: folder for the runs (*.zarr), which replace those of an earlier demo, and for the figures (*.png, *.pdf).
        seed: seed of the first run.
        progress: called as progress(name, done, total) after each update.

    Returns:
        The table, the fit, and notes.

    Raises:
        StoreError: if `out` cannot be written.
    """
    out = Path(out)
    paths = _train_all(out, seed, progress)
    runs = [Run(path) for path in paths]
    reference = fit(runs[:SEEDS])
    rows = [_row(run, None) for run in runs[:SEEDS]]
    rows.append(_pooled(rows, reference))
    notes = [f"small batch: {warning}" for warning in reference.warnings]
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
    return Demo(tuple(rows), reference, tuple(notes), (*paths, *files))


def _train_all(out: Path, seed: int, progress: Progress | None) -> list[Path]:
    """Train the small batch's seeds, the large batch and the matched large batch; return their stores."""
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
    return list(plan)


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
        interval=_quoted(estimate),
        provisional=estimate is not None and estimate.provisional,
        p_value=estimate.p_value if estimate else nan,
        drop_step=drop,
        drop_distance=float(run.distance[drop]) if drop else nan,
    )


def _quoted(estimate: Fit | None) -> tuple[float, float]:
    return (estimate.quoted_interval if estimate else None) or (nan, nan)


def _pooled(rows: list[DemoRow], estimate: Fit) -> DemoRow:
    """Return the seeds' means, and the α of all seeds."""

    def mean(name: str) -> float:
        return sum(getattr(row, name) for row in rows) / len(rows)

    return replace(
        rows[0],
        run=f"sb, {len(rows)} seeds",
        distance=mean("distance"),
        validation_error=mean("validation_error"),
        alpha=estimate.alpha,
        interval=_quoted(estimate),
        provisional=estimate.provisional,
        p_value=estimate.p_value,
        drop_distance=mean("drop_distance"),
    )


def _how_it_matched(run: Run) -> list[str]:
    """Return sentences on how the distance-matched drop came about, or why it did not."""
    drops = [_in_words(run.name, drop.details) for drop in run.drops]
    failures = [event for event in run.events if event.name == "match_failed"]
    return drops + [f"{run.name}: {event.details['status']}: {event.details['sentence']}" for event in failures]


def _in_words(name: str, drop: Mapping[str, Any]) -> str:
    travelled = f"distance {drop['distance']:.2f} for a target of {drop['target']:.2f}"
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
    if isnan(low):
        return "no start fits"
    mark = "?" if row.p_value < ACCEPTED else "*" if row.provisional else ""
    return f"{row.alpha:.2f} [{low:.2f}, {high:.2f}] {mark}".rstrip()
