"""What the tool is for, on bundled data: a known α found again, a large batch matched, and what a real curve follows.

Only public functions are called, in the order a user would: simulate, train, fit, compare, draw.
"""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from math import log10
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from analysis import Comparison, Fit, compare, figures, fit
from analysis.fitting.fit_result import MOVES
from analysis.report import write_report
from analysis.serialize import jsonable
from analysis.synthetic import synthetic
from train.configs.config import TrainConfig
from train.configs.recipes import f1_digits
from train.engine.run_training import train
from trajectory import Run

SEEDS = 3  # of each method: from three on, α's interval comes from the spread between seeds
LARGE_BATCH = 256
# Of batch 256 that is 50 updates. With 20 and with 30 epochs it is no worse than batch 16: bench/demo_task.py.
EPOCHS = 10
REPORT = "report.html"
WALK_ALPHA = 1.0  # Sinai's walk: d ~ (log t)²

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class MethodRow:
    """One method's line of the table: means over its seeds.

    Attributes:
        label: the name of the method.
        batch_size: samples in an update.
        updates: updates made.
        epochs: passes through the training set.
        distance: ‖w_t − w_0‖ at the end.
        drop_step: the update of the first learning-rate drop; None if a seed has none.
        drop_distance: ‖w_t − w_0‖ there; None likewise.
        errors: of each seed, the fraction of the test set that is misclassified at the end.
        validation_error: their mean.
    """

    label: str
    batch_size: int
    updates: float
    epochs: float
    distance: float
    drop_step: float | None
    drop_distance: float | None
    errors: tuple[float, ...]
    validation_error: float


