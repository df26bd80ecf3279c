"""Tiny networks in float64 whose loss can be written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.landscape import Objective


def _network(seed=0):
    """Linear 3 → 4, batch norm, tanh, dropout, linear 4 → 2, with running statistics that are no batch's."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 2)).double()
    for p in model.parameters():
        nn.init.normal_(p, std=0.7)
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.5, 2)
    return model


def _batches(sizes=(7, 5)):
    generator = torch.Generator().manual_seed(1)
    return [
        (
            torch.randn(n, 3, generator=generator, dtype=torch.float64),
            torch.randint(2, (n,), generator=generator),
        )
        for n in sizes
    ]


def _written_out(model, batches, statistics):
    """The loss of `_network` as a function of flat weights, batch norm by its formula."""
    sizes = [p.shape for p in model.parameters()]

    def loss(w):
        parts = w.split([s.numel() for s in sizes])
        a, b, scale, shift, c, d = (part.view(s) for part, s in zip(parts, sizes, strict=True))
        total = torch.zeros((), dtype=torch.float64)
        for x, y in batches:
            h = x @ a.T + b
            norm = model[1]
            by_batch = statistics == "batch"
            mean = h.mean(0) if by_batch else norm.running_mean
            variance = ((h - mean) ** 2).mean(0) if by_batch else norm.running_var
            h = torch.tanh((h - mean) / (variance + norm.eps).sqrt() * scale + shift)
            total = total + F.cross_entropy(h @ c.T + d, y, reduction="sum")
        return total / sum(len(y) for _, y in batches)

    return loss


class _Weights(nn.Module):
    """Weights alone: the loss is given the vector itself, so that any function of it can be a loss."""

    def __init__(self, w):
        super().__init__()
        self.w = nn.Parameter(torch.as_tensor(w, dtype=torch.float64).clone())

    def forward(self, x):
        return self.w


def _function(f, w):
    """An objective whose loss is f(w), of one sample."""
    return Objective(_Weights(w), [(None, torch.zeros(1))], lambda w, y: f(w)[None])


@pytest.fixture(scope="session")
def network():
    return _network


@pytest.fixture(scope="session")
def batches():
    return _batches


@pytest.fixture(scope="session")
def written_out():
    return _written_out


@pytest.fixture(scope="session")
def function():
    return _function


@pytest.fixture(params=["running", "batch"])
def statistics(request):
    """Which statistics batch norm uses."""
    return request.param
