"""Runs to give to the commands, and commands as processes or as calls."""

import io
import signal
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from unittest import mock

import numpy as np
import pytest
import torch
from torch import nn

from trajectory import Recorder
from ultraslow.cli import app


def _process(*arguments):
    """A command as a user starts it."""
    command = [sys.executable, "-m", "ultraslow", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _run(*arguments):
    """The same in this process, where torch and scipy are imported already."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), mock.patch("sys.argv", ["ultraslow", *map(str, arguments)]):
        try:
            app.main()
            status = 0
        except SystemExit as end:
            status = end.code
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())


def _refused(*arguments, start=_run):
    """The one line on stderr of a command that ends with status 1 and prints nothing else."""
    done = start(*arguments)
    assert done.returncode == 1, done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ultraslow: ")
    return line


def _record(path, distances, *, drop=None, width=4, batch_size=16, label="", warning=""):
    """A run whose distance after t updates is distances[t - 1], moved there along one weight."""
    model = nn.Linear(width, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    config = {"batch_size": batch_size, "train_size": 160, "lr": 0.1, "label": label}
    with Recorder(path, model, optimizer, config=config, seed=0) as recorder:
        if warning:
            recorder.event("seen", warning=warning)
        at = 0.0
        for t, distance in enumerate(distances, 1):
            model.weight.grad = torch.zeros(1, width)
            model.weight.grad[0, 0] = at - float(distance)
            optimizer.step()
            at = float(distance)
            if t % 100 == 0:
                recorder.log(epoch=t / 10, validation_error=1 / t)
            if t == drop:
                recorder.event("lr_drop", lr_from=1.0, lr_to=0.1)
    return path


def _law(updates, *, alpha=1.0, amplitude=1.0, seed=0):
    """d = A (log t)^(2/α) from t = 2 on, with 0.1 % of noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(1, updates + 1)
    return amplitude * np.log(t + 1.0) ** (2 / alpha) * np.exp(1e-3 * rng.normal(size=updates))


@pytest.fixture
def ctrl_c():
    """Ctrl-C in this process, which ignores it where the tests were started in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def process():
    return _process


@pytest.fixture(scope="session")
def run():
    return _run


@pytest.fixture(scope="session")
def refused():
    return _refused


@pytest.fixture(scope="session")
def record():
    return _record


@pytest.fixture(scope="session")
def law():
    return _law


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for k in range(3):
        _record(folder / f"sb-{k}.zarr", _law(2000, seed=k), drop=1000, label="SB 16")
    _record(folder / "lb.zarr", 0.9 * _law(2000, seed=7), batch_size=256, label="LB 256")
    _record(folder / "wide.zarr", _law(300), width=5)
    _record(folder / "empty.zarr", [])
    _record(folder / "short.zarr", _law(8))
    (folder / "notes").mkdir()
    return folder
