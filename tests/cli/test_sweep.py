"""`ultraslow sweep` as a user starts it: stopped in the middle, and gone on with."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from train.sweeps.state import SweepState
from trajectory import Run, StoreError
from ultraslow.cli import app

SPEC = """
out = "runs"
recipes = ["f1-digits"]
batch_sizes = [64]
[settings]
epochs = 20
snapshots_per_decade = 1
[methods.SB]
[methods."+LR"]
lr_scaling = "sqrt"
"""


def start(folder, *options):
    command = [sys.executable, "-m", "ultraslow", "sweep", "spec.toml", *options]
    # a shell ignores Ctrl-C in what it runs in the background, and so would the sweep
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    return process


def ended(process):
    out, errors = process.communicate(timeout=300)
    return process.returncode, out, errors.splitlines()


def wait_for_rows(path, process):
    while not (path.exists() and rows(path)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def rows(path):
    try:
        return len(Run(path).distance)
    except StoreError:  # it is just being made
        return 0


@pytest.mark.parametrize(
    "ignored", [pytest.param(False, marks=pytest.mark.slow), True], ids=["in a terminal", "in the background"]
)
def test_sigterm_ends_a_sweeps_processes_cleanly_and_says_so(tmp_path, ignored):
    """A shell ignores Ctrl-C in what it runs in the background; SIGTERM ends the sweep all the same."""
    (tmp_path / "spec.toml").write_text(SPEC)
    first = tmp_path / "runs" / "f1-digits-sb-64-seed0.zarr"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN if ignored else signal.default_int_handler)
    command = [sys.executable, "-m", "ultraslow", "sweep", "spec.toml", "--jobs", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    wait_for_rows(first, process)
    children = psutil.Process(process.pid).children()
    process.terminate()
    status, _, lines = ended(process)
    assert (status, lines[-1]) == (130, "ultraslow: interrupted; `ultraslow sweep spec.toml` resumes it")
    assert not psutil.wait_procs(children, timeout=60)[1]
    assert Run(first).status == "interrupted (KeyboardInterrupt)"
    assert first.with_name(f"{first.name}.checkpoint.pt").exists()


def test_a_stopped_sweep_goes_on_and_a_failure_is_told_at_the_end(tmp_path, run, monkeypatch, capsys, ctrl_c):
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    first, second = (tmp_path / "runs" / f"f1-digits-{method}-64-seed0.zarr" for method in ("sb", "lr"))

    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(SweepState, "report", lambda *_: ctrl_c())
        done = run("sweep", "spec.toml")
    assert done.returncode == 130
    assert done.stderr.splitlines() == [
        "0/2 f1-digits-sb-64-seed0: running",
        "ultraslow: interrupted; `ultraslow sweep spec.toml` resumes it",
    ]

    process = start(tmp_path)
    wait_for_rows(second, process)  # the first is done
    process.kill()
    assert ended(process)[2][1].startswith("1/2 f1-digits-sb-64-seed0: done, 400 updates, ")
    took = Run(first).metrics["wall_time"].iloc[-1]

    monkeypatch.setattr("sys.argv", ["ultraslow", "sweep", "spec.toml", "--dry-run", "--json"])
    app.main()
    listed = json.loads(capsys.readouterr().out)
    assert [(row["status"], row["updates"]) for row in listed] == [("done", 400), ("interrupted", 400)]

    spec.write_text(SPEC + "[methods.wild]\nlr = 1e30\nclip_norm = 0\n")
    monkeypatch.setattr("sys.argv", ["ultraslow", "sweep", "spec.toml"])
    with pytest.raises(SystemExit, match="1"):
        app.main()
    out, errors = capsys.readouterr()
    lines = errors.splitlines()
    assert out == "2 of 3 runs are done\n"
    assert lines[0] == "1/3 f1-digits-sb-64-seed0: done"
    assert lines[-1].startswith("ultraslow: f1-digits-wild-64-seed0 failed: the loss is")
    assert Run(first).metrics["wall_time"].iloc[-1] == took  # kept
    for path in (first, second):
        assert (Run(path).status, len(Run(path).resumed)) == ("complete", 1)


def test_a_misspelt_word_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "spec.toml").write_text(SPEC.replace("lr_scaling", "lr_scalin"))
    monkeypatch.setattr("sys.argv", ["ultraslow", "sweep", str(tmp_path / "spec.toml")])
    with pytest.raises(SystemExit, match="1"):
        app.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("ultraslow: ")
    assert line.endswith("did you mean lr_scaling?")


def test_a_dry_run_needs_no_data_and_writes_nothing(tmp_path, monkeypatch, capsys):
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC.replace("f1-digits", "f1-mnist") + '[methods.LB]\nrecipes = ["alexnet-imagenet"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["ultraslow", "sweep", "spec.toml", "--dry-run"])
    app.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines[1:4]] == [
        ["f1-mnist-sb-64-seed0", str(20 * (60_000 // 64)), "missing"],
        ["f1-mnist-lr-64-seed0", str(20 * (60_000 // 64)), "missing"],
        ["alexnet-imagenet-lb-64-seed0", "missing"],
    ]
    assert lines[4:] == [
        "3 runs, 37480 updates in all",
        "3 runs to make, at most 37480 updates",
        "! not counted: 1 runs whose training set is not there",
    ]
    assert list(tmp_path.iterdir()) == [spec]
