"""`ultraslow demo`: a known α found again, a large batch matched on bundled digits, and laws compared."""

from pathlib import Path

from ultraslow.cli.console import interruptible, print_json, print_table, progress_bar, say


def demo(*, out: Path = Path("ultraslow-demo"), seed: int = 0, json: bool = False) -> None:
    """Find a known α again, match a large batch to a small one on bundled digits, and compare laws on its curve.

    $ ultraslow demo --out demo

    Args:
        out: folder for runs and figures; runs of an earlier demo there are replaced.
        seed: seed of the simulated walk, and the first of three seeds of each method.
        json: print one JSON document instead of the text.
    """
    from train.reproduce.demo import demo as run_demo

    with progress_bar() as bar, interruptible(out):
        result = run_demo(out, seed=seed, progress=bar)
    if json:
        print_json(result.to_dict())
        return
    walk, match, law = result.found()
    say("1. A simulated walk whose α is 1 (five seeds, with the noise of real runs)", walk, "")
    say("2. Handwritten digits: a small batch, a large one in equal epochs, and that one matched by distance")
    print_table(result.table())
    say(match, "", "3. What the curve of the small batch follows", law, "")
    say(*(f"! {warning}" for warning in result.warnings), "")
    say(f"Runs and figures are in {out}. {_where_the_rest_is(result.report, out)}")


def _where_the_rest_is(report: Path | None, out: Path) -> str:
    """Say where all warnings are: in the report if it could be written, else in what `fit` prints."""
    if report is not None:
        return f"Everything else, every warning too, is in {report}: open it in a browser."
    return f"ultraslow fit {out}/sb-*.zarr prints every warning; pip install 'ultraslow[report]' adds a report."
