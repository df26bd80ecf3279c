"""The committed curves: whole runs, and what fits say of them."""

import tarfile
from pathlib import Path

import pytest

from analysis import compare, curves, fit
from trajectory import Run

ROOT = Path(__file__).parents[1]
CURVES = ROOT / "docs" / "curves"


def unpack(name, folder):
    with tarfile.open(CURVES / f"{name}.tar.xz") as packed:
        packed.extractall(folder, filter="data")
    return [Run(path) for path in sorted(folder.glob("*.zarr"))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return unpack("mnist-wd", tmp_path_factory.mktemp("curves"))


def test_packed_runs_are_whole_runs_with_their_settings(runs):
    assert [run.seed for run in runs] == [0, 1, 2, 3, 4]
    assert all(run.status == "complete" and run.origins == [0, 100, 1000] and not run.drops for run in runs)
    assert all(run.distance.index[-1] > 10_000 for run in runs)
    (from_start,), (later,) = curves(runs[0]), curves(runs[0], origin=1000)
    assert len(from_start.t) > 150
    assert (later.t[0] < 10, later.origin) == (True, 1000)
    # the parts add up to the whole, to the four millionths they are rounded to
    squares = runs[0].layers("distance").pow(2).sum(axis=1)
    assert squares.to_numpy() == pytest.approx(runs[0].distance.to_numpy() ** 2, rel=2e-5)
    assert compare(runs, ("power law", "saturation"), t_min=1000).memory == pytest.approx(0.1 / (0.1 * 1e-4))


def test_a_start_that_fits_by_luck_is_warned_of(tmp_path):
    found = fit(unpack("fashion-mnist-no-wd", tmp_path), origin=100)
    later = found.scan[found.scan.t_min > found.fit_range[0]]
    assert found.p_value >= 0.05
    assert (later.p_value < 0.05).mean() > 0.7
    assert any("may be luck" in sentence for sentence in found.warnings)


def test_no_law_of_the_family_fits_five_real_seeds_from_w_0(runs):
    found = fit(runs, origin=0)
    assert (found.scan.p_value < 0.01).all()
    assert found.interval_over_starts is None
    assert any("No law of the family" in sentence for sentence in found.warnings)


def test_the_committed_curves_hold_every_experiment_in_little_space():
    archives = sorted(CURVES.glob("*.tar.xz"))
    assert sum(file.stat().st_size for file in CURVES.iterdir()) < 5e6
    names = {archive.name.removesuffix(".tar.xz") for archive in archives}
    constant = {"mnist-wd", "mnist-no-wd", "fashion-mnist-wd", "fashion-mnist-no-wd", "mnist-shuffled"}
    f1 = {f"mnist-steady-{name}" for name in ("16", "128", "128-clean", "128-decay-1e-3", "128-decay-5e-3")}
    assert names == constant | f1 | {"conv-steady-16", "cifar10-steady-16"}
