"""Models, batches and losses of other kinds than the networks here: the right number, or one line."""

import random
import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

from analysis.errors import LandscapeError
from analysis.landscape import Objective, eigenvalues, isotropic, path, sharpness, trace

X = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
Y = torch.randint(2, (20,), generator=torch.Generator().manual_seed(3))


def assert_derivatives(objective):
    """Gradient and products are those of differences, at the model's weights and elsewhere."""
    for shift in (0.0, 0.3):
        w = objective.weights + shift
        v, h = isotropic(objective, 7), 1e-5
        slope = (objective.loss(w + h * v) - objective.loss(w - h * v)) / (2 * h)
        assert float(objective.gradient(w) @ v) == pytest.approx(slope, rel=1e-5, abs=1e-8)
        bend = (objective.gradient(w + h * v) - objective.gradient(w - h * v)) / (2 * h)
        torch.testing.assert_close(objective.hessian_vector_product(w, v), bend, rtol=1e-5, atol=1e-8)
        torch.testing.assert_close(objective.hessian(w)(v), bend, rtol=1e-5, atol=1e-8)


def refused(what, call):
    with pytest.raises(LandscapeError, match=what) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_reading_the_batches_leaves_the_random_states(network):
    model = network()
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    Objective(model, DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True))
    Objective(model, ((X * random.random() + np.random.rand(), Y) for _ in range(2)))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]


def test_batches_of_an_iterator_are_kept_though_it_uses_their_memory_again(network):
    def reading():
        x = torch.empty(5, 3, dtype=torch.float64)
        for rows, labels in zip(X.split(5), Y.split(5), strict=True):
            yield x.copy_(rows), labels

    model = network()
    assert Objective(model, reading()).loss() == pytest.approx(Objective(model, [(X, Y)]).loss(), rel=1e-12)
    spent = iter([(X, Y)])
    Objective(model, spent)
    refused("got no batch; .*an iterator gives its batches once", lambda: Objective(model, spent))


def test_batches_of_several_tensors():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2).double()

        def forward(self, x):
            return self.linear(x["images"] if isinstance(x, dict) else x[0])

    with torch.inference_mode():
        images = X.clone()
    model = Parts()
    expected = Objective(model.linear, [(X, Y)]).gradient()
    for x in ((images, Y), [images], {"images": images}):
        objective = Objective(model, [(x, Y)])
        torch.testing.assert_close(objective.gradient(), expected)
        assert_derivatives(objective)


def test_a_loss_of_the_parameters_themselves_is_refused(network):
    """They are the model's, not the weights at which the loss is asked for."""
    model = network()

    def decayed(output, y):
        return F.cross_entropy(output, y, reduction="none") + sum(p.square().sum() for p in model.parameters())

    refused("the loss takes the model's parameters themselves", lambda: Objective(model, [(X, Y)], decayed))
    warmth = nn.Parameter(torch.ones((), dtype=torch.float64))
    assert_derivatives(Objective(model, [(X, Y)], lambda out, y: F.cross_entropy(out / warmth, y, reduction="none")))


def test_a_model_that_changes_its_input_is_refused_and_the_input_stays():
    x = X.clone()
    refused("the model changes its input in place", lambda: Objective(Centres().double(), [(x, Y)]))
    assert torch.equal(x, X)


class Centres(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x.sub_(0.5))


def test_a_state_dict_brings_its_frozen_parameters(network):
    model, other = network(), network(5)
    model[0].requires_grad_(False)
    objective = Objective(model, [(X, Y)], statistics="batch")
    there = objective.at(other.state_dict())
    assert there.loss() == Objective(other, [(X, Y)], statistics="batch").loss()
    assert objective.at(there.weights).loss() != there.loss()
    refused("the two ends differ in 0.weight", lambda: path(objective, objective.weights, other.state_dict()))
    same = path(objective, other.state_dict(), other.state_dict(), points=3)
    assert same.table["loss"].tolist() == pytest.approx([there.loss()] * len(same.table), rel=1e-12)


def test_running_statistics_belong_to_the_weights(network):
    weights = dict(network(5).named_parameters())
    refused("come without 1.running_mean", lambda: Objective(network(), [(X, Y)]).at(weights))
    by_batch = Objective(network(), [(X, Y)], statistics="batch").at(weights)
    assert by_batch.loss() == Objective(network(5), [(X, Y)], statistics="batch").loss()


def test_buffers_of_another_shape_are_refused(network):
    state = network().state_dict() | {"1.running_var": torch.ones(9)}
    refused(
        r"do not fit the model: 1.running_var is \(9,\), not \(4,\)", lambda: Objective(network(), [(X, Y)]).at(state)
    )


def test_tied_weights_are_one():
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False)).double()
    model[2].weight = model[0].weight
    objective = Objective(model, [(X, Y)])
    w, state = objective.weights, model.state_dict()
    for one in ("0.weight", "2.weight"):  # files of safetensors hold one of them
        assert torch.equal(objective.at({one: state[one]}).weights, w)
    apart = state | {"2.weight": state["0.weight"] + 1}
    refused("the weights differ in 0.weight and 2.weight, which are one", lambda: objective.at(apart))


