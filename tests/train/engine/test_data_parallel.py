"""One run in two real processes on gloo is the run of one process, and goes on where it was killed."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from train.configs.recipes import f1_digits
from train.engine.checkpoint import Checkpoint
from train.engine.run_training import train
from train.errors import ConfigError
from trajectory import Run

DIGITS = replace(f1_digits(), snapshots_per_decade=1)
SHORT = replace(DIGITS, batch_size=64, epochs=2, drops=((1, 0.1),), input_noise=0.0)  # 40 updates

RANKS = """
import os, signal, socket, sys, warnings
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
import pytest
import torch
import torch.distributed as dist
from torch import nn
from train import models
from train.data.images import Dataset
from train.errors import ConfigError
from train.engine.run_training import train
from train.configs.recipes import f1_digits
from trajectory import StoreError
from ultraslow.cli import app

torch.set_num_threads(1)
warnings.simplefilter("error", FutureWarning)
folder = Path(sys.argv[1])
f1 = models.NETWORKS["f1-small"]
with_dropout = lambda *size: nn.Sequential(*f1(*size)[:-1], nn.Dropout(0.5), f1(*size)[-1])
digits = replace(f1_digits(), snapshots_per_decade=1)
short = replace(digits, batch_size=64, epochs=2, drops=((1, 0.1),), input_noise=0.0)
noisy = replace(short, ghost_batch_size=16, input_noise=0.5, multiplicative_noise=True, augment=True)
uneven = replace(short, ghost_batch_size=12, epochs=0.5, drops=())  # 6 ghost batches, of 11 and 10 samples
whole = replace(short, epochs=0.5, drops=())
train(replace(short, epochs=1, drops=()), folder / "alone.zarr")  # imports what is imported late, once for all ranks

def forked(what):
    children = []
    for rank in (0, 1):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                what(rank)
                status = 0
            finally:
                os._exit(status)
        children.append(child)
    return [os.waitpid(child, 0)[1] for child in children]

def in_two(name, what):
    def ranked(rank):
        dist.init_process_group("gloo", init_method=f"file://{folder}/{name}", rank=rank, world_size=2)
        what()
    return forked(ranked)

