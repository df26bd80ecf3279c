"""The command line: parse, call one function of a package, print.

Exit status 0: done; 1: a problem with the input or the data, told in one line on stderr; 2: wrong usage;
130: interrupted.
"""

import json as json_module
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from math import inf, isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from tyro.conf import Positional, arg

from trajectory.errors import UltraslowError

if TYPE_CHECKING:
    from pandas import DataFrame

    from train.recipes import Config
    from trajectory import Run

# The packages are imported where a command needs them: torch takes seconds, --help should not.

app = tyro.extras.SubcommandApp()

RunPath = Annotated[str, Positional, arg(metavar="RUN")]  # a folder or a URL, whose // a Path would lose
MoreRuns = Annotated[tuple[str, ...], Positional, arg(metavar="[RUN ...]")]
Updates = Annotated[float | None, arg(metavar="T")]
Origin = Annotated[int, arg(metavar="T")]
Count = Annotated[int | None, arg(metavar="N")]
Seeds = Annotated[tuple[str, ...], arg(metavar="RUN [RUN ...]")]
OnFailure = Annotated[Literal["keep", "drop", "raise"] | None, arg(metavar="{keep,drop,raise}")]
File = Annotated[Path | None, arg(metavar="FILE")]
Columns = Annotated[Literal[1, 2], arg(metavar="{1,2}")]


