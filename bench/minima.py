"""What the minima of small and large batches look like, for docs/landscape.md.

    python bench/minima.py --data-root data --out minima
    python bench/minima.py --runs elsewhere --out minima
    python bench/minima.py --out minima --export docs/results/minima.json

Trains what is missing of docs/batch-sizes.toml, docs/keskar.toml and docs/c1.toml, measures the last weights of each
of their runs, in how many directions the loss rises there, and the random potential at snapshots of the small batch's
seeds. With --runs nothing is trained, and
the complete runs below that folder are measured. Each run is one file of --out, and one that is there is kept. About
two and a half hours on one free core, most of it training.

--export packs the files into one. `python bench/landscape_tables.py` reads it.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from study.rounding import rounded

from analysis import fit
from analysis.landscape import adaptive_sharpness, eigenvalues, path, probe, sharpness
from train.reproduce.rebuild import Landscapes, settings_of
from train.sweeps.runner import run_sweep
from train.sweeps.spec import read_sweep
from trajectory import Run

SPECS = ("docs/batch-sizes.toml", "docs/keskar.toml", "docs/c1.toml")
SAMPLES = {"f1": 512, "c1": 128}
"""Training images that sharpness is of."""
CURVED = 1024
"""Those of the largest eigenvalue."""
EPS, RHO = (1e-3, 5e-4), 0.01
SUBSPACE = 100
STEPS = (0, 10, 32, 100, 316)
"""Snapshots that the potential is probed at."""
Z = np.geomspace(6, 21, 7)
"""Distances of the potential: those that the small batch's run has travelled from t = 10 to its end."""
SEEDS, DIRECTIONS, PROBED = 8, 4, 512
"""Of the potential: origins, directions of each, and images."""
POTENTIAL = ("batch-sizes-f1-mnist-sb-128-", "batch-sizes-f1-mnist-sb-again-128-")
"""How the names of the small batch's runs begin."""
CURVE = (10, 316)
"""Updates that the curve's α is of."""
RISING = {"SB 128": "batch-sizes-f1-mnist-sb-128-", "LB 1024": "batch-sizes-f1-mnist-lb-1024-"}
"""Runs around whose last weights rising directions are counted, by how their names begin."""
RADII = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LINES = {
    "SB, LB": ("keskar-f1-mnist-sb-256-seed0", "keskar-f1-mnist-lb-6000-seed0"),
    "SB, SB": ("keskar-f1-mnist-sb-256-seed0", "keskar-f1-mnist-sb-256-seed1"),
}
"""Runs that lines are drawn between, named as their files of --out."""
POINTS, SPAN = 17, (-0.5, 1.5)
"""Of the lines between minima."""


def measured(run: Run, landscapes: dict[int, Landscapes]) -> dict[str, Any]:
    """Everything that the tables say of a run's last weights."""
    settings, step = settings_of(run), run.snapshots[-1]
    few = landscapes[SAMPLES[settings.network]]
    found: dict[str, Any] = {}
    for mode in ("running", "batch"):
        objective = few.objective(run, step, mode)
        found[mode] = {f"eps {eps:g}": sharpness(objective, eps).phi for eps in EPS}
        found[mode][f"rho {RHO:g}"] = adaptive_sharpness(objective, RHO).phi
        found[mode]["loss"] = objective.loss()
        if settings.optimizer == "adam" and mode == "running" and settings.seed == 0 and not settings.warm_start:
            found[mode]["eps 0.001, L-BFGS-B"] = sharpness(objective, method="l-bfgs-b").phi
            found[mode]["eps 0.001, subspace"] = sharpness(objective, subspace=SUBSPACE).phi
    if settings.network == "f1":
        found["eigenvalue"] = float(eigenvalues(landscapes[CURVED].objective(run, step, "batch"), k=1).values[0])
    last = run.metrics.ffill().iloc[-1]
    return {
        **{key: getattr(settings, key) for key in ("recipe", "seed", "batch_size", "optimizer")},
        "warm_start": Path(settings.warm_start).name,
        **{key: run.config[key] for key in ("label", "updates", "epochs")},
        "error": float(last["validation_error"]),
        "distance": float(run.distance.iloc[-1]),
        **found,
    }


