"""The gradient noise scale where it is known, and runs that measure it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from train import train_batched
from train.configs.recipes import f1_digits
from train.engine.run_training import train
from train.errors import ConfigError
from train.models import NETWORKS
from trajectory import Run
from ultraslow.large_batch import NoiseScale, SettingError, gradient_noise_scale

DIMENSIONS, BATCH, NOISE = 5, 16, 0.5
SHORT = replace(f1_digits(), batch_size=64, epochs=0.5, drops=())  # 10 updates


class Regression:
    """Loss ½ (x · δ + ε)² at a distance δ from the solution, x ~ N(0, 1), ε ~ N(0, σ²).

    A sample's gradient is x (x · δ + ε), so that G = δ and Σ = (|δ|² + σ²) 1 + δ δᵀ, by Wick's theorem.
    """

    def __init__(self, population=None):
        self.generator = torch.Generator().manual_seed(1)
        self.model = nn.Linear(DIMENSIONS, 1, bias=False).double()
        nn.init.constant_(self.model.weight, 0.3)
        self.squared = DIMENSIONS * 0.3**2
        self.trace = DIMENSIONS * (self.squared + NOISE**2) + self.squared
        self.data = None if population is None else self.draw(population)

    def draw(self, n):
        x = torch.randn(n, DIMENSIONS, generator=self.generator, dtype=torch.float64)
        return torch.cat([x, NOISE * torch.randn(n, 1, generator=self.generator, dtype=torch.float64)], dim=1)

    def loss(self, batch):
        return 0.5 * (self.model(batch[:, :-1]) + batch[:, -1:]).square().mean()

    def measure(self, n, **population):
        if self.data is None:
            batches = [self.draw(BATCH) for _ in range(n)]
        else:
            order = torch.randperm(len(self.data), generator=self.generator)
            batches = list(self.data[order].split(BATCH))[:n]
        return gradient_noise_scale(self.model, self.loss, batches, BATCH, **population)


def test_both_terms_are_unbiased_where_they_are_known():
    regression = Regression()
    found = [regression.measure(4) for _ in range(400)]
    for name, known in (("squared_gradient", regression.squared), ("trace", regression.trace)):
        values = np.array([float(getattr(one, name)) for one in found])
        assert values.mean() == pytest.approx(known, abs=4 * values.std() / np.sqrt(len(values)))
        assert values.std() > 0.02 * known  # so that the tolerance is no more than some percent
    ratio = float(NoiseScale.mean(found).batch_size)
    assert ratio == pytest.approx(regression.trace / regression.squared, rel=0.1)


def test_disjoint_batches_of_a_small_training_set_give_the_gradient_of_that_set():
    regression = Regression(population=160)
    known = float(torch.autograd.grad(regression.loss(regression.data), regression.model.weight)[0].square().sum())
    found = [float(regression.measure(5, population=160).squared_gradient) for _ in range(196)]
    assert np.mean(found) == pytest.approx(known, abs=4 * np.std(found) / 14)
    whole = regression.measure(10, population=160)
    assert float(whole.squared_gradient) == pytest.approx(known)


def test_a_measurement_leaves_gradients_buffers_and_generators_alone():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1))
    model(torch.randn(8, 3)).sum().backward()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    batches = torch.randn(3, 8, 3)
    gradients, generator = [p.grad.clone() for p in model.parameters()], torch.get_rng_state()
    gradient_noise_scale(model, lambda x: model(x).square().mean(), batches, 8)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)
    torch.testing.assert_close([p.grad for p in model.parameters()], gradients, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), generator)
    with pytest.raises(SettingError, match="got 1 batches; expected two or more"):
        gradient_noise_scale(model, lambda x: model(x).mean(), torch.randn(1, 8, 3), 8)


def test_a_run_that_measures_it_is_the_run_that_does_not(tmp_path, monkeypatch):
    f1 = NETWORKS["f1-small"]
    monkeypatch.setitem(NETWORKS, "f1-small", lambda *size: nn.Sequential(nn.Dropout(0.2), *f1(*size)))
    runs = [
        Run(train(replace(SHORT, noise_scale=steps), tmp_path / f"{len(steps)}.zarr")) for steps in ("", "every:3")
    ]
    np.testing.assert_array_equal(runs[0].distance, runs[1].distance)
    torch.testing.assert_close(runs[0].state_dict(10), runs[1].state_dict(10), rtol=0, atol=0)
    logged = runs[1].metrics[["noise_scale", "squared_gradient", "gradient_trace"]].dropna(how="all")
    assert logged.index.tolist() == [3, 6, 9]
    assert (logged["gradient_trace"] > 0).all()
    assert "noise_scale" not in runs[0].metrics


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"noise_scale": "often"}, "noise_scale is 'often'; expected log:N or every:N"),
        (
            {"noise_scale": "every:5", "noise_scale_batches": 1},
            "noise_scale_batches is 1; expected a whole number of",
        ),
        ({"noise_scale": "every:5", "batch_size": 1024}, "expected two batches in an epoch"),
    ],
)
def test_what_cannot_be_measured_is_told_in_a_line(change, message, tmp_path):
    with pytest.raises(ConfigError, match=message) as caught:
        train(replace(SHORT, **change), tmp_path / "run.zarr")
    assert "\n" not in str(caught.value)


def test_seeds_trained_batched_measure_no_noise_scale(tmp_path):
    with pytest.raises(ConfigError, match="noise_scale is 'every:5', for a run by itself"):
        train_batched(replace(SHORT, noise_scale="every:5"), {0: tmp_path / "run.zarr"})