@dataclass(frozen=True)
class Demo:
    """What the demo made.

    Attributes:
        walk: the fit of the simulated walk, whose α is `WALK_ALPHA`.
        methods: the lines of the table: small batch, large batch, matched large batch.
        reference: the fit of the small batch's seeds.
        laws: the laws compared on the same curves.
        warnings: three plain sentences at most.
        paths: stores, figures, and the report, which needs the extra `report`.
    """

    walk: Fit
    methods: tuple[MethodRow, ...]
    reference: Fit
    laws: Comparison
    warnings: tuple[str, ...]
    paths: tuple[Path, ...]

    def table(self) -> list[dict[str, str]]:
        """Return the methods' rows as text, by column."""
        return [_cells(row) for row in self.methods]

    @property
    def report(self) -> Path | None:
        """The report; None where plotly, of the extra `report`, is not installed."""
        return next((path for path in self.paths if path.name == REPORT), None)

    def found(self) -> tuple[str, str, str]:
        """Return what each of the three parts found, in words."""
        small, large, matched = self.methods
        low, high = self.walk.interval
        holds = "which holds it" if low <= WALK_ALPHA <= high else "which misses it, as one interval in 20 does"
        return (
            f"{_alpha(self.walk)}, {holds}.",
            f"{_gap(large, small)}\n{_gap(matched, small)}",
            f"{_best(self.laws)}\n{_law(self.reference)}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything for JSON; None where a number does not exist."""
        return {
            "walk": {"true_alpha": WALK_ALPHA, "fit": self.walk.to_dict()},
            "methods": [jsonable(asdict(row)) for row in self.methods],
            "reference_fit": self.reference.to_dict(),
            "comparison": self.laws.to_dict(),
            "found": list(self.found()),
            "warnings": list(self.warnings),
            "paths": jsonable(self.paths),
        }


def configs(seed: int, reference: tuple[str, ...]) -> dict[str, TrainConfig]:
    """Return a seed's configurations by the stem of their store: small batch, large batch, matched large batch.

    The large batch differs from the small one in nothing else, so it makes a sixteenth of the updates. The matched
    one has the √ rule, ghost batches of the small batch's size, as many updates, and a warm-up that is long enough
    for its first updates not to overshoot the reference's distance.

    Args:
        seed: of the three runs.
        reference: paths of the small batch's runs, which the matched run is compared with.
    """
    small = replace(f1_digits(), epochs=EPOCHS, drops=((EPOCHS / 2, 0.1),), seed=seed)
    large = replace(small, batch_size=LARGE_BATCH)
    matched = replace(
        large,
        lr_scaling="sqrt",
        ghost_batch_size=small.batch_size,
        warmup_steps=100,
        regime_adaptation=True,
        match=reference,
    )
    return {
        "sb": replace(small, label=f"batch {small.batch_size}"),
        "lb": replace(large, label=f"batch {LARGE_BATCH}"),
        "lb-matched": replace(matched, label=f"batch {LARGE_BATCH}, matched"),
    }


def demo(out: str | Path, *, seed: int = 0, progress: Progress | None = None) -> Demo:
    """Find a known α again, match a large batch to a small one on the digits, and compare laws on its curve.

    Args:
        out: folder for the runs (*.zarr), which replace those of an earlier demo, and for the figures (*.png, *.pdf).
        seed: seed of the simulated walk, and the first of each method's three.
        progress: called as progress(name, done, total) after each update.

    Returns:
        The fits, the table and the comparison, and warnings.

    Raises:
        StoreError: if `out` cannot be written.
    """
    out = Path(os.path.expanduser(out))
    walk = fit(synthetic("ultraslow", t0=0.1, alpha=WALK_ALPHA, seeds=5, seed=seed), t_min=1)  # it has no transient
    methods = _train_all(out, seed, progress)
    small, *others = methods
    runs = [run for seeds in methods for run in seeds]
    reference, laws = fit(small), compare(small)
    drawn = {
        "walk": figures.fit(walk),
        "distance": figures.distance(runs),
        "error": figures.error(runs),
        "fit": figures.fit(reference),
        "scan": figures.scan(reference),
        "laws": figures.compare(laws, columns=2),
    }
    files = [file for name, figure in drawn.items() for file in figures.save(figure, out / name)]
    rows = tuple(_row(seeds) for seeds in methods)
    paths = (*(run.path for run in runs), *files, *_report(runs, out / REPORT))
    return Demo(walk, rows, reference, laws, _warnings(others[-1], reference), tuple(map(Path, paths)))


def _report(runs: list[Run], path: Path) -> list[Path]:
    """Write the report where plotly is installed; return its path."""
    if find_spec("plotly") is None:
        return []
    write_report(runs, path)
    return [path]


def _store(out: Path, method: str, k: int) -> Path:
    """Return where a method's k-th run lies; a large batch's first has no number, as when it was alone."""
    return out / (f"{method}-{k}.zarr" if method == "sb" or k else f"{method}.zarr")


def _train_all(out: Path, seed: int, progress: Progress | None) -> list[list[Run]]:
    """Train each method's seeds, the small batch's first; return the runs by method."""
    seeds = range(seed, seed + SEEDS)
    reference = tuple(str(_store(out, "sb", k)) for k in range(SEEDS))
    plans = [configs(each, reference) for each in seeds]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # layers of 64 units: a second thread costs more than it does
    try:
        return [
            [_train(plan[name], _store(out, name, k), progress) for k, plan in enumerate(plans)] for name in plans[0]
        ]
    finally:
        torch.set_num_threads(threads)


def _train(config: TrainConfig, path: Path, progress: Progress | None) -> Run:
    named = None if progress is None else lambda done, total: progress(path.name, done, total)
    return Run(train(config, path, overwrite=True, progress=named, checkpoint_every=None))


def _row(seeds: list[Run]) -> MethodRow:
    drops = [run.drops[0].step for run in seeds if run.drops]
    whole = len(drops) == len(seeds)
    last = [run.metrics.dropna(subset=["validation_error"]).iloc[-1] for run in seeds]
    errors = tuple(float(row["validation_error"]) for row in last)
    return MethodRow(
        label=seeds[0].config["label"],
        batch_size=seeds[0].config["batch_size"],
        updates=fmean(int(run.distance.index[-1]) for run in seeds),
        epochs=fmean(float(row["epoch"]) for row in last),
        distance=fmean(float(run.distance.iloc[-1]) for run in seeds),
        drop_step=fmean(drops) if whole else None,
        drop_distance=fmean(float(run.distance[run.drops[0].step]) for run in seeds) if whole else None,
        errors=errors,
        validation_error=fmean(errors),
    )


def _cells(row: MethodRow) -> dict[str, str]:
    drop = "none" if row.drop_step is None else f"{row.drop_step:.0f} ({row.drop_distance:.2f})"
    return {
        "method": row.label,
        "epochs": f"{row.epochs:.0f}",
        "updates": f"{row.updates:.0f}",
        "drop (distance)": drop,
        "error %": f"{100 * row.validation_error:.2f}",
        "by seed": ", ".join(f"{100 * error:.2f}" for error in row.errors),
    }


def _gap(row: MethodRow, small: MethodRow) -> str:
    """State how far a method's error lies from the small batch's, seed by seed."""
    gaps = [100 * (error - its) for error, its in zip(row.errors, small.errors, strict=True)]
    mean = fmean(gaps)
    side = "above" if mean > 0 else "below"
    return (
        f"{row.label}: the error is {abs(mean):.1f} percentage points {side} that of {small.label} "
        f"({', '.join(map(_signed, gaps))} by seed)."
    )


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def _alpha(found: Fit) -> str:
    """State α with the interval to quote; no start may fit where the fit chose one from the data."""
    quoted = found.quoted_interval
    interval = f"95 % confidence interval [{quoted[0]:.2f}, {quoted[1]:.2f}]" if quoted else "without an interval"
    return f"α = {found.alpha:.2f}, {interval}"


def _best(laws: Comparison) -> str:
    """Name the law that fits best, and those that the data cannot tell from it."""
    best = laws.fits[0]
    named = f"{best.law.name}, {best.law.formula}"
    if best.rejected:
        return f"None of {len(laws.fits)} laws holds; {named}, comes closest."
    kept = ", ".join(laws.not_separable)
    others = f"do not rule out {kept}" if kept else "rule out the others"
    return f"Of {len(laws.fits)} laws, {named}, fits best; the curves {others}."


def _law(found: Fit) -> str:
    """State α of the small batch's seeds over the starts that fit, or that there is none."""
    first, last = found.fit_range
    misfit = f"an rms residual of {100 * found.rms_residual:.2g} %"
    law = f"The ultra-slow law, on t = {first:.0f} … {last:.0f} with {misfit}"
    if found.rejected:
        return f"{law}, is rejected (p = {found.p_value:.2g}): there is no α to quote."
    moving = "; α moves with the fit range" if found.verdict == MOVES else ""
    return f"{law}, has {_alpha(found)}{moving}."


def _warnings(matched: list[Run], reference: Fit) -> tuple[str, ...]:
    """Return the three sentences that matter most; a run that did not match comes first."""
    failed = [event.details for run in matched for event in run.events if event.name == "match_failed"]
    first, last = reference.fit_range
    found = [
        *(f"Not matched ({details['status']}): {details['sentence']}." for details in failed[:1]),
        "This is a small task, chosen because the large batch is worse on it: with 20 or 30 epochs instead of "
        f"{EPOCHS} it is not.",
        "The matched runs take sixteen times the epochs of the others, with a √-scaled rate and ghost batches; what "
        "the match alone adds is not measured here.",
        f"The fit spans {log10(last / first):.1f} decades of t; α needs two at least.",
    ]
    return tuple(found[:3])
