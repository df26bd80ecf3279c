"""`ultraslow budget`: is the motion a random walk, and has weight decay balanced the norm?"""

from ultraslow.cli.arguments import Columns, File, MoreRuns, Origin, RunPath, Updates
from ultraslow.cli.console import print_json


def budget(
    run: RunPath,
    runs: MoreRuns = (),
    *,
    t_min: Updates = None,
    t_max: Updates = None,
    origin: Origin = 0,
    momentum: float | None = None,
    nesterov: bool = False,
    per_layer: bool = False,
    plot: File = None,
    columns: Columns = 1,
    force: bool = False,
    json: bool = False,
) -> None:
    """Print where a run's squared distance came from: diffusion, drift or confinement, without fitting a law.

    R is the squared distance gained in a window over what its updates would diffuse: 1 for a random walk. Where the
    norm was recorded and weights decay, a second table compares each parameter's rotation with that of the balance of
    gradients and weight decay.

    $ ultraslow train f1-digits --quantities distance update_norm norm --out runs/sb.zarr
    $ ultraslow budget runs/sb.zarr

    Args:
        run: a run's store: a folder, or a URL. It recorded update_norm.
        runs: further seeds of the same experiment.
        t_min: start of the first window. Default: ten times 1/(1 − μ), or the end of the warm-up.
        t_max: end of the last window. Default: the first learning-rate drop.
        origin: measure the distance from this update; every t then counts from it.
        momentum: momentum μ of the updates. Default: the run's.
        nesterov: take the momentum for Nesterov's, where the run does not note it.
        per_layer: also print windows for each parameter.
        plot: also draw R, to this file (.png, .pdf, .svg).
        columns: width of the figure, in columns of a two-column journal.
        force: take runs whose settings differ for seeds of one experiment all the same.
        json: print one JSON document instead of tables.
    """
    from analysis import budget as budget_of
    from analysis import equilibrium
    from analysis.errors import MotionError

    paths = [run, *runs]
    result = budget_of(
        paths,
        t_min=t_min,
        t_max=t_max,
        origin=origin,
        momentum=momentum,
        nesterov=nesterov or None,
        per_layer=per_layer,
        force=force,
    )
    try:
        balance = equilibrium(paths, t_max=t_max, force=force)
    except MotionError as error:  # no norm was recorded, or nothing decays
        balance, absent = None, str(error)
    if plot is not None:
        from analysis import figures

        figures.save(figures.budget(result, columns=columns), plot)
    if json:
        print_json({**result.to_dict(), "equilibrium": balance.to_dict() if balance else None})
        return
    print(result)
    print(f"\n{balance}" if balance is not None else f"\nNo table of the equilibrium: {absent}")
