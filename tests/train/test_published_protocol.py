"""The protocol of the paper's published code, against its numbers and against a plain loop that does what it does.

Numbers are read from github.com/eladhoffer/bigBatch, commit 0c69f28. The loop is compared in float64, since two
float32 computations part after a few updates.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from train.configs.config import TrainConfig
from train.configs.recipes import RECIPES, c1_cifar10, f1_digits, f1_mnist
from train.data.images import Dataset, as_published, batches
from train.engine.parts import network_of, optimizer_of, recorder_of
from train.engine.snapshots import Snapshots
from train.engine.trainer import Trainer
from train.errors import ConfigError
from train.models import NETWORKS, PUBLISHED
from trajectory import Run


def published(config: TrainConfig, **values) -> TrainConfig:
    return replace(config, protocol="published", **values)


@pytest.mark.parametrize(
    ("name", "image", "classes", "parameters"),
    [
        ("resnet44", (3, 32, 32), 10, 661_338),
        ("wrn16-4", (3, 32, 32), 100, 2_800_804),
        ("alexnet", (3, 224, 224), 1000, 61_110_184),
        ("f1", (1, 28, 28), 10, 1_462_794),
    ],
)
def test_networks_have_the_codes_numbers_of_parameters(name, image, classes, parameters):
    network = PUBLISHED[name](image, classes)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert network.eval()(torch.zeros(2, *image)).shape == (2, classes)


def test_c1_starts_as_torchs_layers_do_in_the_code_alone():
    """‖w_0‖: 30.7 by torch's default, 32.2 with He's weights; it varies by less than .1 from seed to seed."""
    norms = []
    for networks in (PUBLISHED, NETWORKS):
        torch.manual_seed(0)
        weights = torch.nn.utils.parameters_to_vector(networks["c1"]((3, 32, 32), 10).parameters())
        norms.append(float(weights.detach().norm()))
    assert norms == pytest.approx([30.7, 32.2], abs=0.1)


def test_residual_networks_start_with_hes_weights():
    torch.manual_seed(0)
    for name in ("resnet44", "wrn16-4"):
        widest = max(
            (layer for layer in PUBLISHED[name]((3, 32, 32), 10).modules() if isinstance(layer, torch.nn.Conv2d)),
            key=lambda layer: layer.weight.numel(),
        )
        expected = (2 / (widest.out_channels * widest.weight[0, 0].numel())) ** 0.5
        n = widest.weight.numel()
        assert float(widest.weight.detach().std()) == pytest.approx(expected, rel=5 / (2 * n) ** 0.5)


@pytest.mark.parametrize(
    ("values", "lr", "epochs"),
    [
        ({"batch_size": 128}, 0.1, 50),
        ({"batch_size": 128, "lr_scaling": "sqrt"}, 0.1 * 0.5**0.5, 50),  # main_normal.py, whatever its help says
        ({"batch_size": 4096, "lr_scaling": "sqrt"}, 0.4, 50),
        ({"batch_size": 4096, "lr_scaling": "sqrt", "ghost_batch_size": 128}, 0.1 * 32**0.5, 50),  # main_gbn.py
        ({"batch_size": 4096, "regime_adaptation": True}, 0.1, 800),
        ({"batch_size": 4096, "regime_adaptation": True, "ghost_batch_size": 128}, 0.1, 1600),
        ({"batch_size": 300, "regime_adaptation": True}, 0.1, 100),  # a whole factor, rounded up
    ],
)
def test_rate_and_epochs_are_scaled_from_the_codes_bases(values, lr, epochs):
    config = published(f1_mnist(), **values)
    regime = config.regime(60_000)
    assert (regime.lr, regime.epochs) == (pytest.approx(lr), epochs)
    assert regime.drops[0][0] == 10 * epochs / 50
    assert config.schedule(60_000).updates == epochs * -(-60_000 // config.batch_size)


def test_shallow_networks_have_no_momentum_there():
    config = published(c1_cifar10())
    assert config.record(50_000)["momentum"] == 0.0
    assert config.record(50_000)["settings"]["momentum"] == 0.9
    assert RECIPES["c1-cifar10"]().record(50_000)["momentum"] == 0.9


def images(channels: int, name: str) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(256, (40, channels, 8, 8), generator=generator, dtype=torch.uint8)
    y = torch.randint(3, (40,), generator=generator)
    some = torch.full((channels, 1, 1), 100.0)
    return Dataset(name=name, train_x=x, train_y=y, test_x=x[:8], test_y=y[:8], classes=3, mean=some, std=some)


def test_pictures_are_prepared_as_in_the_code():
    mnist, cifar = as_published(images(1, "mnist")), as_published(images(3, "cifar10"))
    black, white = torch.tensor([[[[0]]], [[[255]]]], dtype=torch.uint8)
    assert mnist.normalize(torch.stack([black, white])).flatten().tolist() == [-1, 1]
    assert (mnist.padding, mnist.fill, cifar.padding, cifar.fill) == (2, 0, 4, 127)
    assert cifar.normalize(cifar.test_x).shape == cifar.test_x.shape
    assert cifar.mean.flatten() / 255 == pytest.approx([0.485, 0.456, 0.406])
    bright = replace(cifar, train_x=torch.full_like(cifar.train_x, 255))
    x, _ = next(bright.train_batches(40, seed=0, epoch=0, augment=True))
    seen = (x * cifar.std + cifar.mean).round().unique().tolist()
    assert seen == [127, 255]
    assert as_published(replace(mnist, name="digits")).padding == mnist.padding


def test_the_last_short_batch_is_kept():
    sizes = [len(index) for index in batches(40, 16, seed=0, epoch=0, device="cpu", keep_short=True)]
    assert sizes == [16, 16, 8]
    every = torch.cat(list(batches(40, 16, seed=0, epoch=0, device="cpu", keep_short=True)))
    assert every.sort().values.tolist() == list(range(40))


def test_updates_are_those_of_a_loop_that_makes_a_new_optimizer_each_epoch(tmp_path):
    config = published(
        f1_digits(), batch_size=16, epochs=3, drops=((2, 0.1),), input_noise=0.0, weight_decay=1e-3, lr=0.05
    )
    data = in_doubles(images(1, "digits"))
    torch.manual_seed(0)
    model = network_of(config, data).double()
    torch.manual_seed(0)
    twin = network_of(config, data).double()
    optimizer = optimizer_of(config, data, model.parameters())
    snapshots = Snapshots.of(config, 40)
    metadata = config.record(40)
    with recorder_of(
        config, tmp_path / "run.zarr", model, optimizer, snapshots, metadata, overwrite=False
    ) as recorder:
        trainer = Trainer(config, data, model, optimizer, recorder, None, snapshots)
        assert [*trainer.run()][-1] == 9
    for epoch in range(3):
        plain = torch.optim.SGD(twin.parameters(), lr=0.05 if epoch < 2 else 0.005, momentum=0.9, weight_decay=1e-3)
        for index in batches(40, 16, seed=0, epoch=epoch, device="cpu", keep_short=True):
            plain.zero_grad()
            loss = F.cross_entropy(twin(data.normalize(data.train_x[index])), data.train_y[index])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(twin.parameters(), 5.0)
            plain.step()
    ours, theirs = (torch.nn.utils.parameters_to_vector(net.parameters()) for net in (model, twin))
    assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    run = Run(tmp_path / "run.zarr")
    assert run.config["protocol"] == "published"
    assert np.isfinite(run.metrics["train_error"].dropna()).all()
    assert run.metrics["train_error"].max() <= 1


def in_doubles(data: Dataset) -> Dataset:
    return replace(data, mean=data.mean.double(), std=data.std.double())


@pytest.mark.parametrize(
    ("values", "said"),
    [({"protocol": "theirs"}, "protocol"), ({"protocol": "published", "cuda_graph": True}, "last batches are short")],
)
def test_what_the_protocol_cannot_be_is_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        replace(f1_digits(), **values)
