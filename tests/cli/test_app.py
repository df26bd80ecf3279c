"""The command line as a whole: exit statuses, help, and one line for every mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


def test_a_command_is_a_process_with_an_exit_status(runs, process, refused):
    done = process("info", runs / "sb-0.zarr")
    assert (done.returncode, done.stderr) == (0, "")
    assert "1000 (1 → 0.1)" in done.stdout
    assert "no such run" in refused("fit", runs / "none.zarr", start=process)
    done = process("fit", runs / "sb-0.zarr", "--t-mim", "3")
    assert (done.returncode, done.stdout) == (2, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's full device")
def test_output_that_cannot_be_written_is_told_in_a_line(runs):
    command = [sys.executable, "-m", "ultraslow", "info", str(runs / "sb-0.zarr")]
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, text=True, env=ascii_only, check=True)
    assert r"1000 (1 \u2192 0.1)" in done.stdout  # the arrow of a drop
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "ultraslow: standard output cannot be written (No space left on device)\n"


def test_help_has_an_example_of_every_command(run):
    commands = ("demo", "train", "sweep", "import", "info", "verify")
    commands += ("fit", "scan", "compare", "origins", "budget", "collapse", "critical-batch", "ageing", "match")
    commands += ("potential", "sharpness", "spectrum", "path", "plan", "table", "plot", "report", "watch")
    overview = run("--help").stdout
    assert f"{{{','.join(commands)}}}" in overview
    assert "$ ultraslow" not in overview  # a line or two a command; the examples are in each one's help
    for command in commands:
        done = run(command, "--help")
        assert done.returncode == 0
        assert f"$ ultraslow {command}" in done.stdout


@pytest.mark.parametrize("arguments", [["nonsense"], ["fit"], ["fit", "a.zarr", "--t-mim", "3"], ["plot", "error"]])
def test_wrong_usage_is_status_2(arguments, run):
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")


def test_mistakes_with_runs_are_one_line(runs, tmp_path, refused):
    assert "no such run" in refused("fit", runs / "none.zarr")
    assert "not a run" in refused("info", runs / "notes")
    assert "short" in refused("fit", runs / "short.zarr")
    assert "empty" in refused("fit", runs / "empty.zarr")
    assert "drop" in refused("match", runs / "lb.zarr", runs / "sb-0.zarr")
    assert "wide" in refused("match", runs / "sb-0.zarr", runs / "wide.zarr")
    assert "x.docx" in refused("plot", "distance", runs / "lb.zarr", "--out", tmp_path / "x.docx")
    blocked = runs / "sb-0.zarr" / "zarr.json" / "x.png"
    assert "x.png" in refused("plot", "distance", runs / "lb.zarr", "--out", blocked)


def test_an_unknown_figure_is_named_with_those_there_are(run):
    done = run("plot", "spiral", "no-such-run", "--out", "x.png")
    assert done.returncode == 2
    error = " ".join(done.stderr.replace("│", " ").split())
    assert "invalid choice 'spiral'" in error
    assert "distance-adaptation" in error
    assert "no-such-run" not in error
    assert "distance-adaptation" in run("plot", "--help").stdout


def test_plot(runs, tmp_path, run):
    for figure in ("distance", "error-updates", "error-epochs"):
        file = tmp_path / f"{figure}.pdf"
        done = run("plot", figure, runs / "sb-0.zarr", runs / "lb.zarr", "--out", file)
        assert done.stdout.split() == [str(file)]
        assert file.read_bytes().startswith(b"%PDF")
