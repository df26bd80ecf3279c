"""`write_report`: the sections of the page, in the order in which they are read."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.errors import FigureError
from analysis.figures.lines import line_styles
from analysis.fitting.fit_result import Fit
from analysis.report import charts
from analysis.report.charts import Chart
from analysis.report.findings import Findings
from analysis.report.page import note, page, place, result, section, sentences, table, text
from analysis.run_curves import runs_in
from trajectory.run import Run

_LEFT_OUT = ("label", "seed")  # of the configuration: they have columns of their own


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
    measured = {path.name: _document(path) for path in landscape}
    findings = Findings.of(runs_in(runs))
    drawn: dict[str, Chart] = {}
    body = [
        f"<h1>{text(_title(findings))}</h1>",
        section("Summary", sentences(_summary(findings))),
        section("Warnings", sentences(findings.warnings or ("None.",), "warnings"), _remarks(findings.remarks)),
        section("Runs", table(_run_rows(findings.runs)), note(_shared(findings.runs))),
        *_curves(findings, drawn),
        *_laws(findings, drawn),
        *_matching(findings),
        *_layers(findings, drawn),
        *_motion(findings, drawn),
        *(section(f"Landscape: {name}", _measured(document)) for name, document in measured.items()),
        section("Provenance", table([_provenance(run) for run in findings.runs]), note(_made())),
    ]
    _write(Path(out), page(_title(findings), body, drawn, plotly))


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
    return f"{count} run{'s' * (count != 1)}: {', '.join(findings.groups) or 'no distances'}"


def _summary(findings: Findings) -> list[str]:
    said = [f"{label}: {_found(fit)}" for label, fit in findings.fits.items()]
    said += [f"{label}: {one.verdict}" for label, one in findings.comparisons.items()]
    for matching in findings.matchings:
        first = matching.matches[0]
        said.append(f"{matching.run} against {findings.reference}: {first.status}, {first.sentence}")
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
    low, high = fit.interval
    seeds = f"{fit.n} seed{'s' * (fit.n != 1)}"
    alpha = f"α = {fit.alpha:.2f}, {100 * fit.confidence_level:g} % interval {low:.2f} to {high:.2f}, from {seeds}"
    alpha = alpha.replace("-", "−")
    size = f"p = {fit.p_value:.2g}, {fit.size}"
    if fit.rejected:
        return f"the ultra-slow law is rejected ({size}), so its α describes nothing ({alpha})"
    return f"{alpha}{', provisional' if fit.provisional else ''}; the law holds ({size})"


def _run_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    differing = _differences(runs)
    rows = [_run_row(run) for run in runs]
    settings = [name for name in differing if not any(name in row for row in rows)]
    return [
        row | {name: _plain(run.config.get(name)) for name in settings} for row, run in zip(rows, runs, strict=True)
    ]


def _run_row(run: Run) -> dict[str, object]:
    distance, metrics = run.distance, run.metrics
    row: dict[str, object] = {"run": run.name, "label": run.config.get("label", ""), "seed": _plain(run.seed)}
    row |= {"status": run.status, "updates": int(distance.index[-1]) if len(distance) else 0}
    row["distance"] = f"{distance.iloc[-1]:.4g}" if len(distance) else ""
    if "validation_error" in metrics:
        row["validation error"] = f"{metrics['validation_error'].dropna().iloc[-1]:.2%}"
    return row | {"rate drops at": _plain([event.step for event in run.drops])}


def _settings(run: Run) -> dict[str, object]:
    """Return the configuration but for nested tables, such as what the user asked for before defaults."""
    return {k: v for k, v in run.config.items() if k not in _LEFT_OUT and not isinstance(v, dict)}


def _differences(runs: Sequence[Run]) -> list[str]:
    """Return the names of the settings that are not the same in all runs."""
    configs = [_settings(run) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({_plain(config.get(name)) for config in configs}) > 1]


def _shared(runs: Sequence[Run]) -> str:
    differing = set(_differences(runs))
    shared = [
        f"{k} {_plain(v)}" for k, v in _settings(runs[0]).items() if k not in differing and v not in (None, "", [])
    ]
    return f"Columns are settings that differ. The same in all: {', '.join(shared) or 'nothing noted'}."


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value))
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _curves(findings: Findings, drawn: dict[str, Chart]) -> list[str]:
    if not findings.groups:
        return []
    drawn["distance"] = charts.distances(findings)
    thinned = (
        f"Of a line of more than {4 * charts.COLUMNS} points, the first, last, lowest and highest of each of "
        f"{charts.COLUMNS} columns are drawn, on the linear and on the logarithmic axis: no extreme is lost. "
        "Triangles are drops of the learning rate."
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
    return [section("Matching", *map(result, findings.matchings))] if findings.matchings else []


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


def _measured(document: Any) -> str:
    """Return what a command printed: its numbers as one table, and each list of rows as another."""
    if isinstance(document, list):
        return table(document) if document and all(isinstance(row, dict) for row in document) else note(str(document))
    if not isinstance(document, dict):
        return note(str(document))
    nested = {
        k: v
        for k, v in document.items()
        if isinstance(v, dict) or (isinstance(v, list) and v and isinstance(v[0], dict))
    }
    plain = [{"": k, "value": _plain(v)} for k, v in document.items() if k not in nested]
    return (table(plain) if plain else "") + "".join(f"<h3>{text(k)}</h3>{_measured(v)}" for k, v in nested.items())


def _provenance(run: Run) -> dict[str, object]:
    row: dict[str, object] = {"run": run.name, "path": run.path, "commit": run.commit or "", "host": run.host or ""}
    return row | {
        "resumed at": _plain(run.resumed),
        "versions": ", ".join(f"{k} {v}" for k, v in run.versions.items()),
    }


def _made() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        made = version("ultraslow")
    except PackageNotFoundError:  # run from a checkout
        made = "of a checkout"
    return f"Made by ultraslow {made} on {datetime.now(UTC):%Y-%m-%d %H:%M} UTC. Drawn by plotly.js, MIT licence."
