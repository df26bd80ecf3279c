"""`ultraslow spectrum`: eigenvalues and trace of the Hessian."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from ultraslow.cli.arguments import Columns, File, MoreRuns, RunPath
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

_PRODUCTS = 6  # for an eigenvalue, as measured on F1 on MNIST
_STEPS, _STARTS = 40, 4  # of Lanczos, for the density


def spectrum(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    step: Step = None,
    eigenvalues: Annotated[int, arg(metavar="K")] = 5,
    probes: Annotated[int, arg(metavar="N")] = 32,
    density: bool = False,
    samples: Samples = None,
    statistics: Modes = "both",
    seed: int = 0,
    data_root: Path = Path("data"),
    device: str = "cpu",
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Find the largest eigenvalues and the trace of the Hessian at the weights of runs of `ultraslow train`.

    $ ultraslow spectrum runs/sb.zarr runs/lb.zarr --plot density.pdf

    Args:
        run: a run's store: a folder, or a URL.
        runs: further runs.
        step: the snapshot to measure at. Default: the last.
        eigenvalues: number of eigenvalues, from the largest on.
        probes: number of random vectors for the trace; its standard error is printed.
        density: also estimate the density of all eigenvalues, by Lanczos' iteration from four random vectors.
        samples: number of training samples. Default: 4096, or all where there are fewer; fewer are not the data set.
        statistics: what normalization layers use: their running statistics, those of the batch, or both in turn.
        seed: seed of the random vectors.
        data_root: folder of the data sets.
        device: the device to compute on: cpu, or cuda.
        plot: also draw the density, to this file (.png, .pdf, .svg); implies --density.
        columns: width of the figure, in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    import torch

    from analysis.landscape import SpectralDensity, spectral_density, trace
    from analysis.landscape import eigenvalues as largest
    from analysis.landscape.hessian import check_eigenvalues, check_probes
    from analysis.run_curves import names_of
    from train.reproduce.rebuild import Landscapes

    check_plot(plot)
    opened, modes, with_density = open_runs([run, *runs]), modes_of(statistics), density or plot is not None
    landscapes = Landscapes(data_root, device, samples)
    first = landscapes.objective(opened[0], step_of(opened[0], step), modes[0])
    check_eigenvalues(eigenvalues, first)
    check_probes(probes)
    each = _PRODUCTS * eigenvalues + probes + _STEPS * _STARTS * with_density
    total = len(opened) * len(modes)
    announce(total * each, "Hessian-vector products", partial(first.hessian(), torch.ones_like(first.weights)))
    found: list[dict[str, Any]] = []
    densities: dict[str, SpectralDensity] = {}
    with progress_bar() as bar, keeping_what_is_done(found) as interruption:
        for one, called in zip(opened, names_of(opened), strict=True):
            for mode in modes:
                at = step_of(one, step)
                objective = landscapes.objective(one, at, mode)
                name = f"{called}, {mode} statistics"
                row: dict[str, Any] = {"path": str(one.path), "run": called, "label": label_of(one)}
                row |= {"step": at, "statistics": mode, "eigenvalues": None, "trace": None, "density": None}

                def advance(done: int, of: int, name: str = name) -> None:
                    bar(name, done, of)

                row["eigenvalues"] = largest(objective, eigenvalues, seed=seed, progress=advance).to_dict()
                found.append(row)
                row["trace"] = trace(objective, probes, seed=seed, progress=advance).to_dict()
                if with_density:
                    densities[name] = spectral_density(
                        objective, steps=_STEPS, probes=_STARTS, seed=seed, progress=advance
                    )
                    row["density"] = densities[name].to_dict()
    if json:
        print_json(found)
    elif found:
        print_table([_cells(row) for row in found])
        print("trace ± one standard error; eigenvalues from the largest on, not in magnitude")
    if plot is not None and densities:
        from analysis import figures

        figures.save(figures.density(densities, columns=columns), plot)
    complete = sum(row["density" if with_density else "trace"] is not None for row in found)
    interruption.end(f"{complete} of {total} spectra are done")


def _cells(row: dict[str, Any]) -> dict[str, str]:
    """Return a row of the printed table; what was not reached is empty."""
    values, traced = row["eigenvalues"], row["trace"]
    return {
        "run": row["run"],
        "step": str(row["step"]),
        "statistics": row["statistics"],
        "eigenvalues": ", ".join(f"{value:.3g}" for value in values["values"]) if values else "",
        "trace": f"{traced['value']:.4g} ± {traced['error']:.2g}" if traced else "",
        "samples": str(values["samples"]) if values else "",
    }
