"""`ultraslow verify`: the check of a run's store."""

import sys
from dataclasses import asdict

from ultraslow.cli.arguments import RunPath
from ultraslow.cli.console import print_json


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
        print_json([asdict(finding) for finding in findings])
    for finding in () if json else findings:
        state = "damage" if not finding.mendable else "mended" if repair else "--repair mends it"
        print(f"{run}: {finding.sentence} [{state}]")
    if not (findings or json):
        print(f"{run}: whole")
    if any(not (finding.mendable and repair) for finding in findings):
        sys.exit(1)
