"""The command that measures everything on a GPU, where there is none: what it lacks is said in a line."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]


def refusal(*arguments):
    done = subprocess.run([sys.executable, "bench/gpu.py", *arguments], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_is_said_in_one_line(tmp_path):
    said = refusal("--results", str(tmp_path / "results"))
    assert said.startswith("bench/gpu.py: torch cannot use cuda here (")
    assert said.count("\n") == 1
    assert not (tmp_path / "results").exists()


def test_a_folder_without_wheels_is_refused(tmp_path):
    assert refusal("--wheels", str(tmp_path)) == f"bench/gpu.py: {tmp_path} holds no wheels (*.whl)\n"


def test_what_is_not_installed_is_named():
    """A Python without packages, which says what to bring before it imports any of it."""
    bare = subprocess.run([sys.executable, "-I", "-S", "bench/gpu.py"], cwd=ROOT, capture_output=True, text=True)
    assert bare.returncode == 2
    assert bare.stderr.startswith("bench/gpu.py: not installed: torch")
    assert bare.stderr.endswith("bring them as wheels: --wheels DIR\n")
