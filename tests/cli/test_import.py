"""`ultraslow import`: a run made of checkpoints."""

import json

import torch


def test_import_makes_a_run_of_checkpoints(tmp_path, run, refused):
    for step in (0, 100):
        torch.save({"w": torch.full((4,), float(step))}, tmp_path / f"step={step}.pt")
    done = run("import", tmp_path, "--out", tmp_path / "run.zarr", "--no-snapshots")
    assert (done.returncode, done.stderr) == (0, "")
    printed = json.loads(run("info", tmp_path / "run.zarr", "--json").stdout)
    assert (printed["steps"], printed["distance"], printed["snapshots"]) == ([100, 100], 200.0, [])
    assert "got 1 checkpoints" in refused("import", tmp_path / "step=0.pt", "--out", tmp_path / "one.zarr")
