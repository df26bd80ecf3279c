"""The tables and figures of docs/what-the-data-say.md, from the committed curves.

    python bench/what_the_data_say.py [--curves docs/curves] [--doc docs/what-the-data-say.md]

Reads docs/curves/long-*.npz (the study: packed by bench/long_curves.py --export) and docs/curves/*.tar.xz (F1: packed
by bench/real_curves.py --export), and rewrites what stands between `<!-- table: NAME -->` and `<!-- end -->` in the
document, and docs/figures/data-*.png. It trains nothing and takes about a minute.
"""

import argparse
import math
import re
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from real_curves import AGES
from study.curve_files import read_all
from study.equal_age import EQUAL_AGE
from study.figures import FIGURES
from study.laws import describe
from study.markdown import alpha, misfit, number, power_of_ten, rival, table
from study.steady_state import local_exponent
from study.tables import TABLES

from analysis import Comparison, Fit, compare, figures, fit
from analysis.figures.palette import png
from analysis.fitting.goodness_of_fit import ACCEPTED
from trajectory import LogSpaced, Run

ORIGINS = (0, 100, 1000)
NAMES = ("mnist-wd", "mnist-no-wd", "fashion-mnist-wd", "fashion-mnist-no-wd", "mnist-shuffled")
COMPARED = ("ultraslow", "power law", "pure log", "normal", "saturation", "stretched saturation", "jump + power")
STEADY = (
    *("mnist-steady-128-decay-1e-3", "mnist-steady-128", "mnist-steady-128-clean", "mnist-steady-128-decay-5e-3"),
    *("mnist-steady-16", "conv-steady-16", "cifar10-steady-16"),
)
PAPER = (
    (2048, 1940, 3.4),
    (1024, 3900, 5.1),
    (512, 7800, 7.0),
    (256, 15_500, 8.7),
    (128, 31_000, 10.4),
    (64, 62_000, 10.9),
)
"""Batch size, updates and distance at the right ends of Hoffer et al.'s figure 2(a), read off the page."""


class Experiments:
    """The stores of each experiment, and what was asked of them (once)."""

    def __init__(self, folder: Path) -> None:
        self.runs = {name: sorted(folder.glob(f"{name}-[0-9].zarr")) for name in (*NAMES, *STEADY)}
        self.names = [name for name in NAMES if self.runs[name]]
        self.fit: Callable[[str, int], Fit] = cache(lambda name, origin: fit(self.runs[name], origin=origin))
        self.compare: Callable[[str, int], Comparison] = cache(
            lambda name, origin: compare(self.runs[name], COMPARED, origin=origin)
        )


def unpack(archives: Path, folder: Path) -> Experiments:
    """Every archive's stores, side by side in the folder."""
    for archive in sorted(archives.glob("*.tar.xz")):
        with tarfile.open(archive) as packed:
            packed.extractall(folder, filter="data")
    return Experiments(folder)


def fits(data: Experiments) -> list[str]:
    """α of each experiment from each origin."""
    columns = ("measured from", "n", "α", "over the starts", "fit range", "local exponent", "p-value", "rms residual")
    rows = _head("curves", columns)
    for name in data.names:
        for origin in ORIGINS:
            at = data.fit(name, origin)
            whole = at.to_frame().iloc[0]
            cells = [name, f"w_{origin}", str(at.n), _cell(whole), _pair(at.interval_over_starts), _range(at)]
            cells += [f"{at.local_exponent:.3f}", f"{at.p_value:.2g}", f"{100 * at.rms_residual:.2g} %"]
            rows.append(f"| {' | '.join(cells)} |")
    return rows


def squares(data: Experiments) -> list[str]:
    """The last distance from w_0 against √(‖w_{t_w} − w_0‖² + ‖w_t − w_{t_w}‖²), means over the seeds."""
    rows = _head("curves", ["t_w", "‖w_{t_w} − w_0‖", "‖w_t − w_{t_w}‖", "root of the sum of squares", "‖w_t − w_0‖"])
    for name in data.names:
        for origin in ORIGINS[1:]:
            ends = []
            for run in map(Run, data.runs[name]):
                before = float(np.interp(origin, run.distance.index, run.distance))
                ends.append((before, float(run.displacement(origin).iloc[-1]), float(run.distance.iloc[-1])))
            before, after, whole = np.mean(ends, axis=0)
            cells = [f"{length:.2f}" for length in (before, after, math.hypot(before, after), whole)]
            rows.append(f"| {name} | {origin} | {' | '.join(cells)} |")
    return rows


