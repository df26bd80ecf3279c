"""The charts of a report, as the JSON that plotly.js draws: `{"data": traces, "layout": layout}`.

All text that comes from a run is escaped: plotly reads a little HTML.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analysis.curve import Curve
from analysis.figures.colours import COLOURS, law_colour
from analysis.figures.lines import LineStyle, line_styles
from analysis.figures.thinning import thinned
from analysis.fitting.comparison_result import Comparison
from analysis.fitting.fit_result import Fit
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.matching.forecast import Forecast
from analysis.matching.match import Matching
from analysis.matching.outcome import Match, Status
from analysis.motion.budget import MotionBudget
from analysis.motion.recorded_motion import ALL
from analysis.report.findings import Findings
from analysis.report.plotly_parts import LOGARITHMIC, Chart, axis, drawing, escaped, packed, scatter

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
    matched = [_matched(one) for one in findings.matchings if any(map(_has_matched, one.matches))]
    ahead = [
        _ahead(matching.run, forecast)
        for matching, forecast in zip(findings.matchings, findings.forecasts, strict=True)
        if forecast is not None and not forecast.doubts
    ]
    markers = [*_one_entry(matched), *_one_entry(ahead)]
    return drawing([*lines, *drops, *markers], _UPDATES, _DISTANCE, scales=True)


def errors(findings: Findings) -> Chart | None:
    """Draw every run's validation error.

    Args:
        findings: of the report.

    Returns:
        A chart, or None where none was logged. Errors that span more than a decade lie on a logarithmic axis.
    """
    curves = [curve for seeds in findings.groups.values() for curve in seeds]
    logged = {id(curve): _logged(curve, "validation_error") for curve in curves}
    lines = _lines(findings.groups, lambda curve: logged[id(curve)])
    if not lines:
        return None
    chart = drawing(lines, _UPDATES, "validation error (%)", scales=True)
    every = np.concatenate([error for _, error in logged.values()])
    if 0 < 10 * every.min() < every.max():
        chart["layout"]["yaxis"] |= LOGARITHMIC
    return chart


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
        since = f" from update {fit.origin}" if fit.origin else ""
        traces.append(scatter(f"{label}{since}", t, np.exp(fit.z.mean(axis=0)), _NUMBER) | bins)
        law = {"mode": "lines", "line": {"color": colour, "dash": "dash" if fit.rejected else "solid"}}
        traces.append(scatter(f"{label}: {_law(fit)}", t, fit.predict(t), _NUMBER) | law)
    chart = drawing(traces, *_since(any(fit.origin for fit in findings.fits.values())))
    for one in ("xaxis", "yaxis"):
        chart["layout"][one] |= LOGARITHMIC
    return chart


def _since(later: bool) -> tuple[str, str]:
    """Return the titles of t and d, which may count from a later origin than w_0."""
    return ("updates t since the origin", "distance from the origin") if later else (_UPDATES, _DISTANCE)


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
        look = {"mode": "markers+lines", "line": {"color": colour, "width": 1}, "legendgroup": escaped(label)}
        look["marker"] = {"color": colour, "symbol": symbols, "size": 8}
        ends = {"array": packed(table["high"] - alpha), "arrayminus": packed(alpha - table["low"])}
        bars = {"error_y": {"type": "data", "symmetric": False, "color": colour, **ends}}
        hover = "from t = %{x:,.4~g}<br>α = %{y:.3f}"
        traces.append(scatter(label, table["t_min"], alpha, hover) | look | bars)
        below = {"yaxis": "y2", "showlegend": False}
        traces.append(scatter(label, table["t_min"], p, "from t = %{x:,.4~g}<br>p = %{y:.2~g}") | look | below)
    chart = drawing(traces, "first t fitted", "α")
    chart["layout"]["xaxis"] |= LOGARITHMIC | {"anchor": "y2"}
    chart["layout"]["yaxis"]["domain"] = [0.4, 1]
    chart["layout"]["yaxis2"] = axis("p-value") | {"type": "log", "domain": [0, 0.32], "exponentformat": "power"}
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
        traces.append(scatter(name, np.exp(comparison.u), percent, hover) | look | ({} if few else _HIDDEN))
    chart = drawing(traces, _since(comparison.origin > 0)[0], "log d less the law (%)")
    chart["layout"]["xaxis"] |= LOGARITHMIC
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
        "x": packed(frame.index[rows]),
        "y": [_short(str(name)) for name in names],
        "z": packed(np.log10(np.where(values > 0, values, np.nan))),
        "customdata": packed(values),
        "colorscale": "Viridis",
        "colorbar": {"title": {"text": "log<sub>10</sub> distance"}, "thickness": 12},
        "hovertemplate": "%{y}<br>%{x:,.6~g} updates<br>%{customdata:.4~g}<extra></extra>",
    }
    chart = drawing([trace], _UPDATES, "")
    chart["layout"]["xaxis"] |= LOGARITHMIC
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
        traces.append(scatter(label, middle, table["ratio"], "%{x:,.4~g} updates<br>R = %{y:.3~g}") | look)
    chart = drawing(traces, _UPDATES, "R")
    chart["layout"]["xaxis"] |= LOGARITHMIC
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
            hover = f"{escaped(curve.name)}<br>{_NUMBER}<extra></extra>"
            x, y = thinned(x, y, columns=COLUMNS)
            trace = scatter(named, x, y, hover)
            found.append(trace | {"mode": "lines", "line": line, "legendgroup": escaped(label), "showlegend": k == 0})
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
    hover = f"{escaped(curve.name)}: learning rate drops<br>{_NUMBER}<extra></extra>"
    return scatter("", t, np.interp(t, curve.t, curve.d), hover) | look | {"showlegend": False}


def _has_matched(match: Match) -> bool:
    return match.status is Status.MATCHED


def _matched(matching: Matching) -> Chart:
    met = list(filter(_has_matched, matching.matches))
    look = {"mode": "markers", "marker": {"symbol": "diamond", "size": 9, "color": COLOURS[2]}}
    hover = f"{escaped(matching.run)} matched<br>{_NUMBER}<extra></extra>"
    return scatter("matched", [one.step for one in met], [one.distance for one in met], hover) | look


def _one_entry(traces: Sequence[Chart]) -> list[Chart]:
    """Give traces of one name one entry in the legend."""
    return [trace | {"legendgroup": trace["name"], "showlegend": k == 0} for k, trace in enumerate(traces)]


def _ahead(run: str, forecast: Forecast) -> Chart:
    """Return a forecast match and its interval, as far as they lie within twice the updates seen."""
    end = 2.0 * forecast.seen
    low, high = (min(step, end) for step in forecast.interval)
    at = min(forecast.step, end)
    symbol = "diamond-open" if forecast.step <= end else "triangle-right-open"
    look = {"mode": "markers", "marker": {"symbol": symbol, "size": 9, "color": COLOURS[3]}}
    bars = {"type": "data", "symmetric": False, "array": [high - at], "arrayminus": [at - low], "color": COLOURS[3]}
    hover = f"{escaped(run)}: forecast for update {forecast.step:,.0f}<br>{_interval(forecast)}<extra></extra>"
    name = f"forecast, {100 * forecast.confidence_level:g} %"
    return scatter(name, [at], [forecast.target], hover) | look | {"error_x": bars}


def _interval(forecast: Forecast) -> str:
    ends = (f"{step:,.0f}" if step < float("inf") else "never" for step in forecast.interval)
    return f"{100 * forecast.confidence_level:g}&#37; interval {' to '.join(ends)}"


def _law(fit: Fit) -> str:
    if fit.verdict == "wrong":
        return "law rejected, no α"
    low, high = fit.quoted_interval or fit.interval
    judged = ", provisional" * fit.provisional + f", {fit.verdict}" * (fit.verdict != "holds")
    return f"α = {fit.alpha:.2f} [{low:.2f}, {high:.2f}]".replace("-", "−") + judged


def _dash(dashes: Any) -> str:
    return "solid" if dashes == "-" else ",".join(f"{2 * length}px" for length in dashes[1])


def _short(name: str) -> str:
    return escaped(name if len(name) <= 32 else f"…{name[-31:]}")
