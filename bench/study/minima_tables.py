"""The tables of docs/landscape.md on minima, from the packed results of bench/minima.py."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analysis import Probe
from analysis.landscape import rising
from analysis.potential import potential
from study.markdown import NONE, number, percent, plus_minus, table
from study.steady_state import mean_and_half

Minima = Mapping[str, Any]

_FULL = {"SB": "sb-128", "LB": "lb-4096", "+LR": "lr-4096", "+GBN": "gbn-4096"}
_SHORT = {"SB": "sb-128", "SB short": "sb-short-128", "LB": "lb-1024", "+RA": "ra-1024"}
_ADAM = {"SB": "sb-256", "SB short": "sb-short-256", "LB": "lb-6000"}
_C1 = {"SB": "sb-32", "SB short": "sb-short-32", "LB": "lb-512"}
_PARTS = (
    ("F1, MNIST, SGD, 50 epochs", "full-f1-mnist-", _FULL),
    ("F1, MNIST, SGD, 2 epochs", "batch-sizes-f1-mnist-", _SHORT),
    ("F1, Fashion-MNIST, SGD, 2 epochs", "batch-sizes-f1-fashion-mnist-", _SHORT),
    ("F1, MNIST, Adam, 3 epochs", "keskar-f1-mnist-", _ADAM),
    ("C1, CIFAR-10, Adam, 0.41 epochs", "c1-c1-cifar10-", _C1),
)
_MEASURES = {"φ, ε = 1e-3": "eps 0.001", "φ, ε = 5e-4": "eps 0.0005", "adaptive φ, ρ = .01": "rho 0.01"}
PAPER = {"φ, ε = 1e-3": (1.23, 205.14), "φ, ε = 5e-4": (0.61, 42.90)}
"""Keskar et al. 2017, table 3, F1 in the full space: small batch, large batch."""


def seeds_of(minima: Minima, start: str) -> list[dict[str, Any]]:
    """The measured runs whose names are a start and a seed."""
    return [one for name, one in minima.items() if name.startswith(f"{start}-seed")]


def sharpness(minima: Minima) -> list[str]:
    """Error, distance and sharpness of each method, mean over seeds with the least and the largest."""
    rows = []
    for part, start, methods in _PARTS:
        for method, name in methods.items():
            runs = seeds_of(minima, start + name)
            if not runs:
                continue
            batch, updates = runs[0]["batch_size"], runs[0]["updates"]
            cells = [part, f"{method} {batch}", str(len(runs)), str(updates)]
            cells += [_spread([100 * one["error"] for one in runs]), _spread([one["distance"] for one in runs])]
            for key in _MEASURES.values():
                cells.append("; ".join(_spread([one[mode][key] for one in runs]) for mode in ("running", "batch")))
            cells.append(_spread([one.get("eigenvalue", np.nan) for one in runs]))
            rows.append(cells)
            part = ""
    part = "Keskar et al.: F1, MNIST, Adam"
    for k, method in enumerate(("SB 256", "LB 6000")):
        rows.append([part, method, *[NONE] * 4, *(f"{PAPER[name][k]:.3g}" for name in PAPER), NONE, NONE])
        part = ""
    columns = ["network, data, training", "method", "n", "updates", "test error, %", "distance", *_MEASURES]
    return table([*columns, "λ₁"], rows)


def beside_the_paper(minima: Minima) -> list[str]:
    """Ratios of large to small batch, by seed, beside the paper's."""
    rows = []
    for part, start, methods in _PARTS:
        small, large = ({one["seed"]: one for one in seeds_of(minima, start + methods[k])} for k in ("SB", "LB"))
        both = sorted(small.keys() & large.keys())
        if not both:
            continue
        cells = [f"{part}, n = {len(both)}"]
        for key in _MEASURES.values():
            for mode in ("running", "batch"):
                cells.append(_spread([large[seed][mode][key] / small[seed][mode][key] for seed in both]))
        rows.append(cells)
    ratios = [number(large / small, 0) for small, large in PAPER.values()]
    rows.append(["Keskar et al., F1 on MNIST, Adam, 100 epochs", ratios[0], NONE, ratios[1], NONE, NONE, NONE])
    columns = [f"{measure}, {mode}" for measure in _MEASURES for mode in ("running", "batch")]
    return table(["LB over SB, by seed", *columns], rows)


