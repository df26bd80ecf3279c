"""`ultraslow plot`: figures of runs. The table of their names stands here: each computes what it draws first."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import MoreRuns, RunPath, Updates
from ultraslow.cli.console import say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trajectory.run import Run

Name = Literal[
    "distance",
    "distance-linear",
    "distance-log",
    "distance-adaptation",
    "error",
    "error-updates",
    "error-epochs",
    "error-time",
    "fit",
    "scan",
    "compare",
    "layers",
    "match",
]


def plot(
    figure: Annotated[Name, Positional],
    run: RunPath,
    runs: MoreRuns = (),
    *,
    out: Annotated[Path, arg(metavar="FILE")],
    training: bool = False,
    zoom: Annotated[float | None, arg(metavar="FROM", help_behavior_hint="")] = None,
    smooth: Annotated[float | None, arg(metavar="SHARE", help_behavior_hint="")] = None,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Annotated[int | None, arg(metavar="T", help_behavior_hint="")] = None,
    force: bool = False,
    columns: Annotated[Literal[1, 2] | None, arg(metavar="{1,2}", help_behavior_hint="")] = None,
    style: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="")] = None,
) -> None:
    """Draw a figure of runs.

    distance and error have two panels, with different axes; a name that says the axis draws that panel alone.
    distance-adaptation shows distances before and after the large batches' adaptation, side by side. layers shows α
    of each parameter. match compares the last run with the others, which are its reference.

    Every figure takes --columns and --style; those of the error --training, --zoom and --smooth; fit, scan, compare
    and layers --t-min, --t-max, --origin and --force; distance and match --origin.

    $ ultraslow plot distance runs/sb.zarr runs/lb.zarr --out distance.pdf

    Args:
        figure: what to draw.
        run: a run's store, or a folder of them.
        runs: further runs; runs with one label are drawn as seeds of one experiment.
        out: the file to write; its suffix (.png, .pdf, .svg) is the format.
        training: also draw the training error; for a figure of the error.
        zoom: also draw each panel from here on, in epochs, updates or minutes; for a figure of the error.
        smooth: running mean over this share of the axis, 0 for none; for a figure of the error. Default: 0.02.
        t_min: first update of the fit range. Default: the earliest start from which the law holds.
        t_max: last update of the fit range. Default: the first learning-rate drop.
        origin: measure the distance from this update; every t then counts from it. Default: as `ultraslow fit`
            chooses, for fit, scan, compare and layers; else 0.
        force: take runs whose settings differ for seeds of one experiment all the same.
        columns: width in columns of a two-column journal, 8.4 or 17.4 cm. Default: what the figure needs.
        style: lay this style of matplotlib over ours, by its name (such as dark_background) or its .mplstyle file.
    """
    given = {"zoom": zoom, "smooth": smooth, "t_min": t_min, "t_max": t_max, "origin": origin, "columns": columns}
    options: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    options |= {name: True for name, value in {"training": training, "force": force}.items() if value}
    _check_options(figure, options)

    from analysis.figures import save, use_style

    with use_style(style):
        drawn = draw(figure, [run, *runs], **options)
    for path in save(drawn, out):
        say(path)


def draw(name: Name, runs: "Run | str | Path | Sequence[Run | str | Path]", **options: object) -> "Figure":
    """Compute what a figure shows, and draw it.

    Args:
        name: which figure, as the command names it.
        runs: runs, paths of them, or folders of runs.
        **options: as the command's, where the figure takes them.

    Returns:
        The figure.

    Raises:
        FigureError: if there is no figure of that name, or if it does not take an option.
    """
    _check_options(name, options)

    from analysis import runs_in

    return FIGURES[name](runs_in(runs), **options)


def _check_options(name: Name, options: Iterable[str]) -> None:
    """Raise FigureError for a figure that does not exist, or for an option that it does not take."""
    from analysis.errors import FigureError

    if name not in FIGURES:
        raise FigureError(f"no figure is named {name!r}; expected one of {', '.join(FIGURES)}")
    for option in options:
        if option not in signature(FIGURES[name]).parameters:
            takers = [other for other, draw in FIGURES.items() if option in signature(draw).parameters]
            raise FigureError(
                f"figure {name} takes no --{option.replace('_', '-')}; expected one of {', '.join(takers)}"
            )


def _distance(
    runs: "list[Run]", log_t: bool | None = None, *, origin: int = 0, columns: Literal[1, 2] | None = None
) -> "Figure":
    from analysis import figures

    return figures.distance(runs, log_t=log_t, origin=origin, columns=columns)


def _distance_adaptation(runs: "list[Run]", *, columns: Literal[1, 2] = 2) -> "Figure":
    from train.reproduce.distance_adaptation import distance_adaptation

    return distance_adaptation(runs, columns=columns)


def _error(
    runs: "list[Run]",
    against: Literal["updates", "epochs", "time"] | None = None,
    *,
    training: bool = False,
    zoom: float | None = None,
    smooth: float = 0.02,
    columns: Literal[1, 2] | None = None,
) -> "Figure":
    from analysis import figures

    return figures.error(runs, against=against, training=training, zoom=zoom, smooth=smooth, columns=columns)


def _fitted(
    compute: Literal["fit", "compare", "fit_layers"],
    figure: Literal["fit", "scan", "compare", "layers"],
    runs: "list[Run]",
    *,
    t_min: float | None = None,
    t_max: float | None = None,
    origin: int | None = None,
    force: bool = False,
    columns: Literal[1, 2] = 1,
) -> "Figure":
    import analysis
    from analysis import figures

    result = getattr(analysis, compute)(runs, t_min=t_min, t_max=t_max, origin=origin, force=force)
    return getattr(figures, figure)(result, columns=columns)


def _match(runs: "list[Run]", *, origin: int = 0, columns: Literal[1, 2] = 1) -> "Figure":
    from analysis import figures, match
    from analysis.errors import FigureError

    if len(runs) < 2:
        raise FigureError("figure match got 1 run; expected the reference's runs and then the run compared with them")
    *reference, run = runs
    return figures.match(match(reference, run, origin=origin), reference, run, columns=columns)


FIGURES: "dict[Name, Callable[..., Figure]]" = {
    "distance": _distance,
    "distance-linear": partial(_distance, log_t=False),
    "distance-log": partial(_distance, log_t=True),
    "distance-adaptation": _distance_adaptation,
    "error": _error,
    "error-updates": partial(_error, against="updates"),
    "error-epochs": partial(_error, against="epochs"),
    "error-time": partial(_error, against="time"),
    "fit": partial(_fitted, "fit", "fit"),
    "scan": partial(_fitted, "fit", "scan"),
    "compare": partial(_fitted, "compare", "compare"),
    "layers": partial(_fitted, "fit_layers", "layers"),
    "match": _match,
}
assert tuple(FIGURES) == get_args(Name)
