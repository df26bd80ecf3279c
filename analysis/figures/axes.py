"""Axes that all figures share: their labels and units, ticks of t, and numbers with true minus signs."""

import re
from textwrap import wrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

_TICK = 0.55  # inches of a panel, axis label included, that a tick's label and the gap to the next take
_LETTERS = 50  # of 8 points, in a line below the axis of a figure of one column
_PLAIN = 100  # a logarithmic axis that spans less is labelled 1, 2, 5, 10, ...


def updates(origin: int = 0) -> str:
    """Return the label of an axis of updates.

    Args:
        origin: the update that t counts from.
    """
    return "weight updates $t$" + since(origin)


def with_age(label: str, age: str) -> str:
    """Return the label of an axis of updates, with the age of the origin and of the fit range below it.

    Args:
        label: the label.
        age: in words, as `str` of an `Age`; "" where it is not known. Its w_0 and its powers of ten are set as
            formulas, and what stands after a semicolon, such as what τ is, begins a line.
    """
    lines = "\n".join(line for part in age.split("; ") for line in wrap(part, _LETTERS))
    typeset = re.sub(r"w_(\d+)", r"$w_{\1}$", lines)
    typeset = re.sub(r"[\d.]+e[+-]?\d+", lambda number: power_of_ten(float(number[0])), typeset)
    return f"{label}\n{typeset}" if age else label


def since(origin: int) -> str:
    """Return the words that say where t counts from; none for the first update.

    Args:
        origin: the update that t counts from.
    """
    return f" after update {origin}" if origin else ""


def distance_label(origin: int = 0) -> str:
    """Return the label of an axis of distances, which are in the unit of the weights.

    Args:
        origin: the update whose weights the distances are measured from.
    """
    if origin:
        return rf"distance $\Vert w_{{{origin}+t}} - w_{{{origin}}}\Vert$"
    return r"distance $\Vert w_t - w_0\Vert$"


def minus(number: float, form: str) -> str:
    """Return a number as text, with a true minus sign.

    Args:
        number: the number.
        form: its format, such as ".2f".
    """
    return format(number, form).replace("-", "\N{MINUS SIGN}")


def power_of_ten(number: float) -> str:
    """Return a positive number with two digits: plain from a thousandth to a hundred, else with a power of ten.

    Args:
        number: such as a p-value.
    """
    if number == 0 or 1e-3 <= number < 100:
        return f"{number:.2g}"
    mantissa, exponent = f"{number:.1e}".split("e")
    return rf"{mantissa}$\times$10$^{{{int(exponent)}}}$"


def t_axis(ax: Axes, logarithmic: bool) -> None:
    """Make the x axis one of updates; a linear one begins at 0, with as many ticks as its labels leave room for.

    Args:
        ax: the panel, its lines drawn.
        logarithmic: whether the axis is logarithmic.
    """
    if logarithmic:
        ax.set_xscale("log")
        short_log_ticks(ax.xaxis)
        return
    ax.set_xlim(left=0)
    place = ax.get_subplotspec()
    columns = place.get_gridspec().ncols if place else 1
    room = int(ax.figure.figure.get_size_inches()[0] / columns / _TICK)
    ax.xaxis.set_major_locator(MaxNLocator(min(5, max(2, room)), steps=[1, 2, 5, 10]))


def short_log_ticks(axis: Axis) -> None:
    """Label a logarithmic axis of less than two decades in plain numbers; a longer one keeps its powers of ten.

    Args:
        axis: the x or the y axis of a panel, its lines drawn.
    """
    low, high = axis.get_view_interval()
    if high < _PLAIN * low:
        plain_log_ticks(axis)


def plain_log_ticks(axis: Axis) -> None:
    """Label 1, 2, 5, 10, ... in plain numbers, for a logarithmic axis of few decades; 1, 3, 10, ... on a narrow one.

    Args:
        axis: the x or the y axis of a panel.
    """
    axis.set_major_locator(_PlainLogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


class _PlainLogLocator(LogLocator):
    """Ticks at 1, 2, 5, 10, ...; on an x axis where their labels would touch, at 1, 3, 10, ... or one in a decade."""

    def tick_values(self, vmin: float, vmax: float) -> Any:
        room = 1 / max(1, self.axis.get_tick_space()) if isinstance(self.axis, XAxis) else 0.0
        fewest: Any = None
        for subs in (1, 2, 5), (1, 3), (1,), (3,):
            self.set_params(subs=subs)
            ticks = np.asarray(super().tick_values(vmin, vmax))
            shown = ticks[(ticks >= vmin) & (ticks <= vmax)]
            if len(shown) < 2 and fewest is not None:
                continue
            fewest = ticks
            if len(shown) < 2 or np.diff(np.log(shown)).min() >= room * np.log(vmax / vmin):
                break
        return fewest
