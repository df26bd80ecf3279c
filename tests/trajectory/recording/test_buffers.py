"""Buffers that come, go, or change shape or type: snapshots keep the weights, and say what they hold of the rest."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from trajectory import Every, Recorder, Run, verify


class Network(nn.Module):
    """A layer, batch statistics, and a memory bank that grows."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
        self.register_buffer("memory", torch.ones(2))

    def forward(self, x):
        return self.norm(self.layer(x))


def drop_statistics(model):
    model.norm.running_mean = model.norm.running_var = None


def reshape(model):
    model.memory = torch.ones(3)


def prune_layer(model):
    prune.l1_unstructured(model.layer, "weight", 0.5)


CHANGES = {
    "gone": (drop_statistics, {"missing": ["norm.running_mean", "norm.running_var"]}),
    "shape": (reshape, {"missing": ["memory"]}),
    "kind": (lambda model: setattr(model, "memory", torch.ones(2, dtype=torch.complex64)), {"missing": ["memory"]}),
    "new": (prune_layer, {"new": ["layer.weight_mask"]}),
    "narrower": (lambda model: model.bfloat16(), {}),
    "wider": (
        lambda model: model.double(),
        {
            "rounded": [
                *("layer.weight", "layer.bias", "norm.weight", "norm.bias"),
                *("memory", "norm.running_mean", "norm.running_var"),
            ]
        },
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_told_once_and_snapshots_stay_readable(tmp_path, recwarn, change):
    act, changes = CHANGES[change]
    model = Network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    weight, kept = model.layer.weight, {}
    path = tmp_path / "run.zarr"
    with Recorder(path, model, optimizer, snapshots=Every(2)) as recorder:
        for t in range(9):
            if t == 3:
                act(model)
            optimizer.zero_grad()
            model(torch.randn(8, 4, dtype=weight.dtype)).float().square().mean().backward()
            optimizer.step()
            kept[recorder.step] = weight.detach().clone().float()
    run = Run(path)
    assert run.status == "complete"
    assert not verify(path)
    told = [event for event in run.events if event.name == "buffers_changed"]
    assert [(event.step, event.details) for event in told] == ([(4, changes)] if changes else [])
    warned = [str(w.message) for w in recwarn if "from update 4 on, snapshots" in str(w.message)]
    assert len(warned) == len(told)
    for step in run.snapshots[1:]:
        state = run.state_dict(step)
        assert torch.equal(state["layer.weight"], kept[step])
        missing = set(Network().state_dict()) - set(state)
        assert missing == (set(changes.get("missing", ())) if step >= 4 else set())


def test_a_buffer_that_comes_back_is_read_again(tmp_path):
    model = Network()
    with Recorder(tmp_path / "run.zarr", model, snapshots=Every(1)) as recorder:
        for shape in (2, 3, 2):
            model.memory = torch.full((shape,), 5.0)
            with pytest.warns(RuntimeWarning, match="lack buffers") if shape == 3 else pytest.MonkeyPatch.context():
                recorder.update()
    run = Run(tmp_path / "run.zarr")
    assert ["memory" in run.state_dict(step) for step in range(4)] == [True, True, False, True]
    assert [event.details for event in run.events if event.name == "buffers_changed"] == [{"missing": ["memory"]}, {}]
