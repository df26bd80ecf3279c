"""The study's figures, from the packed curves."""

from collections.abc import Callable, Mapping

import matplotlib as mpl
import numpy as np

from analysis.figures.axes import distance_label, plain_log_ticks, t_axis, updates
from analysis.figures.colours import COLOURS, LAW_COLOURS, REJECTED
from analysis.figures.legends import legend
from analysis.figures.style import DOUBLE, PaperFigure, style
from study.curve_files import LongCurves
from study.equal_age import EQUAL_AGE, Study, grid
from study.laws import describe
from study.markdown import power_of_ten
from study.steady_state import AGES, at, local_exponent, mean_and_half
from study.tables import MILLION, REFERENCE, STEADY_ORIGIN

_MARKERS = {250: "s", 1000: "o", 4000: "^", 16000: "D"}
_POINTS = {"markeredgecolor": "white", "markeredgewidth": 0.4, "linestyle": "none", "markersize": 5}


def distances(study: Study) -> PaperFigure:
    """From the first update and from a steady origin, by weight decay."""
    with style():
        figure = PaperFigure(DOUBLE, 2.9)
        first, later = figure.subplots(1, 2)
        for colour, name in zip(COLOURS, MILLION, strict=False):
            decay = study[name].setting.weight_decay
            label = rf"$\lambda$ = {power_of_ten(decay)}"
            for ax, origin in ((first, 0), (later, STEADY_ORIGIN)):
                if origin and not decay:
                    continue
                for t, d in study[name].distance(origin):
                    ax.plot(t, d, color=colour, linewidth=0.6, label=label)
            if decay:
                memory = study[name].setting.memory
                d = at(study[name].distance(STEADY_ORIGIN), memory).mean()
                later.plot(memory, d, "|", color=colour, markersize=9, markeredgewidth=1.2)
        first.set(ylabel=distance_label(), xlabel=updates())
        later.set(ylabel=distance_label(STEADY_ORIGIN), xlabel=updates(STEADY_ORIGIN))
        for ax in (first, later):
            t_axis(ax, logarithmic=True)
            ax.set_yscale("log")
        legend(figure)
    return figure


def exponents(study: Study) -> PaperFigure:
    """The local exponent of directions against t/τ, by noise 10⁴/(B√τ), and a fitted law; dashed where it fails."""
    shares = np.geomspace(0.02, 30, 60)
    noises = sorted({_rounded(one) for one in grid(study)})
    shades = mpl.colormaps["viridis_r"](np.linspace(0.1, 1, len(noises)))
    with style():
        figure = PaperFigure(DOUBLE, 3.2)
        ax = figure.subplots()
        for one in grid(study):
            curves, memory = one.averaged(AGES, direction=True), one.setting.memory
            seen = shares[shares * memory > 30]
            found = [local_exponent(curves, share * memory).mean() for share in seen]
            colour = shades[noises.index(_rounded(one))]
            ax.plot(seen, found, color=colour, linewidth=0.9, label=_noise_label(one))
        _continued(ax, study[REFERENCE], shares)
        ax.axvspan(*EQUAL_AGE, color="#f2f2f2", zorder=0)
        ax.set(
            xlabel=r"$t/\tau$", ylabel=r"$\mathrm{d}\,\log d\,/\,\mathrm{d}\,\log t$ of directions", ylim=(0, 0.62)
        )
        t_axis(ax, logarithmic=True)
        legend(figure)
    return figure


def _continued(ax, one: LongCurves, shares: np.ndarray) -> None:
    """The exponent 2/(α log(t/t₀)) of the law that fits the equal-age range."""
    memory = one.setting.memory
    curves = one.averaged(AGES, direction=True)
    found = describe(curves, *(share * memory for share in EQUAL_AGE))
    if found is None:
        return
    middle = np.sqrt(np.prod(EQUAL_AGE))
    q = found.local_exponent
    s = found.alpha * q / 2
    low, high = EQUAL_AGE
    for within in (shares[(shares >= low) & (shares <= high)], shares[shares >= high]):
        rejected = within[-1] > high
        ax.plot(
            within,
            q / (1 + s * np.log(within / middle)),
            color=LAW_COLOURS["ultraslow"],
            linewidth=1.6,
            linestyle=REJECTED if rejected else "-",
            label="law beyond it" if rejected else "law fitted in the grey range",
        )


def noise(study: Study) -> PaperFigure:
    """α, and how far directions turn in one memory time, against the noise."""
    with style():
        figure = PaperFigure(DOUBLE, 2.7)
        left, right = figure.subplots(1, 2)
        for one in sorted(grid(study), key=lambda one: one.setting.memory):
            curves, memory = one.averaged(AGES, direction=True), one.setting.memory
            found = describe(curves, *(share * memory for share in EQUAL_AGE))
            turned = mean_and_half(at(curves, memory))
            place = list(_MARKERS).index(round(memory))
            x = 1e4 * one.setting.noise * 1.05 ** (place - 1)  # side by side where they agree
            colour = COLOURS[place]
            look = {"color": colour, "marker": _MARKERS[round(memory)], "label": rf"$\tau$ = {memory:.0f}", **_POINTS}
            for ax, value in ((left, (found.alpha, found.half) if found else None), (right, turned)):
                if value is not None:
                    ax.errorbar(x, value[0], value[1], elinewidth=0.7, **look)
        left.set(ylabel=r"$\alpha$ of directions")
        right.set(ylabel=r"$\sqrt{\Sigma\,2(1-\cos)}$ after $\tau$")
        for ax in (left, right):
            ax.set(xscale="log", xlabel=r"noise, $10^4\,/\,(B\sqrt{\tau})$")
            plain_log_ticks(ax.xaxis)
        legend(figure)
    return figure


def _rounded(one: LongCurves) -> float:
    return round(1e4 * one.setting.noise, 1)


def _noise_label(one: LongCurves) -> str:
    return f"noise {_rounded(one):g}"


FIGURES: Mapping[str, Callable[[Study], PaperFigure]] = {
    "distances": distances,
    "exponents": exponents,
    "noise": noise,
}
