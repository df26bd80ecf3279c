"""Which side, colour and dashes each run gets in the paper's figure 2."""

import numpy as np
import pytest
import torch

from analysis import figures
from analysis.errors import FigureError
from train.reproduce.distance_adaptation import distance_adaptation
from trajectory import Recorder

SMALL = {"batch_size": 8, "base_batch_size": 8}
LARGE = SMALL | {"batch_size": 64}
ADAPTED = LARGE | {"lr_scaling": "sqrt", "ghost_batch_size": 8}
CONFIGS = {
    "SB 8": SMALL,
    "LB 64": LARGE,
    "+noise 64": LARGE | {"multiplicative_noise": True},
    "+GBN 64": ADAPTED,
    # of an earlier version:
    "+RA 64": LARGE | {"lr_rule": "sqrt", "ghost_batch_size": 8, "regime_adaptation": True},
}
LABELS = ["SB 8", *CONFIGS]  # two seeds of the small batch


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A run of two updates for each configuration."""
    folder = tmp_path_factory.mktemp("runs")
    return [record(folder / f"{k}.zarr", label, CONFIGS[label]) for k, label in enumerate(LABELS)]


def record(path, label, config):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(path, model, optimizer, config={"label": label, **config}):
        for _ in range(2):
            model.weight.grad = torch.ones(1, 1)
            optimizer.step()
    return path


def test_lines_have_the_labels_and_looks_that_they_have_in_other_figures(paths):
    left, right = distance_adaptation(paths).axes
    (together,) = figures.distance(paths, log_t=True).axes
    expected = looks(together)
    assert looks(left) == {name: expected[name] for name in ("SB 8, 2 seeds", "LB 64", "+noise 64")}
    assert looks(right) == {name: expected[name] for name in ("SB 8, 2 seeds", "+GBN 64", "+RA 64")}
    assert len(set(expected.values())) == 5


def looks(ax):
    lines = [line for line in ax.lines if line.get_marker() != "v"]
    return {line.get_label(): (line.get_color(), str(line._unscaled_dash_pattern)) for line in lines}


def test_it_is_written(paths, tmp_path):
    (file,) = figures.save(distance_adaptation(paths), tmp_path / "x.svg")
    assert file.stat().st_size > 1000


def test_refuses_a_side_without_a_large_batch_and_curves_without_a_batch_size(paths):
    with pytest.raises(FigureError, match="no large batch with a learning-rate rule"):
        distance_adaptation(paths[:4])
    with pytest.raises(FigureError, match="batch size is not on record"):
        distance_adaptation((np.arange(1, 9), np.arange(1, 9)))
