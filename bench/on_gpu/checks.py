"""Sections that are commands of their own, whose output is kept as it is."""

import subprocess
import sys

from on_gpu.measured import Measured


def correctness(report: Measured) -> None:
    """The tests that need a GPU."""
    if report.trial:
        report.say("The tests need a GPU: nothing to try out on a CPU.")
        return
    # no plugins are asked for, and other versions of the libraries may warn
    command = ["-m", "pytest", "-m", "cuda", "-q", "-W", "default", "-p", "no:cacheprovider", "-rf", "tests"]
    keep(report, [*command, "-o", "addopts=--import-mode=importlib"])


def ghost(report: Measured) -> None:
    """Ghost batch norm's own benchmark."""
    rows = 7
    size = (
        ["--seconds", "0.1", "--divide", "16"]
        if report.trial
        else ["--seconds", f"{0.8 * report.seconds / rows:.1f}"]
    )
    keep(report, ["bench/ghost_batch_norm.py", "--device", report.device, *size])


def trainer(report: Measured) -> None:
    """The trainer's own benchmark."""
    small = ["--networks", "f1", "--turns", "1", "--updates", "5", "--no-compile"]
    size = small if report.trial else ["--turns", "3", "--workers", "8"]
    keep(report, ["bench/training.py", "--device", report.device, "--seeds", "0", *size])


def keep(report: Measured, arguments: list[str]) -> None:
    """Runs Python and keeps what it prints, line by line; ends with its status if it fails."""
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines: list[str] = []
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line.rstrip())
            report.lines = ["", "```", *lines, "```"]
            report.save()
    if process.returncode != 0:
        print(lines[-1] if lines else "")
        sys.exit(process.returncode)
