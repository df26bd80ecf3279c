"""The figure of docs/landscape.md on the steady walk, from the packed results of bench/basin.py."""

import numpy as np

from analysis.figures.colours import COLOURS, DASHES
from analysis.figures.style import DOUBLE, PaperFigure, style
from study.basin import LAGS
from study.basin_tables import Measured, by_setting
from study.markdown import power_of_ten

_GROUPS = {"top": "ten largest eigenvalues", "next": "twenty next", "bulk": "the rest"}


def steady_basin(measured: Measured) -> PaperFigure:
    """The distance beside the basin's, and the mean square along directions, against t/τ."""
    with style():
        figure = PaperFigure(DOUBLE, 2.7)
        left, right = figure.subplots(1, 2)
        for colour, (setting, seeds) in zip(COLOURS, by_setting(measured), strict=False):
            label = rf"$B$ = {setting.batch_size}, $\lambda$ = {power_of_ten(setting.weight_decay)}"
            for k, one in enumerate(seeds):
                lag, d = one["distance"]["lag"], one["distance"]["d"]
                left.plot(lag, d, color=colour, linewidth=0.5, label="" if k else label)
            basin = np.mean([one["basin"]["d"] for one in seeds], axis=0)
            left.plot(LAGS, basin, color=colour, linestyle=DASHES[2], linewidth=1.2)
        left.plot([], [], color="grey", linestyle=DASHES[2], label="quadratic basin, nothing fitted")
        setting, seeds = max(by_setting(measured), key=lambda pair: len(pair[1]))
        for colour, (group, label) in zip(COLOURS[3:], _GROUPS.items(), strict=False):
            squares = np.array([one["squares"][group] for one in seeds])
            right.plot(LAGS, squares.T / squares[:, 0], color=colour, linewidth=0.5)
            right.plot([], [], color=colour, label=label)
        reach = np.array([LAGS[0], 3 * LAGS[0], 20 * LAGS[0]])
        right.plot(reach, reach / reach[0], color="grey", linestyle=":", label="free diffusion")
        right.set_ylim(0.7, 30)
        for ax in (left, right):
            ax.set(xscale="log", yscale="log", xlabel=r"$t/\tau$")
        left.set_yticks([2, 4, 8, 12], ["2", "4", "8", "12"])
        left.minorticks_off()
        left.set_ylabel(r"distance $\|w_{s+t} - w_s\|$")
        right.set_ylabel(rf"mean square along a direction" "\n" rf"over that at {LAGS[0]:g} $\tau$")
        for ax in (left, right):
            ax.legend(fontsize=6, frameon=False)
    return figure
