"""`write_report`: the sections of the page, in the order in which they are read."""

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.curve import Curve
from analysis.errors import FigureError
from analysis.figures.lines import line_styles
from analysis.fitting.fit_result import MOVES, MOVES_WITH_ORIGIN, Fit
from analysis.matching.match import Matching
from analysis.motion.equilibrium import MEMORIES
from analysis.report import charts
from analysis.report.findings import Findings
from analysis.report.measured import measured
from analysis.report.page import note, page, place, result, section, sentences, table, text
from analysis.report.plotly_parts import Chart
from analysis.report.run_rows import provenance, run_rows, shared_settings
from analysis.run_curves import runs_in
from trajectory.run import Run


def write_report(
    runs: Run | str | Path | Sequence[Run | str | Path], out: str | Path, landscape: Sequence[Path] = ()
) -> None:
    """Write one HTML page of runs that opens without a network.

    Args:
        runs: runs, paths of them, or folders of runs; those of one label are seeds of one experiment.
        out: the file to write.
        landscape: files of what `ultraslow potential`, `sharpness`, `spectrum` or `path` print with `--json`.

    Raises:
        FigureError: if plotly is not installed, or if a file cannot be read or written.
        StoreError: if a run cannot be read.
    """
    plotly = _plotly()
    documents = {path.name: _document(path) for path in landscape}
    findings = Findings.of(runs_in(runs))
    drawn: dict[str, Chart] = {}
    body = [
        f"<h1>{text(_title(findings))}</h1>",
        section("Summary", sentences(_summary(findings))),
        section("Warnings", sentences(findings.warnings or ("None.",), "warnings"), _remarks(findings.remarks)),
        section("Runs", table(run_rows(findings.runs)), note(shared_settings(findings.runs))),
        *_curves(findings, drawn),
        *_laws(findings, drawn),
        *_matching(findings),
        *_layers(findings, drawn),
        *_motion(findings, drawn),
        *_equilibrium(findings),
        *(section(f"Landscape: {name}", measured(document)) for name, document in documents.items()),
        section("Provenance", table([provenance(run) for run in findings.runs]), note(_made())),
    ]
    _write(Path(os.path.expanduser(out)), page(_title(findings), body, drawn, plotly))


