"""`ultraslow watch`: runs while they are recorded, in the terminal."""

import shlex
from collections.abc import Iterator, Sequence
from time import sleep
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import arg

from ultraslow.cli.arguments import MoreRuns, RunPath, Seeds
from ultraslow.cli.console import aligned, print_json, say

if TYPE_CHECKING:
    from rich.console import RenderableType

    from analysis.matching.reference import Reference
    from trajectory import Run


def watch(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    reference: Seeds = (),
    every: Annotated[float, arg(metavar="SECONDS")] = 5.0,
    once: bool = False,
    to: Annotated[Literal["trackio"] | None, arg(metavar="{trackio}", help_behavior_hint="")] = None,
    project: str = "ultraslow",
    json: bool = False,
) -> None:
    """Show runs while they are recorded: distance, loss, rate, updates a second, forecast of the match, warnings.

    It reads the stores as any reader does, so that the training does not notice. It ends when no run is recorded any
    more, or with Ctrl-C.

    $ ultraslow watch runs/lb.zarr --reference runs/sb-0.zarr runs/sb-1.zarr

    Args:
        run: a run's store, or a folder of them; runs that begin later in a folder are shown too.
        runs: further runs.
        reference: also forecast when each run reaches the distance that these seeds had travelled at their first
            learning-rate drop, with the forecast's 90 % interval.
        every: seconds from one look at the stores to the next.
        once: show them once, and end. Without --to, this is also what happens where the output is no terminal.
        to: also store what the runs hold in trackio, on this machine and without an account; `trackio show` then
            opens its live page. It needs the extra `trackio`.
        project: with --to trackio, the project that the runs belong to there.
        json: print one JSON document of one look instead.
    """
    from rich.console import Console
    from rich.live import Live

    from analysis.errors import AnalysisError
    from analysis.matching.reference import Reference

    if not every > 0:
        raise AnalysisError(f"every = {every!r}: expected seconds, above 0")
    target = Reference.from_runs(list(reference)) if reference else None
    console = Console(highlight=False)
    sent_to = project if to else None
    if once or json or not (console.is_terminal or to):
        rows, warned, _ = _look([run, *runs], target, sent_to)
        if json:
            print_json({"runs": rows, "warnings": warned})
            return
        console.print(aligned(rows))
        say(*(f"! {sentence}" for sentence in warned), *_page(sent_to))
        return
    with Live(console=console, auto_refresh=False) as live:
        for shown in _looks([run, *runs], target, every, sent_to):
            live.update(shown, refresh=True)


def _looks(
    places: Sequence[str], target: "Reference | None", every: float, project: str | None = None
) -> "Iterator[RenderableType]":
    """Look until every run has ended."""
    from rich.console import Group
    from rich.text import Text

    from trajectory.errors import printable

    while True:
        rows, warned, recording = _look(places, target, project)
        below = [*(f"! {sentence}" for sentence in warned), *_page(project)]
        yield Group(aligned(rows), *(Text(printable(line)) for line in below))
        if not recording:
            return
        sleep(every)


def _page(project: str | None) -> list[str]:
    """Say how the live page is opened, where there is one."""
    return [] if project is None else [f"Live page: trackio show --project {shlex.quote(project)}"]


def _look(
    places: Sequence[str], target: "Reference | None", project: str | None = None
) -> tuple[list[dict[str, str]], list[str], bool]:
    """Return a row for each run, the warnings, and whether a run is still recorded; send the runs to trackio."""
    from analysis import runs_in

    found = runs_in(list(places))
    if project is not None:
        from trajectory.integrations.trackio_rows import send_to_trackio

        for run in found:
            send_to_trackio(run, project)
    warned = [f"{run.name}: {sentence}" for run in found for sentence in run.warnings]
    return [_row(run, target) for run in found], warned, any(run.status == "recording" for run in found)


def _row(run: "Run", target: "Reference | None") -> dict[str, str]:
    distance, metrics = run.distance, run.metrics
    last = {name: column.dropna().iloc[-1] for name, column in metrics.items() if column.notna().any()}
    row = {
        "run": run.name,
        "status": run.status,
        "update": str(distance.index[-1]) if len(distance) else "0",
        "distance": f"{distance.iloc[-1]:.5g}" if len(distance) else "",
        "loss": f"{last['loss']:.4g}" if "loss" in last else "",
        "rate": f"{last['learning_rate']:.4g}" if "learning_rate" in last else "",
        "updates/s": _speed(run),
    }
    return row if target is None else row | {"match": _forecast(run, target)}


def _speed(run: "Run") -> str:
    """Return updates a second between the last two times logged, as `ultraslow train` logs them in `wall_time`."""
    if "wall_time" not in run.metrics:
        return ""
    times = run.metrics["wall_time"].dropna()
    times = times.iloc[-2:]
    if len(times) < 2 or times.iloc[1] <= times.iloc[0]:
        return ""
    return f"{(times.index[1] - times.index[0]) / (times.iloc[1] - times.iloc[0]):.4g}"


def _forecast(run: "Run", target: "Reference") -> str:
    """Return where the run matched, or when it will; or why that is not known."""
    from analysis import AnalysisError, Status, match, predict_match

    try:
        first = match(target, run).matches[0]
        if first.status not in (Status.WAITING, Status.ARMED):
            return f"{first.status} at {first.step}" if first.status is Status.MATCHED else str(first.status)
        forecast = predict_match(run, target)
    except AnalysisError as error:
        return f"no forecast: {error}"
    if forecast.doubts:
        return f"too early to say: {forecast.doubts[0]}"
    low, high = (f"{step:.0f}" if step < float("inf") else "never" for step in forecast.interval)
    return f"at {forecast.step:.0f}, {100 * forecast.confidence_level:g} % {low} to {high}"
