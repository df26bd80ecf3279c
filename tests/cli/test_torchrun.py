"""`torchrun -m ultraslow train`, in a folder that holds a user's own train.py."""

import subprocess
import sys

import pytest

from trajectory import Run


@pytest.mark.slow  # three processes import torch; what they do is in train/engine/test_data_parallel.py
def test_two_processes_share_a_run_beside_a_script_called_train(tmp_path):
    for name in ("train", "analysis", "trajectory"):
        (tmp_path / f"{name}.py").write_text("print('HIDES')\n")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "ultraslow", "train", "f1-digits", "--epochs", "0.1", "--out", "run.zarr"]
    done = subprocess.run([*torchrun, *command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "HIDES" not in done.stdout
    assert done.stdout.count(" status ") == 1  # rank 0's table
    run = Run(tmp_path / "run.zarr")
    assert (run.status, len(run.distance), run.config["processes"]) == ("complete", 8, 2)
