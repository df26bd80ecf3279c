"""How the learning rate follows the batch size."""

import math

import pytest
import torch

from ultraslow.large_batch.errors import SettingError
from ultraslow.large_batch.lr_scaling import scaled_lr, sqrt_lr


def test_sqrt_lr_keeps_the_covariance_of_an_update():
    torch.manual_seed(0)
    gradients = torch.randn(512, 20_000, dtype=torch.float64)  # one sample's gradient, 20,000 draws of a batch
    small = (0.1 * gradients[:16].mean(0)).var()
    large = (sqrt_lr(0.1, 512, 16) * gradients.mean(0)).var()
    # A variance from 20,000 normal draws has a standard deviation of √(2/20,000) = 1 %, the ratio √2 times that:
    # allow three.
    assert float(large / small) == pytest.approx(1, abs=0.045)
    assert sqrt_lr(0.1, 4096, 128) == pytest.approx(0.1 * math.sqrt(32))


def test_the_three_scalings():
    assert scaled_lr("none", 0.1, 4096, 128) == 0.1
    assert scaled_lr("linear", 0.1, 4096, 128) == pytest.approx(3.2)
    assert scaled_lr("sqrt", 0.1, 64, 128) == pytest.approx(0.1 / math.sqrt(2))
    with pytest.raises(SettingError, match="lr_scaling is 'root'; expected one of none, sqrt, linear"):
        scaled_lr("root", 0.1, 4096, 128)