def _plotly() -> str:
    """Return the source of plotly.js, which its Python package ships."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise FigureError("the report needs plotly, which draws it: pip install 'ultraslow[report]'") from error
    return str(get_plotlyjs())


def _document(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FigureError(f"{path}: cannot be read as JSON; expected what a command prints with --json") from error


def _write(out: Path, content: str) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(content, encoding="utf-8")
    except OSError as error:
        raise FigureError(f"{out}: cannot be written ({error.strerror}); choose another file") from error


def _title(findings: Findings) -> str:
    count = len(findings.runs)
    return f"{count} run{'s' * (count != 1)}: {'; '.join(findings.groups) or 'no distances'}"


def _summary(findings: Findings) -> list[str]:
    said = [f"{label}: {_found(fit)}" for label, fit in findings.fits.items()]
    said += [f"{label}: {one.verdict}" for label, one in findings.comparisons.items()]
    for matching, forecast in zip(findings.matchings, findings.forecasts, strict=True):
        first = matching.matches[0]
        said.append(f"{matching.run} against {findings.reference}: {first.sentence}")
        said += [] if forecast is None else [f"{matching.run}: {forecast.sentence}"]
    said += [f"{label}: {_balance(findings, label)}" for label in findings.equilibria]
    if findings.warnings:
        count = len(findings.warnings)
        said.append(f"Read first: {count} warning{'s' * (count != 1)} below.")
    return said or ["No run recorded a distance."]


def _remarks(remarks: Sequence[str]) -> str:
    if not remarks:
        return ""
    summary = f"{len(remarks)} further, which stand beside their results"
    return f"<details><summary>{summary}</summary>{sentences(remarks)}</details>"


def _found(fit: Fit) -> str:
    size = f"p = {fit.p_value:.2g}, {fit.size}{_origin(fit)}"
    if fit.verdict == "wrong":
        return f"the ultra-slow law is rejected ({size}): there is no α to quote"
    low, high = fit.quoted_interval or fit.interval
    seeds = f"{fit.n} seed{'s' * (fit.n != 1)}"
    alpha = f"α = {fit.alpha:.2f}, {100 * fit.confidence_level:g} % interval {low:.2f} to {high:.2f}, from {seeds}"
    alpha = alpha.replace("-", "−") + ", provisional" * fit.provisional
    if fit.rejected:
        return f"the ultra-slow law is rejected, though close ({size}); as a description, {alpha}"
    moves = fit.verdict in (MOVES, MOVES_WITH_ORIGIN)
    held = "holds" if fit.verdict == "holds" else f"holds, but {fit.verdict}" if moves else f"is {fit.verdict}"
    return f"the ultra-slow law {held} ({size}): {alpha}"


def _origin(fit: Fit) -> str:
    return f", from update {fit.origin} on" if fit.origin else ""


def _curves(findings: Findings, drawn: dict[str, Chart]) -> list[str]:
    if not findings.groups:
        return []
    drawn["distance"] = charts.distances(findings)
    thinned = (
        f"Of a line of more than {4 * charts.COLUMNS} points, the first, last, lowest and highest of each of "
        f"{charts.COLUMNS} columns are drawn, on the linear and on the logarithmic axis: no extreme is lost. "
        "Triangles are drops of the learning rate. An open diamond is a forecast match with its interval, if "
        "it is not too early to say; an open triangle to the right, one that lies beyond what is shown."
    )
    parts = [section("Distance", place("distance"), note(thinned))]
    error = charts.errors(findings)
    if error is not None:
        drawn["error"] = error
        parts.append(section("Validation error", place("error")))
    return parts


def _laws(findings: Findings, drawn: dict[str, Chart]) -> list[str]:
    parts = []
    if findings.fits:
        drawn["fit"], drawn["scan"] = charts.fits(findings), charts.scan(findings)
        tables = [f"<h3>{text(label)}</h3>{result(fit)}" for label, fit in findings.fits.items()]
        parts.append(section("The ultra-slow law", place("fit"), note("A dashed law is rejected."), *tables))
        hollow = "Hollow: the law is rejected from that start on; the dotted line is p = .05."
        parts.append(section("α against the start of the fit", place("scan"), note(hollow)))
    inside = []
    for k, (label, found) in enumerate(findings.comparisons.items()):
        drawn[f"laws{k}"] = charts.laws(found)
        inside.append(f"<h3>{text(label)}</h3>{place(f'laws{k}')}{result(found)}")
    if inside:
        parts.append(section("Rival laws", note("A name in the legend shows or hides its law."), *inside))
    return parts


def _matching(findings: Findings) -> list[str]:
    if not findings.matchings:
        return []
    seeds = findings.matchings[0].reference.names
    rows = [row for matching in findings.matchings for row in _match_rows(matching)]
    ahead = [
        f"{matching.run}: {forecast.sentence}"
        for matching, forecast in zip(findings.matchings, findings.forecasts, strict=True)
        if forecast is not None
    ]
    said = [f"{matching.run}: {sentence}" for matching in findings.matchings for sentence in matching.warnings]
    against = note(f"Compared with {findings.reference}, of {len(seeds)} seed{'s' * (len(seeds) != 1)}.")
    return [section("Matching", against, table(rows), sentences([*ahead, *said]))]


def _match_rows(matching: Matching) -> list[dict[str, object]]:
    return [
        {
            "run": matching.run,
            "drop": drop,
            "status": str(one.status).replace("_", " "),
            "update": one.step,
            "at 2 SE": "" if one.interval is None else "{:.0f} to {:.0f}".format(*one.interval),
            "distance": f"{one.distance:.4g}",
            "target": f"{one.target:.4g}",
            "in words": one.sentence,
        }
        for drop, one in enumerate(matching.matches, 1)
    ]


def _layers(findings: Findings, drawn: dict[str, Chart]) -> list[str]:
    parts = []
    for k, (label, seeds) in enumerate(findings.groups.items()):
        found = charts.layers(seeds[0])
        if found is None:
            continue
        drawn[f"layers{k}"], left_out = found
        parts.append(f"<h3>{text(label)}: {text(seeds[0].name)}</h3>{place(f'layers{k}')}")
        if left_out:
            parts.append(note(f"The {left_out} parameters that moved least are left out."))
    return (
        [section("Layers", note("The distance of each parameter, of the first run of a label."), *parts)]
        if parts
        else []
    )


def _motion(findings: Findings, drawn: dict[str, Chart]) -> list[str]:
    if not findings.budgets:
        return []
    drawn["motion"] = charts.motion(findings.budgets, line_styles(findings.groups))
    tables = [f"<h3>{text(label)}</h3>{result(found)}" for label, found in findings.budgets.items()]
    return [section("Motion budget", place("motion"), *tables)]


def _equilibrium(findings: Findings) -> list[str]:
    parts = []
    for label in findings.memories:
        parts += [f"<h3>{text(label)}</h3>", note(f"{_balance(findings, label)}.")]
        parts += [result(findings.equilibria[label])] if label in findings.equilibria else []
    return [section("Equilibrium of weight decay", *parts)] if parts else []


def _balance(findings: Findings, label: str) -> str:
    """Say in how many parameters weight decay and gradients are in balance, or how far the run is on the way."""
    found = findings.equilibria.get(label)
    if found is not None:
        reached = int((found.frame["state"] == "reached").sum())
        of = f"is reached in {reached} of {len(found.frame)} parameters"
        return (
            f"the equilibrium of weight decay {of}, after {found.age:.2g} memory times of {found.memory:,.0f} updates"
        )
    memory, end = findings.memories[label], _end_of_first_phase(findings.groups[label])
    return (
        f"{end / memory:.2g} memory times of {memory:,.0f} updates have passed; the equilibrium of weight "
        f"decay takes {MEMORIES:g}. Runs that record update_norm and norm tell whether it is reached"
    )


def _end_of_first_phase(group: Sequence[Curve]) -> float:
    """Return the first update at which a rate dropped, or the last that all runs reached."""
    return min(min((float(curve.t[-1]), *curve.drops)) for curve in group)


def _made() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        made = version("ultraslow")
    except PackageNotFoundError:  # run from a checkout
        made = "of a checkout"
    return f"Made by ultraslow {made} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Drawn by plotly.js, MIT licence."
