"""Loss, gradient and Hessian-vector product against a written-out network; and a model that stays as it was."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective, sharpness
from trajectory import Recorder, Run
from ultraslow import convert_ghost_batch_norm


def close(ours, theirs, atol=1e-9):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=atol)


def test_loss_gradient_and_hessian_are_those_of_the_written_out_network(network, batches, written_out, statistics):
    model, data = network(), batches()
    objective = Objective(model, data, statistics=statistics)
    f, w = written_out(model, data, statistics), objective.weights
    close(objective.loss(), f(w))
    loss, gradient = objective.loss_and_gradient(w)
    close(loss, f(w))
    close(gradient, torch.autograd.functional.jacobian(f, w))
    dense = torch.autograd.functional.hessian(f, w)
    assert dense.abs().max() > 0.05
    close(torch.stack([objective.hessian_vector_product(w, v) for v in torch.eye(len(w), dtype=w.dtype)]), dense)


@pytest.mark.cuda
def test_a_gpu_s_loss_gradient_and_product_are_the_host_s(network, batches, statistics):
    found = []
    for device in ("cpu", "cuda"):
        data = [(x.to(device), y.to(device)) for x, y in batches()]
        objective = Objective(network().to(device), data, statistics=statistics)
        direction = torch.linspace(-1, 1, len(objective.weights), dtype=torch.float64, device=device)
        product = objective.hessian_vector_product(None, direction)
        found.append([torch.as_tensor(each).cpu() for each in (*objective.loss_and_gradient(), product)])
    for there, on_host in zip(*found, strict=True):
        torch.testing.assert_close(there, on_host, rtol=1e-9, atol=1e-12)


def test_batches_are_weighted_by_their_size(network, batches):
    data = batches()
    whole = [tuple(torch.cat(part) for part in zip(*data, strict=True))]
    one, two = Objective(network(), whole), Objective(network(), data)
    close(one.loss(), two.loss(), atol=1e-14)
    close(one.gradient(), two.gradient(), atol=1e-14)
    v = torch.ones_like(one.weights)
    close(one.hessian_vector_product(None, v), two.hessian_vector_product(None, v), atol=1e-13)


@pytest.mark.parametrize("sizes", [(12,), (7, 5)])
def test_many_products_at_one_point_are_those_made_one_by_one(network, batches, statistics, sizes):
    objective = Objective(network(), batches(sizes), statistics=statistics)
    product = objective.hessian()
    for v in torch.eye(len(objective.weights), dtype=torch.float64)[:4]:
        close(product(v), objective.hessian_vector_product(None, v), atol=1e-14)


def test_ghost_batches_are_normalized_apart(network, batches):
    (x, y), *_ = batches((8,))
    ghosts = Objective(convert_ghost_batch_norm(network(), 4), [(x, y)], statistics="batch")
    apart = Objective(network(), [(x[0::2], y[0::2]), (x[1::2], y[1::2])], statistics="batch")
    close(ghosts.loss(), apart.loss(), atol=1e-12)
    v = torch.ones_like(ghosts.weights)
    close(ghosts.hessian_vector_product(None, v), apart.hessian_vector_product(None, v), atol=1e-12)


def test_a_linear_loss_has_no_curvature(function):
    a = torch.tensor([1.0, -2.0], dtype=torch.float64)
    objective = function(lambda w: w @ a, [3.0, 4.0])
    assert objective.hessian_vector_product(None, a).tolist() == [0, 0]


def test_losses_are_averaged_in_float64():
    x = torch.tensor([1.0] + [2.0**-26] * 3)[:, None]
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    objective = Objective(model, [(x, x)], lambda output, y: output[:, 0])
    assert objective.loss() == (1 + 3 * 2.0**-26) / 4


def test_frozen_parameters_stay_and_tied_ones_count_once(batches):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = nn.Linear(3, 3, bias=False)
            self.two = nn.Linear(3, 3, bias=False)
            self.two.weight = self.one.weight
            self.shift = nn.Parameter(torch.ones(3), requires_grad=False)

        def forward(self, x):
            return self.two(torch.tanh(self.one(x))) + self.shift

    torch.manual_seed(0)
    model = Tied().double()
    objective = Objective(model, batches())
    assert objective.weights.shape == (9,)
    loss = sum(F.cross_entropy(model(x), y, reduction="sum") for x, y in batches()) / 12
    loss.backward()
    close(objective.gradient(), model.one.weight.grad.flatten(), atol=1e-12)


def test_a_snapshot_brings_its_running_statistics(network, batches, tmp_path):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=[0]).close()
    run = Run(tmp_path / "run.zarr")
    there = Objective(network(seed=5), batches()).at(run.state_dict(0))
    assert there.loss() == Objective(model, batches()).loss()
    assert torch.equal(there.flat(there.by_name(there.weights)), there.weights)


def test_half_precision_of_the_surroundings_stays_outside(batches):
    model, data = nn.Linear(3, 2), [(x.float(), y) for x, y in batches()]
    objective = Objective(model, data)
    expected = objective.loss(), objective.gradient()
    with torch.autocast("cpu", dtype=torch.bfloat16), torch.inference_mode():
        loss, gradient = objective.loss_and_gradient()
        product = objective.hessian()(objective.weights)
    assert loss == expected[0]
    assert torch.equal(gradient, expected[1])
    assert torch.equal(product, objective.hessian_vector_product(None, objective.weights))


def test_what_is_made_in_inference_mode_is_differentiated_too(batches):
    model, data = nn.Linear(3, 2), [(x.float(), y) for x, y in batches()]
    expected = Objective(model, data).hessian()(torch.ones(8))
    with torch.inference_mode():
        inside = Objective(model, [(x.clone(), y) for x, y in data])
        assert torch.equal(inside.hessian_vector_product(1.0 * inside.weights, torch.ones(8)), expected)
    assert torch.equal(inside.hessian()(torch.ones(8)), expected)


def test_the_coarsest_weights_decide_what_is_resolved():
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.coarse = nn.Linear(3, 3), nn.Linear(3, 2).bfloat16()

        def forward(self, x):
            return self.coarse(self.fine(x).bfloat16()).float()

    objective = Objective(Mixed(), [(torch.ones(4, 3), torch.zeros(4, dtype=torch.long))])
    assert objective.precision == "bfloat16"
    assert objective.smallest_step == pytest.approx(100 * 2**-8 * float(objective.weights.norm()))
    with pytest.raises(LandscapeError, match=r"a radius that bfloat16 weights resolve, 0.4 or more"):
        sharpness(objective)
