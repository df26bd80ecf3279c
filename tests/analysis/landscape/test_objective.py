"""Loss, gradient and Hessian-vector product against a written-out network; and a model that stays as it was."""

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from analysis.errors import LandscapeError
from analysis.landscape import Objective, isotropic, sharpness
from analysis.landscape.twice_differentiable import ElementaryNorm
from trajectory import Recorder, Run
from ultraslow import convert_ghost_batch_norm

MODES = ("running", "batch")


def close(ours, theirs, atol=1e-9):
    np.testing.assert_allclose(np.asarray(ours), np.asarray(theirs), rtol=0, atol=atol)


@pytest.mark.parametrize("statistics", MODES)
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
@pytest.mark.parametrize("statistics", MODES)
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


@pytest.mark.parametrize("statistics", MODES)
def test_hessian_vector_product_is_a_difference_of_gradients(network, batches, statistics):
    """What forward over reverse through batch norm fails in torch 2.13."""
    objective = Objective(network(), batches(), statistics=statistics)
    w, h = objective.weights, 1e-5
    v = torch.randn(len(w), dtype=w.dtype, generator=torch.Generator().manual_seed(3))
    difference = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
    close(objective.hessian_vector_product(w, v), difference, atol=1e-8)


def test_batches_are_weighted_by_their_size(network, batches):
    data = batches()
    whole = [tuple(torch.cat(part) for part in zip(*data, strict=True))]
    one, two = Objective(network(), whole), Objective(network(), data)
    close(one.loss(), two.loss(), atol=1e-14)
    close(one.gradient(), two.gradient(), atol=1e-14)
    v = torch.ones_like(one.weights)
    close(one.hessian_vector_product(None, v), two.hessian_vector_product(None, v), atol=1e-13)


@pytest.mark.parametrize("sizes", [(12,), (7, 5)])
@pytest.mark.parametrize("statistics", MODES)
def test_many_products_at_one_point_are_those_made_one_by_one(network, batches, statistics, sizes):
    model = network().train()
    before = everything(model)
    objective = Objective(model, batches(sizes), statistics=statistics)
    product = objective.hessian()
    for v in torch.eye(len(objective.weights), dtype=torch.float64)[:4]:
        close(product(v), objective.hessian_vector_product(None, v), atol=1e-14)
    assert_same(before, everything(model))


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


def everything(model):
    """All that must not change, bit for bit."""
    return (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        [id(p) for p in [*model.parameters(), *model.buffers()]],
        [(m.training, getattr(m, "track_running_stats", None)) for m in model.modules()],
        [(p.requires_grad, p.grad is None) for p in model.parameters()],
        torch.get_rng_state(),
    )


def assert_same(before, after):
    assert before[0].keys() == after[0].keys()
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
    assert before[1:4] == after[1:4]
    assert torch.equal(before[4], after[4])


@pytest.mark.parametrize("statistics", MODES)
@pytest.mark.parametrize("ghosts", [False, True])
@pytest.mark.parametrize("training", [True, False])
def test_the_model_stays_as_it_was(network, batches, statistics, ghosts, training):
    model = network().train(training)
    if ghosts:
        convert_ghost_batch_norm(model, 3)
    model[4].bias.requires_grad_(False)
    before = everything(model)
    objective = Objective(model, batches(), statistics=statistics)
    far = objective.at(objective.weights + 1)
    far.loss()
    far.gradient()
    far.hessian_vector_product(None, far.weights)
    assert_same(before, everything(model))


def test_the_model_stays_as_it_was_after_an_exception(network, batches):
    model, calls = network().train(), []

    def breaks(output, y):
        calls.append(torch.rand(1))  # takes a random number
        if len(calls) > 2:
            raise ZeroDivisionError
        return F.cross_entropy(output, y, reduction="none")

    before = everything(model)
    objective = Objective(model, batches(), breaks, "batch")
    for call in (
        objective.loss,
        objective.gradient,
        lambda: objective.hessian_vector_product(None, objective.weights),
    ):
        with pytest.raises(ZeroDivisionError):
            call()
        assert_same(before, everything(model))


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


