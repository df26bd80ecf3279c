"""`ultraslow demo`: small batch, large batch and matched large batch on bundled digits."""

from pathlib import Path

from ultraslow.cli.console import interruptible, print_json, print_table, progress_bar, say


def demo(*, out: Path = Path("ultraslow-demo"), seed: int = 0, json: bool = False) -> None:
    """Train a small batch, a large batch and a matched large batch on bundled digits; fit and draw them.

    $ ultraslow demo --out demo

    Args:
        out: folder for runs and figures; runs of an earlier demo there are replaced.
        seed: seed of the first run; the three runs of the small batch have the seeds seed, seed + 1 and seed + 2.
        json: print one JSON document instead of the table.
    """
    from train.reproduce.demo import demo as run_demo

    with progress_bar() as bar, interruptible(out):
        result = run_demo(out, seed=seed, progress=bar)
    if json:
        print_json(result.to_dict())
        return
    print_table(result.table())
    print("distance: ‖w_t − w_0‖ at the end; error: validation error; drop at: update (distance there)")
    print("α: * provisional, from one run alone; ? no law of the family holds, α describes nothing")
    say(*(f"! {note}" for note in result.notes), "", *result.paths)
