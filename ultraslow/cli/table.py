"""`ultraslow table`: validation accuracies side by side."""

import sys
from collections.abc import Iterable
from math import isnan
from typing import Any

from ultraslow.cli.arguments import MoreRuns, RunPath
from ultraslow.cli.console import print_json, print_table, say


def table(run: RunPath, runs: MoreRuns = (), *, markdown: bool = False, json: bool = False) -> None:
    """Tabulate the validation accuracy by network, data, protocol and method, beside the paper's number.

    The accuracy is that after the last update, in %: the mean over seeds ± its standard deviation. The paper (Hoffer,
    Hubara, Soudry 2017) used batches of 128 (SB) and 4096, and trained for its own number of epochs. Runs that are
    not complete are left out.

    $ ultraslow table runs/reproduction

    Args:
        run: a run's store, or a folder of them.
        runs: further stores or folders.
        markdown: print a table in Markdown, as docs/reproduction.md has it.
        json: print one JSON document instead of a table.
    """
    from analysis.serialize import records
    from train import table as tabulate

    frame = tabulate([run, *runs])
    rows = records(frame)
    with_protocol = len({row["protocol"] for row in rows}) > 1
    cells = [_cells(row, with_protocol=with_protocol) for row in rows]
    if json:
        print_json(rows)
    elif markdown:
        print(
            *(_markdown(line) for line in (cells[0], ["---"] * len(cells[0]), *(row.values() for row in cells))),
            sep="\n",
        )
    else:
        print_table(cells)
    for name in frame.attrs["left_out"]:
        say(f"! {name} is left out: it is not complete", file=sys.stderr)


def _cells(row: dict[str, Any], *, with_protocol: bool) -> dict[str, str]:
    spread = "" if row["std"] is None else f" ± {row['std']:.2f}"
    return {
        "network": row["network"],
        "data": row["data"],
        **({"protocol": row["protocol"]} if with_protocol else {}),
        "method": row["method"],
        "n": str(row["n"]),
        "accuracy": f"{row['accuracy']:.2f}{spread}",
        "paper": _number(row["paper"], 2),
        "updates": _number(row["updates"], 0),
        "epochs": _number(row["epochs"], 1),
        "min": _number(None if row["wall_time"] is None else row["wall_time"] / 60, 1),
    }


def _markdown(line: Iterable[str]) -> str:
    return f"| {' | '.join(line)} |"


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or isnan(value) else f"{value:.{digits}f}"
