"""Oracles: one torch BatchNorm for each ghost batch, applied one after the other, in float64.

Where numbers are equal to the last bit, both layers call the same batch norm of torch on the same numbers.
"""

import copy

import pytest
import torch
from torch import Tensor, nn

from ultraslow.large_batch.ghost_batch_norm import (
    GhostBatchNorm1d,
    GhostBatchNorm2d,
    ghost_batch_sizes,
)

SHAPES = {
    "B,C": (GhostBatchNorm1d, nn.BatchNorm1d, (7,)),
    "B,C,L": (GhostBatchNorm1d, nn.BatchNorm1d, (7, 5)),
    "B,C,H,W": (GhostBatchNorm2d, nn.BatchNorm2d, (7, 4, 3)),
}


def _ghost_batches(batch: int, size: int) -> list[Tensor]:
    """Indices of the ghost batches: among those of one size, every k-th sample."""
    sizes = ghost_batch_sizes(batch, size)
    large = sizes.count(sizes[0])
    cut = large * sizes[0]
    small = len(sizes) - large
    return [torch.arange(i, cut, large) for i in range(large)] + [
        torch.arange(cut + i, batch, small) for i in range(small)
    ]


def _layers(kind: str, ghost: int, dtype: torch.dtype = torch.float64, **options: object) -> tuple:
    ghost_class, plain_class, shape = SHAPES[kind]
    plain = plain_class(shape[0], dtype=dtype, **options)
    if plain.affine:
        nn.init.normal_(plain.weight)
        nn.init.normal_(plain.bias)
    layer = ghost_class(shape[0], ghost, dtype=dtype, **options)
    layer.load_state_dict(plain.state_dict())
    return layer, plain, shape


def _one_by_one(plain: nn.Module, x: Tensor, groups: list[Tensor]) -> Tensor:
    parts = [plain(x[group]) for group in groups]
    return torch.cat(parts)[torch.cat(groups).argsort()]


@pytest.mark.cuda
@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("batch", [32, 30, 17])
@pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])
def test_a_gpu_normalizes_as_the_host_does(kind, batch, last):
    torch.manual_seed(0)
    layer, _, shape = _layers(kind, 8)
    x, upstream = torch.randn(2, batch, *shape, dtype=torch.float64)
    found = {}
    for device in ("cpu", "cuda"):
        here = copy.deepcopy(layer).to(device)
        given = x.to(device)
        if last and given.dim() == 4:
            given = given.contiguous(memory_format=torch.channels_last)
        given = given.detach().requires_grad_()
        y = here(given)
        y.backward(upstream.to(device))
        found[device] = [each.detach().cpu() for each in (y, given.grad, here.weight.grad, *here.buffers())]
    for there, on_host in zip(found["cuda"], found["cpu"], strict=True):
        torch.testing.assert_close(there, on_host, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize(("batch", "ghost"), [(32, 8), (30, 8), (17, 8), (9, 8), (3, 2), (64, 2)])
@pytest.mark.parametrize("momentum", [0.1, 0.7, None])
def test_equals_separate_batch_norms_one_after_the_other(kind, batch, ghost, momentum):
    torch.manual_seed(0)
    layer, plain, shape = _layers(kind, ghost, momentum=momentum, eps=0.1)
    groups = _ghost_batches(batch, ghost)
    for _ in range(3):  # three training steps: the running statistics carry on
        x = (3 + 2 * torch.randn(batch, *shape, dtype=torch.float64)).requires_grad_()
        x_plain = x.detach().clone().requires_grad_()
        upstream = torch.randn_like(x)
        y, expected = layer(x), _one_by_one(plain, x_plain, groups)
        y.backward(upstream)
        expected.backward(upstream)
        torch.testing.assert_close(y, expected)
        torch.testing.assert_close(x.grad, x_plain.grad)
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad)
    torch.testing.assert_close(layer.bias.grad, plain.bias.grad)
    torch.testing.assert_close(layer.state_dict(), plain.state_dict())
    assert int(layer.num_batches_tracked) == 3 * len(groups)


def test_the_groups_of_the_oracle_partition_the_batch():
    for batch, ghost in [(32, 8), (17, 8), (3, 2), (5, 100)]:
        groups = _ghost_batches(batch, ghost)
        assert torch.cat(groups).sort().values.tolist() == list(range(batch))
        assert [len(group) for group in groups] == ghost_batch_sizes(batch, ghost)


