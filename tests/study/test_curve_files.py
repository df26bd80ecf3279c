"""Packed curves: what is kept, and the distances that are read from it."""

import numpy as np
import pytest
from study.curve_files import HIDDEN, LongCurves, pack
from study.settings import Setting

SETTING = Setting(name="short", weight_decay=0.1, updates=100, seeds=2)  # τ = 20


def run(seed):
    """A random walk in 3 + 2 groups of 50 weights each, as `study.recording.record` would give it."""
    generator = np.random.default_rng(seed)
    path = generator.normal(size=(5, 50))[:, None] + np.cumsum(generator.normal(size=(5, 101, 50)), axis=1)
    t, origins = np.array([0, 1, 2, 5, 10, 20, 50, 100]), np.array([0, 20, 50])
    distance, norm = np.full((2, len(origins), len(t), 5), np.nan)
    for s, origin in enumerate(origins):
        for row in np.flatnonzero(origin + t <= 100):
            now = path[:, origin + t[row]]
            distance[s, row] = np.sum((now - path[:, origin]) ** 2, axis=1)
            norm[s, row] = np.sum(now**2, axis=1)
    arrays = {"t": t, "origins": origins, "distance": distance, "norm": norm, "loss": np.full(8, 1.0 + seed)}
    return path, {
        name: values.astype(np.float32) if values.dtype == float else values for name, values in arrays.items()
    }


@pytest.fixture(scope="module")
def curves(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    files = [folder / f"short-{seed}.npz" for seed in range(2)]
    for seed, file in enumerate(files):
        np.savez(file, **run(seed)[1])
    pack(SETTING, files, folder / "packed")
    return LongCurves.read(SETTING, folder / "packed")


def test_packed_distances_are_the_walk_s_to_four_digits(curves):
    path, _ = run(1)
    t, d = curves.distance(20)[1]
    assert t.tolist() == [1, 2, 5, 10, 20, 50]
    for after, found in zip(t, d, strict=True):
        assert found == pytest.approx(np.linalg.norm(path[:, 20 + after] - path[:, 20]), rel=5e-5)
    assert curves.distance(20, 4)[1][1][-1] == pytest.approx(np.linalg.norm(path[4, 70] - path[4, 20]), rel=5e-5)
    assert (curves.seeds, curves.at_age(2.5)) == (2, 50)
    assert curves.age(50) == pytest.approx(2.5)


def test_directions_are_the_angles_between_hidden_weights(curves):
    path, _ = run(0)
    t, d = curves.direction(50)[0]
    then, now = path[:HIDDEN, 50], path[:HIDDEN, 100]
    cosine = np.sum(then * now, axis=1) / np.linalg.norm(then, axis=1) / np.linalg.norm(now, axis=1)
    assert t[-1] == 50
    assert d[-1] == pytest.approx(np.sqrt(np.sum(2 * (1 - cosine))), rel=1e-3)


def test_origins_are_averaged_in_the_logarithm_up_to_the_t_that_all_reach(curves):
    t, d = curves.averaged((1, 2.5))[0]
    assert t.tolist() == [1, 2, 5, 10, 20, 50]
    each = [curves.distance(origin)[0][1] for origin in (20, 50)]
    assert d == pytest.approx(np.sqrt(each[0] * each[1]), rel=1e-12)
