"""The rows of a report's tables of runs: what each is, how they differ, and where they come from."""

from collections.abc import Sequence

from trajectory.run import Run

_LEFT_OUT = ("label", "seed")  # of the configuration: they have columns of their own


def run_rows(runs: Sequence[Run]) -> list[dict[str, object]]:
    """Return a row for each run: what became of it, and the settings in which the runs differ.

    Args:
        runs: all runs.
    """
    differing = _differences(runs)
    rows = [_run_row(run) for run in runs]
    settings = [name for name in differing if not any(name in row for row in rows)]
    return [
        row | {name: plain(run.config.get(name)) for name in settings} for row, run in zip(rows, runs, strict=True)
    ]


def _run_row(run: Run) -> dict[str, object]:
    distance, metrics = run.distance, run.metrics
    row: dict[str, object] = {"run": run.name, "label": run.config.get("label", ""), "seed": plain(run.seed)}
    row |= {"status": run.status, "updates": int(distance.index[-1]) if len(distance) else 0}
    row["distance"] = f"{distance.iloc[-1]:.4g}" if len(distance) else ""
    if "validation_error" in metrics:
        row["validation error"] = f"{metrics['validation_error'].dropna().iloc[-1]:.2%}"
    return row | {"rate drops at": plain([event.step for event in run.drops])}


def _settings(run: Run) -> dict[str, object]:
    """Return the configuration but for nested tables, such as what the user asked for before defaults."""
    return {k: v for k, v in run.config.items() if k not in _LEFT_OUT and not isinstance(v, dict)}


def _differences(runs: Sequence[Run]) -> list[str]:
    """Return the names of the settings that are not the same in all runs."""
    configs = [_settings(run) for run in runs]
    names = dict.fromkeys(name for config in configs for name in config)
    return [name for name in names if len({plain(config.get(name)) for config in configs}) > 1]


def shared_settings(runs: Sequence[Run]) -> str:
    """Return a sentence that names the settings that are the same in all runs.

    Args:
        runs: all runs.
    """
    differing = set(_differences(runs))
    shared = [
        f"{k} {plain(v)}" for k, v in _settings(runs[0]).items() if k not in differing and v not in (None, "", [])
    ]
    return f"Columns are settings that differ. The same in all: {', '.join(shared) or 'nothing noted'}."


def plain(value: object) -> str:
    """Return a value of a configuration or a result as text; nothing for None.

    Args:
        value: a number, a text, or a list of them.
    """
    if isinstance(value, list | tuple):
        return ", ".join(map(plain, value))
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def provenance(run: Run) -> dict[str, object]:
    """Return where a run comes from.

    Args:
        run: the run.
    """
    row: dict[str, object] = {"run": run.name, "path": run.path, "commit": run.commit or "", "host": run.host or ""}
    return row | {
        "resumed at": plain(run.resumed),
        "versions": ", ".join(f"{k} {v}" for k, v in run.versions.items()),
    }
