"""The committed results of the reproduction, and the command that packs such an archive."""

import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from train import table
from train.sweeps.runner import run_sweep
from train.sweeps.spec import read_sweep
from trajectory import Run, verify

ROOT = Path(__file__).parents[1]
SPEC = """
out = "{out}"
recipes = ["f1-digits"]
[settings]
epochs = 2
drops = [[1, 0.1]]
snapshots_per_decade = 1
[methods.SB]
"""


def test_a_packed_sweep_says_what_its_runs_say(tmp_path):
    spec, archive = tmp_path / "spec.toml", tmp_path / "results" / "packed.tar.xz"
    spec.write_text(SPEC.format(out=tmp_path / "runs"))
    (run,) = read_sweep(spec).runs
    run_sweep(read_sweep(spec))
    spec.write_text(spec.read_text() + "[methods.later]\n")  # not trained: left out
    command = [sys.executable, "bench/pack_results.py", str(spec), "--out", str(archive)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert "later-16-seed0.zarr: left out, not complete" in done.stdout
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (path,) = (tmp_path / "unpacked").glob("*.zarr")
    whole, thin = Run(run.path), Run(path)
    assert thin.host is None
    assert thin.snapshots == []
    assert verify(path) == []
    assert thin.distance.to_numpy() == pytest.approx(whole.distance[thin.distance.index].to_numpy(), rel=1e-5)
    assert thin.distance.index[-1] == 160
    assert len(thin.distance) < 80
    assert table(thin).equals(table(whole))  # of the same recorded numbers
    assert [drop.step for drop in thin.drops] == [80]
    spec.write_text(SPEC.format(out=path.parent))
    (kept,) = run_sweep(read_sweep(spec)).values()  # what was unpacked is not trained again
    assert (kept.status, kept.updates) == ("done", 160)


def test_the_committed_results_are_runs_of_the_sweep_in_little_space(tmp_path):
    archive = ROOT / "docs" / "results" / "reproduction.tar.xz"
    assert archive.stat().st_size < 1e6
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    planned = {Path(run.path).name for run in read_sweep(ROOT / "docs" / "reproduction.toml").runs}
    assert {path.name for path in tmp_path.iterdir()} <= planned
    assert (table(tmp_path)["accuracy"] > 50).all()