def test_weights_that_are_not_there_yet_are_refused():
    refused("0.weight has no weights yet", lambda: Objective(nn.Sequential(nn.LazyLinear(2)), [(X.float(), Y)]))
    refused("weight has no weights yet", lambda: Objective(nn.Linear(3, 2, device="meta"), [(X.float(), Y)]))


def test_the_default_device_and_type_change_no_number():
    model = nn.Linear(3, 4)
    objective = Objective(model, [(X.float(), Y)])

    def numbers():
        found = sharpness(objective).phi, sharpness(objective, subspace=3).phi, trace(objective, 2).value
        return *found, float(isotropic(objective)[0]), eigenvalues(objective, 1).values[0]

    expected = numbers()
    with torch.device("meta"):  # as "cuda" would, were there one
        assert numbers() == expected
    torch.set_default_dtype(torch.float64)
    try:
        assert numbers() == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_sparse_gradients():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.out = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 2)

        def forward(self, x):
            return self.out(self.words(x).mean(1).tanh())

    torch.manual_seed(0)
    assert_derivatives(Objective(Bag().double(), [(torch.randint(9, (20, 3)), Y)]))


def test_weight_norm_is_differentiated_twice():
    """What torch's fused operation does wrongly."""
    torch.manual_seed(0)
    norm = nn.utils.parametrizations.weight_norm
    model = nn.Sequential(norm(nn.Linear(3, 4)), nn.Tanh(), norm(nn.Linear(4, 2), dim=1)).double()
    assert_derivatives(Objective(model, [(X, Y)]))


def test_products_after_the_point_was_moved(network):
    objective = Objective(network(), [(X, Y)])
    w, v = objective.weights.clone(), isotropic(objective)
    product = objective.hessian(w)
    expected = product(v)
    w += 1
    assert torch.equal(product(v), expected)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_what_is_computed_again_is_refused():
    """With the model's own weights: at others the gradient would be wrong."""

    class Checkpointed(nn.Module):
        def __init__(self, reentrant):
            super().__init__()
            self.first, self.second, self.reentrant = (
                nn.Linear(3, 4),
                nn.Sequential(nn.Tanh(), nn.Linear(4, 2)),
                reentrant,
            )

        def forward(self, x):
            return checkpoint(self.second, self.first(x), use_reentrant=self.reentrant)

    for reentrant in (False, True):
        model = Checkpointed(reentrant).double()
        objective = Objective(model, [(X, Y)])
        for call in (
            objective.gradient,
            objective.hessian,
            lambda at=objective: at.hessian_vector_product(None, at.weights),
        ):
            refused(r"computes parts of itself once more .* switch it off", call)
        assert all(p.grad is None for p in model.parameters())


def test_operations_without_a_second_derivative_are_named():
    model = nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 2)).double()
    objective = Objective(model, [(torch.randint(9, (20, 3)), Y)])
    assert objective.gradient().isfinite().all()
    named = "derivative for '_embedding_bag_backward' is not implemented in torch; expected a model and a loss"
    refused(named, lambda: eigenvalues(objective))
    refused(named, lambda: objective.hessian_vector_product(None, objective.weights))


def test_tensors_that_modules_hold_are_as_they_were(network):
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.last, self.first = network(), None, X

        def forward(self, x):
            self.last, self.first = self.inner(x), None
            self.new = self.last
            return self.last

    model = Keeps()
    prune.l1_unstructured(model.inner[0], "weight", 0.5)
    pruned = model.inner[0].weight
    objective = Objective(model, [(X, Y)])
    assert_derivatives(objective)
    assert model.inner[0].weight is pruned
    assert model.last is None
    assert model.first is X
    assert not hasattr(model, "new")


def test_derivatives_that_are_no_numbers_are_refused():
    model = nn.Linear(3, 2, bias=False).double()
    nn.init.zeros_(model.weight)
    objective = Objective(model, [(X, Y)], lambda output, y: output.square().sum(1).sqrt())
    assert objective.loss() == 0
    v = objective.weights + 1
    for call in (
        objective.gradient,
        lambda: objective.hessian_vector_product(None, v),
        lambda: objective.hessian()(v),
    ):
        refused("the loss is finite, but a derivative of it is not", call)


def test_what_is_no_module_and_what_is_no_tensor_are_refused(network):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        scripted = torch.jit.trace(network(), X, check_trace=False)
    refused("got a scripted model; expected the nn.Module", lambda: Objective(scripted, [(X, Y)]))
    arrays = {name: w.numpy() for name, w in network().state_dict().items()}
    refused("hold 0.weight as ndarray; expected tensors", lambda: Objective(network(), [(X, Y)]).at(arrays))


def test_the_precision_is_that_of_an_autocast_within_the_model():
    class Halves(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.linear(x).float()

    objective = Objective(Halves(), [(X.float(), Y)])
    assert objective.precision == "bfloat16"
    refused("a radius that bfloat16 weights resolve, 0.4 or more", lambda: sharpness(objective))
    refused("are bfloat16; expected float32 or float64", lambda: trace(objective))


@pytest.mark.slow
def test_what_is_compiled_is_differentiated_twice(network):
    for model in (torch.compile(network(), backend="aot_eager"), network()):
        if isinstance(model, nn.Sequential):
            model[0].compile(backend="aot_eager")
        assert_derivatives(Objective(model, [(X, Y)], statistics="batch"))
