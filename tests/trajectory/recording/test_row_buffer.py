"""When rows and scalars reach the store and the subscribers."""

import math
import random

import numpy as np
import pytest
import torch
from small_training import network, train

from trajectory import LogSpaced, Recorder, RecordingError, Run


def test_scalars_reach_the_store_however_seldom_rows_are_recorded(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer, schedule=LogSpaced(1))
    train(model, optimizer, 200, recorder)
    recorder._pipeline._thread.wait()
    left = Run(tmp_path / "run.zarr")  # as a kill would leave it
    assert list(left.distance.index) == [1, 10, 100]
    assert left.metrics["loss"].notna().sum() >= 200 - 64
    recorder.close()


def test_a_run_that_has_just_begun_shows_its_distance(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        for t in range(1, 64):
            train(model, optimizer, 1)
            recorder._pipeline._thread.wait()
            run = Run(tmp_path / "run.zarr")
            shown = 2 ** int(math.log2(t))
            assert (run.status, list(run.distance.index)) == ("recording", list(range(1, shown + 1)))
        assert run.to_dict()["distance"] == pytest.approx(run.distance[32])


def test_subscribers_get_every_row_once_and_in_order(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        recorder.subscribe(lambda rows: seen.extend(zip(rows.step, rows.distance, strict=True)))
        for _ in range(150):
            train(model, optimizer, 1)
            if random.random() < 0.1:
                recorder.flush(wait=False)
                assert seen[-1][0] == recorder.step  # on a CPU nothing is left on its way
    run = Run(tmp_path / "run.zarr")
    assert seen == list(zip(run.distance.index, run.distance, strict=True))


def test_subscribers_get_the_displacement_from_every_origin(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with Recorder(tmp_path / "run.zarr", model, optimizer, origins=[10, 70]) as recorder:
        assert recorder.origins == [0, 10, 70]
        recorder.subscribe(lambda rows: seen.append(rows.displacement))
        train(model, optimizer, 150)
    run = Run(tmp_path / "run.zarr")
    for origin in recorder.origins:
        displacement = np.concatenate([block[origin] for block in seen])
        assert np.isnan(displacement[:origin]).all()
        np.testing.assert_array_equal(displacement[origin:], run.displacement(origin))


def test_flush_without_waiting_sends_rows_early_and_drain_is_its_former_name(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    seen = []
    with Recorder(tmp_path / "run.zarr", model, optimizer) as recorder:
        recorder.subscribe(lambda rows: seen.extend(rows.step))
        train(model, optimizer, 35)
        assert seen == list(range(1, 33))
        recorder.flush(wait=False)
        assert seen == list(range(1, 36))
        train(model, optimizer, 1)
        with pytest.warns(DeprecationWarning, match=r"flush\(wait=False\)"):
            recorder.drain()
        assert seen == list(range(1, 37))
    with pytest.raises(RecordingError, match="closed"):
        recorder.flush()


def test_what_a_subscriber_files_of_the_last_rows_is_kept(tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(tmp_path / "run.zarr", model, optimizer)

    def receive(rows):
        recorder.log(seen=float(rows.step[-1]))
        recorder.event("told", last=int(rows.step[-1]))

    recorder.subscribe(receive)
    train(model, optimizer, 70)
    recorder.close()
    run = Run(tmp_path / "run.zarr")
    assert (run.status, run.metrics["seen"][70]) == ("complete", 70)
    assert [(event.step, event.details) for event in run.events][-1] == (70, {"last": 70})
    with pytest.raises(RecordingError, match="closed"):
        recorder.log(seen=0.0)
