"""`ultraslow sweep`: the runs of a TOML file."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from time import monotonic
from typing import TYPE_CHECKING, Annotated

from tyro.conf import Positional, arg

from ultraslow.cli.console import print_json, print_table, say

if TYPE_CHECKING:
    from rich.table import Table

    from train.sweeps.spec import PlannedRun, Sweep
    from train.sweeps.state import RunStatus

_COLOURS = {"waiting": "dim", "running": "cyan", "done": "green", "failed": "red"}


def sweep(
    spec: Annotated[Path, Positional, arg(metavar="SPEC.toml")],
    *,
    device: str = "cpu",
    jobs: Annotated[int, arg(metavar="N")] = 1,
    scheduler: Annotated[str | None, arg(metavar="ADDRESS")] = None,
    overwrite: bool = False,
    dry_run: bool = False,
    json: bool = False,
) -> None:
    """Train recipes × batch sizes × methods × seeds: the runs of a TOML file that are not complete yet.

    docs/reproduction.toml is an example. The same command resumes an interrupted sweep. A run that fails does not
    stop the others: it is reported at the end, with exit status 1.

    $ ultraslow sweep docs/reproduction.toml --jobs 2

    Args:
        spec: the TOML file.
        device: the device to train on: cpu, or cuda.
        jobs: runs at a time, each in a process of its own.
        scheduler: make the runs on the workers of this Dask scheduler (tcp://host:8786), which have one thread each.
        overwrite: replace runs that are there under another configuration.
        dry_run: train nothing and write nothing; list the runs, their updates, and what is there already.
        json: print one JSON document instead of a table.
    """
    from train.sweeps.executors import in_processes, in_this_process, on_cluster
    from train.sweeps.runner import run_sweep
    from train.sweeps.spec import read_sweep

    planned = read_sweep(spec)
    if dry_run:
        _list(planned, overwrite=overwrite, json=json)
        return
    executor = on_cluster(scheduler) if scheduler else in_processes(jobs) if jobs != 1 else in_this_process
    try:
        with _progress(planned) as watch:
            found = run_sweep(planned, device=device, executor=executor, overwrite=overwrite, watch=watch)
    except KeyboardInterrupt:
        print(f"ultraslow: interrupted; `ultraslow sweep {spec}` resumes it", file=sys.stderr)
        sys.exit(130)
    rows = {path: {"status": at.status, "updates": at.updates, "failure": at.failure} for path, at in found.items()}
    if json:
        print_json([{"path": path, **row} for path, row in rows.items()])
    failures = {path: at.failure for path, at in found.items() if at.status == "failed"}
    for path, failure in failures.items():
        say(f"ultraslow: {_name(path)} failed: {failure}", file=sys.stderr)
    if not json:
        print(f"{len(found) - len(failures)} of {len(found)} runs are done")
    if failures:
        sys.exit(1)


def _list(planned: "Sweep", *, overwrite: bool, json: bool) -> None:
    from train.sweeps.survey import survey, updates_of

    states, updates = survey(planned, overwrite=overwrite), updates_of(planned)
    if json:
        print_json([{"path": run.path, "updates": updates[run], "status": states[run]} for run in planned.runs])
        return
    counts = {run: "" if count is None else str(count) for run, count in updates.items()}
    print_table([{"run": _name(run.path), "updates": counts[run], "status": states[run]} for run in planned.runs])
    left = [run for run in planned.runs if states[run] != "done"]
    print(f"{len(states)} runs, {_sum(updates.values())} updates in all")
    print(f"{len(left)} runs to make, at most {_sum(updates[run] for run in left)} updates")
    uncounted = sum(count is None for count in updates.values())
    if uncounted:
        print(f"! not counted: {uncounted} runs whose training set is not there")


def _sum(counts: Iterable[int | None]) -> int:
    return sum(count for count in counts if count is not None)


@contextmanager
def _progress(planned: "Sweep") -> Iterator["Callable[[PlannedRun, RunStatus], None]"]:
    """Show progress on stderr: a live table in a terminal, otherwise a line whenever a run starts or ends."""
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _by_lines(len(planned.runs))
        return
    statuses: dict[str, RunStatus] = {}

    def watch(run: "PlannedRun", status: "RunStatus") -> None:
        statuses[run.path] = status

    paths = [run.path for run in planned.runs]
    with Live(console=console, get_renderable=lambda: _board(paths, statuses, console.height), refresh_per_second=2):
        yield watch


def _by_lines(total: int) -> "Callable[[PlannedRun, RunStatus], None]":
    ended: set[str] = set()
    reported: dict[str, tuple[str, int]] = {}

    def watch(run: "PlannedRun", status: "RunStatus") -> None:
        if reported.get(run.path) == (status.status, status.lost):
            return
        died = status.lost > reported.get(run.path, ("", 0))[1]
        reported[run.path] = (status.status, status.lost)
        if status.status in ("done", "failed"):
            ended.add(run.path)
        line = f"{len(ended)}/{total} {_name(run.path)}: {status.status}"
        line += " again, since its worker died" if died and status.status == "running" else ""
        if status.status == "done" and status.began is not None:
            line += f", {status.t} updates, {status.seconds / 60:.1f} min"
        print(line, file=sys.stderr, flush=True)

    return watch


def _board(paths: list[str], statuses: "dict[str, RunStatus]", height: int) -> "Table":
    """The table. If it is higher than the terminal, it shows what is running and what comes next."""
    from rich.table import Table

    from train.sweeps.state import RunStatus

    known = {path: statuses.get(path, RunStatus()) for path in paths}
    shown = known
    if len(known) > height - 4:
        order = ("running", "failed", "waiting", "done")
        first = sorted(known, key=lambda path: order.index(known[path].status))[: max(height - 4, 1)]
        shown = {path: status for path, status in known.items() if path in first}
    done = sum(status.status == "done" for status in known.values())
    table = Table("run", "status", "update", "min", box=None, padding=(0, 2, 0, 0), caption_justify="left")
    table.caption = f"{done} of {len(known)} runs are done"
    for path, at in shown.items():
        seconds = monotonic() - at.began if at.status == "running" and at.began is not None else at.seconds
        status = f"[{_COLOURS[at.status]}]{at.status}{', worker lost' if at.lost else ''}"
        update = f"{at.t} of {at.updates}" if at.updates else ""
        table.add_row(_name(path), status, update, f"{seconds / 60:.1f}" if seconds else "")
    return table


def _name(path: str) -> str:
    return PurePosixPath(path).name.removesuffix(".zarr")
