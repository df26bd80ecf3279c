"""Rows in experiment trackers, read back with each library; steps recorded again are not stored twice."""

import json
import struct

import pytest
import torch

from trajectory import Recorder
from trajectory.integrations.loggers import to_mlflow, to_tensorboard, to_trackio, to_wandb


def record(path, *subscribers, updates=5, again_from=None):
    """Record a walk of steps of length .5, resumed once at an earlier update if one is given."""
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)

    def walk(recorder, count):
        for _ in range(count):
            model.weight.grad = torch.ones(1, 1)
            optimizer.step()

    with Recorder(path, model, optimizer) as recorder:
        for subscriber in subscribers:
            recorder.subscribe(subscriber)
        walk(recorder, updates)
        if again_from is not None:
            recorder.flush()
    if again_from is not None:
        with torch.no_grad():
            model.weight += 0.5 * (updates - again_from)
        with Recorder(path, model, optimizer, resume="must", step=again_from) as recorder:
            for subscriber in subscribers:
                recorder.subscribe(subscriber)
            walk(recorder, updates)


def test_tensorboard_holds_every_step_once_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(tmp_path / "events") as writer:
        record(tmp_path / "run.zarr", to_tensorboard(writer), again_from=2)
    events = accumulator.EventAccumulator(str(tmp_path / "events")).Reload()
    found = [(event.step, event.value) for event in events.Scalars("trajectory/distance")]
    assert found == [(t, t / 2) for t in range(1, 8)]
    assert {event.value for event in events.Scalars("trajectory/learning_rate")} == {0.5}


def test_mlflow_holds_every_step_once_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the one store that mlflow-skinny brings
    mlflow = pytest.importorskip("mlflow")
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    run = client.create_run(client.create_experiment("walk")).info.run_id
    record(tmp_path / "run.zarr", to_mlflow(client, run), again_from=2)
    history = client.get_metric_history(run, "trajectory/distance")
    assert sorted((metric.step, metric.value) for metric in history) == [(t, t / 2) for t in range(1, 8)]


def test_trackio_holds_every_step_once_after_a_resume(tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    trackio = pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    run = trackio.init("walk", name="one", embed=False, auto_log_gpu=False, auto_log_cpu=False)
    record(tmp_path / "run.zarr", to_trackio(run), again_from=2)
    trackio.finish()
    found = SQLiteStorage.get_logs("walk", "one")
    assert [(row["step"], row["trajectory/distance"]) for row in found] == [(t, t / 2) for t in range(1, 8)]


def offline_history(file):
    """The rows of an offline W&B run: a log as LevelDB writes it, of protocol buffers, in blocks of 32 KiB."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = file.read_bytes(), 7, b""  # after the file's own header
    while place + 7 <= len(data):
        if (left := 2**15 - place % 2**15) < 7:
            place += left
            continue
        length, kind = struct.unpack_from("<HB", data, place + 4)  # after the checksum
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, or the last part of one
            record = Record.FromString(whole)
            if record.WhichOneof("record_type") == "history":
                yield {"/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            whole = b""


def test_wandb_holds_every_step_once_after_a_resume_and_takes_updates_for_the_axis(tmp_path):
    wandb = pytest.importorskip("wandb")
    with wandb.init(mode="offline", dir=tmp_path, project="walk") as run:
        record(tmp_path / "run.zarr", to_wandb(run), again_from=2)
        assert run.summary["trajectory/step"] == 7
        assert run.summary["trajectory/distance"] == 3.5
    wandb.teardown()  # its process writes the file to the end
    (file,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    found = [(row["trajectory/step"], row["trajectory/distance"]) for row in offline_history(file)]
    assert found == [(t, t / 2) for t in range(1, 8)]


def test_steps_that_a_tracker_holds_are_passed_over(tmp_path):
    written = []

    class Writer:
        def add_scalar(self, name, value, step):
            written.append((step, name, value))

    record(tmp_path / "run.zarr", to_tensorboard(Writer(), prefix="", after=4))
    assert written == [(5, "distance", 2.5), (5, "learning_rate", 0.5)]
