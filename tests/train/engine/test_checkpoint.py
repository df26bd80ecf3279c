"""Interrupted and resumed equals uninterrupted, bit for bit, where a real process was killed.

Both make the same updates of the same shapes on one thread of one machine, whichever it is.
"""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pandas as pd
import pytest
import torch

from train.configs.recipes import f1_digits
from train.engine.checkpoint import Checkpoint
from train.engine.run_training import train
from train.errors import ConfigError
from trajectory import Recorder, Run
from ultraslow.cli import app

DIGITS = replace(f1_digits(), snapshots_per_decade=2)
SHORT = replace(DIGITS, batch_size=64, epochs=3, drops=((2, 0.1),), input_noise=0.0)  # 60 updates

# Children train with a checkpoint after every update, and say how far they got; they are killed at updates drawn at
# random. At update 57 of 60 a copy of the checkpoint is kept.
KILLED = """
import os, random, shutil, signal, sys, time
from dataclasses import replace
from pathlib import Path
import torch
from torch import nn
from train import models
from train.engine.run_training import train
from train.configs.recipes import f1_digits

torch.set_num_threads(1)
folder = Path(sys.argv[1])
f1 = models.NETWORKS["f1-small"]
with_dropout = lambda *size: nn.Sequential(*f1(*size)[:-1], nn.Dropout(0.5), f1(*size)[-1])
digits = replace(f1_digits(), snapshots_per_decade=2)
short = replace(digits, batch_size=64, epochs=3, drops=((2, 0.1),), input_noise=0.0, origins=(10,))
small = train(replace(short, batch_size=16, epochs=2, drops=((1, 0.1),)), folder / "small.zarr")
large = replace(short, batch_size=256, lr_scaling="sqrt", ghost_batch_size=16, epochs=12)
configs = {
    "plain": short,
    "noise": replace(short, input_noise=0.5, multiplicative_noise=True, augment=True),  # and dropout
    "matched": replace(large, match=(str(small),), warmup_steps=5, min_step=10, already_above="drop"),
}
chance = random.Random(0)

def begin(name, config, most=1000):
    says, hears = os.pipe()
    path, made = folder / f"{name}.zarr", 0

    def tell(t, updates):
        nonlocal made
        made += 1
        if made == most:
            time.sleep(1000)  # should the killer be late
        os.write(hears, b".")
        if t == 57:
            shutil.copy(f"{path}.checkpoint.pt", folder / f"{name}.57.pt")

    pid = os.fork()
    if pid == 0:
        if config is configs["noise"]:
            models.NETWORKS["f1-small"] = with_dropout
        try:
            train(config, path, resume=True, checkpoint_every=0, progress=tell)
        finally:
            os._exit(0)
    os.close(hears)
    return pid, says

for name, config in configs.items():
    os.waitpid(begin(f"{name}-whole", config)[0], 0)
    for after in (0, chance.randrange(1, 15), chance.randrange(1, 20)):  # so many more updates, and it is killed
        pid, says = begin(name, config, after + 5)
        for _ in range(after):
            os.read(says, 1)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(says)
    os.waitpid(begin(name, config)[0], 0)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", KILLED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def same(one, other):
    """Everything recorded but the wall time, bit for bit."""
    one, other = Run(one), Run(other)
    assert one.status == other.status == "complete"
    for origin in one.origins:
        pd.testing.assert_frame_equal(one.layers(origin=origin), other.layers(origin=origin), check_exact=True)
    metrics = [run.metrics.drop(columns="wall_time") for run in (one, other)]
    pd.testing.assert_frame_equal(*metrics, check_exact=True)
    assert one.events == other.events
    assert one.snapshots == other.snapshots
    for step in one.snapshots:
        torch.testing.assert_close(one.state_dict(step), other.state_dict(step), rtol=0, atol=0)
    for run in (one, other):
        assert not Path(f"{run.path}.checkpoint.pt").exists()  # it is complete


def plain(state):
    """A nested state as text, its tensors as lists."""
    if isinstance(state, dict):
        return {key: plain(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [plain(value) for value in state]
    return repr(state.tolist() if isinstance(state, torch.Tensor) else state)


@pytest.mark.parametrize("name", ["plain", "noise", "matched"])
def test_killed_and_resumed_equals_uninterrupted(folder, name):
    same(folder / f"{name}.zarr", folder / f"{name}-whole.zarr")
    assert len(Run(folder / f"{name}.zarr").resumed) >= 2
    state, whole = (torch.load(folder / f"{run}.57.pt") for run in (name, f"{name}-whole"))
    assert state["recorder"].pop("run") != whole["recorder"].pop("run")
    assert state.pop("wall_time") > 0 < whole.pop("wall_time")
    assert state.pop("blake3") != whole.pop("blake3")
    assert plain(state) == plain(whole)  # optimizer, random states, scheduler


def test_the_matched_run_was_killed_before_its_drop(folder):
    run = Run(folder / "matched.zarr")
    assert [drop.step > run.resumed[0] for drop in run.drops] == [True]


def process(*arguments):
    return [sys.executable, "-m", "ultraslow", "train", "f1-digits", *map(str, arguments)]


def test_ctrl_c_leaves_a_checkpoint_and_the_command_goes_on_from_it(tmp_path, capsys):
    size = ("--epochs", 8, "--batch-size", 64)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it in the background
    running = subprocess.Popen(process(*size, "--out", tmp_path / "run.zarr"), stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    while not (tmp_path / "run.zarr.checkpoint.pt").exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=300)
    assert running.returncode == 130
    assert "--resume" in errors
    stopped = len(Run(tmp_path / "run.zarr").distance)
    assert torch.load(tmp_path / "run.zarr.checkpoint.pt")["t"] == stopped > 0

    said = []
    for _ in range(2):
        with mock.patch("sys.argv", [*process(*size, "--out", tmp_path / "run.zarr", "--resume")[2:]]):
            app.main()
        said.append("nothing was left to train" in capsys.readouterr().out)
    assert said == [False, True]
    assert Run(tmp_path / "run.zarr").resumed == [stopped]
    train(replace(f1_digits(), batch_size=64, epochs=8), tmp_path / "whole.zarr")
    same(tmp_path / "run.zarr", tmp_path / "whole.zarr")


def interrupt(config, out, at, **options):
    """A run that ends after `at` updates with its checkpoint from before the last of them."""

    def stop(t, updates):
        if t == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, out, progress=stop, **options)


def refused(config, out):
    with pytest.raises(ConfigError) as caught:
        train(config, out, resume=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_no_interruption_of_this_run_is_refused(tmp_path):
    out = tmp_path / "run.zarr"
    interrupt(SHORT, out, 3)
    assert refused(replace(SHORT, lr=0.1, seed=3), out).startswith(f"{out}: was trained with lr 0.05, not 0.1; ")
    with pytest.raises(ConfigError, match="one of them"):
        train(SHORT, out, resume=True, overwrite=True)
    checkpoint = Checkpoint(out, 0).path
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: len(content) // 2])
    assert refused(SHORT, out).startswith(f"{checkpoint}: cannot be read as a checkpoint")
    checkpoint.write_bytes(content)
    state = torch.load(checkpoint)
    for message, wrong in {
        "its hash is another": state | {"t": 4},
        "it lacks optimizer": {key: value for key, value in state.items() if key != "optimizer"},
        "it lacks device": [1],
        "written in version 2": state | {"version": 2},
    }.items():
        torch.save(wrong, checkpoint)
        assert message in refused(SHORT, out)
    checkpoint.unlink()
    assert f"no checkpoint {checkpoint}" in refused(SHORT, out)
    assert len(Run(out).distance) == 3  # untouched
    with Recorder(tmp_path / "other.zarr", (model := torch.nn.Linear(1, 1)), torch.optim.SGD(model.parameters())):
        pass
    assert "was not recorded by train" in refused(SHORT, tmp_path / "other.zarr")


def test_resuming_a_complete_run_changes_nothing_and_without_a_run_begins_one(tmp_path):
    out = tmp_path / "run.zarr"
    config = replace(SHORT, epochs=1, drops=())
    assert train(config, out, resume=True) == out
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    assert train(config, out, resume=True) == out
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
    assert "epochs 1, not 2" in refused(replace(config, epochs=2), out)


def test_a_checkpoint_of_a_run_that_is_gone_stands_in_nobodys_way(tmp_path):
    out = tmp_path / "run.zarr"
    interrupt(SHORT, out, 3)
    out.rename(tmp_path / "elsewhere.zarr")
    train(SHORT, out, resume=True)
    assert Run(out).status == "complete"
    assert Run(out).resumed == []


def test_a_checkpoint_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / ".run.zarr.checkpoint.pt.partial").mkdir()
    with pytest.raises(ConfigError, match=r"run\.zarr\.checkpoint\.pt: the checkpoint cannot be written \(Is a dir"):
        train(SHORT, tmp_path / "run.zarr")
    assert Run(tmp_path / "run.zarr").status == "interrupted (ConfigError)"
    train(SHORT, tmp_path / "run.zarr", overwrite=True, checkpoint_every=None)
