"""Ghost noise: its distribution by the paper's formulas, and what it leaves alone."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from train.configs.recipes import f1_digits
from train.engine.run_training import train
from train.errors import ConfigError
from trajectory import Run
from ultraslow.large_batch import GhostBatchNormError, convert_ghost_noise, draw_ghost_noise

N, BATCH, CHANNELS = 16, 4000, 8


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def test_shift_and_scale_have_the_moments_of_a_ghost_batchs_statistics():
    """Standard normal samples: Var(m) = 1/N, and N v is χ² of N − 1 degrees of freedom."""
    x = torch.randn(BATCH, CHANNELS, dtype=torch.float64)
    x = (x - x.mean(0)) / x.std(0, correction=0)
    shift, scale = draw_ghost_noise(x, N)
    variance = scale.square() * (1 + 1e-3) - 1e-3
    count = BATCH * CHANNELS
    assert float(shift.mean()) == pytest.approx(0, abs=4 * (1 / N / count) ** 0.5)
    # draws share a batch, whose own moments scatter by 1/√(B C)
    assert float(shift.var()) == pytest.approx(1 / N, rel=4 * (2 / count) ** 0.5 + 0.01)
    assert float(variance.mean()) == pytest.approx((N - 1) / N, abs=4 * (2 / N / count) ** 0.5)
    kurtosis = float(x.pow(4).mean())  # of this batch: 3 up to its scatter
    expected = (N - 1) ** 2 / N**3 * (kurtosis - (N - 3) / (N - 1))  # 2 (N − 1)/N² for a normal's
    assert float(variance.var()) == pytest.approx(expected, rel=0.1)


def test_each_sample_has_a_ghost_batch_of_its_own():
    shift, _ = draw_ghost_noise(torch.randn(BATCH, 1), N)
    assert torch.unique(shift).numel() > 0.99 * BATCH


def test_an_images_pixels_share_the_noise_of_whole_images():
    """Constant images: averages over pixels do not quiet the noise, as they would of independent pixels."""
    x = torch.randn(BATCH, 1, 1, 1, dtype=torch.float64).expand(-1, -1, 3, 3)
    assert float(draw_ghost_noise(x, N)[0].var()) == pytest.approx(float(x.var()) / N, rel=0.15)


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.BatchNorm2d(4)])
def test_statistics_state_and_evaluation_are_plain_batch_norms(layer):
    plain = type(layer)(4)
    noisy = convert_ghost_noise(layer, 4)
    nn.init.uniform_(noisy.weight)
    plain.load_state_dict(noisy.state_dict())
    x = torch.randn(64, 4, *([5, 5] if isinstance(layer, nn.BatchNorm2d) else []), requires_grad=True)
    once, again = noisy(x), noisy(x)
    assert not torch.allclose(once, again)
    (plain(x), plain(x))
    torch.testing.assert_close(noisy.state_dict(), plain.state_dict(), rtol=0, atol=0)
    assert [name for name, _ in noisy.named_parameters()] == ["weight", "bias"]
    torch.testing.assert_close(noisy.eval()(x), plain.eval()(x), rtol=0, atol=0)
    once.sum().backward()
    assert noisy.weight.grad is not None


def test_a_run_with_ghost_noise_is_repeated_by_its_seed_and_says_so(tmp_path):
    config = replace(f1_digits(), batch_size=64, epochs=0.25, ghost_noise=16)
    runs = [Run(train(config, tmp_path / f"{k}.zarr")) for k in range(2)]
    assert (runs[0].distance == runs[1].distance).all()
    plain = Run(train(replace(config, ghost_noise=None), tmp_path / "plain.zarr"))
    assert not (runs[0].distance == plain.distance).all()
    assert runs[0].config["label"] == "LB 64 +GNI"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ghost_noise": 1}, "ghost_noise is 1; expected a whole number of at least 2"),
        ({"ghost_noise": 16, "ghost_batch_size": 16}, "got ghost_noise with ghost_batch_size"),
        ({"ghost_noise": 16, "at_match": "grow", "match": ("a.zarr",)}, "at_match grow with ghost_noise"),
    ],
)
def test_what_it_cannot_go_with_is_told_in_a_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(f1_digits(), **change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("model", "size", "message"),
    [
        (nn.Linear(1, 1), 4, "Linear has no batch norm"),
        (nn.BatchNorm3d(2), 4, "layer itself is a BatchNorm3d"),
        (nn.BatchNorm1d(2), 1, "ghost_noise is 1"),
    ],
)
def test_what_cannot_be_converted_is_told_in_a_line(model, size, message):
    with pytest.raises(GhostBatchNormError, match=message):
        convert_ghost_noise(model, size)