def steady(data: Experiments) -> list[str]:
    """F1 in its steady state, mean over origins, beside the perceptron's range of t/τ."""
    rows = []
    for name in (name for name in STEADY if data.runs[name]):
        runs = [Run(path) for path in data.runs[name]]
        config = runs[0].config
        eta, decay, batch = (config[key] for key in ("lr", "weight_decay", "batch_size"))
        memory = (1 - config["momentum"]) / (eta * decay)
        curves = [_mean_over_origins(run, AGES[0] * memory) for run in runs]
        loss = float(np.mean([run.metrics["train_loss"].dropna().iloc[-200:].mean() for run in runs]))
        found = describe(curves, EQUAL_AGE[0] * memory, EQUAL_AGE[1] * memory)
        cells = [
            f"{config['dataset']}, {'a fifth shuffled' if config.get('label_noise') else 'clean'}",
            config["network"],
            number(1e4 / (batch * memory**0.5), 1),
            f"{batch}, {eta:g}, {power_of_ten(decay)}",
        ]
        cells += [f"{memory:.0f}", str(len(runs)), number(loss), alpha(found), misfit(found)]
        cells += [rival(found, "power"), rival(found, "jump + power")]
        exponents = (float(local_exponent(curves, multiple * memory).mean()) for multiple in (0.3, 1, 2))
        rows.append([*cells, *(number(exponent, 3) for exponent in exponents)])
    columns = ["data, labels", "network", "10⁴/(B√τ)", "B, η, λ", "τ", "n", "loss", "α", "misfit; p", "power"]
    columns += ["jump + power", "exponent at .3 τ", "at τ", "at 2 τ"]
    return table(columns, rows)


def _mean_over_origins(run: Run, steady: float) -> tuple[np.ndarray, np.ndarray]:
    """The geometric mean of displacements from the origins past `steady`, at log-spaced t that all of them reach."""
    logs, first, last = [], 1, math.inf
    for origin in (origin for origin in run.origins if origin >= steady):
        curve = run.displacement(origin)
        curve = curve[curve > 0]
        t = curve.index.to_numpy() - origin
        logs.append((np.log(t), np.log(curve.to_numpy())))
        first, last = max(first, t[0]), min(last, t[-1])
    t = np.array([step for step in LogSpaced(24, until=int(last)) if step >= first])
    return t, np.exp(np.mean([np.interp(np.log(t), *log) for log in logs], axis=0))


def paper(data: Experiments) -> list[str]:
    """The ends of the published curves, one for each batch size, in memory times."""
    del data
    memory = 0.1 / (0.1 * 1e-4)  # learning rate .1, momentum .9, weight decay 1e-4: Hoffer et al.'s code
    rows = []
    for place, (batch, updates, distance) in enumerate(PAPER):
        before = PAPER[place - 1][2] if place else math.nan
        cells = [f"{updates}", f"{updates / memory:.2g}", number(distance, 1), number(distance - before, 1)]
        rows.append([str(batch), *cells])
    return table(["batch", "updates", "in memory times", "‖w_t − w_0‖", "more than with half the updates"], rows)


F1_TABLES: Mapping[str, Callable[[Experiments], list[str]]] = {
    "fits": fits,
    "squares": squares,
    "f1-steady": steady,
    "paper": paper,
}


def draw(data: Experiments, folder: Path) -> None:
    """The figures of F1 in this document and in docs/fitting.md."""
    every = [path for name in data.names for path in data.runs[name]]
    drawn = {
        "distance": figures.distance(every),
        "fit-1000": figures.fit(data.fit(NAMES[0], 1000)),
        "scan-1000": figures.scan(data.fit(NAMES[0], 1000)),
        "laws-1000": figures.compare(data.compare(NAMES[0], 1000)),
    }
    for name, figure in drawn.items():
        _save(figure, folder, name)


def _save(figure: Figure, folder: Path, name: str) -> None:
    (folder / f"data-{name}.png").write_bytes(png(figure, dpi=150))


def _pair(interval: tuple[float, float] | None) -> str:
    return f"[{', '.join(map(number, interval))}]" if interval else "none"


def _range(at: Fit | Comparison) -> str:
    return f"{at.fit_range[0]:.0f} … {at.fit_range[1]:.0f}"


def _head(first: str, columns: Iterable[str]) -> list[str]:
    names = [first, *columns]
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _cell(row: Any) -> str:
    """α with its interval; in brackets where the law does not hold."""
    if row.alpha != row.alpha:
        return "does not grow"
    text = f"{number(row.alpha)} {_pair((row.low, row.high))}"
    return text if row.p_value >= ACCEPTED else f"({text})"


def rewrite(doc: Path, tables: Iterable[tuple[str, list[str]]]) -> None:
    """Every table in its place."""
    text = doc.read_text()
    for name, lines in tables:
        body = "\n".join(lines)
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = place.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    doc.write_text(text)


def main() -> None:
    """Tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, default=Path("docs/curves"))
    parser.add_argument("--doc", type=Path, default=Path("docs/what-the-data-say.md"))
    options = parser.parse_args()
    study = read_all(options.curves)
    pictures = options.doc.parent / "figures"
    rewrite(options.doc, ((name, made(study)) for name, made in TABLES.items()))
    for name, drawn in FIGURES.items():
        _save(drawn(study), pictures, name)
    with tempfile.TemporaryDirectory() as folder:
        data = unpack(options.curves, Path(folder))
        rewrite(options.doc, ((name, made(data)) for name, made in F1_TABLES.items()))
        draw(data, pictures)


if __name__ == "__main__":
    main()
