"""`ultraslow table`: validation accuracies side by side."""

import sys
from math import isnan
from typing import Any

from ultraslow.cli.arguments import MoreRuns, RunPath
from ultraslow.cli.console import print_json, print_table, say


def table(run: RunPath, runs: MoreRuns = (), *, json: bool = False) -> None:
    """Tabulate the validation accuracy by network, data and method, beside the paper's number.

    The accuracy is that after the last update, in %: the mean over seeds ± its standard deviation. The paper (Hoffer,
    Hubara, Soudry 2017) used batches of 128 (SB) and 4096, and trained for its own number of epochs. Runs that are
    not complete are left out.

    $ ultraslow table runs/reproduction

    Args:
        run: a run's store, or a folder of them.
        runs: further stores or folders.
        json: print one JSON document instead of a table.
    """
    from analysis.serialize import records
    from train import table as tabulate

    frame = tabulate([run, *runs])
    rows = records(frame)
    if json:
        print_json(rows)
    else:
        print_table([_cells(row) for row in rows])
    for name in frame.attrs["left_out"]:
        say(f"! {name} is left out: it is not complete", file=sys.stderr)


def _cells(row: dict[str, Any]) -> dict[str, str]:
    spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
    return {
        "network": row["network"],
        "data": row["data"],
        "method": row["method"],
        "n": str(row["n"]),
        "accuracy": f"{row['accuracy']:.2f}{spread}",
        "paper": _number(row["paper"], 2),
        "updates": _number(row["updates"], 0),
        "epochs": _number(row["epochs"], 1),
        "min": _number(None if row["wall_time"] is None else row["wall_time"] / 60, 1),
    }


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or isnan(value) else f"{value:.{digits}f}"
