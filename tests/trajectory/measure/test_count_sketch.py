"""Count sketches against exact distances, with the error the law gives."""

import numpy as np
import pytest
import torch
from torch import nn

from trajectory import Recorder, RecordingError, Run, StoreError, verify
from trajectory.measure.count_sketch import add, count_sketches, hash_indices


def splitmix(j, seed):
    """The hash in Python's integers."""
    mask = (1 << 64) - 1
    x = ((j + 1) * 0x9E3779B97F4A7C15 + seed) & mask
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
    return x ^ (x >> 31)


def test_the_hash_is_splitmix64():
    assert splitmix(0, 0) == 0xE220A8397B1DCDAF  # the first output of the published generator from state 0
    indices = [0, 1, 2, 1000, 2**31, 2**40 + 7]
    bucket, sign = hash_indices(torch.tensor(indices), 4096, seed=3)
    assert bucket.tolist() == [(splitmix(j, 3) >> 1) % 4096 for j in indices]
    assert sign.tolist() == [1 - 2 * (splitmix(j, 3) & 1) for j in indices]


def test_a_sketch_is_linear_and_sums_over_parts():
    torch.manual_seed(0)
    n, buckets = 300_000, 64  # more than a chunk
    a, b = torch.randn(n), torch.randn(n)

    def sketch(x, first=0):
        out = torch.zeros(buckets, dtype=torch.float64)
        add(out, x, first)
        return out

    rounding = 1e-12 * n**0.5
    torch.testing.assert_close(sketch(a) - sketch(b), sketch(a.double() - b.double()), rtol=0, atol=rounding)
    cut = 123_457
    torch.testing.assert_close(sketch(a), sketch(a[:cut]) + sketch(a[cut:], cut), rtol=0, atol=rounding)
    rows = count_sketches([[(a[:cut], 0), (a[cut:], cut)], [(b, 0)]], buckets)
    torch.testing.assert_close(rows, torch.stack([sketch(a), sketch(b)]), rtol=0, atol=rounding)


@pytest.mark.cuda
def test_a_gpu_s_sketch_is_the_host_s():
    """The same float64 terms, added in another order."""
    torch.manual_seed(0)
    parts = [(torch.randn(300_000), 0), (torch.randn(17).bfloat16(), 300_000)]
    on_device = [(tensor.cuda(), first) for tensor, first in parts]
    host, device = (count_sketches([members], 64).cpu() for members in (parts, on_device))
    torch.testing.assert_close(device, host, rtol=0, atol=1e-12 * 300_000**0.5)


@pytest.mark.parametrize("buckets", [32, 256])
def test_the_error_is_the_one_the_law_gives(buckets):
    """Over seeds, ‖S(x)‖² has mean ‖x‖² and variance (2/K)(‖x‖⁴ − Σ x⁴)."""
    torch.manual_seed(1)
    x = torch.randn(400, dtype=torch.float64)
    trials = 1000
    squares = np.array([count_sketches([[(x, 0)]], buckets, seed).square().sum().item() for seed in range(trials)])
    norm = float(x.square().sum())
    spread = np.sqrt(2 / buckets * (norm**2 - float(x.pow(4).sum())))
    assert abs(squares.mean() - norm) < 4 * spread / np.sqrt(trials)
    # the spread of a spread: that of chi-squared with K degrees of freedom
    assert squares.std() == pytest.approx(spread, rel=4 * np.sqrt((2 + 12 / buckets) / (4 * trials)))


def test_distances_between_any_two_steps_come_back(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.5)
    buckets = 4096
    how = {"snapshots": 20, "sketch": buckets, "sketches": 20, "group_by": "module"}
    with Recorder(tmp_path / "run.zarr", model, optimizer, **how) as recorder:
        for _ in range(100):
            loss = (model(torch.randn(8, 30)) - torch.randn(8, 5)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        recorder.flush()
        assert Run(tmp_path / "run.zarr").sketches == [0, 20, 40, 60, 80, 100]
    run = Run(tmp_path / "run.zarr")
    assert run.sketches == run.snapshots
    for layer, names in {None: list(dict(model.named_parameters())), **run.groups}.items():
        weights = [run.state_dict(step) for step in run.snapshots]
        flat = [torch.cat([state[name].double().flatten() for name in names]) for state in weights]
        exact = np.array([[float((s - t).norm()) for t in flat] for s in flat])
        found = run.pairwise_distance(layer=layer)
        assert list(found.index) == list(found.columns) == run.snapshots
        assert np.diag(found).tolist() == [0] * 6
        # fifteen pairs, each within four standard errors
        np.testing.assert_allclose(found, exact, rtol=4 / np.sqrt(2 * buckets))
    some = run.pairwise_distance([20, 100], [0])
    np.testing.assert_allclose(some, run.pairwise_distance().loc[[20, 100], [0]], rtol=1e-12)
    assert run.pairwise_distance([20, 100], 0).equals(some)
    np.testing.assert_allclose(some[0], run.distance[[20, 100]], rtol=4 / np.sqrt(2 * buckets))
    assert verify(run.path) == []
    with pytest.raises(StoreError, match=r"no sketch at steps \[7\]; sketches are at \[0, 20"):
        run.pairwise_distance([7, 20])
    with pytest.raises(StoreError, match="no layer '5'"):
        run.pairwise_distance(layer="5")


def test_sketches_are_taken_where_asked_for_only(tmp_path):
    model = nn.Linear(3, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        Recorder(tmp_path / "none.zarr", model, optimizer),
        Recorder(tmp_path / "a.zarr", model, optimizer, sketch=8),
    ):
        for _ in range(12):
            optimizer.step()
    assert Run(tmp_path / "none.zarr").sketches == []
    with pytest.raises(StoreError, match="no sketch"):
        Run(tmp_path / "none.zarr").pairwise_distance()
    assert Run(tmp_path / "a.zarr").sketches == [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12]
    with pytest.raises(RecordingError, match="number of buckets"):
        Recorder(tmp_path / "b.zarr", model, optimizer, sketch=-1)
