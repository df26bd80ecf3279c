"""`ultraslow sharpness`: how much higher the loss gets near the weights, in several measures."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from ultraslow.cli.arguments import Columns, Count, File, MoreRuns, RunPath
from ultraslow.cli.console import print_json, print_table, progress_bar
from ultraslow.cli.landscape import (
    Modes,
    Samples,
    Step,
    announce,
    check_plot,
    keeping_what_is_done,
    label_of,
    modes_of,
    open_runs,
    step_of,
)

_STEPS = 10  # of each search, as in the paper


def sharpness(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    step: Step = None,
    eps: Annotated[tuple[float, ...], arg(metavar="E [E ...]")] = (1e-3, 5e-4),
    rho: float = 0.01,
    subspace: Count = None,
    l_bfgs_b: bool = False,
    samples: Samples = None,
    statistics: Modes = "both",
    seed: int = 0,
    data_root: Path = Path("data"),
    device: str = "cpu",
    plot: File = None,
    columns: Annotated[Columns | None, arg(metavar="{1,2}", help_behavior_hint="")] = None,
    json: bool = False,
) -> None:
    """Measure the sharpness of the weights of runs of `ultraslow train`, in several measures.

    φ = 100 (max L - L) / (1 + L) in a box |d| ≤ ε (|w| + 1) (Keskar et al. 2017), and in one of ρ |w| (Kwon et al.
    2021). Each is a lower bound. None of them predicts generalisation well (Andriushchenko et al. 2023), and the
    former can be rescaled away (Dinh et al. 2017).

    $ ultraslow sharpness runs/sb.zarr runs/lb.zarr

    Args:
        run: a run's store: a folder, or a URL.
        runs: further runs.
        step: the snapshot to measure at. Default: the last.
        eps: sizes ε of the box.
        rho: size ρ of the adaptive box.
        subspace: also measure in a random subspace of this dimension (the paper: 100).
        l_bfgs_b: also search by ten iterations of L-BFGS-B, the paper's method, which may miss the maximum by far.
        samples: number of training samples. Default: 4096, or all where there are fewer.
        statistics: what normalization layers use: their running statistics, those of the batch, or both in turn.
        seed: seed of the starts and of the subspace.
        data_root: folder of the data sets.
        device: the device to compute on: cpu, or cuda.
        plot: also draw φ by run, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal. Default: what its panels need.
        json: print one JSON document instead of a table.
    """
    from analysis.landscape import Objective, Sharpness, adaptive_sharpness
    from analysis.landscape import sharpness as box_sharpness
    from analysis.landscape.sharpness_measures import check_radius
    from analysis.landscape.subspace import RandomSubspace
    from analysis.run_curves import names_of
    from train.reproduce.rebuild import Landscapes

    check_plot(plot)
    opened, modes = open_runs([run, *runs]), modes_of(statistics)
    landscapes = Landscapes(data_root, device, samples)
    first = landscapes.objective(opened[0], step_of(opened[0], step), modes[0])
    search: Callable[..., Sharpness] = partial(box_sharpness, steps=_STEPS, seed=seed)
    for kind, radius in (*(("eps", size) for size in eps), ("rho", rho)):
        check_radius(kind, radius, first)
    if subspace is not None:
        RandomSubspace.of(first, subspace, seed)  # or is refused, before anything is measured
    measures: dict[str, Callable[[Objective], Sharpness]] = {}
    for size in eps:
        measures[f"ε {size:g}"] = partial(search, eps=size)
        if subspace is not None:
            measures[f"ε {size:g}, subspace {subspace}"] = partial(search, eps=size, subspace=subspace)
        if l_bfgs_b:
            measures[f"ε {size:g}, L-BFGS-B"] = partial(search, eps=size, method="l-bfgs-b")
    measures[f"ρ {rho:g}"] = partial(adaptive_sharpness, rho=rho, steps=_STEPS, seed=seed)
    total = len(opened) * len(modes) * len(measures)
    announce(total * (_STEPS + 1), "gradients", first.gradient)
    found: list[dict[str, Any]] = []
    with progress_bar() as bar, keeping_what_is_done(found) as interruption:
        for one, called in zip(opened, names_of(opened), strict=True):
            for mode in modes:
                at = step_of(one, step)
                objective = landscapes.objective(one, at, mode)
                for name, measure in measures.items():
                    result = measure(objective)
                    row = {"path": str(one.path), "run": called, "label": label_of(one), "step": at, "name": name}
                    found.append({**row, **result.to_dict()})
                    bar("measurements", len(found), total)
    _print_found(found, json)
    if plot is not None and found:
        _draw(found, plot, columns)
    interruption.end(f"{len(found)} of {total} measurements are done")


def _print_found(found: list[dict[str, Any]], json: bool) -> None:
    if json:
        print_json(found)
        return
    if found:
        print_table([_cells(one) for one in found])
    print("φ = 100 (max L - L) / (1 + L), the largest loss seen: lower bounds, by ten steps of ascent unless named")
    print("No sharpness predicts generalisation well (Andriushchenko et al. 2023).")


def _cells(one: dict[str, Any]) -> dict[str, str]:
    return {
        "run": one["run"],
        "step": str(one["step"]),
        "statistics": one["statistics"],
        "measure": one["name"],
        "φ": f"{one['phi']:.4g}",
        "loss": f"{one['loss']:.3g}",
        "gradients": str(one["gradients"]),
    }


def _draw(found: list[dict[str, Any]], plot: Path, columns: Columns | None) -> None:
    import pandas as pd

    from analysis import figures

    table = pd.DataFrame(found).assign(measure=lambda frame: frame["name"])
    figures.save(figures.sharpness(table, columns=columns), plot)
