"""Recording under DistributedDataParallel as Lightning and the Hugging Face Trainer set it up, in two processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trajectory import Run, verify


@pytest.mark.slow
@pytest.mark.parametrize("framework", ["lightning", "transformers"])
def test_the_first_of_two_processes_records_what_both_train(tmp_path, framework):
    script = Path(__file__).with_name("replicas.py")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, tmp_path, framework]
    subprocess.run([sys.executable, *map(str, command)], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert {file.name for file in tmp_path.glob("done.*")} == {"done.0", "done.1"}
    run = Run(tmp_path / "run.zarr")
    assert (run.status, verify(run.path)) == ("complete", [])
    assert list(run.distance.index) == list(range(1, 9))  # 32 samples, 4 a process, 2 epochs
    assert run.metrics["learning_rate"].notna().sum() == 8
    start, end = run.state_dict(0), run.state_dict(8)
    moved = torch.stack([(end[name] - start[name]).norm() for name in start]).norm()
    assert run.distance[8] == pytest.approx(moved.item(), rel=1e-5)
