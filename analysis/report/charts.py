"""The charts of a report, as the JSON that plotly.js draws: `{"data": traces, "layout": layout}`.

Numbers go as base64 of float32, seven digits. All text that comes from a run is escaped: plotly reads a little HTML.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from analysis.curve import Curve
from analysis.errors import printable
from analysis.figures.colours import law_colour
from analysis.figures.lines import LineStyle, line_styles
from analysis.figures.thinning import thinned
from analysis.fitting.comparison_result import Comparison
from analysis.fitting.fit_result import Fit
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.matching.match import Matching
from analysis.matching.outcome import Status
from analysis.motion.budget import ALL, MotionBudget
from analysis.report.findings import Findings

Chart: TypeAlias = dict[str, Any]

COLUMNS = 500  # of a picture, of each of which a line keeps four points: 20 runs take two megabytes
_DISTANCE = "‖w<sub>t</sub> − w<sub>0</sub>‖"
_UPDATES = "updates t"
_NUMBER = "%{x:,.6~g} updates<br>%{y:.5~g}"
_LAYERS, _TIMES = 100, 60  # rows and columns of the heat map at most


def distances(findings: Findings) -> Chart:
    """Draw every run's distance, and where it matched.

    Args:
        findings: of the report.

    Returns:
        A chart whose t is linear or logarithmic, as buttons say.
    """
    lines = _lines(findings.groups, lambda curve: (curve.t, curve.d))
    drops = [_drops(curve) for seeds in findings.groups.values() for curve in seeds if curve.drops]
    matched = [trace for matching in findings.matchings for trace in _matched(matching)]
    return _chart([*lines, *drops, *matched], _UPDATES, _DISTANCE, scales=True)


def errors(findings: Findings) -> Chart | None:
    """Draw every run's validation error.

    Args:
        findings: of the report.

    Returns:
        A chart, or None where none was logged.
    """
    lines = _lines(findings.groups, lambda curve: _logged(curve, "validation_error"))
    return _chart(lines, _UPDATES, "validation error (%)", scales=True) if lines else None


def fits(findings: Findings) -> Chart:
    """Draw the log bins of each experiment and the law fitted to them; a rejected law is dashed.

    Args:
        findings: of the report, which hold a fit.

    Returns:
        A chart of log d against log t.
    """
    styles, traces = line_styles(findings.groups), []
    for label, fit in findings.fits.items():
        t, colour = np.exp(fit.u), styles[label]["color"]
        bins = {"mode": "markers", "marker": {"color": colour, "size": 6}}
        traces.append(_trace(label, t, np.exp(fit.z.mean(axis=0)), _NUMBER) | bins)
        law = {"mode": "lines", "line": {"color": colour, "dash": "dash" if fit.rejected else "solid"}}
        traces.append(_trace(f"{label}: {_law(fit)}", t, fit.predict(t), _NUMBER) | law)
    chart = _chart(traces, _UPDATES, _DISTANCE)
    chart["layout"]["xaxis"]["type"] = chart["layout"]["yaxis"]["type"] = "log"
    return chart


def scan(findings: Findings) -> Chart:
    """Draw α and the p-value against the start of the fit range; rejected starts are hollow.

    Args:
        findings: of the report, which hold a fit.

    Returns:
        A chart of two panels.
    """
    styles, traces = line_styles(findings.groups), []
    for label, fit in findings.fits.items():
        table, colour = fit.scan, styles[label]["color"]
        alpha, p = table["alpha"].to_numpy(float), table["p_value"].to_numpy(float)
        symbols = ["circle" if good else "circle-open" for good in p >= ACCEPTED]
        look = {"mode": "markers+lines", "line": {"color": colour, "width": 1}, "legendgroup": _text(label)}
        look["marker"] = {"color": colour, "symbol": symbols, "size": 8}
        ends = {"array": _packed(table["high"] - alpha), "arrayminus": _packed(alpha - table["low"])}
        bars = {"error_y": {"type": "data", "symmetric": False, "color": colour, **ends}}
        hover = "from t = %{x:,.4~g}<br>α = %{y:.3f}"
        traces.append(_trace(label, table["t_min"], alpha, hover) | look | bars)
        below = {"yaxis": "y2", "showlegend": False}
        traces.append(_trace(label, table["t_min"], p, "from t = %{x:,.4~g}<br>p = %{y:.2~g}") | look | below)
    chart = _chart(traces, "first update fitted", "α")
    chart["layout"]["xaxis"] |= {"type": "log", "anchor": "y2"}
    chart["layout"]["yaxis"]["domain"] = [0.4, 1]
    chart["layout"]["yaxis2"] = _axis("p-value") | {"type": "log", "domain": [0, 0.32], "exponentformat": "power"}
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y2", "y0": ACCEPTED, "y1": ACCEPTED}
    chart["layout"]["shapes"] = [line | {"line": {"width": 1, "dash": "dot"}}]
    return chart


def laws(comparison: Comparison) -> Chart:
    """Draw how far the data lie from each law; the laws that are ruled out are shown when their names are chosen.

    Args:
        comparison: of one experiment.

    Returns:
        A chart of residuals.
    """
    traces = []
    for fit in comparison.fits:
        few = fit.verdict != "ruled out" or fit.law.name == "ultraslow"
        dash = "dash" if fit.rejected or fit.ruled_out else "solid"
        look = {"mode": "lines", "line": {"color": law_colour(fit.law.name), "dash": dash}}
        percent = 100 * comparison.residuals[fit.law.name].to_numpy(float)
        hover = "%{x:,.6~g} updates<br>%{y:.3~g} %"
        name = f"{fit.law.name}: {fit.verdict}"
        traces.append(_trace(name, np.exp(comparison.u), percent, hover) | look | ({} if few else _HIDDEN))
    chart = _chart(traces, _UPDATES, "log d less the law (%)")
    chart["layout"]["xaxis"]["type"] = "log"
    return chart


def layers(curve: Curve) -> tuple[Chart, int] | None:
    """Draw the distance of each parameter as a heat map over log t.

    Args:
        curve: of a run.

    Returns:
        The chart, and the number of parameters that were left out because they moved least; None where the run holds
        no distances by parameter.
    """
    assert curve.run is not None
    frame = curve.run.layers()
    if frame.empty:
        return None
    shown = frame.iloc[-1].nlargest(_LAYERS).index
    wanted = np.geomspace(frame.index[0], frame.index[-1], _TIMES)
    rows = np.unique(np.searchsorted(frame.index, wanted, side="left").clip(max=len(frame) - 1))
    names = [column for column in frame.columns if column in shown]
    values = frame.iloc[rows][names].to_numpy(float).T
    trace = {
        "type": "heatmap",
        "x": _packed(frame.index[rows]),
        "y": [_short(str(name)) for name in names],
        "z": _packed(np.log10(np.where(values > 0, values, np.nan))),
        "customdata": _packed(values),
        "colorscale": "Viridis",
        "colorbar": {"title": {"text": "log<sub>10</sub> distance"}, "thickness": 12},
        "hovertemplate": "%{y}<br>%{x:,.6~g} updates<br>%{customdata:.4~g}<extra></extra>",
    }
    chart = _chart([trace], _UPDATES, "")
    chart["layout"]["xaxis"]["type"] = "log"
    chart["layout"]["yaxis"] |= {"autorange": "reversed", "type": "category"}
    chart["layout"]["height"] = 160 + 18 * len(names)
    return chart, len(frame.columns) - len(names)


def motion(budgets: Mapping[str, MotionBudget], styles: Mapping[str, LineStyle]) -> Chart:
    """Draw R, the squared distance gained over what the updates would diffuse, against t.

    Args:
        budgets: by experiment.
        styles: the experiments' lines.

    Returns:
        A chart on log axes.
    """
    traces = []
    for label, found in budgets.items():
        table, colour = found.frame[found.frame["parameter"] == ALL], styles[label]["color"]
        middle = np.sqrt(table["t_start"] * table["t_end"])
        look = {"mode": "markers+lines", "line": {"color": colour}}
        traces.append(_trace(label, middle, table["ratio"], "%{x:,.4~g} updates<br>R = %{y:.3~g}") | look)
    chart = _chart(traces, _UPDATES, "R")
    chart["layout"]["xaxis"]["type"] = "log"
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1, "line": {"width": 1, "dash": "dot"}}
    chart["layout"]["shapes"] = [line]
    return chart


_HIDDEN = {"visible": "legendonly"}


def _lines(groups: Mapping[str, Sequence[Curve]], values: Any) -> list[Chart]:
    """Return a thinned line for each run that has values; one entry in the legend for each experiment."""
    styles, found = line_styles(groups), []
    for label, seeds in groups.items():
        lines = [(curve, *values(curve)) for curve in seeds]
        named = label if len(seeds) == 1 else f"{label}, {len(seeds)} seeds"
        for k, (curve, x, y) in enumerate(line for line in lines if len(line[1])):
            line = {"color": styles[label]["color"], "dash": _dash(styles[label]["linestyle"]), "width": 1.5}
            hover = f"{_text(curve.name)}<br>{_NUMBER}<extra></extra>"
            x, y = thinned(x, y, columns=COLUMNS)
            trace = _trace(named, x, y, hover)
            found.append(trace | {"mode": "lines", "line": line, "legendgroup": _text(label), "showlegend": k == 0})
    return found


def _logged(curve: Curve, name: str) -> tuple[Any, Any]:
    """Return the steps at which a share was logged, and it in percent."""
    if curve.run is None or name not in curve.run.metrics:
        return (), ()
    column = curve.run.metrics[name].dropna()
    return column.index.to_numpy(float), 100 * column.to_numpy(float)


def _drops(curve: Curve) -> Chart:
    t = np.array([drop for drop in curve.drops if curve.t[0] <= drop <= curve.t[-1]])
    look = {"mode": "markers", "marker": {"symbol": "triangle-down", "size": 9, "color": "#555555"}}
    hover = f"{_text(curve.name)}: learning rate drops<br>{_NUMBER}<extra></extra>"
    return _trace("", t, np.interp(t, curve.t, curve.d), hover) | look | {"showlegend": False}


def _matched(matching: Matching) -> list[Chart]:
    met = [one for one in matching.matches if one.status is Status.MATCHED]
    if not met or matching.reference.relative:
        return []
    look = {"mode": "markers", "marker": {"symbol": "diamond", "size": 9, "color": "#009E73"}}
    x, y = [one.step for one in met], [one.distance for one in met]
    return [_trace(f"{matching.run}: matched", x, y, _NUMBER) | look]


def _law(fit: Fit) -> str:
    low, high = fit.interval
    judged = ", rejected" if fit.rejected else ", provisional" if fit.provisional else ""
    return f"α = {fit.alpha:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−") + judged


def _trace(name: str, x: ArrayLike, y: ArrayLike, hover: str) -> Chart:
    return {"type": "scatter", "name": _text(name), "x": _packed(x), "y": _packed(y), "hovertemplate": hover}


def _chart(traces: list[Chart], x: str, y: str, *, scales: bool = False) -> Chart:
    layout: Chart = {"xaxis": _axis(x), "yaxis": _axis(y), "hovermode": "closest", "height": 460}
    layout |= {"margin": {"l": 60, "r": 15, "t": 40, "b": 50}, "legend": {"orientation": "h", "y": -0.2}}
    layout |= {"hoverlabel": {"namelength": -1}, "font": {"family": "system-ui, sans-serif"}, "autosize": True}
    if scales:
        buttons = [_button("linear t", "linear"), _button("log t", "log")]
        layout["updatemenus"] = [{"type": "buttons", "direction": "right", "buttons": buttons, **_ABOVE}]
    return {"data": traces, "layout": layout}


_ABOVE = {"x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom", "pad": {"t": 0, "b": 0}, "showactive": True}


def _button(label: str, scale: str) -> Chart:
    return {"label": label, "method": "relayout", "args": [{"xaxis.type": scale, "xaxis.autorange": True}]}


def _axis(title: str) -> Chart:
    return {"title": {"text": title}, "automargin": True, "zeroline": False, "exponentformat": "power"}


def _dash(dashes: Any) -> str:
    return "solid" if dashes == "-" else ",".join(f"{2 * length}px" for length in dashes[1])


def _packed(values: ArrayLike) -> Chart:
    array = np.ascontiguousarray(values, "<f4")
    packed = {"dtype": "f4", "bdata": b64encode(array.tobytes()).decode()}
    return packed | ({"shape": ", ".join(map(str, array.shape))} if array.ndim > 1 else {})


def _text(name: str) -> str:
    """Return a name that plotly draws letter by letter: `$` begins a formula, `%` a number in a hover's template."""
    return escape(printable(name), quote=False).replace("%", "&#37;").replace("$", "&#36;")


def _short(name: str) -> str:
    return _text(name if len(name) <= 32 else f"…{name[-31:]}")
