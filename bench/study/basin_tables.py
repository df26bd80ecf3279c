"""The tables of docs/landscape.md on the steady walk, from the packed results of bench/basin.py."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis import Potential, Probe
from analysis.potential import potential
from study.basin import DISTANCES, LAGS, WITHIN
from study.curve_files import Curve
from study.laws import describe
from study.markdown import number, percent, plus_minus, power_of_ten, probability, table
from study.settings import SETTINGS, Setting
from study.steady_state import mean_and_half

Measured = Sequence[dict[str, Any]]

WEIGHTS = 13_514
"""Of the network."""

_GROUPS = {"top": "ten largest", "next": "twenty next", "bulk": "thirty of the rest"}
_SHOWN = (0.06, 0.2, 0.5, 1, 3, 10, 20)
_LATE = (0.5, 1, 3, 10, 20)
_SPANS = ((0.06, 0.5), (0.5, 3), (3, 20))


def by_setting(measured: Measured) -> list[tuple[Setting, Measured]]:
    """The seeds of each setting, in the study's order."""
    named = {setting.name: [one for one in measured if one["setting"] == setting.name] for setting in SETTINGS}
    return [(setting, named[setting.name]) for setting in SETTINGS if named[setting.name]]


def steady_alphas(measured: Measured) -> list[str]:
    """α of the curve and of the potential over the same distances."""
    rows = []
    for setting, seeds in by_setting(measured):
        curves = [_curve(setting, one) for one in seeds]
        found = describe(curves, WITHIN[0] * setting.memory, WITHIN[1] * setting.memory)
        around, walked = random_potential(seeds), np.array([walk_exponent(one) for one in seeds])
        rows.append(
            [
                *_head(setting, seeds),
                f"{number(around.window[0], 1)} … {number(around.window[1], 1)}",
                "no growth"
                if found is None
                else f"{plus_minus(found.alpha, found.half)}; {probability(found.p_value)}",
                plus_minus(around.alpha, (around.interval[1] - around.interval[0]) / 2),
                plus_minus(around.centred.value, (around.centred.interval[1] - around.centred.interval[0]) / 2),
                percent(around.taylor_share),
                plus_minus(*mean_and_half(walked)),
            ]
        )
    columns = ["B, η, λ", "n", "distances", "α of the curve; p", "α of the potential", "about the mean"]
    return table([*columns, "by the gradient", "exponent on the walk"], rows)


def steady_basin(measured: Measured) -> list[str]:
    """The distance, and the basin's over it."""
    rows = []
    for setting, seeds in by_setting(measured):
        seen = np.array([at_lags(one) for one in seeds])
        rows.append([*_head(setting, seeds), "seen", *(number(d, 2) for d in _shown(seen.mean(axis=0))), ""])
        for name, key in (("basin at w_s / seen", "basin"), ("basin at the mean / seen", "basin_of_the_mean")):
            ratio = np.array([one[key]["d"] for one in seeds]) / seen
            cells = [plus_minus(*mean_and_half(column)) for column in _shown(ratio.T)]
            rows.append(["", "", name, *cells, percent(_missed(ratio, WITHIN))])
        rows.append(["", "", *_law_row(setting, seeds)])
    return table(["B, η, λ", "n", "d", *(f"{lag:g} τ" for lag in _SHOWN), "misses, to 3 τ"], rows)


def steady_directions(measured: Measured) -> list[str]:
    """How the displacement along directions grows."""
    rows = []
    for setting, seeds in by_setting(measured):
        eigenvalues = np.array([one["eigenvalues"] for one in seeds])
        spans = {"top": eigenvalues[:, :10], "next": eigenvalues[:, 10:]}
        for group, words in _GROUPS.items():
            squares = np.array([one["squares"][group] for one in seeds])
            held = f"{number(spans[group].min())} … {number(spans[group].max())}" if group in spans else ""
            grown = [plus_minus(*mean_and_half(_exponents(squares, span))) for span in _SPANS]
            share = squares[:, LAGS.index(1)] / squares[:, LAGS.index(0.06)]
            rows.append([*_head(setting, seeds), words, held, *grown, plus_minus(*mean_and_half(share), 1)])
    columns = ["B, η, λ", "n", "eigenvalues", "h", *(f"exponent {a:g} … {b:g} τ" for a, b in _SPANS)]
    return table([*columns, "square at τ over that at .06 τ"], rows)


