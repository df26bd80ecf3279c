"""Steps that a CUDA graph holds and replays are recorded as steps are."""

import pytest
import torch
from float64_twin import network, update

from trajectory import Recorder, RecordingError, Run
from trajectory.schema.layout import QUANTITIES


def test_replays_of_a_captured_step_are_recorded_as_steps_are(tmp_path, monkeypatch):
    """On a CPU what the hook does within a capture stands for a replay: it is all that a graph would hold.

    The two trainings are one program in one process, so their rows are the same.
    """
    with pytest.raises(RecordingError, match="CUDA alone has graphs"):
        Recorder(tmp_path / "refused", network(), capturable=True)
    monkeypatch.setattr("trajectory.recording.session.has_graphs", lambda _: True)
    for name, how in {"eager": {}, "replayed": {"capturable": True}}.items():
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        path = tmp_path / f"{name}.zarr"
        with Recorder(path, model, optimizer, quantities=QUANTITIES, snapshots=50, **how) as recorder:
            for t in range(150):
                with monkeypatch.context() as patch:
                    replay = how and t >= 10  # before, steps that warm up
                    patch.setattr("trajectory.recording.pipeline.is_capturing", lambda _, replay=replay: replay)
                    update(model, optimizer)
                if replay:
                    recorder.replayed()
                recorder.log(loss=t)
                if t % 37 == 0:
                    recorder.flush(wait=False)
    eager, replayed = Run(tmp_path / "eager.zarr"), Run(path)
    for quantity in QUANTITIES:
        assert eager.layers(quantity).equals(replayed.layers(quantity))
    assert len(replayed.distance) == 150
    assert eager.metrics.equals(replayed.metrics)
    assert replayed.snapshots == [0, 50, 100, 150]
    with (
        pytest.raises(RecordingError, match="without capturable=True"),
        Recorder(tmp_path / "a", model, optimizer) as r,
    ):
        r.replayed()
    with pytest.raises(RecordingError, match="give neither"):
        Recorder(tmp_path / "b", model, optimizer, capturable=True, schedule=2)
