"""Trainings in float64, for tests that compare two computations of the same training.

A processor adds up a product of matrices in an order of its own, which also depends on the shapes, the layout in
memory and the number of threads. Two ways of computing one update therefore differ in the last bits, and training
multiplies the difference by a constant factor with every update: in float32 it reaches whole percents within fifty
updates on some processors and stays at a millionth on others. In float64 it begins 5e8 times smaller.
"""

import pytest

from train.data.images import Dataset
from train.models import NETWORKS

# What two computations in float64 agree to. Rounding begins at 1e-16, so this leaves it room to grow by 1e9 in the
# fifty updates of the longest such test; in float32 it was seen to grow by 1e5. A wrong batch, rate, gradient or
# statistic shows in the first digits.
SAME_TRAINING = {"rtol": 1e-7, "atol": 1e-10}


@pytest.fixture
def same_training():
    """Return the tolerances to which two computations of one training in float64 agree on every processor."""
    return SAME_TRAINING


@pytest.fixture
def in_float64(monkeypatch):
    """Train the digits in float64: images, weights and statistics."""
    build = NETWORKS["f1-small"]
    monkeypatch.setitem(NETWORKS, "f1-small", lambda *size: build(*size).double())
    monkeypatch.setattr(Dataset, "normalize", lambda self, x: (x.double() - self.mean) / self.std)
