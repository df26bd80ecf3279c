"""The tables and figures of docs/what-the-data-say.md, from the committed curves.

    python bench/what_the_data_say.py [--curves docs/curves] [--doc docs/what-the-data-say.md]

Unpacks docs/curves/*.tar.xz (packed by bench/real_curves.py --export), fits, scans and compares each experiment from
w_0 and from the origins, and rewrites what stands between `<!-- table: NAME -->` and `<!-- end -->` in the document,
and docs/figures/data-*.png.
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

from analysis import Comparison, Fit, LawFit, compare, figures, fit, fit_layers
from analysis.fitting.goodness_of_fit import ACCEPTED
from trajectory import Run

ORIGINS = (0, 100, 1000)
NAMES = ("mnist-wd", "mnist-no-wd", "fashion-mnist-wd", "fashion-mnist-no-wd", "mnist-shuffled")


class Experiments:
    """The stores of each experiment, and what was asked of them (once)."""

    def __init__(self, folder: Path) -> None:
        self.runs = {name: sorted(folder.glob(f"{name}-[0-9].zarr")) for name in NAMES}
        self.names = [name for name in NAMES if self.runs[name]]
        self.fit: Callable[[str, int], Fit] = cache(lambda name, origin: fit(self.runs[name], origin=origin))
        self.compare: Callable[[str, int], Comparison] = cache(
            lambda name, origin: compare(self.runs[name], origin=origin)
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


def scans(data: Experiments) -> list[str]:
    """α for every start, in brackets where the law is rejected."""
    rows = []
    for origin in ORIGINS:
        tables = {name: data.fit(name, origin).scan for name in data.names}
        starts = sorted({f"{t:.0f}" for table in tables.values() for t in table.t_min}, key=float)
        rows += _head(f"from w_{origin}, t_min", tables)
        for start in starts:
            cells = []
            for table in tables.values():
                found = table[[f"{t:.0f}" == start for t in table.t_min]]
                cells += [_cell(row) for row in found.itertuples()] or [""]
            rows.append(f"| {start} | " + " | ".join(cells) + " |")
        rows.append("")
    return rows[:-1]


def laws(data: Experiments) -> list[str]:
    """Every law's BIC difference and holdout error."""
    rows = []
    for name in data.names:
        for origin in ORIGINS:
            at = data.compare(name, origin)
            kept = "; ".join(_law_cell(one) for one in at.fits if not one.ruled_out)
            rows.append(f"| {name} | w_{origin} | {_range(at)} | {kept} |")
    head = "| curves | measured from | fit range | laws not ruled out (BIC above the best; holdout error) |"
    return [head, "|---|---|---|---|", *rows]


def layers(data: Experiments) -> list[str]:
    """α of each weight matrix and each batch norm's scale, on the whole network's fit range."""
    rows = []
    for origin in (0, ORIGINS[-1]):
        tables = {name: fit_layers(data.runs[name], origin=origin) for name in data.names}
        rows += _head(f"from w_{origin}", tables)
        for parameter in (name for name in tables[data.names[0]].index if name.endswith("weight")):
            cells = [_cell(table.loc[parameter]) for table in tables.values()]
            rows.append(f"| `{parameter}` | {' | '.join(cells)} |")
        rows.append("")
    return rows[:-1]


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


TABLES: Mapping[str, Callable[[Experiments], list[str]]] = {
    "fits": fits,
    "scans": scans,
    "laws": laws,
    "layers": layers,
    "squares": squares,
}


def draw(data: Experiments, folder: Path) -> None:
    """The figures of the document."""
    every = [path for name in data.names for path in data.runs[name]]
    drawn = {"distance": figures.distance(every)}
    for origin in (0, 1000):
        drawn[f"fit-{origin}"] = figures.fit(data.fit(NAMES[0], origin))
        drawn[f"scan-{origin}"] = figures.scan(data.fit(NAMES[0], origin))
        drawn[f"laws-{origin}"] = figures.compare(data.compare(NAMES[0], origin))
    for name, figure in drawn.items():
        figure.savefig(folder / f"data-{name}.png", dpi=150)


def _number(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _pair(interval: tuple[float, float] | None) -> str:
    return f"[{', '.join(map(_number, interval))}]" if interval else "none"


def _range(at: Fit | Comparison) -> str:
    return f"{at.fit_range[0]:.0f} … {at.fit_range[1]:.0f}"


def _law_cell(one: LawFit) -> str:
    rejected = ", rejected" if one.p_value < ACCEPTED else ""
    return f"{one.law.name} ({one.delta:.1f}; {100 * one.holdout:.2g} %{rejected})"


def _head(first: str, columns: Iterable[str]) -> list[str]:
    names = [first, *columns]
    return [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]


def _cell(row: Any) -> str:
    """α with its interval; in brackets where the law does not hold."""
    if row.alpha != row.alpha:
        return "does not grow"
    text = f"{_number(row.alpha)} {_pair((row.low, row.high))}"
    return text if row.p_value >= ACCEPTED else f"({text})"


def rewrite(doc: Path, data: Experiments) -> None:
    """Every table in its place."""
    text = doc.read_text()
    for name, table in TABLES.items():
        body = "\n".join(table(data))
        place = re.compile(rf"(<!-- table: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        text = place.sub(lambda found, body=body: f"{found[1]}{body}\n{found[2]}", text)
    doc.write_text(text)


def main() -> None:
    """Tables and figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=Path, default=Path("docs/curves"))
    parser.add_argument("--doc", type=Path, default=Path("docs/what-the-data-say.md"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = unpack(options.curves, Path(folder))
        rewrite(options.doc, data)
        draw(data, options.doc.parent / "figures")


if __name__ == "__main__":
    main()