@pytest.mark.parametrize(
    ("batch", "ghost", "sizes"),
    [
        (256, 64, [64] * 4),
        (100, 32, [25] * 4),
        (17, 8, [6, 6, 5]),
        (8, 8, [8]),
        (5, 8, [5]),
        (3, 2, [3]),  # 2 + 1 would leave a sample alone
        (1, 8, [1]),
    ],
)
def test_sizes_are_as_even_as_they_come(batch, ghost, sizes):
    assert ghost_batch_sizes(batch, ghost) == sizes


@pytest.mark.parametrize("kind", SHAPES)
def test_a_ghost_as_large_as_the_batch_is_plain_batch_norm(kind):
    torch.manual_seed(0)
    layer, plain, shape = _layers(kind, 64, torch.float32)
    x = torch.randn(20, *shape)
    assert torch.equal(layer(x), plain(x))
    assert layer.state_dict().keys() == plain.state_dict().keys()
    assert all(torch.equal(a, b) for a, b in zip(layer.buffers(), plain.buffers(), strict=True))


def test_evaluation_uses_the_running_statistics():
    torch.manual_seed(0)
    layer, plain, shape = _layers("B,C,H,W", 8)
    layer(5 + torch.randn(32, *shape, dtype=torch.float64))
    plain.load_state_dict(layer.state_dict())
    before = copy.deepcopy(layer.state_dict())
    x = torch.randn(32, *shape, dtype=torch.float64)
    layer.eval()
    plain.eval()
    assert torch.equal(layer(x), plain(x))
    torch.testing.assert_close(layer.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("options", [{"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("training", [True, False])
def test_without_affine_or_running_statistics(options, training):
    torch.manual_seed(0)
    layer, plain, shape = _layers("B,C", 8, **options)
    layer.train(training)
    plain.train(training)
    x = torch.randn(32, *shape, dtype=torch.float64)
    groups = _ghost_batches(32, 8)
    torch.testing.assert_close(layer(x), _one_by_one(plain, x, groups))
    torch.testing.assert_close(layer.state_dict(), plain.state_dict())


def test_a_contiguous_batch_is_not_copied():
    x = torch.randn(32, 7, 4, 3)
    seen = []
    layer = GhostBatchNorm2d(7, 8)
    original = torch.nn.functional.batch_norm

    def spy(view: Tensor, *args: object, **kwargs: object) -> Tensor:
        seen.append(view)
        return original(view, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "batch_norm", spy)
        layer(x)
    assert [view.data_ptr() for view in seen] == [x.data_ptr()]  # one call, on the batch's own memory
    assert seen[0].shape == (8, 4 * 7, 4, 3)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("model_dtype", ["float32", "half"])
def test_half_precision_input(dtype, model_dtype):
    torch.manual_seed(0)
    layer, twin = GhostBatchNorm2d(7, 8), GhostBatchNorm2d(7, 8)
    if model_dtype == "half":
        layer.to(dtype)
    x = (2 + torch.randn(30, 7, 4, 3)).to(dtype)
    y, expected = layer(x), twin(x.float())
    assert y.dtype == dtype
    assert copy.deepcopy(layer)(x.to(memory_format=torch.channels_last)).is_contiguous(
        memory_format=torch.channels_last
    )
    assert layer.running_mean.dtype == (dtype if model_dtype == "half" else torch.float32)
    rounding, stored = (torch.finfo(each).eps for each in (dtype, layer.running_var.dtype))  # one rounding of each
    torch.testing.assert_close(y.float(), expected, rtol=2 * rounding, atol=2 * rounding)
    for name in ("running_mean", "running_var"):
        given, exact = getattr(layer, name).float(), getattr(twin, name)
        torch.testing.assert_close(given, exact, rtol=4 * stored, atol=4 * stored)
    y.sum().backward()
    assert layer.weight.grad.isfinite().all()


def test_compiles_to_the_same_numbers():
    torch.manual_seed(0)
    layer, twin, shape = _layers("B,C", 8, torch.float32)
    twin = copy.deepcopy(layer)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    x = torch.randn(17, *shape)  # uneven: both branches of the layer
    torch.testing.assert_close(compiled(x), twin(x))
    torch.testing.assert_close(layer.state_dict(), twin.state_dict())


@pytest.mark.parametrize(("kind", "shape"), [("B,C,H,W", (32, 7, 5)), ("B,C", (32, 7, 4, 3))])
def test_a_batch_of_other_dimensions_is_refused_as_by_plain_batch_norm(kind, shape):
    for layer in _layers(kind, 8, torch.float32)[:2]:
        with pytest.raises(ValueError, match=r"expected .*D input"):
            layer(torch.randn(shape))
