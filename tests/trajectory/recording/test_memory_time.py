"""Origins may be multiples of the optimizer's memory time."""

import pytest
import torch

from trajectory import Recorder, RecordingError, Run


@pytest.mark.parametrize(
    ("make", "memory"),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01), 100),
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01, dampening=0.5), 200),
        (lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.05), 200),
    ],
)
def test_origins_may_be_multiples_of_the_optimizers_memory_time(tmp_path, make, memory):
    """(1 − μ)/(ηλ) for SGD, 1/(ηλ) for AdamW, with the rate that a warm-up grows to."""
    model = torch.nn.Linear(2, 1)
    optimizer = make(model.parameters())
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01)
    Recorder(tmp_path / "run.zarr", model, optimizer, origins=[3, "0.5tau", "2tau"]).close()
    assert Run(tmp_path / "run.zarr").origins == [0, 3, memory // 2, 2 * memory]


def test_a_memory_time_needs_weight_decay(tmp_path):
    model = torch.nn.Linear(2, 1)
    for optimizer in (
        torch.optim.SGD(model.parameters(), lr=0.1),
        torch.optim.Adam(model.parameters(), weight_decay=1),
    ):
        with pytest.raises(RecordingError, match="needs SGD or AdamW"):
            Recorder(tmp_path / "run.zarr", model, optimizer, origins=["5tau"])