def methods_of_search(minima: Minima) -> list[str]:
    """Ascent, L-BFGS-B and the random subspace, of one seed."""
    rows = []
    for name in ("keskar-f1-mnist-sb-256-seed0", "keskar-f1-mnist-lb-6000-seed0"):
        found = minima[name]["running"]
        keys = ("eps 0.001", "eps 0.001, L-BFGS-B", "eps 0.001, subspace")
        rows.append([minima[name]["label"], *(_short(found[key]) for key in keys)])
    return table(["seed 0, running statistics, ε = 1e-3", "ascent", "L-BFGS-B", "random subspace of 100"], rows)


def warm_start(minima: Minima) -> list[str]:
    """The large batch from each epoch of the small one's run."""
    rows = []
    for epoch in range(4):
        ending = f"{epoch}epoch" if epoch == 1 else f"{epoch}epochs"
        runs = seeds_of(minima, f"keskar-f1-mnist-lb-from-6000-sb-{ending}")
        if runs:
            rows.append([str(epoch), *_warm(runs)])
    small = seeds_of(minima, "keskar-f1-mnist-sb-256")
    rows.append(["small batch alone, 3 epochs", *_warm(small)])
    columns = ["started after epoch", "n", "test error, %", "φ, ε = 1e-3, running", "the same, batch", "adaptive φ"]
    return table([*columns, "λ₁"], rows)


def _warm(runs: Sequence[dict[str, Any]]) -> list[str]:
    return [
        str(len(runs)),
        _spread([100 * one["error"] for one in runs]),
        _spread([one["running"]["eps 0.001"] for one in runs]),
        _spread([one["batch"]["eps 0.001"] for one in runs]),
        _spread([one["running"]["rho 0.01"] for one in runs]),
        _spread([one["eigenvalue"] for one in runs]),
    ]


def potentials(minima: Minima) -> list[str]:
    """α around snapshots of the small batch's seeds, beside the curve's."""
    found, rows = minima["potential"], []
    curve = np.array(found["curve"]["seeds"])
    for step in (key for key in found if key.isdecimal()):
        around = potential(_probe(found[step], np.array(found["z"])))
        half = (around.interval[1] - around.interval[0]) / 2
        about_mean = around.centred.interval
        last = around.local.iloc[-1]
        cells = [step, str(around.n), plus_minus(around.alpha, half)]
        cells += [plus_minus(around.centred.value, (about_mean[1] - about_mean[0]) / 2), percent(around.taylor_share)]
        cells += [plus_minus(last["exponent"], (last["high"] - last["low"]) / 2)]
        rows.append([*cells, plus_minus(*mean_and_half(curve))])
    columns = ["t", "n", "α about L(w_t)", "about the mean", "by the gradient", "local exponent at the far end"]
    return table([*columns, "α of the curve"], rows)


def directions(minima: Minima) -> list[str]:
    """In how many directions the loss rises, by radius, beside the rise in the worst; means over seeds."""
    columns, rows = ["radius"], []
    for label, one in minima["rising"].items():
        some = rising(_probe(one, np.array(one["z"])))
        rows.append(some.groupby("z").mean())
        columns += [f"{label}: rises", "both ways", "φ of the worst"]
    cells = [
        [f"{z:g}", *(_share_or_phi(frame.loc[z, name], name) for frame in rows for name in _RISING)]
        for z in rows[0].index
    ]
    return table(columns, cells)


_RISING = ("rises", "both_ways", "phi")


def _share_or_phi(value: float, name: str) -> str:
    return _short(value) if name == "phi" else number(value, 2)


def _probe(one: dict[str, Any], z: np.ndarray) -> Probe:
    loss = np.array(one["loss"])
    unknown = np.full_like(loss, np.nan)
    return Probe(
        z=z,
        delta=np.array(one["delta"]),
        gradient_norm=np.array(one.get("gradient", unknown)),
        dimension=one.get("dimension", 0),
        loss=loss,
        weight_norm=np.array(one.get("norm", unknown)),
        statistics="batch",
        precision="float32",
    )


MINIMA_TABLES: Mapping[str, Callable[[Minima], list[str]]] = {
    "sharpness": sharpness,
    "beside-the-paper": beside_the_paper,
    "searches": methods_of_search,
    "rising": directions,
    "warm-start": warm_start,
    "potentials": potentials,
}


def _spread(values: Sequence[float]) -> str:
    """The mean, with the least and the largest."""
    if np.isnan(values).any():
        return NONE
    low, high = _short(min(values)), _short(max(values))
    return f"{_short(float(np.mean(values)))} ({low} … {high})" if len(values) > 1 else low


def _short(value: float) -> str:
    """Three significant digits at most."""
    return number(value, max(0, 2 - int(np.floor(np.log10(abs(value)))))) if value else "0"
