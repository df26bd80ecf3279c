"""`ultraslow info`: what a run's store holds."""

from math import isfinite, nan
from typing import TYPE_CHECKING, Any

from ultraslow.cli.arguments import RunPath
from ultraslow.cli.console import print_facts, print_json

if TYPE_CHECKING:
    from trajectory import Run


def info(run: RunPath, *, json: bool = False) -> None:
    """Shows what is in a run's store.

    $ ultraslow info runs/sb.zarr

    Args:
        run: a run's store.
        json: print one JSON document instead of a table.
    """
    from trajectory import Run

    facts = _facts(Run(run))
    if json:
        print_json(facts)
        return
    facts["events"] = [f"{event['name']} at {event['step']}" for event in facts["events"]]
    print_facts(facts)


def _facts(run: "Run") -> dict[str, Any]:
    """What `info` tells of a run, fit for JSON."""
    steps = run.distance.index
    metrics = {name: float(column.dropna().iloc[-1]) for name, column in run.metrics.items() if column.notna().any()}
    distance = float(run.distance.iloc[-1]) if len(steps) else nan
    return {
        "path": str(run.path),
        "status": run.status,
        "steps": [int(steps[0]), int(steps[-1])] if len(steps) else [],
        "recorded": len(steps),
        "distance": distance if isfinite(distance) else None,
        "origin_norm": run.origin_norm,
        "parameters": len(run.signature["parameters"]),
        "weights": run.weight_count,
        "metrics": metrics,
        "snapshots": run.snapshots,
        "resumed": run.resumed,
        "events": [{"step": event.step, "name": event.name, **event.details} for event in run.events],
        "seed": run.seed,
        "config": run.config,
        "versions": run.versions,
    }
