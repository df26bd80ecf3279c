"""The command line: parse, call one command.

Exit status 0: done; 1: a problem with the input or the data, reported in one line on stderr; 2: wrong usage;
130: interrupted. The commands import the packages where they need them: torch takes seconds, --help should not.
"""

import errno
import gc
import io
import os
import signal
import sys
from collections.abc import Callable

import tyro

from ultraslow._packages import HiddenPackageError, require
from ultraslow.cli.ageing import ageing
from ultraslow.cli.budget import budget
from ultraslow.cli.collapse import collapse
from ultraslow.cli.compare import compare
from ultraslow.cli.console import say
from ultraslow.cli.critical_batch import critical_batch
from ultraslow.cli.demo import demo
from ultraslow.cli.fit import fit
from ultraslow.cli.import_ import import_
from ultraslow.cli.info import info
from ultraslow.cli.match import match
from ultraslow.cli.origins import origins
from ultraslow.cli.path import path
from ultraslow.cli.plan import plan
from ultraslow.cli.plot import plot
from ultraslow.cli.potential import potential
from ultraslow.cli.report import report
from ultraslow.cli.scan import scan
from ultraslow.cli.sharpness import sharpness
from ultraslow.cli.spectrum import spectrum
from ultraslow.cli.sweep import sweep
from ultraslow.cli.table import table
from ultraslow.cli.train import train
from ultraslow.cli.verify import verify
from ultraslow.cli.watch import watch

_COMMANDS: dict[str, Callable[..., None]] = {
    command.__name__.rstrip("_").replace("_", "-"): command
    for command in (
        demo,
        train,
        sweep,
        import_,
        info,
        verify,
        fit,
        scan,
        compare,
        origins,
        budget,
        collapse,
        critical_batch,
        ageing,
        match,
        potential,
        sharpness,
        spectrum,
        path,
        plan,
        table,
        plot,
        report,
        watch,
    )
}  # as --help lists them
_DESCRIPTION = "Record, fit and match the weight trajectories of training runs.\n\n--version prints the version."
_WITHOUT_TRAIN = {
    "import",
    "info",
    "verify",
    "fit",
    "scan",
    "compare",
    "origins",
    "budget",
    "collapse",
    "critical-batch",
    "ageing",
    "match",
    "report",
    "watch",
}
_UNCOLLECTED = 100_000  # objects made between two looks for cycles; Python's 700 are looked through at every import


def main() -> None:
    """Run one command; the process ends with its status.

    SIGTERM, which batch systems send before they kill, ends a command as Ctrl-C does. Under torchrun it keeps its
    meaning: there it ends processes that wait for one that has failed.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        signal.signal(signal.SIGTERM, _as_ctrl_c)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where it cannot write α or −, it escapes them
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:] == ["--version"]:
        from ultraslow import __version__

        print(f"ultraslow {__version__}")
        return
    without_train = bool(_WITHOUT_TRAIN & set(sys.argv[1:2]))
    if without_train:  # the cycles of training hold tensors
        gc.set_threshold(_UNCOLLECTED)
    try:
        require("trajectory", "analysis", *([] if without_train else ["train"]))
    except HiddenPackageError as error:
        print(f"ultraslow: {error}", file=sys.stderr)
        sys.exit(1)
    from trajectory.errors import UltraslowError  # not before it is known whose `trajectory` this is

    try:
        _run()
        sys.stdout.flush()
    except UltraslowError as error:
        say("\\n".join(f"ultraslow: {error}".split("\n")), file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("ultraslow: interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # `| head` has read enough
        _drop_output()
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or error.filename is not None:
            raise
        _drop_output()
        print(f"ultraslow: standard output cannot be written ({error.strerror})", file=sys.stderr)
        sys.exit(1)


def _run() -> None:
    if sys.argv[1:2] == ["train"]:  # whose options and their defaults are the recipe's
        train(*sys.argv[2:])
        return
    name, options = next(iter(sys.argv[1:]), ""), (tyro.conf.FlagCreatePairsOff,)
    if command := _COMMANDS.get(name):  # alone: the parsers of all take time
        tyro.cli(command, prog=f"ultraslow {name}", args=sys.argv[2:], config=options)
        return
    overview().cli(prog="ultraslow", description=_DESCRIPTION, config=options)


def _drop_output() -> None:
    """Let nothing fail that is still to be printed, at the end of the process for one."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _as_ctrl_c(number: int, frame: object) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in the background
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)


def overview() -> "tyro.extras.SubcommandApp":
    """Return all commands, with the first line of what each says of itself and without its arguments."""
    app = tyro.extras.SubcommandApp()
    for name, command in _COMMANDS.items():
        app.command(name=name)(_in_one_line(command))
    return app


def _in_one_line(command: Callable[..., None]) -> Callable[[], None]:
    def summary() -> None:
        pass

    summary.__doc__ = (command.__doc__ or "").partition("\n")[0]
    return summary
