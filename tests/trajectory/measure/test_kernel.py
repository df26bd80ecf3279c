"""The kernels, that for a GPU run by Triton's interpreter on the CPU."""

import os
import subprocess
import sys
from pathlib import Path


def test_the_kernels_equal_their_float64_twin():
    """In a process of its own: Triton decides at its first import whether it interprets."""
    cases = Path(__file__).with_name("kernel_cases.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", str(cases)],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
