"""The command line: parse, call one function of a package, print.

Exit status 0: done; 1: a problem with the input or the data, told in one line on stderr; 2: wrong usage;
130: interrupted. The packages are imported where a command needs them: torch takes seconds, --help should not.
"""

import os
import sys

import tyro

from trajectory.errors import UltraslowError
from ultraslow.cli.drawing import plot
from ultraslow.cli.fitting import compare, fit, scan
from ultraslow.cli.matching import match, plan
from ultraslow.cli.recording import import_, info, verify
from ultraslow.cli.sweeping import sweep
from ultraslow.cli.tabulating import table
from ultraslow.cli.training import demo, train

_COMMANDS = (
    demo,
    train,
    sweep,
    import_,
    info,
    verify,
    fit,
    scan,
    compare,
    match,
    plan,
    table,
    plot,
)  # as --help lists them
_app = tyro.extras.SubcommandApp()
for _command in _COMMANDS:
    _app.command(name=_command.__name__.rstrip("_"))(_command)


def main() -> None:
    """Runs one command; the process ends with its status."""
    try:
        _app.cli(
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
