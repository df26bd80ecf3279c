"""A run in a few lines: the rows of its table, as text and as HTML."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from trajectory.errors import printable

_WIDEST = 100  # characters of a value: what is longer is left to `Run.to_dict`


def summary_rows(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of a run's table; what is empty has none.

    Args:
        run: what `Run.to_dict` gives.

    Returns:
        (name, value) of each row.
    """
    steps, events = run["steps"], run["events"]
    drops = [_drop(event) for event in events if event["name"] == "lr_drop"]
    others = [f"{event['name']} at {event['step']}" for event in events if event["name"] != "lr_drop"]
    rows = {
        "path": run["path"],
        "status": run["status"],
        "updates": f"{steps[0]} to {steps[-1]}, {run['recorded']} recorded" if steps else "none recorded",
        "distance": _words(run["distance"]),
        "initial norm": _words(run["origin_norm"]),
        "quantities": _words(run["quantities"]),
        "weights": f"{run['weights']} in {run['parameters']} parameters",
        "metrics": _words(run["metrics"]),
        "snapshots": _steps(run["snapshots"]),
        "origins": _words(run["origins"][1:]),
        "drops": _words(drops),
        "events": _words(others),
        **{f"warning {k}": sentence for k, sentence in enumerate(run.get("warnings", []), 1)},
        "resumed at": _words(run["resumed"]),
        "seed": _words(run["seed"]),
        "config": _words(run["config"]),
        "versions": _words(run["versions"]),
    }
    return [(name, value or "none") for name, value in rows.items() if value or name in ("drops", "snapshots")]


def as_text(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table as plain text, with long values cut.

    Args:
        rows: (name, value) of each row.

    Returns:
        A line for each row.
    """
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {_short(value)}" for name, value in rows)


def as_html(rows: Sequence[tuple[str, str]]) -> str:
    """Return a table as HTML, with long values cut.

    Args:
        rows: (name, value) of each row.

    Returns:
        A `<table>`.
    """
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(_short(value))}</td></tr>" for name, value in rows)
    return f"<table>{''.join(lines)}</table>"


def _words(value: Any) -> str:
    """Return a value as a person reads it; what is nested deeper is left out."""
    if isinstance(value, Mapping):
        shown = {name: item for name, item in value.items() if item not in (None, "", [], {})}
        value = [f"{name} {_words(item)}" for name, item in shown.items() if not isinstance(item, Mapping)]
    if isinstance(value, list):
        return ", ".join(map(_words, value))
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _drop(event: Mapping[str, Any]) -> str:
    rates = [event.get(name) for name in ("lr_from", "lr_to")]
    return f"{event['step']} ({_words(rates[0])} → {_words(rates[1])})" if all(rates) else str(event["step"])


def _steps(steps: Sequence[int]) -> str:
    return f"{len(steps)}, at {_words(list(steps))}" if steps else ""


def _short(value: str) -> str:
    line = printable(" ".join(value.split()))
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"
