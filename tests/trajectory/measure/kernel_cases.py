"""The kernels against a float64 twin; run by test_kernel.py in a process where Triton interprets on the CPU."""

from importlib import import_module

import pytest
import torch


@pytest.fixture(params=["cpu", "gpu"])
def kernel(request):
    if request.param == "gpu":
        pytest.importorskip("triton", reason="triton is not installed, as torch's builds without CUDA leave it out")
    return import_module(f"trajectory.measure.kernel_{request.param}").SumsOfSquares


def tensors(wide):
    torch.manual_seed(0)
    mixed = [
        torch.randn(17_001 if wide else 300),  # two chunks, or a part of one
        torch.randn(30, 7).bfloat16(),
        torch.randn(5).half(),
        torch.zeros(0),
        torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last),
        torch.randn(9, 6).t(),
    ]
    return [*mixed, torch.randn(70).double()] if wide else mixed


def twin(left, right=None):
    right = [torch.zeros_like(x) for x in left] if right is None else right
    return torch.stack([(a.double() - b.double()).square().sum() for a, b in zip(left, right, strict=True)])


@pytest.mark.parametrize("wide", [False, True], ids=["float32", "with float64"])
def test_every_measurement_equals_its_float64_twin(kernel, wide):
    weights = tensors(wide)
    copies = [[torch.randn_like(w, dtype=torch.float64 if w.dtype == torch.float64 else None) for w in weights]]
    copies = [[c if c.dtype == torch.float64 else c.float() for c in copy] for copy in copies]
    previous = [torch.empty_like(c).normal_() for c in copies[0]]
    gradients, momenta = ([torch.randn_like(w) for w in weights] for _ in range(2))
    gradients[2] = None
    before = [w.clone() for w in previous]
    sums = kernel(weights, 6)
    out = torch.empty(6, len(weights), dtype=torch.float64)
    sums.write(out, [copies[0], None, [], previous], [gradients, momenta], previous)
    seen = [torch.zeros(1) if g is None else g for g in gradients]
    expected = torch.stack(
        [twin(weights, copies[0]), twin(weights), twin(weights, before), twin(seen), twin(momenta)]
    )
    torch.testing.assert_close(out[[0, 2, 3, 4, 5]], expected, rtol=2e-6, atol=0)
    assert out[1].isnan().all()
    for kept, w in zip(previous, weights, strict=True):
        assert torch.equal(kept, w.to(kept.dtype))
    again = torch.empty_like(out)
    sums.write(again, [copies[0], None, [], before], [gradients, momenta], None)
    assert torch.equal(again.nan_to_num(), out.nan_to_num())  # the order of the sums is fixed


def test_the_table_follows_the_tensors(kernel):
    weight, copy = torch.full((10,), 2.0), torch.zeros(10)
    sums = kernel([weight], 2)
    out = torch.empty(2, 1, dtype=torch.float64)
    sums.write(out, [[copy]], [[None]], None)
    assert out[0].item() == 40
    assert out[1].isnan().all()  # no gradient at all
    sums.write(out, [[torch.ones(10)]], [[torch.ones(10)]], None)
    assert out.flatten().tolist() == [10, 10]


def test_a_tiny_move_of_large_weights_is_not_rounded_away(kernel):
    weights = torch.full((1000,), 256.0, dtype=torch.bfloat16)
    start = weights.float()
    weights[::2] = 258.0
    out = torch.empty(1, 1, dtype=torch.float64)
    kernel([weights], 1).write(out, [[start]], [], None)
    assert out.item() == 2000


def test_squares_beyond_float32_are_summed_in_float64():
    kernel = import_module("trajectory.measure.kernel_cpu").SumsOfSquares
    weights = [torch.full((300,), 1e25), torch.full((9,), 3e38).bfloat16(), torch.full((5,), 3e38)]
    copies = [[torch.zeros(300), torch.zeros(9), torch.full((5,), -3e38)]]
    out = torch.empty(3, 3, dtype=torch.float64)
    kernel(weights, 3).write(out, [*copies, []], [weights], None)
    expected = torch.stack([twin(weights, copies[0]), twin(weights), twin(weights)])
    torch.testing.assert_close(out, expected, rtol=1e-6, atol=0.0)
    weights[0][7], weights[2][0] = torch.nan, torch.inf
    kernel(weights, 3).write(out, [*copies, []], [weights], None)
    assert out[:, 0].isnan().all()
    assert out[:, 2].isposinf().all()
