"""The parts that every chart of a report is made of, as the JSON of plotly.js."""

from base64 import b64encode
from html import escape
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from analysis.errors import printable

Chart: TypeAlias = dict[str, Any]

LOGARITHMIC = {"type": "log", "dtick": "D2"}
"""Of an axis: logarithmic, with numbers at 1, 2, 5, 10, ..."""


def drawing(traces: list[Chart], x: str, y: str, *, scales: bool = False) -> Chart:
    """Return a chart of traces.

    Args:
        traces: what it shows.
        x: the x axis's title.
        y: the y axis's title.
        scales: whether buttons choose a linear or a logarithmic x axis.
    """
    layout: Chart = {"xaxis": axis(x), "yaxis": axis(y), "hovermode": "closest", "height": 460}
    layout |= {"margin": {"l": 60, "r": 15, "t": 40, "b": 50}, "legend": _BELOW}
    layout |= {"hoverlabel": {"namelength": -1}, "font": {"family": "system-ui, sans-serif"}, "autosize": True}
    if scales:
        buttons = [_button("linear t", "linear"), _button("log t", "log")]
        layout["updatemenus"] = [{"type": "buttons", "direction": "right", "buttons": buttons, **_ABOVE}]
    return {"data": traces, "layout": layout}


_BELOW = {"orientation": "h", "yref": "container", "y": 0, "yanchor": "bottom"}
_ABOVE = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "b": 0}, "showactive": True}


def _button(label: str, scale: str) -> Chart:
    ticks = {"xaxis.dtick": LOGARITHMIC["dtick"] if scale == "log" else None}
    return {"label": label, "method": "relayout", "args": [{"xaxis.type": scale, "xaxis.autorange": True, **ticks}]}


def axis(title: str) -> Chart:
    """Return an axis.

    Args:
        title: its title.
    """
    return {"title": {"text": title}, "automargin": True, "zeroline": False, "exponentformat": "power"}


def scatter(name: str, x: ArrayLike, y: ArrayLike, hover: str) -> Chart:
    """Return a trace of points or a line.

    Args:
        name: what the legend calls it.
        x: (point,) places.
        y: (point,) heights.
        hover: the template of what a point says.
    """
    return {"type": "scatter", "name": escaped(name), "x": packed(x), "y": packed(y), "hovertemplate": hover}


def packed(values: ArrayLike) -> Chart:
    """Return numbers as base64 of float32, which keeps seven digits.

    Args:
        values: the numbers.
    """
    array = np.ascontiguousarray(values, "<f4")
    found = {"dtype": "f4", "bdata": b64encode(array.tobytes()).decode()}
    return found | ({"shape": ", ".join(map(str, array.shape))} if array.ndim > 1 else {})


def escaped(name: str) -> str:
    """Return a name that plotly draws letter by letter: `$` begins a formula, `%` a number in a hover's template.

    Args:
        name: any text.
    """
    return escape(printable(name), quote=False).replace("%", "&#37;").replace("$", "&#36;")
