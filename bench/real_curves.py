"""Distance curves of F1 at a constant learning rate, for docs/what-the-data-say.md.

    python bench/real_curves.py --data-root data --out curves [--only mnist-wd]
    python bench/real_curves.py --out curves --export docs/curves

Small batch 128, learning rate .1, five seeds of 10,296 updates (22 epochs): MNIST and Fashion-MNIST, weight
decay 1e-4 and 0; and one run of MNIST with a fifth of its labels shuffled, which the network does not learn
by heart within the fit range. Distances from w_0 and from origins after the transient, at 300 updates a
decade. A run that is there and complete is kept. Each takes about three minutes on one core.

Weight decays of 1e-3, 2e-3 and 5e-3 again, with shuffled labels, whose memory times are 1000, 500 and 200 updates; at
2e-3 also batch 16, and clean labels. They last fifteen memory times, and measure distances from origins that are 5 to
10 of them old.

--export packs each experiment whose runs are complete into one DIR/NAME.tar.xz of stores without the rows between:
24 updates a decade from w_0 and from each origin, two for each of the fit's bins, distances to five significant
digits (the noise from step to step is .03 %). Where origins are averaged, 12 a decade, and no layer's distances from
them. `Run`, `fit` and `ultraslow` read it:

    mkdir -p curves && tar xf docs/curves/mnist-wd.tar.xz -C curves && ultraslow fit curves/mnist-wd-*.zarr
"""

import argparse
import shutil
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import zarr

from train.configs.config import TrainConfig
from train.configs.recipes import f1_fashion_mnist, f1_mnist
from train.engine.run_training import train
from trajectory import LogSpaced, Run, UltraslowError
from trajectory.schema.layout import metric_name
from trajectory.storage.local_backend import LocalBackend
from trajectory.storage.node_files import read_node
from trajectory.storage.root import Root, read_root, write_root

ORIGINS = (100, 1000)
AGES = (5, 6, 7, 8, 9, 10)
"""Origins of the steady runs, in memory times."""
KEPT = LogSpaced(24)
KEPT_STEADY = LogSpaced(12)
KEPT_METRICS = ("epoch", "learning_rate", "train_loss", "validation_error")


def experiments() -> dict[str, tuple[TrainConfig, int]]:
    """name: configuration and number of seeds."""
    found = {}
    for name, recipe in (("mnist", f1_mnist()), ("fashion-mnist", f1_fashion_mnist())):
        constant = replace(recipe, drops=(), epochs=22, snapshots_per_decade=0, rows_per_decade=300, origins=ORIGINS)
        found[f"{name}-wd"] = (replace(constant, label=f"{name}, weight decay 1e-4"), 5)
        found[f"{name}-no-wd"] = (replace(constant, weight_decay=0.0, label=f"{name}, no weight decay"), 5)
    shuffled = replace(found["mnist-wd"][0], label_noise=0.2, label="mnist, a fifth of the labels shuffled")
    found["mnist-shuffled"] = (shuffled, 1)
    return found | steady_experiments(shuffled)


def steady_experiments(shuffled: TrainConfig) -> dict[str, tuple[TrainConfig, int]]:
    """Those that last fifteen memory times."""
    found = {}
    for name, (config, epochs, seeds) in {
        "128": (replace(shuffled, weight_decay=2e-3), 15, 5),
        "16": (replace(shuffled, weight_decay=2e-3, batch_size=16), 2, 5),
        "128-decay-5e-3": (replace(shuffled, weight_decay=5e-3), 6, 5),
        "128-clean": (replace(shuffled, weight_decay=2e-3, label_noise=0.0), 15, 5),
        "128-decay-1e-3": (replace(shuffled, weight_decay=1e-3), 30, 5),
    }.items():
        labels = "a fifth of the labels shuffled" if config.label_noise else "clean labels"
        decay = f"{config.weight_decay:.0e}".replace("e-0", "e-")
        label = f"mnist, {labels}, weight decay {decay}, batch {config.batch_size}"
        origins = steady_origins((1 - config.momentum) / (config.lr * config.weight_decay))
        found[f"mnist-steady-{name}"] = (replace(config, epochs=epochs, origins=origins, label=label), seeds)
    return found


def steady_origins(memory: float) -> tuple[int, ...]:
    """Updates that are as many memory times old as `AGES` says."""
    return tuple(round(age * memory) for age in AGES)


def complete(path: Path) -> bool:
    """Whether an earlier call recorded this run to its end."""
    try:
        return Run(path).status == "complete"
    except UltraslowError:
        return False


def record(folder: Path, data_root: str, only: str | None) -> None:
    """Trains what is missing."""
    for name, (config, seeds) in experiments().items():
        for seed in range(seeds if only in (None, name) else 0):
            path = folder / f"{name}-{seed}.zarr"
            if not complete(path):
                train(replace(config, seed=seed), path, data_root=data_root, overwrite=path.exists())
            print(path, flush=True)


