"""What is in a store: import, info, verify."""

import sys
from dataclasses import asdict
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import RunPath
from ultraslow.cli.console import print_facts, print_json, progress_bar

if TYPE_CHECKING:
    from trajectory import Run


def import_(
    checkpoint: Annotated[Path, Positional, arg(metavar="CHECKPOINT")],
    checkpoints: Annotated[tuple[Path, ...], Positional, arg(metavar="[CHECKPOINT ...]")] = (),
    *,
    out: Annotated[str, arg(metavar="RUN")],
    steps: Annotated[tuple[int, ...], arg(metavar="T [T ...]")] = (),
    key: Annotated[str | None, arg(metavar="KEY")] = None,
    snapshots: bool = True,
    sketch: Annotated[int, arg(metavar="K")] = 0,
    overwrite: bool = False,
) -> None:
    """Makes a run of checkpoints: .pt files of weights alone, .safetensors, or folders of them.

    The earliest is w_0, and t counts from it. Every other one is a row: distance and norm, by parameter too.

    $ ultraslow import checkpoints/ --out runs/imported.zarr

    Args:
        checkpoint: a file or a folder.
        checkpoints: further ones.
        out: the run's store.
        steps: updates made at each checkpoint, in order; default: from the names (step=1000, checkpoint-1000).
        key: where the weights are in a nested .pt file; default: state_dict, model, ...
        snapshots: keep the weights themselves.
        sketch: keep a sketch of K numbers for each parameter instead or as well.
        overwrite: replace the run at `out`.
    """
    from trajectory.integrations.importer import import_checkpoints

    with progress_bar() as bar:
        import_checkpoints(
            [checkpoint, *checkpoints],
            out,
            steps=steps or None,
            key=key,
            snapshots=snapshots,
            sketch=sketch,
            overwrite=overwrite,
            progress=lambda done, total: bar(Path(out).name, done, total),
        )
    info(out)


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


def verify(run: RunPath, *, repair: bool = False, json: bool = False) -> None:
    """Checks that a run's store is whole; exits with 1 if it is not.

    $ ultraslow verify runs/sb.zarr --repair

    Args:
        run: a run's store.
        repair: close a killed run and remove what the kill left half-written.
        json: print one JSON document instead of lines.
    """
    from trajectory import verify as verify_store

    findings = verify_store(run, repair=repair)
    if json:
        print_json([asdict(finding) for finding in findings])
    for finding in () if json else findings:
        state = "damage" if not finding.mendable else "mended" if repair else "--repair mends it"
        print(f"{run}: {finding.sentence} [{state}]")
    if not (findings or json):
        print(f"{run}: whole")
    if any(not (finding.mendable and repair) for finding in findings):
        sys.exit(1)


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
