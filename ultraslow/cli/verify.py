"""`ultraslow verify`: the check of a run's store."""

import sys
from dataclasses import asdict

from ultraslow.cli.arguments import RunPath
from ultraslow.cli.console import print_json, say


def verify(run: RunPath, *, repair: bool = False, json: bool = False) -> None:
    """Check that a run's store is intact. The exit status is 1 if it is not.

    What the recorder warned of is repeated: an intact store may lack rows that nobody recorded.

    $ ultraslow verify runs/sb.zarr --repair

    Args:
        run: a run's store: a folder, or a URL.
        repair: close the store of a killed run, and remove what it left half-written.
        json: print one JSON document instead of lines.
    """
    from trajectory import Run
    from trajectory import verify as verify_store

    problems = verify_store(run, repair=repair)
    if json:
        print_json([asdict(problem) for problem in problems])
    for problem in () if json else problems:
        state = "damage" if not problem.repairable else "repaired" if repair else "--repair repairs it"
        say(f"{run}: {problem.message} [{state}]")
    if not (problems or json):
        say(f"{run}: intact")
    for sentence in () if json or problems else Run(run).warnings:
        say(f"{run}: {sentence} [recorder's warning]")
    if any(not (problem.repairable and repair) for problem in problems):
        sys.exit(1)
