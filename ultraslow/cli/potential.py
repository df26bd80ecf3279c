"""`ultraslow potential`: α from the random potential, beside the curve's."""

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from ultraslow.cli.arguments import Columns, File, MoreRuns, RunPath
from ultraslow.cli.console import print_json, progress_bar
from ultraslow.cli.landscape import Samples, announce, check_plot, keeping_what_is_done, open_runs, say, step_of

if TYPE_CHECKING:
    from pandas import Series

    from analysis.agreement import Agreement
    from analysis.potential_result import Potential
    from trajectory import Run

Distances = Annotated[tuple[float, float] | None, arg(metavar="FROM TO", help_behavior_hint="")]


def potential(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    step: Annotated[int, arg(metavar="T")] = 0,
    distances: Distances = None,
    points: Annotated[int, arg(metavar="N")] = 9,
    directions: Annotated[int, arg(metavar="N")] = 8,
    samples: Samples = None,
    statistics: Literal["running", "batch"] = "batch",
    seed: int = 0,
    data_root: Path = Path("data"),
    device: str = "cpu",
    plot: File = None,
    columns: Columns = 1,
    force: bool = False,
    json: bool = False,
) -> None:
    """Measure the random potential around the weights of several seeds, and print its α beside that of their curve.

    S(z) = E[(L(w + z v) - L(w))²] ~ z^α. Every run is one origin; ten or more give a useful interval. α = 2 is what
    Taylor's expansion gives for any smooth loss. The runs are of `ultraslow train`.

    $ ultraslow potential runs/sb-*.zarr --step 1000

    Args:
        run: a run's store: a folder, or a URL.
        runs: further seeds of the same experiment.
        step: the snapshot that is the origin; 0 are the initial weights.
        distances: the smallest and the largest distance z. Default: those that the runs cover after that step.
        points: number of distances, evenly spaced in log z.
        directions: number of directions for each origin.
        samples: number of training samples. Default: 4096, or all where there are fewer.
        statistics: what normalization layers use: their running statistics, or those of the batch.
        seed: seed of the directions.
        data_root: folder of the data sets.
        device: the device to compute on: cpu, or cuda.
        plot: also draw √S(z) with Taylor's line, local exponents and the two α's, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of a table.
    """
    import numpy as np

    from analysis.errors import LandscapeError
    from analysis.inputs import is_count
    from analysis.landscape.probes import probe_each
    from analysis.potential import potential as exponent_of
    from analysis.potential_result import Probe
    from train.reproduce.rebuild import Landscapes

    check_plot(plot)
    opened = open_runs([run, *runs])
    _check_origins(opened, step, force)
    covered = _covered(opened, step)
    low, high = distances or covered
    if not 0 < low < high < math.inf or points < 3:
        raise LandscapeError(
            f"distances {low:g} to {high:g} in {points} points: expected a range above 0, three points"
        )
    if not is_count(directions):
        raise LandscapeError(f"directions = {directions}; expected 1 or more")
    z = np.geomspace(low, high, points)
    landscapes = Landscapes(data_root, device, samples)
    objective = landscapes.objective(opened[0], step, statistics)
    announce(len(opened) * (2 * points * directions + 3), "evaluations of the loss", objective.loss)
    found: list[Probe] = []
    with progress_bar() as bar, keeping_what_is_done(found) as interruption:
        for i, one in enumerate(opened):
            around = landscapes.objective(one, step, statistics)
            origins = [one.state_dict(step)]
            found += probe_each(around, origins, z, directions, seed + i, progress=partial(bar, f"origin {i + 1}"))
    done = f"{len(found)} of {len(opened)} origins are done"
    if len(found) < 2:
        interruption.end(done)
    result = exponent_of(Probe.joined(found))
    compared, why_not = _compared(result, opened, step, force)
    if json:
        print_json({**result.to_dict(), "agreement": compared.to_dict() if compared else None})
        say(why_not)
    else:
        print(*filter(None, [result, compared, why_not]), sep="\n")
    if plot is not None:
        from analysis import figures

        drawn = figures.potential(result, run_range=covered, compared=compared, columns=columns)
        figures.save(drawn, plot)
    interruption.end(done)


def _check_origins(runs: "list[Run]", step: int, force: bool) -> None:
    """Refuse runs that are no seeds of one experiment, before anything is measured."""
    from analysis.errors import LandscapeError
    from analysis.fitting.seed_group import check_seeds

    if len(runs) < 2:
        raise LandscapeError("got 1 run; expected two or more seeds, better ten: each is an origin")
    shapes, sums = [], []
    for run in runs:
        weights = run.state_dict(step_of(run, step))
        shapes.append({name: w.shape for name, w in weights.items()})
        sums.append([float(w.double().square().sum()) for w in weights.values()])
        if shapes[-1] != shapes[0]:
            raise LandscapeError(f"{run.path} and {runs[0].path}: are of different networks; expected seeds of one")
        if (first := sums.index(sums[-1])) < len(sums) - 1:
            raise LandscapeError(
                f"{run.path} and {runs[first].path}: have the same weights at step {step}; expected different seeds"
            )
    check_seeds(runs, force=force)


def _covered(runs: "list[Run]", step: int) -> tuple[float, float]:
    """Return the distances after a step that every run covers, or as nearly as they do."""
    from analysis.errors import LandscapeError

    ends = []
    for run in runs:
        from_there = run.displacement(step) if step in run.origins else _of_layers(run, step)
        if not len(from_there):
            raise LandscapeError(f"{run.path}: records no distance after step {step}; give the distances")
        ends.append((float(from_there.iloc[0]), float(from_there.iloc[-1])))
    return max(low for low, _ in ends), min(high for _, high in ends)


def _of_layers(run: "Run", step: int) -> "Series":
    return run.layer_displacement(step).pow(2).sum(axis=1).pow(0.5)


def _compared(result: "Potential", runs: "list[Run]", step: int, force: bool) -> "tuple[Agreement | None, str]":
    """Compare with the curve's α; or say why there is none."""
    from analysis import AnalysisError, fit
    from analysis.agreement import agreement

    try:
        return agreement(result, fit(runs, origin=step, force=force)), ""
    except AnalysisError as error:
        return None, f"no α of the curve: {error}"
