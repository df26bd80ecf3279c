"""What was done to runs, how often, and what came of it: the table of docs/reliability.md.

    python bench/reliability.py [ROW...] [--n 200] [--seed 0] [--out docs/reliability.md]

A row is one of those below; without one, all of them. Each prints how often each outcome came, and every case that is
none of the outcomes allowed: the exit status is 1 if there is one. `--out` puts the rows into a page's table.
"""

import argparse
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from reliability_rows import commands, copies, damage, failures, hostile, power_cuts, processes, resumes, soak

ROWS: dict[str, tuple[str, Callable[[int, int], Iterator[str]]]] = {
    "damaged": ("a closed or killed store with one fault in one file, read whole", damage.read_back),
    "verified": ("the same, checked by `verify`", damage.verified),
    "repaired": ("the same, after `verify --repair`", damage.repaired),
    "hostile": ("a store whose metadata lie, with a checksum that holds", hostile.read_back),
    "commands": ("`info`, `verify`, `fit`, `plot` and `match` on damaged and hostile stores", commands.fuzz),
    "kills": ("a recording process that is killed at a random moment", processes.kills),
    "crashes": ("a power cut at a random moment of a run: one of the states that POSIX allows", power_cuts.judge),
    "failures": (
        "a disk that is full, or fails, at one call of a run or from there on, half with a kill",
        failures.judge,
    ),
    "copies": (
        "a store that is copied file by file while a run is recorded, resumed and replaced there",
        copies.judge,
    ),
    "resumes": ("a run that is resumed 50 times, about half of them after a kill", resumes.judge),
    "soak": ("a run of 10⁶ updates of 20 layers, compared with a float64 twin at each", soak.judge),
    "forks": ("a recording process that forks, and whose child outlives it", processes.forks),
}


def main() -> None:
    """Runs the rows that are named and prints their table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--n", type=int, default=200, help="cases of each row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if unknown := set(options.rows) - ROWS.keys():
        parser.error(f"no row is named {', '.join(sorted(unknown))}; expected some of {', '.join(ROWS)}")
    wrong = False
    for name in options.rows or ROWS:
        what, run = ROWS[name]
        counts = Counter(run(options.n, options.seed))
        failures = [outcome for outcome in counts if outcome.startswith("WRONG")]
        wrong |= bool(failures)
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in counts.most_common() if outcome not in failures)
        row = f"| {what} | {counts.total()} | {outcomes} | `python bench/reliability.py {name} --n {options.n}` |"
        print(row, *sorted(failures), sep="\n", flush=True)
        if options.out and not failures:
            put(row, name, options.out)
    sys.exit(wrong)


def put(row: str, name: str, page: Path) -> None:
    """Replaces the row of that name in a page's table."""
    text = page.read_text()
    found = re.search(rf"^\|.*bench/reliability\.py {name}\b.*\|$", text, flags=re.MULTILINE)
    if found is None:
        sys.exit(f"{page}: has no row of {name}; expected one that ends with its command")
    page.write_text(text.replace(found[0], row))


if __name__ == "__main__":
    main()