def potentials(runs: list[Run], landscape: Landscapes) -> dict[str, Any]:
    """Differences of the loss around snapshots of each seed, and the distances of the seeds' curve."""
    found: dict[str, Any] = {"z": Z.tolist()}
    for step in STEPS:
        objectives = [landscape.objective(run, step, "batch") for run in runs]
        probes = [probe(one, [one.weights], Z, directions=DIRECTIONS, seed=k) for k, one in enumerate(objectives)]
        found[str(step)] = {
            "delta": np.concatenate([one.delta for one in probes]).tolist(),
            "gradient": [float(one.gradient_norm[0]) for one in probes],
            "norm": [float(one.weight_norm[0]) for one in probes],
            "loss": [float(one.loss[0]) for one in probes],
            "dimension": probes[0].dimension,
        }
    curve = fit(runs, t_min=CURVE[0], t_max=CURVE[1])
    found["curve"] = {"seeds": [seed.alpha for seed in curve.seeds], "p_value": curve.p_value}
    found["curve"] |= {"range": [float(np.exp(curve.z.min())), float(np.exp(curve.z.max()))], "n": curve.n}
    return found


def rising(runs: list[Run], landscape: Landscapes) -> dict[str, Any]:
    """Differences of the loss around the last weights of each seed, in both senses of isotropic directions."""
    objectives = [landscape.objective(run, run.snapshots[-1], "batch") for run in runs]
    probes = [probe(one, [one.weights], RADII, seed=k) for k, one in enumerate(objectives)]
    deltas = np.concatenate([one.delta for one in probes])
    return {"z": RADII, "delta": deltas.tolist(), "loss": [float(one.loss[0]) for one in probes]}


def paths(runs: dict[str, Run], landscape: Landscapes) -> dict[str, Any]:
    """Losses of training and test images on the lines between the last weights of two runs."""
    found: dict[str, Any] = {}
    for name, ends in LINES.items():
        for test in (False, True):
            a, b = (landscape.objective(runs[end], runs[end].snapshots[-1], "batch", test=test) for end in ends)
            line = path(a, a.weights, b.weights, POINTS, SPAN)
            found.setdefault(name, {})["test" if test else "train"] = line.to_dict()
    return found


def main() -> None:
    """Trains and measures what is missing, or packs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--runs", type=Path, help="measure the runs below this folder; train none")
    parser.add_argument("--out", type=Path, default=Path("minima"), help="folder of what is measured")
    parser.add_argument("--export", type=Path, metavar="FILE", help="pack the files of --out instead of measuring")
    options = parser.parse_args()
    if options.export is not None:
        found = [f'"{path.stem}": {path.read_text()}' for path in sorted(options.out.glob("*.json"))]
        options.export.write_text("{\n" + ",\n".join(found) + "\n}\n")
        return
    torch.set_num_threads(1)
    options.out.mkdir(parents=True, exist_ok=True)
    if options.runs is None:
        for spec in SPECS:
            run_sweep(read_sweep(spec))
    there = sorted(options.runs.rglob("*.zarr")) if options.runs else _planned()
    runs = [run for run in map(Run, there) if run.status == "complete"]
    landscapes = {
        count: Landscapes(options.data_root, samples=count) for count in (*SAMPLES.values(), CURVED, PROBED)
    }
    named = {f"{Path(run.path).parent.name}-{run.name}": run for run in runs}
    for name, run in named.items():
        _keep(options.out / f"{name}.json", lambda run=run: measured(run, landscapes))
    small = [run for name, run in named.items() if name.startswith(POTENTIAL)]
    if len(small) >= SEEDS:
        _keep(options.out / "potential.json", lambda: potentials(small, landscapes[PROBED]))
    around = {
        label: [run for name, run in named.items() if name.startswith(start)] for label, start in RISING.items()
    }
    if all(around.values()):
        at = landscapes[PROBED]
        _keep(options.out / "rising.json", lambda: {label: rising(some, at) for label, some in around.items()})
    if all(end in named for ends in LINES.values() for end in ends):
        _keep(options.out / "paths.json", lambda: paths(named, landscapes[CURVED]))


def _planned() -> list[Path]:
    return [Path(run.path) for spec in SPECS for run in read_sweep(spec).runs]


def _keep(path: Path, measure: Callable[[], Any]) -> None:
    """Write what is measured, unless it is there."""
    if path.exists():
        return
    clock = process_time()
    path.write_text(json.dumps(rounded(measure())))
    print(f"{path}: {process_time() - clock:.0f} s", flush=True)


if __name__ == "__main__":
    main()