def refused(what, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LandscapeError, match=what) as caught:
            Objective(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_bad_input_is_refused_in_one_line(network, batches):
    model, data = network(), batches()
    refused("expected 'running' or 'batch'", model, data, statistics="own")
    refused("got no batch", model, [])
    refused(r"a batch that is a Tensor; expected pairs \(x, y\)", model, data[0])
    refused("a batch that is a tuple of Tensor, list; expected pairs", model, [(data[0][0], [0] * 7)])
    refused("give model.module", nn.DataParallel(model), data)
    refused("one sample with batch .*statistics='running'", model, batches((4, 1)), statistics="batch")
    untracked = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, 2)).double()
    for statistics in MODES:
        refused("one sample with batch .*larger batches$", untracked, batches((4, 1)), statistics=statistics)
    refused(r"shape \(\) for 7 samples", model, data, F.cross_entropy)
    refused("the loss is a list for 7 samples", model, data, lambda output, y: [0.0] * len(y))
    refused("two evaluations at the same weights", nn.Sequential(model, Noise()), data)
    with torch.no_grad():
        model[0].bias[0] = torch.nan
    refused("the loss is nan", model, data)


def test_a_loss_that_is_no_number_is_refused_wherever_it_is_met(function):
    wall = function(lambda w: (1 - w.sum()).sqrt(), [0.5])
    beyond = torch.tensor([2.0], dtype=torch.float64)
    for call in (wall.loss, wall.gradient, wall.hessian, lambda w: wall.hessian_vector_product(w, w)):
        with pytest.raises(LandscapeError, match="the loss is nan"):
            call(beyond)


def test_a_point_is_kept_as_it_was_given(function):
    objective = function(lambda w: w.sum(), [0.0])
    w = torch.ones(1, dtype=torch.float64)
    there = objective.at(w)
    w += 1
    assert there.loss() == 1


class Counts(nn.Module):
    """Changes a buffer whenever it is evaluated, and its output with it."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x) * self.calls


def test_buffers_begin_anew_at_each_evaluation(batches):
    model = Counts().double()
    objective = Objective(model, batches())
    expected = Objective(model.linear, batches()).loss()
    for _ in range(2):
        assert objective.loss() == pytest.approx(expected, rel=1e-12)
    assert model.calls == 0


class Noise(nn.Module):
    """Dropout that ignores evaluation."""

    def forward(self, x):
        return F.dropout(x, 0.5, training=True)


class Shard(torch.Tensor):
    """What a DTensor is known by."""

    def to_local(self):
        return self


def test_weights_that_do_not_fit_are_refused(network, batches):
    objective = Objective(network(), batches())
    state = network().state_dict()
    cases = {
        "lack 0.bias, a trainable parameter": {k: v for k, v in state.items() if k != "0.bias"},
        r"0.weight is \(4, 9\), not \(4, 3\)": state | {"0.weight": torch.zeros(4, 9)},
        "name 0.weight module.0.weight, as a wrapper": {f"module.{name}": w for name, w in state.items()},
        "hold 9.weight, which the model lacks": state | {"9.weight": torch.zeros(1)},
    }
    for message, weights in cases.items():
        with pytest.raises(LandscapeError, match=message):
            objective.at(weights)
    shard = state["0.weight"].as_subclass(Shard)
    with pytest.raises(LandscapeError, match=r"hold a shard of 0.weight; expected whole weights"):
        objective.at(state | {"0.weight": shard})
    with pytest.raises(LandscapeError, match=r"shape \(3,\); expected a tensor of shape \(34,\)"):
        objective.loss(torch.zeros(3))
    for call in (objective.at, objective.loss):
        with pytest.raises(LandscapeError, match=r"got a ndarray; expected .*tensor"):
            call(objective.weights.numpy())


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


def test_a_loss_without_a_gradient_is_refused(batches):
    objective = Objective(nn.Linear(3, 2).double(), batches(), lambda output, y: (output.argmax(1) != y).double())
    assert 0 <= objective.loss() <= 1
    for call in (objective.gradient, lambda: objective.hessian_vector_product(None, objective.weights)):
        with pytest.raises(LandscapeError, match="the loss has no gradient; expected differentiable functions"):
            call()


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
