"""Recorders that nobody closes: the program ends, they are collected, or a child of the process ends."""

import contextlib
import copy
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
import zarr
from torch import nn

from trajectory import Recorder, RecordingError, Run, StoreError, verify
from trajectory.recording import unclosed

# The programs are children of one process, so that torch is imported once; each ends as Python ends any program, but
# for what was imported before: it is frozen, since Python's end would look through all of it in every program.
PROGRAMS = """
import atexit, gc, json, os, sys, threading
sys.modules["triton"] = None  # it complains at the end of what is frozen
import forked
import torch
from torch import nn
from trajectory import Recorder

def made():
    model = nn.Linear(4, 1)
    return model, torch.optim.SGD(model.parameters(), lr=0.1)

def train(n):
    for _ in range(n):
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()

model, optimizer = made()
train(1)  # imports what torch imports late
gc.freeze()
folder, statuses = sys.argv[1], {}
for name, program in json.loads(sys.argv[2]).items():
    if (pid := os.fork()) == 0:
        break
    statuses[name] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
else:
    print(json.dumps(statuses), flush=True)
    os._exit(0)
model, optimizer = made()
path = lambda run: f"{folder}/{run}.zarr"
os.dup2(os.open(f"{folder}/{name}.stderr", os.O_WRONLY | os.O_CREAT), sys.stderr.fileno())
exec(program)
"""
ENDS = {
    "end": """
recorder = Recorder(path("named"), model, optimizer)
Recorder(path("nameless"), model, optimizer)
registered = Recorder(path("close at exit"), model, optimizer)
atexit.register(registered.close)
subscribed = Recorder(path("subscribed"), model, optimizer)
subscribed.subscribe(lambda rows: subscribed.step)
train(100)
""",
    "error": "recorder = Recorder(path('error'), model, optimizer); train(100); 1 / 0",
    "exit": """
def run():
    Recorder(path("thread"), model, optimizer)
    train(100)
thread = threading.Thread(target=run)
thread.start()
thread.join()
sys.exit(3)
""",
    "child": """
recorder = Recorder(path("child"), model, optimizer)
train(50)
if os.fork() == 0:
    del recorder
    gc.collect()
    sys.exit(0)  # the child ends as a program does
os.wait()
train(50)
""",
}
RUNS = ["named", "nameless", "close at exit", "subscribed", "error", "thread", "child"]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The folder of the programs' runs and errors, and the programs' exit statuses."""
    folder = tmp_path_factory.mktemp("ended")
    command = [sys.executable, "-W", "ignore", "-c", PROGRAMS, folder, json.dumps(ENDS)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=Path(__file__).parent, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return folder, json.loads(done.stdout)


@pytest.mark.parametrize("end", ENDS)
def test_a_program_ends_as_if_no_recorder_were_left_open(ended, end):
    folder, statuses = ended
    errors = (folder / f"{end}.stderr").read_text()
    assert statuses[end] == {"error": 1, "exit": 3}.get(end, 0), errors
    assert errors.splitlines()[-1:] == (["ZeroDivisionError: division by zero"] if end == "error" else [])


@pytest.mark.parametrize("run", RUNS)
def test_a_program_that_ends_without_close_loses_no_row(ended, run):
    folder, _ = ended
    run = Run(folder / f"{run}.zarr")
    assert list(run.distance.index) == list(range(1, 101))
    assert run.status == "interrupted (not closed)"
    assert not verify(run.path)


@pytest.mark.parametrize("quantities", [("distance",), ("distance", "momentum_norm")])
def test_a_recorder_that_is_collected_with_its_optimizer_gives_its_run_free(tmp_path, quantities):
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    Recorder(tmp_path / "run.zarr", model, optimizer, quantities=quantities)
    model(torch.ones(1, 4)).sum().backward()
    optimizer.step()
    model = optimizer = None
    gc.collect()
    assert Run(tmp_path / "run.zarr").status == "interrupted (not closed)"


def test_a_recorder_that_is_collected_gives_its_run_free(tmp_path):
    model = nn.Linear(4, 1)
    recorder = Recorder(tmp_path / "run.zarr", model)
    recorder.update()
    recorder = None
    gc.collect()
    run = Run(tmp_path / "run.zarr")
    assert (run.status, len(run.distance)) == ("interrupted (not closed)", 1)
    Recorder(tmp_path / "run.zarr", model, overwrite=True).close()


def test_a_recorder_that_is_collected_amid_a_lock_that_its_end_needs_is_not_awaited_for_ever(tmp_path, monkeypatch):
    """The collector comes at any allocation, also within a library that holds a lock which writing takes as well."""
    monkeypatch.setattr(unclosed, "_PATIENCE", 0.1)
    held, model = threading.Lock(), nn.Linear(4, 1)
    recorder = Recorder(tmp_path / "run.zarr", model)
    recorder.subscribe(lambda rows: held.acquire(timeout=20) and held.release())
    for _ in range(3):
        recorder.update()
    with held:
        recorder = None
        gc.collect()
        (closing,) = (thread for thread in threading.enumerate() if thread.name == "unclosed")
    closing.join()
    run = Run(tmp_path / "run.zarr")
    assert (run.status, len(run.distance)) == ("interrupted (not closed)", 3)


def test_a_recorder_cannot_be_copied(tmp_path):
    model = nn.Linear(4, 1)
    with Recorder(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1)) as recorder:
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(RecordingError, match="a Recorder cannot be copied or pickled"):
                make({"recorder": recorder} if make is not copy.copy else recorder)


CELL = """
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
{name} = Recorder(path, model, optimizer, {options})
for k in range(100):
    optimizer.zero_grad()
    model(torch.randn(8, 4)).square().mean().backward()
    optimizer.step()
    if k == interrupted_at:
        signal.raise_signal(signal.SIGINT)
