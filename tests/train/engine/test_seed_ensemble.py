"""Batched seeds. The oracle is each seed alone, in float64: the layers, and whole runs of `train`."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from train.configs.recipes import f1_digits
from train.engine.run_training import train
from train.engine.seed_ensemble import Ensemble, clip_each, train_batched
from train.errors import ConfigError, DivergedError
from train.models import NETWORKS, f1
from trajectory import Run
from ultraslow.large_batch.ghost_batch_norm import convert_ghost_batch_norm


def _networks(seeds: list[int], ghost: int | None) -> list[nn.Module]:
    networks = []
    for seed in seeds:
        torch.manual_seed(seed)
        network = NETWORKS["f1-small"]((1, 8, 8), 10).double()
        networks.append(convert_ghost_batch_norm(network, ghost) if ghost else network)
    return networks


def _optimizer(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01)


@pytest.mark.parametrize("ghost", [None, 8], ids=["batch norm", "ghost batches of 7 and 6"])
def test_each_network_of_an_ensemble_learns_as_it_does_alone(ghost):
    generator = torch.Generator().manual_seed(0)
    x = 3 * torch.randn(12, 3, 20, 1, 8, 8, generator=generator, dtype=torch.float64)
    y = torch.randint(10, (12, 3, 20), generator=generator)
    ensemble, alone = Ensemble(_networks([4, 5, 6], ghost)), _networks([4, 5, 6], ghost)
    optimizer = _optimizer(ensemble.parameters.values())
    for images, labels in zip(x, y, strict=True):
        logits = ensemble(images)
        optimizer.zero_grad()
        sum(map(F.cross_entropy, logits, labels)).backward()
        clip_each(list(ensemble.parameters.values()), 3.2)
        optimizer.step()
    clipped = []
    for k, network in enumerate(alone):
        optimizer = _optimizer(network.parameters())
        for images, labels in zip(x[:, k], y[:, k], strict=True):
            optimizer.zero_grad()
            F.cross_entropy(network(images), labels).backward()
            clipped.append(float(nn.utils.clip_grad_norm_(network.parameters(), 3.2)) > 3.2)
            optimizer.step()
    assert set(clipped) == {True, False}
    for batched, network in zip(ensemble.networks, alone, strict=True):
        torch.testing.assert_close(batched.state_dict(), network.state_dict(), rtol=1e-9, atol=1e-12)


def test_a_network_without_finite_weights_leaves_the_others_alone():
    networks = _networks([1, 2], None)
    nn.init.constant_(networks[0][1].weight, torch.nan)
    ensemble, alone = Ensemble(networks), Ensemble(_networks([2], None))
    x = torch.randn(16, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for each in (ensemble, alone):
        each(x.expand(len(each.networks), *x.shape)).square().mean((1, 2)).sum().backward()
        clip_each(list(each.parameters.values()), 0.01)
    for name, parameter in ensemble.parameters.items():
        assert parameter.grad is not None
        assert not parameter.grad[0].isfinite().any() or "8" in name
        torch.testing.assert_close(parameter.grad[1], alone.parameters[name].grad[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("network", "layer"), [("c1", "Conv2d"), ("resnet44", "Conv2d")])
def test_layers_that_gain_nothing_are_refused(network, layer):
    with pytest.raises(ConfigError, match=f"has a {layer} layer, expected none where seeds are batched"):
        Ensemble([NETWORKS[network]((3, 32, 32), 10)])


CONFIG = replace(
    f1_digits(),
    batch_size=64,
    base_batch_size=16,
    lr_scaling="sqrt",
    ghost_batch_size=16,
    multiplicative_noise=True,
    epochs=2.5,
    drops=((1, 2.0), (2, 0.1)),
    warmup_steps=3,
)  # 50 updates


def test_each_store_is_what_train_makes_of_its_seed(tmp_path, in_float64, same_training):
    """Products of stacked matrices are rounded otherwise than one by one: in float64 that stays out of sight."""
    paths = train_batched(CONFIG, {seed: tmp_path / f"{seed}.zarr" for seed in (3, 8)})
    assert paths == [tmp_path / "3.zarr", tmp_path / "8.zarr"]
    for seed, path in zip((3, 8), paths, strict=True):
        batched = Run(path)
        alone = Run(train(replace(CONFIG, seed=seed), tmp_path / f"alone{seed}.zarr"))
        assert batched.config == {**alone.config, "batched_seeds": [3, 8]}
        assert (batched.seed, batched.status) == (seed, "complete")
        assert batched.events == alone.events
        assert batched.snapshots == alone.snapshots
        assert batched.parameter_specs == alone.parameter_specs
        timeless = [run.metrics.drop(columns="wall_time") for run in (batched, alone)]
        pd.testing.assert_frame_equal(*timeless, **same_training)
        np.testing.assert_allclose(batched.distance, alone.distance, **same_training)
        layers = [run.layers("distance") for run in (batched, alone)]
        np.testing.assert_allclose(*layers, **same_training)  # biases before a batch norm move by rounding alone
        states = [run.state_dict(run.snapshots[-1]) for run in (batched, alone)]
        torch.testing.assert_close(*states, **same_training)
    assert Run(paths[0]).origin_norm != Run(paths[1]).origin_norm


def test_a_further_seed_changes_nothing(tmp_path, in_float64, same_training):
    short = replace(CONFIG, epochs=0.5, drops=())
    pair = train_batched(short, {seed: tmp_path / f"pair{seed}.zarr" for seed in (0, 1)})
    three = train_batched(short, {seed: tmp_path / f"three{seed}.zarr" for seed in (0, 2, 1)})
    for path, other in ((pair[0], three[0]), (pair[1], three[2])):
        np.testing.assert_allclose(Run(path).distance, Run(other).distance, **same_training)


def test_a_seed_that_diverges_ends_alone(tmp_path, monkeypatch):
    built = []

    def build(shape: tuple[int, ...], classes: int) -> nn.Module:
        network = f1(64, classes, width=8, depth=1)
        if built:
            nn.init.constant_(network[1].weight, 1e38)  # its products are infinite
        built.append(network)
        return network

    monkeypatch.setitem(NETWORKS, "f1-small", build)
    stores = {seed: tmp_path / f"{seed}.zarr" for seed in (0, 1)}
    with pytest.raises(DivergedError, match=r"the loss is nan at update 1, .*1\.zarr"):
        train_batched(CONFIG, stores)
    well, ill = Run(stores[0]), Run(stores[1])
    assert (well.status, len(well.distance)) == ("complete", 50)
    assert (ill.status, len(ill.distance)) == ("interrupted (DivergedError)", 20)
    assert well.metrics["validation_error"].notna().sum() == 3


@pytest.mark.parametrize(
    ("change", "seeds", "message"),
    [
        ({"match": ("a.zarr",)}, [0, 1], "got a match with a.zarr, expected seeds with one schedule"),
        ({}, [], "got no seed, expected"),
        ({"batch_size": 1281}, [0, 1], "batch_size is 1281; expected 1 to 1280"),
    ],
)
def test_what_cannot_be_batched_leaves_no_store(tmp_path, change, seeds, message):
    with pytest.raises(ConfigError, match=message) as caught:
        train_batched(replace(CONFIG, **change), {seed: tmp_path / f"{seed}.zarr" for seed in seeds})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_several_processes_do_not_write_the_same_stores(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "any")  # torchrun sets it
    with pytest.raises(ConfigError, match="got torchrun, expected one process"):
        train_batched(CONFIG, {0: tmp_path / "0.zarr"})