def steady_paths(measured: Measured) -> list[str]:
    """The loss half way, and on the walk."""
    rows = []
    for setting, seeds in by_setting(measured):
        for name, key in (("half way, less the ends", "seen"), ("−dᵀHd/8", "quadratic")):
            values = np.array([one["middles"][key] for one in seeds])
            cells = [plus_minus(*mean_and_half(values[:, LAGS.index(lag)]), 3) for lag in _LATE]
            rows.append([*_head(setting, seeds), name, *cells])
        roots = np.sqrt([[_at(one["losses"], lag) for lag in _LATE] for one in seeds])
        cells = [plus_minus(*mean_and_half(column), 3) for column in roots.T]
        rows.append([*_head(setting, seeds), "√⟨(L(w_{s+t}) − L(w_s))²⟩", *cells])
    return table(["B, η, λ", "n", "loss", *(f"{lag:g} τ" for lag in _LATE)], rows)


BASIN_TABLES = {
    "steady-alphas": steady_alphas,
    "steady-basin": steady_basin,
    "steady-directions": steady_directions,
    "steady-paths": steady_paths,
}


def random_potential(seeds: Measured) -> Potential:
    """α around each seed's w_s, at the distances that all walks cover from the first lag on."""
    seen = np.array([at_lags(one) for one in seeds])
    kept = (seen[:, 0].min() <= DISTANCES) & (seen[:, -1].max() >= DISTANCES)
    probes = [_probe(one, kept) for one in seeds]
    return potential(Probe.joined(probes))


def _probe(one: dict[str, Any], kept: np.ndarray) -> Probe:
    around = one["potential"]
    return Probe(
        z=DISTANCES[kept],
        delta=np.array(around["delta"])[None, :, :, kept],
        gradient_norm=np.array([around["gradient"]]),
        dimension=WEIGHTS,
        loss=np.array([around["loss"]]),
        weight_norm=np.array([one["norm"]]),
        statistics="batch",
        precision="float32",
    )


def at_lags(one: dict[str, Any]) -> np.ndarray:
    """The distance at `LAGS`."""
    lags, d = (np.array(one["distance"][key]) for key in ("lag", "d"))
    return np.exp(np.interp(np.log(LAGS), np.log(lags), np.log(d)))


def walk_exponent(one: dict[str, Any]) -> float:
    """The slope of log ⟨(L(w_{s+t}) − L(w_s))²⟩ on log d: what α would be if the walk met the potential."""
    d = [at_lags(one)[LAGS.index(lag)] for lag in one["losses"]["lag"]]
    return float(np.polyfit(np.log(d), np.log(one["losses"]["square"]), 1)[0])


def _curve(setting: Setting, one: dict[str, Any]) -> Curve:
    return np.array(one["distance"]["lag"]) * setting.memory, np.array(one["distance"]["d"])


def _shown(values: np.ndarray) -> np.ndarray:
    """Of (lag, ...), those of the table."""
    return values[[LAGS.index(lag) for lag in _SHOWN]]


def _missed(ratio: np.ndarray, span: tuple[float, float]) -> float:
    """Root mean square of the seeds' mean log ratio over lags of a span."""
    inside = [span[0] <= lag <= span[1] for lag in LAGS]
    return float(np.sqrt(np.square(np.log(ratio).mean(axis=0)[inside]).mean()))


def _law_row(setting: Setting, seeds: Measured) -> list[str]:
    """What fitted laws miss over the same lags."""
    found = describe([_curve(setting, one) for one in seeds], WITHIN[0] * setting.memory, WITHIN[1] * setting.memory)
    blank = [""] * len(_SHOWN)
    if found is None:
        return ["fitted laws", *blank, "no growth"]
    misses = f"(log t)^(2/α) {percent(found.misfit)}, power {percent(found.rivals['power'].rms_residual)}"
    return ["fitted laws", *blank, misses]


def _exponents(squares: np.ndarray, span: tuple[float, float]) -> np.ndarray:
    """Each seed's d log⟨x²⟩/d log t between two lags."""
    a, b = (LAGS.index(lag) for lag in span)
    return np.log(squares[:, b] / squares[:, a]) / np.log(span[1] / span[0])


def _at(losses: dict[str, Any], lag: float) -> float:
    return float(losses["square"][losses["lag"].index(lag)])


def _head(setting: Setting, seeds: Measured) -> list[str]:
    rates = f"{setting.batch_size}, {setting.learning_rate:g}, {power_of_ten(setting.weight_decay)}"
    return [rates, str(len(seeds))]