"""


@pytest.mark.parametrize(
    ("second", "interrupted_at", "remote"),
    [("recorder", None, False), ("recorder", 50, False), ("another", 50, False), ("recorder", 0, True)],
)
def test_a_cell_that_is_run_again_replaces_its_run(tmp_path, second, interrupted_at, remote):
    path = zarr.storage.MemoryStore() if remote else tmp_path / "run.zarr"
    notebook = {"torch": torch, "nn": nn, "Recorder": Recorder, "signal": signal, "path": path}
    notebook["interrupted_at"] = interrupted_at
    with contextlib.suppress(KeyboardInterrupt):
        exec(CELL.format(name="recorder", options="overwrite=True"), notebook)
    first, notebook["interrupted_at"] = notebook["recorder"], None
    with pytest.warns(RuntimeWarning, match="it is closed, and its run is replaced") as warned:
        exec(CELL.format(name=second, options="overwrite=True"), notebook)
    assert len(warned) == 1
    notebook[second].close()
    first.close()
    run = Run(path)
    assert (run.status, list(run.distance.index)) == ("complete", list(range(1, 101)))
    assert run.distance.iloc[-1] == pytest.approx(_distance(notebook[second], notebook["model"]))


def _distance(recorder, model):
    w_0 = recorder._pipeline._session.observables.copies[0].tensors
    return sum((p.double() - w).square().sum() for p, w in zip(model.parameters(), w_0, strict=True)).sqrt().item()


def test_a_cell_that_is_run_again_without_overwrite_is_told_what_to_do(tmp_path):
    notebook = {"torch": torch, "nn": nn, "Recorder": Recorder, "path": tmp_path / "run.zarr", "interrupted_at": None}
    exec(CELL.format(name="recorder", options=""), notebook)
    with pytest.raises(StoreError, match=r"still recording there, after update 100; close\(\) it .* overwrite=True"):
        exec(CELL.format(name="recorder", options=""), notebook)
    with pytest.warns(RuntimeWarning, match="its run is resumed"):
        exec(CELL.format(name="recorder", options="resume='must', step=40"), notebook)
    notebook["recorder"].close()
    assert len(Run(tmp_path / "run.zarr").distance) == 140


def test_a_recorder_of_another_thread_is_left_alone(tmp_path):
    made = []
    thread = threading.Thread(target=lambda: made.append(Recorder(tmp_path / "run.zarr", nn.Linear(4, 1))))
    thread.start()
    thread.join()
    with pytest.raises(StoreError, match="another recorder is writing there"):
        Recorder(tmp_path / "run.zarr", nn.Linear(4, 1), overwrite=True)
    made[0].close()


@pytest.mark.parametrize(
    "where",
    [
        *("session.provenance", "delivery.RowBuffer", "recording.UpdateCounter", "recording.finish_in_the_end"),
        *("step_hooks._watch_all", "pipeline.WeightCopies.take", "update_counter.ModelWatcher.follow"),
    ],
)
def test_a_recorder_that_is_interrupted_as_it_is_made_lets_another_one_in(tmp_path, monkeypatch, where):
    """A traceback keeps what was made of the first one, as a notebook does."""

    def interrupt(*_, **__):
        monkeypatch.undo()
        raise KeyboardInterrupt

    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    monkeypatch.setattr(f"trajectory.recording.{where}", interrupt)
    with pytest.raises(KeyboardInterrupt) as traceback:
        Recorder(tmp_path / "run.zarr", model, optimizer)
    with Recorder(tmp_path / "run.zarr", model, optimizer, overwrite=True) as recorder:
        assert len(optimizer._optimizer_step_post_hooks) == 1
        for _ in range(3):
            model(torch.ones(1, 4)).sum().backward()
            optimizer.step()
        assert recorder.step == 3
    assert len(Run(tmp_path / "run.zarr").distance) == 3
    assert (verify(tmp_path / "run.zarr"), traceback.type) == ([], KeyboardInterrupt)
