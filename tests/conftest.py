"""Settings of all tests, and when numbers may be compared bit for bit.

No test may rest on how one processor rounds. What is compared exactly holds on every processor, because it is one of

- integers, or copies of the same numbers: written and read, sent, cut out;
- one operation that IEEE 754 rounds correctly, element by element: + − × ÷ √, a cast;
- the same program run twice on one machine: the same operations on the same shapes, in as many threads.

Two ways of computing one thing are compared with a tolerance that follows from their rounding, trainings in float64
(tests/train/conftest.py). Random draws from fixed seeds differ between processors in their last digits at most.
"""

import atexit
import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# One thread a test: the same sums on every machine, and no oversubscription where tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

# Files that take ten seconds and more begin first, so that no worker is left alone with one at the end.
LONG = [
    Path(__file__).parent / f"{name}.py"
    for name in (
        *("cli/test_demo", "cli/test_sweep", "cli/test_torchrun", "train/sweeps/test_runner"),
        *("train/engine/test_checkpoint", "train/engine/test_data_parallel", "train/engine/test_run_training"),
        *("trajectory/recording/test_distributed", "trajectory/recording/test_killed"),
        *("trajectory/recording/test_unclosed", "trajectory/recording/test_resume"),
        *("trajectory/measure/test_kernel", "trajectory/storage/test_moment", "trajectory/storage/test_damage"),
    )
]

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_the_disk():
    """What is to be durable is tested by what would be synced, and a file reads the same before it is on the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


def pytest_collection_modifyitems(items):
    """Begin with long files; the others keep their order."""
    items.sort(key=lambda item: item.path not in LONG)


def pytest_collection_finish():
    """Leave what is imported by now, hundreds of thousands of objects, out of each garbage collection.

    The end of the process frees it: after pytest's last five collections, which would look through all of it.
    """
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Draw unseeded numbers, such as a layer's first weights, alike each time; skip what needs a GPU elsewhere."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
    if item.get_closest_marker("cuda"):
        import torch

        if not torch.cuda.is_available():
            pytest.skip("no CUDA device")
