"""Which side, colour and dashes each run gets in the paper's figure 2."""

import numpy as np
import pytest
import torch

from analysis import figures
from analysis.errors import FigureError
from analysis.figures.colours import COLOURS
from train.reproduce.distance_adaptation import distance_adaptation
from trajectory import Recorder

SMALL = {"batch_size": 8, "base_batch_size": 8}
LARGE = SMALL | {"batch_size": 64}
ADAPTED = LARGE | {"lr_scaling": "sqrt", "ghost_batch_size": 8}
CONFIGS = [
    SMALL,
    SMALL,
    LARGE,
    LARGE | {"multiplicative_noise": True},
    ADAPTED,
    LARGE | {"lr_rule": "sqrt", "ghost_batch_size": 8, "regime_adaptation": True},  # of an earlier version
    ADAPTED | {"ghost_batch_size": None},
]


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A run of two updates for each configuration."""
    folder = tmp_path_factory.mktemp("runs")
    return [record(folder / f"{k}.zarr", config) for k, config in enumerate(CONFIGS)]


def record(path, config):
    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(path, model, optimizer, config={"label": path.stem, **config}):
        for _ in range(2):
            model.weight.grad = torch.ones(1, 1)
            optimizer.step()
    return path


def test_a_colour_for_each_batch_and_dashes_for_what_else_differs(paths):
    left, right = distance_adaptation(paths).axes
    styles = {}
    for ax in (left, right):
        styles[ax] = {line.get_label(): (line.get_color(), line._unscaled_dash_pattern[1]) for line in ax.lines}
    one, two = COLOURS[:2]
    assert styles[left] == {
        "batch 8, 2 seeds": (one, None),
        "batch 64": (two, None),
        "batch 64, noise": (two, styles[left]["batch 64, noise"][1]),
    }
    assert set(styles[right]) == {"batch 8, 2 seeds", "batch 64", "batch 64, RA", "batch 64, no GBN"}
    assert styles[right]["batch 64"] == styles[left]["batch 64"]
    assert len({dashes for side in styles.values() for _, dashes in side.values()}) == 4


def test_it_is_written(paths, tmp_path):
    (file,) = figures.save(distance_adaptation(paths), tmp_path / "x.svg")
    assert file.stat().st_size > 1000


def test_refuses_a_side_without_a_large_batch_and_curves_without_a_batch_size(paths):
    with pytest.raises(FigureError, match="no large batch with a learning-rate rule"):
        distance_adaptation(paths[:4])
    with pytest.raises(FigureError, match="batch size is not on record"):
        distance_adaptation((np.arange(1, 9), np.arange(1, 9)))
