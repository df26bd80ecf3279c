"""A network's batch norm becomes ghost batch norm in place, with its weights, and its checkpoints go both ways."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from ultraslow.large_batch.errors import GhostBatchNormError
from ultraslow.large_batch.ghost_batch_norm import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    convert_ghost_batch_norm,
)


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(24, 5), nn.BatchNorm1d(5))


def test_conversion_keeps_everything_but_the_class():
    torch.manual_seed(0)
    model = _network().double()
    model(torch.randn(16, 3, 4, 4).double())
    model[1].eval()
    state = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parameters = list(model.parameters())

    assert convert_ghost_batch_norm(model, 8) is model
    assert type(model[1]) is GhostBatchNorm2d
    assert type(model[4]) is GhostBatchNorm1d
    assert isinstance(model[1], nn.BatchNorm2d)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert (model[1].training, model[4].training) == (False, True)
    assert "ghost_batch_size=8" in repr(model[1])

    model(torch.randn(16, 3, 4, 4).double()).square().sum().backward()
    optimizer.step()
    assert not torch.equal(model[4].bias, state["4.bias"])  # an optimizer made before still trains the layer


def test_state_dicts_go_both_ways():
    torch.manual_seed(0)
    plain, ghost = _network(), convert_ghost_batch_norm(_network(), 8)
    plain(torch.randn(32, 3, 4, 4))
    ghost.load_state_dict(plain.state_dict())
    ghost(torch.randn(32, 3, 4, 4))
    plain.load_state_dict(ghost.state_dict())
    x = torch.randn(4, 3, 4, 4)
    assert torch.equal(plain.eval()(x), ghost.eval()(x))


def test_converting_again_changes_the_size():
    model = convert_ghost_batch_norm(convert_ghost_batch_norm(_network(), 8), 4)
    assert (model[1].ghost_batch_size, model[4].ghost_batch_size) == (4, 4)
    assert [type(model[1]), type(model[4])] == [GhostBatchNorm2d, GhostBatchNorm1d]
    assert convert_ghost_batch_norm(model, np.int64(8))[1].ghost_batch_size == 8  # any library's whole number


@pytest.mark.parametrize("size", [1, 0, -3, 2.5, True, None])
def test_nonsense_sizes_are_refused(size):
    with pytest.raises(GhostBatchNormError, match="whole number of at least 2"):
        convert_ghost_batch_norm(_network(), size)
    with pytest.raises(GhostBatchNormError, match="whole number of at least 2"):
        GhostBatchNorm1d(5, size)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Sequential(nn.Linear(3, 3)), "Sequential has no BatchNorm1d or BatchNorm2d layer"),
        (nn.Sequential(nn.BatchNorm1d(3), nn.BatchNorm3d(3)), "layer 1 is a BatchNorm3d"),
        (nn.SyncBatchNorm(3), "is a SyncBatchNorm"),
    ],
)
def test_networks_that_cannot_be_converted_stay_as_they_are(model, message):
    classes = [type(layer) for layer in model.modules()]
    with pytest.raises(GhostBatchNormError, match=message):
        convert_ghost_batch_norm(model, 8)
    assert [type(layer) for layer in model.modules()] == classes