def main() -> None:
    """Runs one command; the process ends with its status."""
    try:
        app.cli(
            prog="ultraslow",
            description="Record, fit and match the weight trajectories of training runs.",
            config=(tyro.conf.FlagCreatePairsOff,),
        )
    except UltraslowError as error:
        print(f"ultraslow: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("ultraslow: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command
def demo(*, out: Path = Path("ultraslow-demo"), seed: int = 0, json: bool = False) -> None:
    """Trains small batch, large batch and matched large batch on bundled digits; fits; draws.

    $ ultraslow demo --out demo

    Args:
        out: folder for runs and figures; runs of an earlier demo there are replaced.
        seed: seed of the first run; the small batch's three take seed, seed + 1 and seed + 2.
        json: print one JSON document instead of the table.
    """
    from train.demo import demo as run_demo

    with _progress() as bar, _kept(out):
        result = run_demo(out, seed=seed, progress=bar)
    if json:
        _print_json(result.to_dict())
        return
    _print_table(result.table())
    print("distance: ‖w_t − w_0‖ at the end; error: validation error; drop at: update (distance there)")
    print("α: * provisional, from one run alone; ? no law of the family holds, α describes nothing")
    print(*(f"! {note}" for note in result.notes), "", *result.paths, sep="\n")


@app.command
def train(
    recipe: Annotated[str, Positional, arg(metavar="RECIPE")],
    *,
    out: Annotated[str | None, arg(metavar="RUN")] = None,
    seed: Count = None,
    data_root: Path = Path("data"),
    device: str = "cpu",
    batch_size: Annotated[int | None, arg(metavar="N")] = None,
    epochs: Annotated[float | None, arg(metavar="N")] = None,
    lr: Annotated[float | None, arg(metavar="RATE")] = None,
    lr_rule: Annotated[Literal["none", "sqrt", "linear"] | None, arg(metavar="{none,sqrt,linear}")] = None,
    ghost_batch_size: Annotated[int | None, arg(metavar="N")] = None,
    regime_adaptation: bool = False,
    warm_up: Annotated[int | None, arg(metavar="UPDATES")] = None,
    weight_decay: Annotated[float | None, arg(metavar="L")] = None,
    clip_norm: Annotated[float | None, arg(metavar="NORM")] = None,
    match: Annotated[tuple[str, ...], arg(metavar="REFERENCE [REFERENCE ...]")] = (),
    match_origin: Count = None,
    min_step: Count = None,
    gamma: Annotated[float | None, arg(metavar="FACTOR")] = None,
    later_phases: Annotated[Literal["updates", "distance"] | None, arg(metavar="{updates,distance}")] = None,
    timeout: Count = None,
    on_timeout: OnFailure = None,
    already_above: OnFailure = None,
    overwrite: bool = False,
) -> None:
    """Trains one recorded run of a recipe: f1-digits, f1-mnist, f1-fashion-mnist, or a file that `plan` wrote.

    $ ultraslow train f1-mnist --data-root data --batch-size 4096 --lr-rule sqrt --ghost-batch-size 128

    Args:
        recipe: the experiment, or a TOML file of it; what is not given below is as it says.
        out: the run's store; default runs/RECIPE-METHOD-seedN.zarr.
        seed: fixes the initial weights, the order of the samples and all noise.
        data_root: folder of the data sets (MNIST/raw/..., FashionMNIST/raw/...); what is missing is downloaded.
        device: cpu, or cuda.
        batch_size: samples in an update.
        epochs: passes through the training set.
        lr: learning rate at the recipe's base batch size.
        lr_rule: learning rate × 1, × √(B/B₀) or × B/B₀ for batch size B and base batch size B₀.
        ghost_batch_size: batch normalization over ghost batches of this size.
        regime_adaptation: stretch the epochs so that the updates are as many as at the base batch size.
        warm_up: updates over which the learning rate grows linearly; under a match 100 by default.
        weight_decay: SGD's weight decay.
        clip_norm: clip the gradient's norm to this; 0 for no clipping.
        match: reference runs; the learning rate drops where they had travelled at their drops.
        match_origin: measure both runs' distances from this update, after the first ones that throw the weights.
        min_step: update before which no distance counts.
        gamma: factor of every drop under a match; default the reference's own.
        later_phases: what drops after the first follow: the reference's updates in the phase, or its distance.
        timeout: updates that a phase may last.
        on_timeout: then keep the rate, drop it, or raise an error.
        already_above: likewise when the run is above the target without having been seen below.
        overwrite: replace the run at `out`.
    """
    from train.loop import train as run_training
    from train.recipe_file import read_recipe
    from train.recipes import get

    given = {
        "seed": seed,
        "batch_size": batch_size,
        "epochs": epochs,
        "lr": lr,
        "lr_rule": lr_rule,
        "ghost_batch_size": ghost_batch_size,
        "regime_adaptation": regime_adaptation or None,
        "warm_up": warm_up,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "match": match or None,
        "match_origin": match_origin,
        "min_step": min_step,
        "gamma": gamma,
        "later_phases": later_phases,
        "timeout": timeout,
        "on_timeout": on_timeout,
        "already_above": already_above,
    }
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if clip_norm == 0:
        changes["clip_norm"] = None
    config = replace(read_recipe(recipe) if recipe.endswith(".toml") else get(recipe), **changes)
    path = out or str(Path("runs") / f"{_file_name(config)}.zarr")
    with _progress() as bar, _kept(path):
        run_training(
            config,
            path,
            data_root=data_root,
            device=device,
            progress=lambda t, updates: bar(Path(path).name, t, updates),
            overwrite=overwrite,
        )
    info(path)


@app.command(name="import")
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
    from trajectory.importer import import_checkpoints

    with _progress() as bar:
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


@app.command
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
        _print_json(facts)
        return
    facts["events"] = [f"{event['name']} at {event['step']}" for event in facts["events"]]
    _print_facts(facts)


@app.command
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
        _print_json([asdict(finding) for finding in findings])
    for finding in () if json else findings:
        state = "damage" if not finding.mendable else "mended" if repair else "--repair mends it"
        print(f"{run}: {finding.sentence} [{state}]")
    if not (findings or json):
        print(f"{run}: whole")
    if any(not (finding.mendable and repair) for finding in findings):
        sys.exit(1)


@app.command
def fit(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Origin = 0,
    level: float = 0.95,
    per_layer: bool = False,
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Fits ‖w_t − w_0‖ ~ (log t)^(2/α): α, its interval, and what to be wary of.

    Several runs are taken for seeds of one experiment; three or more give the interval from their spread.

    $ ultraslow fit runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --t-min 100

    Args:
        run: a run's store.
        runs: further seeds.
        t_min: first update used; default: the earliest start at which the law holds.
        t_max: last update used; default: the first learning-rate drop.
        origin: measure from this update; every t then counts from it.
        level: the interval's level.
        per_layer: one α for each parameter.
        plot: also draw data, fit and residuals to this file (.png, .pdf, .svg).
        columns: the figure's width in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    from analysis import fit as fit_runs

    paths = [run, *runs]
    if per_layer:
        frame = fit_runs(paths, t_min=t_min, t_max=t_max, level=level, origin=origin, per="layer")
        _print_json(_records(frame.reset_index())) if json else print(frame.to_string())
        return
    result = fit_runs(paths, t_min=t_min, t_max=t_max, level=level, origin=origin)
    if plot is not None:
        from analysis import figures

        figures.save(figures.fit(result, columns=columns), plot)
    _print_json(result.to_dict()) if json else print(result)


@app.command
def scan(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Origin = 0,
    level: float = 0.95,
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Shows α, its interval and the goodness of fit for every start of the window.

    $ ultraslow scan runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --plot scan.pdf

    Args:
        run: a run's store.
        runs: further seeds.
        t_min: first start tried.
        t_max: last update used; default: the first learning-rate drop.
        origin: measure from this update; every t then counts from it.
        level: the interval's level.
        plot: also draw the scan to this file (.png, .pdf, .svg).
        columns: the figure's width in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    from analysis import scan as scan_runs

    frame = scan_runs([run, *runs], t_min=t_min, t_max=t_max, level=level, origin=origin)
    if plot is not None:
        from analysis import figures

        figures.save(figures.scan(frame, columns=columns), plot)
    _print_json(_records(frame)) if json else print(frame.to_string(index=False, float_format="{:.4g}".format))


@app.command
def compare(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Origin = 0,
    laws: Annotated[tuple[str, ...], arg(metavar="LAW [LAW ...]")] = (),
    plot: File = None,
    columns: Columns = 1,
    json: bool = False,
) -> None:
    """Compares the ultra-slow law with its rivals on one window, under the same correlated noise.

    $ ultraslow compare runs/sb-0.zarr runs/sb-1.zarr runs/sb-2.zarr --plot laws.pdf

    Args:
        run: a run's store.
        runs: further seeds.
        t_min: first update used; default: the window of `fit`.
        t_max: last update used; default: the first learning-rate drop.
        origin: measure from this update; every t then counts from it.
        laws: laws to compare; default all.
        plot: also draw data, laws and residuals to this file (.png, .pdf, .svg).
        columns: the figure's width in columns of a two-column journal.
        json: print one JSON document instead of a table.
    """
    from analysis import compare as compare_laws

    result = compare_laws([run, *runs], laws or None, t_min=t_min, t_max=t_max, origin=origin)
    if plot is not None:
        from analysis import figures

        figures.save(figures.compare(result, columns=columns), plot)
    _print_json(result.to_dict()) if json else print(result)


@app.command
def match(
    reference: Annotated[str, Positional, arg(metavar="REFERENCE")],
    run: RunPath,
    *,
    seeds: Seeds = (),
    origin: Origin = 0,
    extrapolate: bool = False,
    min_step: Count = None,
    plot: File = None,
    json: bool = False,
) -> None:
    """Tells when RUN reaches the distance REFERENCE had travelled at its learning-rate drops.

    Where it has not reached the first yet, a forecast follows: advice, with an interval and a back-test.

    $ ultraslow match runs/sb-0.zarr runs/lb.zarr --seeds runs/sb-1.zarr runs/sb-2.zarr

    Args:
        reference: a run with a learning-rate drop.
        run: the run held against it.
        seeds: further seeds of the reference.
        origin: measure both runs from this update, after the first ones that throw the weights.
        extrapolate: continue the law of a reference that ends before its drop.
        min_step: update before which no distance counts; default 100.
        plot: also draw both curves, the targets, the crossing and the forecast to this file (.png, .pdf, .svg).
        json: print one JSON document instead of a table.
    """
    from analysis import AnalysisError, Status, predict_match
    from analysis import match as match_runs

    floor: dict[str, Any] = {} if min_step is None else {"min_step": min_step}
    result = match_runs([reference, *seeds], run, origin=origin, extrapolate=extrapolate, **floor)
    forecast, why_not = None, ""
    if result.matches[0].status in (Status.WAITING, Status.ARMED, Status.NEVER_REACHED):
        try:
            forecast = predict_match(run, result.reference)
        except AnalysisError as error:
            why_not = f"no forecast: {error}"
    if plot is not None:
        from analysis import figures

        figures.save(figures.match(result, [reference, *seeds], run, forecast), plot)
    if json:
        _print_json({**result.to_dict(), "forecast": forecast.to_dict() if forecast else None})
    else:
        print(*filter(None, [result, forecast, why_not]), sep="\n")


@app.command
def plan(
    reference: Annotated[str, Positional, arg(metavar="REFERENCE")],
    *,
    batch_size: Annotated[int, arg(metavar="N")],
    seeds: Seeds = (),
    out: File = None,
    json: bool = False,
) -> None:
    """Plans a large batch's run from a small batch's: learning rate, ghost batch, updates, epochs, drops.

    $ ultraslow plan runs/sb-0.zarr --batch-size 4096 --out lb.toml && ultraslow train lb.toml --data-root data

    Args:
        reference: the small batch's run, with a learning-rate drop.
        batch_size: samples in an update of the large batch.
        seeds: further seeds of the reference.
        out: also write the matched run's recipe to this TOML file, for `ultraslow train`.
        json: print one JSON document instead of a table.
    """
    from train.plan import plan as plan_run
    from train.recipe_file import write_recipe

    found = plan_run([reference, *seeds], batch_size)
    if out is not None:
        write_recipe(found.recipe(), out)
    _print_json(found.to_dict()) if json else _print_facts(found.table())


@app.command
def plot(
    figure: Annotated[str, Positional, arg(metavar="FIGURE")],
    run: RunPath,
    runs: MoreRuns = (),
    *,
    out: Annotated[Path, arg(metavar="FILE")],
) -> None:
    """Draws a figure of runs: distance[-linear|-log], error[-updates|-epochs], fit, scan, compare, match.

    $ ultraslow plot distance runs/sb.zarr runs/lb.zarr --out distance.pdf

    Args:
        figure: which figure.
        run: a run's store.
        runs: further runs; runs with one label are drawn as seeds of one experiment.
        out: the file to write; its suffix (.png, .pdf, .svg) is the format.
    """
    from analysis import figures

    for path in figures.save(figures.draw(figure, [run, *runs]), out):
        print(path)


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


def _words(value: Any) -> str:
    """A fact as a person reads it; what is empty or nested deeper is left to --json."""
    if isinstance(value, dict):
        shown = {
            name: item for name, item in value.items() if item not in (None, "", []) and not isinstance(item, dict)
        }
        value = [f"{name} {_words(item)}" for name, item in shown.items()]
    if isinstance(value, list):
        return ", ".join(map(_words, value)) or "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _file_name(config: "Config") -> str:
    """RECIPE-METHOD-seedN in characters every file system takes."""
    return f"{config.recipe}-{config.method}-seed{config.seed}".lower().replace(" ", "-").replace("+", "")


def _records(frame: "DataFrame") -> list[dict[str, Any]]:
    """A table's rows, fit for JSON: None for NaN and infinity."""
    finite = frame.replace([inf, -inf], nan).astype(object)
    return finite.where(finite.notna(), None).to_dict("records")


def _print_json(value: Any) -> None:
    print(json_module.dumps(value, indent=1, allow_nan=False))


def _print_facts(facts: dict[str, Any]) -> None:
    table = Table(show_header=False)
    for key, value in facts.items():
        table.add_row(key, _words(value))
    Console(highlight=False).print(table)


def _print_table(rows: list[dict[str, str]]) -> None:
    table = Table(*rows[0], box=None, padding=(0, 1, 0, 0), header_style="bold")
    for row in rows:
        table.add_row(*row.values())
    Console(highlight=False).print(table)


@contextmanager
def _kept(path: Path | str) -> Iterator[None]:
    """Says where the runs are when Ctrl-C ends the training."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"ultraslow: interrupted; what was recorded is in {path} and can be read", file=sys.stderr)
        sys.exit(130)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A bar on stderr when it is a terminal; yields progress(name, done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, Any] = {}

        def advance(name: str, done: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=total)
            progress.update(tasks[name], completed=done, total=total)

        yield advance


if __name__ == "__main__":
    main()
