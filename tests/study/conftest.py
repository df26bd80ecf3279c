"""The study lives beside the benches, which import each other by their folder."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parents[2] / "bench"))


@pytest.fixture(autouse=True)
def _subnormal_numbers_are_back():
    """End what the study's trainings leave: that the process takes subnormal numbers for 0, and tests after them."""
    yield
    torch.set_flush_denormal(False)
