"""What is read off the optimizer for the analysis, and what is not known of it."""

import json

import pytest
import torch
from torch import nn

from analysis import budget, equilibrium
from trajectory import Recorder, Run
from trajectory.recording.optimizer_settings import shared_settings

SGD, ADAMW = torch.optim.SGD, torch.optim.AdamW


def weights(count=1):
    return [nn.Parameter(torch.ones(2)) for _ in range(count)]


class Own(torch.optim.SGD):
    """An optimizer whose momentum may mean anything."""


PLAIN = {"momentum": 0.0, "nesterov": False, "dampening": 0.0}


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (lambda: [], {}),
        (
            lambda: [SGD(weights(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)],
            {"optimizer": "sgd", "lr": 0.1, "weight_decay": 5e-4, **PLAIN, "momentum": 0.9, "nesterov": True},
        ),
        (
            lambda: [ADAMW(weights(), lr=torch.tensor(0.25), betas=(0.8, 0.99), weight_decay=0.1)],
            {"optimizer": "adamw", "lr": 0.25, "weight_decay": 0.1, "momentum": 0.8},
        ),
        (lambda: [Own(weights(), lr=0.1, momentum=0.9)], {"optimizer": "own", "lr": 0.1, "weight_decay": 0.0}),
        (
            lambda: [SGD([{"params": weights(), "weight_decay": 0.1}, {"params": weights(), "lr": 0.2}], lr=0.1)],
            {"optimizer": "sgd", **PLAIN},
        ),
        (
            lambda: [SGD(weights(), lr=0.1), ADAMW(weights(), lr=0.1, weight_decay=0)],
            {"lr": 0.1, "weight_decay": 0.0},
        ),
    ],
)
def test_settings_are_those_that_all_groups_share(make, settings):
    found = shared_settings(make())
    assert found == settings
    assert json.loads(json.dumps(found)) == found


def test_the_rate_is_the_one_that_a_schedule_begins_with():
    optimizer = SGD(weights(), lr=0.1)
    torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.01)
    assert shared_settings([optimizer])["lr"] == 0.1
    optimizer.param_groups[0].update(lr=None, initial_lr=None)  # of an optimizer that has no rate
    assert "lr" not in shared_settings([optimizer])


def test_the_analysis_reads_what_the_configuration_does_not_hold(tmp_path):
    """The motion of Nesterov's momentum is a random walk, and the rotation is compared with its own balance."""
    torch.manual_seed(0)
    settings = {"lr": 0.1, "momentum": 0.5, "nesterov": True, "weight_decay": 0.1}
    for name, config in (("noted", {**settings, "dampening": 0.0}), ("read", {"lr": 0.1, "batch": 8})):
        layer = nn.Linear(40, 40, bias=False)
        optimizer = SGD(layer.parameters(), **settings)
        quantities = ["distance", "norm", "update_norm"]
        with Recorder(tmp_path / f"{name}.zarr", layer, optimizer, config=config, quantities=quantities):
            for _ in range(100):
                layer.weight.grad = torch.randn(40, 40)
                optimizer.step()
    read, noted = (Run(tmp_path / f"{name}.zarr") for name in ("read", "noted"))
    assert read.config == {"lr": 0.1, "batch": 8}
    assert read.settings == {"optimizer": "sgd", **settings, "dampening": 0.0, "batch": 8}
    assert read.distance.attrs["config"] == read.settings
    for run in (read, noted):
        found = budget(run)
        assert (found.momentum, found.nesterov) == (0.5, True)
        assert equilibrium(run).frame["expected"].tolist() == equilibrium(noted).frame["expected"].tolist()
    assert "optimizer" not in Run(noted.path).config


def test_a_run_keeps_the_settings_it_was_begun_with(tmp_path):
    model = nn.Linear(2, 1)
    with Recorder(tmp_path / "run.zarr", model, SGD(model.parameters(), lr=0.1)) as recorder:
        state = recorder.state_dict()
    with Recorder(tmp_path / "run.zarr", model, ADAMW(model.parameters()), resume="must") as recorder:
        recorder.load_state_dict(state)
    assert Run(tmp_path / "run.zarr").settings["optimizer"] == "sgd"
    with Recorder(tmp_path / "by_hand.zarr", model):
        pass
    assert Run(tmp_path / "by_hand.zarr").settings == {}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, []),
        ({"momentum": 0.9, "weight_decay": 1e-4, "nesterov": False, "dampening": None}, []),
        ({"momentum": 0.5}, ["the configuration says momentum = 0.5, the optimizer had 0.9"]),
        ({"dampening": "none"}, ["the configuration says dampening = none, the optimizer had 0.0"]),
    ],
)
def test_a_configuration_that_the_optimizer_contradicts_is_told(tmp_path, config, said):
    model = nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    with Recorder(tmp_path / "run.zarr", model, optimizer, config=config):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
    warnings = Run(tmp_path / "run.zarr").warnings
    assert [text.partition(";")[0] for text in warnings] == said