def by_torchrun(*arguments):  # the command with what torchrun tells each process
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    told = {"WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "none"}
    def command(rank):
        os.environ.update({name: str(value) for name, value in (told | {"RANK": rank, "LOCAL_RANK": rank}).items()})
        sys.argv = ["ultraslow", *arguments]
        with open(folder / f"stdout.{rank}", "w") as out, redirect_stdout(out):
            app.main()
        dist.destroy_process_group()
    return forked(command)

def dropout(name, **options):
    models.NETWORKS["f1-small"] = with_dropout
    train(short, folder / name, **options)

def in_float64(config, name):  # as conftest.py's fixture does
    models.NETWORKS["f1-small"] = lambda *size: f1(*size).double()
    Dataset.normalize = lambda self, x: (x.double() - self.mean) / self.std
    train(config, folder / name)

def die_at(at):
    def progress(t, updates):
        assert dist.get_rank() == 0
        if t == at:
            os.kill(os.getpid(), signal.SIGKILL)
    return progress

def refused(kind, words, config, name):
    with pytest.raises(kind, match=words):
        train(config, folder / name)

def refusals():
    refused(ConfigError, "batch_size is 65; expected a multiple of 2", replace(short, batch_size=65), "odd.zarr")
    refused(StoreError, "already exists", short, "two.zarr")  # seen by the first alone

def three():
    for config, name in ((noisy, "two.zarr"), (uneven, "uneven.zarr"), (whole, "synchronized.zarr")):
        in_float64(config, name)

assert in_two("a", three) == [0, 0]
assert in_two("b", lambda: dropout("whole.zarr", checkpoint_every=0)) == [0, 0]
killed, other = in_two("c", lambda: dropout("killed.zarr", checkpoint_every=0, progress=die_at(33)))
assert killed == signal.SIGKILL and other != 0
assert in_two("d", lambda: dropout("killed.zarr", resume=True)) == [0, 0]
assert in_two("e", refusals) == [0, 0]
assert by_torchrun("train", "f1-digits", "--epochs", "0.1", "--out", f"{folder}/command.zarr") == [0, 0]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", RANKS, folder], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return folder


def test_two_processes_train_what_one_does(folder, tmp_path, in_float64, same_training):
    """Half a batch is another shape, so its products are rounded otherwise: in float64 that stays out of sight."""
    config = replace(SHORT, ghost_batch_size=16, input_noise=0.5, multiplicative_noise=True, augment=True)
    one, two = Run(train(config, tmp_path / "one.zarr")), Run(folder / "two.zarr")
    assert (one.config["processes"], two.config["processes"]) == (1, 2)
    assert len(two.distance) == 40
    np.testing.assert_allclose(two.layers(), one.layers(), **same_training)
    for name in ("loss", "train_loss", "train_error", "learning_rate"):
        np.testing.assert_allclose(two.metrics[name], one.metrics[name], **same_training)
    for name, value in one.state_dict(40).items():
        torch.testing.assert_close(two.state_dict(40)[name], value, **same_training)
    np.testing.assert_allclose(two.metrics["validation_loss"], one.metrics["validation_loss"], **same_training)
    assert two.metrics["validation_error"].notna().sum() == 2


@pytest.mark.parametrize(("name", "ghost_batch_size"), [("uneven", 12), ("synchronized", None)])
def test_batches_are_normalized_whole_however_many_processes_share_them(
    folder, tmp_path, in_float64, same_training, name, ghost_batch_size
):
    """Ten updates: six ghost batches of 11 and 10 samples, each spread over both processes; and whole batches."""
    config = replace(SHORT, ghost_batch_size=ghost_batch_size, epochs=0.5, drops=())
    one, two = Run(train(config, tmp_path / "one.zarr")), Run(folder / f"{name}.zarr")
    assert len(two.distance) == 10
    np.testing.assert_allclose(two.layers(), one.layers(), **same_training)
    for name, value in one.state_dict(10).items():
        torch.testing.assert_close(two.state_dict(10)[name], value, **same_training)


def test_a_killed_rank_ends_the_other_and_the_run_goes_on_bit_for_bit(folder):
    """Two ranks made both runs; two gradients have the same sum in either order."""
    killed, whole = Run(folder / "killed.zarr"), Run(folder / "whole.zarr")
    assert killed.status == whole.status == "complete"
    assert killed.resumed == [20]  # processes agree on a checkpoint every 20 updates
    for name, value in whole.state_dict(40).items():
        assert torch.equal(killed.state_dict(40)[name], value), name
    assert killed.distance.equals(whole.distance)
    assert killed.metrics.drop(columns="wall_time").equals(whole.metrics.drop(columns="wall_time"))


def test_the_command_in_two_processes_of_torchrun_makes_one_run_and_the_first_prints(folder):
    run = Run(folder / "command.zarr")
    assert (run.status, len(run.distance), run.config["processes"]) == ("complete", 8, 2)
    first, second = ((folder / f"stdout.{rank}").read_text() for rank in (0, 1))
    assert (first.count(" status "), second) == (1, "")


def test_a_run_of_two_processes_does_not_go_on_in_one(folder, tmp_path):
    def stop(t, updates):
        raise KeyboardInterrupt

    out = tmp_path / "run.zarr"
    with pytest.raises(KeyboardInterrupt):
        train(SHORT, out, progress=stop)
    checkpoint = Checkpoint(out, None)
    state = checkpoint.read(SHORT)
    assert state is not None
    checkpoint.write(state | {"processes": 2})
    with pytest.raises(ConfigError, match="was interrupted with processes 2, not 1") as caught:
        train(SHORT, out, resume=True)
    assert "\n" not in str(caught.value)
    assert len(Run(out).distance) == 1  # untouched


@pytest.mark.slow
def test_torchrun_starts_the_command(tmp_path):
    ranks = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "ultraslow"]
    arguments = [
        "train",
        "f1-digits",
        "--epochs",
        "0.3",
        "--drops",
        "0.1",
        "0.1",
        "--seeds",
        "0-1",
        "--out",
        tmp_path,
    ]
    done = subprocess.run([*ranks, *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("complete") == 2  # the first process prints
    runs = sorted(tmp_path.glob("*.zarr"))
    assert [(Run(path).seed, Run(path).config["processes"]) for path in runs] == [(0, 2), (1, 2)]
