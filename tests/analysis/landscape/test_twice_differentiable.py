"""Products with the Hessian through layers whose fused kernels cannot be differentiated forward over reverse."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.landscape import Objective, isotropic
from analysis.landscape.twice_differentiable import ElementaryNorm


def test_hessian_vector_product_is_a_difference_of_gradients(network, batches, statistics):
    """What forward over reverse through batch norm fails in torch 2.13."""
    objective = Objective(network(), batches(), statistics=statistics)
    w, h = objective.weights, 1e-5
    v = torch.randn(len(w), dtype=w.dtype, generator=torch.Generator().manual_seed(3))
    difference = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
    torch.testing.assert_close(objective.hessian_vector_product(w, v), difference, rtol=0, atol=1e-8)


class Attends(nn.Module):
    """Attention over the samples, as fused as torch has it."""

    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(3, 12), nn.Linear(4, 2)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, dim=1)
        return self.out(F.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None])[0, 0])


def test_products_through_attention(batches):
    torch.manual_seed(0)
    objective = Objective(Attends().double(), batches())
    w, v, h = objective.weights, isotropic(objective), 1e-5
    difference = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
    torch.testing.assert_close(objective.hessian_vector_product(w, v), difference, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(objective.hessian()(v), difference, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(6, 3), (6, 3, 4, 2)])
def test_elementary_batch_norm_is_the_fused_one(shape, affine):
    torch.manual_seed(0)
    kind = nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d
    norm = kind(3, affine=affine, dtype=torch.float64)
    for p in norm.parameters():
        nn.init.normal_(p)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    evaluated = norm.eval()(x)
    norm.train().track_running_stats = False
    by_batch = norm(x)
    with ElementaryNorm():
        for expected, elementary in ((by_batch, norm(x)), (evaluated, norm.eval()(x))):
            torch.testing.assert_close(elementary, expected, rtol=1e-12, atol=1e-12)
            assert "BatchNorm" in type(expected.grad_fn).__name__
            assert "BatchNorm" not in type(elementary.grad_fn).__name__
        norm.train().track_running_stats = True
        assert "BatchNorm" in type(norm(x).grad_fn).__name__  # which updates running statistics
        assert norm.num_batches_tracked == 1
