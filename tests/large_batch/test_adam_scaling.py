"""How the settings of Adam follow the batch size."""

import math

import pytest
import torch

from ultraslow.large_batch import AdamSettings, scaled_adam, sqrt_lr
from ultraslow.large_batch.errors import SettingError


def distance(settings, lr, batch_size, updates, weights=20_000):
    """Root mean square distance of weights whose gradients are noise of variance 1/B, after an even start."""
    torch.manual_seed(0)
    w = torch.zeros(weights, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([w], lr=lr, betas=settings.betas, eps=settings.eps)
    start = None
    for t in range(2 * updates):
        if t == updates:
            start = w.detach().clone()
        w.grad = torch.randn(weights, dtype=torch.float64) / math.sqrt(batch_size)
        optimizer.step()
    return float((w.detach() - start).square().mean().sqrt())


def test_the_square_root_rule_diffuses_as_far_over_as_many_samples():
    base = AdamSettings(betas=(0.9, 0.99), eps=0.1)
    small = distance(base, 1e-3, 1, updates=800)
    large = distance(scaled_adam("sde", base, 4, 1), sqrt_lr(1e-3, 4, 1), 4, updates=200)
    unscaled = distance(base, sqrt_lr(1e-3, 4, 1), 4, updates=200)
    # Each distance has a standard error of 1/√(2 · 20,000) = .5 %, the ratio .7 %; 1/(1 − β₂) changes by one update.
    assert large / small == pytest.approx(1, abs=0.03)
    assert abs(unscaled / small - 1) > 0.03


def test_as_many_updates_of_one_rate_diffuse_as_far_if_epsilon_follows_the_noise():
    base = AdamSettings(betas=(0.9, 0.99), eps=0.1)
    small = distance(base, 1e-3, 1, updates=300)
    large = distance(AdamSettings(betas=base.betas, eps=base.eps / 2), 1e-3, 4, updates=300)
    assert large / small == pytest.approx(1, rel=1e-6)  # the noise is the same, but for its size


def test_a_half_life_is_kept_in_samples():
    large = scaled_adam("half-life", AdamSettings(betas=(0.9, 0.999)), 512, 128)
    updates = math.log(0.5) / math.log(0.999)
    assert math.log(0.5) / math.log(large.betas[1]) == pytest.approx(updates / 4)
    assert (large.betas[0], large.eps) == (0.9, 1e-8)


def test_what_cannot_be_scaled_is_refused_in_one_line():
    base = AdamSettings()
    assert scaled_adam("sde", base, 160, 16).betas[0] == pytest.approx(0, abs=1e-12)
    assert scaled_adam("none", base, 4096, 16) == base
    with pytest.raises(SettingError, match=r"11 times as large would need 1 − β = 1.1, .* batch of 160 or less"):
        scaled_adam("sde", base, 176, 16)
    with pytest.raises(SettingError, match="beta_scaling is 'root'; expected one of none, sde, half-life"):
        scaled_adam("root", base, 4096, 128)
    with pytest.raises(SettingError, match=r"betas are \(0.9, 1.0\); expected two numbers"):
        AdamSettings(betas=(0.9, 1.0))
    with pytest.raises(SettingError, match="eps is 0; expected a number above 0"):
        AdamSettings(eps=0)
