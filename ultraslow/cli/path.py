"""`ultraslow path`: the loss on the line between the weights of two runs, or along one."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import arg

from ultraslow.cli.arguments import Columns, File, MoreRuns, RunPath
from ultraslow.cli.console import print_json, print_table, progress_bar
from ultraslow.cli.landscape import Samples, announce, check_plot, keeping_what_is_done, say, say_rounding, step_of

if TYPE_CHECKING:
    from trajectory import Run


_DATA = ("dataset", "protocol", "label_noise")  # of a run's settings


def path(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    points: Annotated[int, arg(metavar="N")] = 25,
    span: Annotated[tuple[float, float], arg(metavar="FROM TO")] = (-1.0, 2.0),
    along: bool = False,
    samples: Samples = None,
    data_root: Path = Path("data"),
    device: str = "cpu",
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Evaluate the loss on the straight line from the weights of one run to those of another, and its barrier.

    With one run, the line from its first snapshot to its last. Every further run is reached by a line of its own from
    the first. RUN@T names a snapshot; without it the last is taken. Normalization layers use the statistics of the
    batch: running ones belong to one point. The runs are of `ultraslow train`.

    $ ultraslow path runs/sb.zarr runs/lb.zarr --plot path.pdf

    Args:
        run: a run's store, or RUN@T: where the lines begin.
        runs: where they end.
        points: number of points on each line.
        span: the first and the last point; 0 is the one end, 1 the other.
        along: also evaluate the loss at every snapshot of the first run.
        samples: number of samples of the training and of the test set. Default: 4096, or all where there are fewer.
        data_root: folder of the data sets.
        device: the device to compute on: cpu, or cuda.
        plot: also draw the first line, training set solid and test set dotted, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    from analysis.landscape import LossPath
    from analysis.landscape import along as loss_along
    from analysis.landscape import path as line
    from analysis.run_curves import names_of
    from analysis.serialize import records
    from train.reproduce.rebuild import Landscapes

    check_plot(plot)
    ends = [_snapshot(name) for name in (run, *runs)]
    say_rounding(list({str(one.path): one for one, _ in ends}.values()))
    for other, _ in ends[1:]:
        say(_other_data(ends[0][0], other))
    if len(ends) == 1:
        only = ends[0][0]
        ends = [(only, only.snapshots[0]), ends[0]]
    names = [f"{name}@{step}" for name, (_, step) in zip(names_of([one for one, _ in ends]), ends, strict=True)]
    landscapes = Landscapes(data_root, device, samples)
    first, start = ends[0]
    train = landscapes.objective(first, start, "batch")
    snapshots = len(first.snapshots) if along else 0
    announce((points * (len(ends) - 1) + snapshots) * 2, "evaluations of the loss", train.loss)
    test = landscapes.objective(first, start, "batch", test=True)
    lines: list[dict[str, Any]] = []
    trajectory: list[dict[str, Any]] = []
    with progress_bar() as bar, keeping_what_is_done(lines) as interruption:
        for (other, step), end in zip(ends[1:], names[1:], strict=True):
            state = other.state_dict(step)
            one: dict[str, Any] = {"from": names[0], "to": end}
            for where, objective in (("train", train), ("test", test)):
                progress = partial(bar, f"to {end}, {where}")
                one[where] = line(objective, train.weights, state, points, span, progress=progress)
            lines.append(one)
        if along:
            frame = loss_along(first, train, progress=partial(bar, "along, train"))
            frame["test_loss"] = loss_along(first, test, progress=partial(bar, "along, test"))["loss"]
            trajectory = records(frame.reset_index())
    if json:
        found = [{k: v.to_dict() if isinstance(v, LossPath) else v for k, v in one.items()} for one in lines]
        print_json({"lines": found, "along": trajectory})
    else:
        _print_lines(lines, trajectory)
    if plot is not None and lines:
        from analysis import figures

        figures.save(figures.path(lines[0]["train"], lines[0]["test"], columns=columns), plot)
    interruption.end(f"{len(lines)} of {len(ends) - 1} lines are done")


def _snapshot(name: str) -> "tuple[Run, int]":
    """Open RUN or RUN@T, and return the run and the step of its snapshot."""
    from trajectory import Run

    stem, _, step = name.rpartition("@")
    named = bool(stem) and step.isdigit()
    run = Run(stem if named else name)
    return run, step_of(run, int(step) if named else None)


def _other_data(first: "Run", other: "Run") -> str:
    """Say that another run was trained on other data than the first, if it was."""
    ours, theirs = (one.config.get("settings", {}) for one in (first, other))
    for name in _DATA:
        if name in theirs and theirs[name] != ours.get(name):
            there, here = f"{other.path}: its {name} is {theirs[name]}", f"that of {first.path} {ours.get(name)}"
            return f"{there}, {here}; the loss is of the latter's data"
    return ""


def _print_lines(lines: list[dict[str, Any]], trajectory: list[dict[str, Any]]) -> None:
    if lines:
        print_table(
            [
                {
                    "from": one["from"],
                    "to": one["to"],
                    "distance": f"{one['train'].distance:.4g}",
                    "barrier": f"{one['train'].barrier:.4g}",
                    "barrier (test)": f"{one['test'].barrier:.4g}",
                }
                for one in lines
            ]
        )
        print("barrier: the largest rise of the loss above its chord between the ends; batch statistics")
    if trajectory:
        print_table([{name: f"{value:.5g}" for name, value in row.items()} for row in trajectory])