def export(folder: Path, out: Path, only: str | None) -> None:
    """Packs the experiments that are complete."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (_, seeds) in experiments().items():
        runs = [folder / f"{name}-{seed}.zarr" for seed in range(seeds)]
        if only not in (None, name) or not all(map(complete, runs)):
            continue
        archive = out / f"{name}.tar.xz"
        spacing = KEPT_STEADY if "steady" in name else KEPT
        pack([Run(path) for path in runs], archive, KEPT_METRICS, spacing, by_layer=spacing is KEPT)
        print(f"{archive}: {archive.stat().st_size / 1e3:.0f} kB", flush=True)


def pack(
    runs: list[Run],
    archive: Path,
    metrics: tuple[str, ...],
    spacing: LogSpaced = KEPT,
    *,
    by_layer: bool = True,
) -> None:
    """Writes thin copies of closed runs to an archive; the same runs give the same bytes."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for run in runs:
            thin(run, Path(scratch) / Path(run.path).name, metrics, spacing, by_layer)
        with tarfile.open(archive, "w:xz") as packed:
            for file in sorted(Path(scratch).rglob("*")):
                packed.add(file, file.relative_to(scratch), recursive=False, filter=_undated)


def thin(run: Run, path: Path, wanted: tuple[str, ...], spacing: LogSpaced, by_layer: bool) -> None:
    """A copy of a closed run with some of its rows, the wanted scalars, and its metadata but the host; no weights.

    Without `by_layer` each layer's distances from later origins are NaN: they take three quarters of a store.
    """
    shutil.copytree(run.path, path, ignore=_left_out)
    backend = LocalBackend(path)
    root = read_root(backend)
    nodes = dict(root.nodes)
    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    rows, metrics = kept(run, spacing)
    for name in [name for name, node in nodes.items() if node["node_type"] == "array"]:
        scalar = name.startswith("metrics/")
        if scalar and metric_name(name.removeprefix("metrics/")) not in (*wanted, "step"):
            shutil.rmtree(path / name)
            del nodes[name]
        elif name.startswith(("snapshots/", "origins/")):
            group[name].resize((0, *group[name].shape[1:]))
        elif nodes[name]["dimension_names"][0] == "step":
            array = group[name]
            values = array[:][metrics if scalar else rows]
            array.resize(values.shape)
            if name == "layer_displacement" and not by_layer:
                values = np.full_like(values, np.nan)
            array[:] = values if scalar or name == "step" else five_digits(values)
    commit = replace(root.commit, steps=int(rows.sum()), metrics=int(metrics.sum()), snapshots=0, origins=0)
    nodes = {name: read_node(backend, name) for name in nodes}
    write_root(backend, Root(replace(root.metadata, host=None, schedules=()), commit, nodes))


def _left_out(folder: str, names: list[str]) -> set[str]:
    """The lock, and the chunks that hold weights."""
    weights = {"snapshots", "origins"} & set(Path(folder).parts[-2:])
    return {name for name in names if name == "lock" or (weights and name == "c")}


def kept(run: Run, spacing: LogSpaced) -> tuple[np.ndarray, np.ndarray]:
    """Which of the recorded updates stay, and which of the logged ones: those, and every validation."""
    steps, logged = run.distance.index, run.metrics
    last = int(steps[-1])
    wanted = [t + origin for origin in run.origins for t in range(1, last - origin + 1) if t in spacing]
    rows = np.zeros(len(steps), bool)
    rows[np.minimum(np.searchsorted(steps, np.unique([*wanted, last])), len(steps) - 1)] = True
    near = logged.index.isin(steps[rows])
    return rows, near | logged["validation_error"].notna().to_numpy() if "validation_error" in logged else near


def five_digits(values: np.ndarray) -> np.ndarray:
    """Rounded to 17 binary digits, 4e-6 of the value: the zeros behind them compress."""
    mantissa, exponent = np.frexp(np.asarray(values))
    return np.ldexp(np.round(np.ldexp(mantissa, 17)), exponent - 17)


def _undated(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """The same stores give the same archive."""
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
    return entry


def main() -> None:
    """Trains, or exports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", default="data")
    parser.add_argument("--out", type=Path, default=Path("curves"), help="folder of the recorded stores")
    parser.add_argument("--export", type=Path, metavar="DIR", help="pack the stores of --out instead of training")
    parser.add_argument("--only", help="one experiment's name")
    options = parser.parse_args()
    if options.export is not None:
        export(options.out, options.export, options.only)
    else:
        record(options.out, options.data_root, options.only)


if __name__ == "__main__":
    main()
