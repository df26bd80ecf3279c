import pytest
import torch

from ultraslow.large_batch.multiplicative_noise import matching_sigma, sample_weights


def test_weights_are_normal_around_one():
    z = sample_weights(200_000, 3.0, torch.Generator().manual_seed(0))
    assert z.shape == (200_000,)
    assert float(z.mean()) == pytest.approx(1, abs=4 * 3 / len(z) ** 0.5)  # four standard errors
    assert float(z.std()) == pytest.approx(3, rel=4 / (2 * len(z)) ** 0.5)
    again = sample_weights(200_000, 3.0, torch.Generator().manual_seed(0))
    assert torch.equal(z, again)


def test_a_weighted_large_batch_is_as_noisy_as_a_small_one():
    """The covariance of the gradient of a linear model, by autograd, over many draws of a batch."""
    large, small, draws = 512, 16, 4000
    generator = torch.Generator().manual_seed(0)

    def gradients(batch: int, sigma: float) -> torch.Tensor:
        x = torch.randn(draws, batch, 3, generator=generator, dtype=torch.float64)
        noise = torch.randn(draws, batch, generator=generator, dtype=torch.float64)
        w = torch.zeros(draws, 3, dtype=torch.float64, requires_grad=True)  # one for each draw
        each = 0.5 * ((x @ w[:, :, None])[..., 0] - noise) ** 2  # at the optimum: the mean gradient is 0
        z = sample_weights(draws * batch, sigma, generator).view_as(each)
        return torch.autograd.grad((z * each).mean(1).sum(), w)[0]

    sigma = matching_sigma(large, small)
    assert sigma == pytest.approx((512 / 16 - 1) ** 0.5)
    noisy, plain = gradients(large, sigma), gradients(small, 0.0)
    assert float(noisy.mean(0).abs().max()) < 4 * (1 / small / draws) ** 0.5
    ratio = noisy.var(0).mean() / plain.var(0).mean()
    # each variance pools 3 × 4000 nearly normal draws: relative std √(2/12,000) = 1.3 %; 1.5 % for their tails
    assert float(ratio) == pytest.approx(1, abs=4 * 0.015 * 2**0.5)


@pytest.mark.parametrize("batch_size", [128, 64])
def test_no_noise_where_the_batch_is_small(batch_size):
    assert matching_sigma(batch_size, 128) == 0
