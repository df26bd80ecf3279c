"""Recorded runs, curves of the law, and what is fitted to them, for figures to draw."""

import numpy as np
import pytest
import torch

from analysis import compare, fit
from trajectory import Recorder

NAMES = {"sb-0": "small batch", "sb-1": "small batch", "lb": "large batch"}


def _record(path, label, seed, **config):
    """100 updates, five epochs of 20, to d = (2 + seed / 10) t^.25; a small batch drops after 60 of them."""
    rng = np.random.default_rng(seed)
    model = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
    torch.nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(path, model, optimizer, config={"label": label, "batch_size": 8, **config}) as recorder:
        for t in range(1, 101):
            if t == 61 and label == "small batch":
                recorder.event("lr_drop", lr_from=0.1, lr_to=0.01)
            model.weight.grad = (model.weight.detach() - (2 + seed / 10) * t**0.25) / 0.1
            optimizer.step()
            if t % 20 == 0:
                recorder.log(epoch=t / 20, validation_error=0.1 / t + 0.001 * rng.random())
                recorder.log(train_error=0.05 / t, wall_time=6 * t)
    return path


@pytest.fixture(scope="session")
def record():
    return _record


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Two seeds of one label, and a run of another."""
    folder = tmp_path_factory.mktemp("runs")
    return [_record(folder / f"{name}.zarr", label, seed) for seed, (name, label) in enumerate(NAMES.items())]


def _lines_of(ax, label):
    return [line for line in ax.lines if line.get_label() == label]


@pytest.fixture(scope="session")
def lines_of():
    """The lines of a label on an axes."""
    return _lines_of


def _power(seed):
    t = np.arange(1, 5001)
    return t, t**0.2 * np.exp(0.003 * np.cumsum(np.random.default_rng(seed).normal(size=5000)) / t**0.5)


@pytest.fixture(scope="session")
def seeds():
    """Three seeds of d = t^.2 with correlated noise."""
    return [_power(seed) for seed in range(3)]


@pytest.fixture(scope="session")
def fitted(seeds):
    return fit(seeds, t_min=10)


@pytest.fixture(scope="session")
def compared(seeds):
    return compare(seeds, t_min=10)


@pytest.fixture(scope="session")
def one_fitted(seeds):
    return fit(seeds[0], t_min=10)


@pytest.fixture(scope="session")
def one_compared(seeds):
    return compare(seeds[0], t_min=10)
