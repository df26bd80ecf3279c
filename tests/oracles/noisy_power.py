"""Distances that grow as a power of t, with correlated noise, by which detectors of a target are tested."""

import numpy as np
from scipy.signal import lfilter

Q = 0.23  # local exponent of a real run
DROP = 4690  # update of the small batch's first drop on MNIST: epoch 10 at batch 128


def correlated(rng, n, tau=30):
    """Unit normal noise with correlation e^(−lag/τ)."""
    r = np.exp(-1 / tau)
    white = rng.standard_normal(n) * np.sqrt(1 - r * r)
    white[0] /= np.sqrt(1 - r * r)
    return lfilter([1], [1, -r], white)


def power(t, noise=0.0, seed=0):
    """A distance that reaches 1 at DROP."""
    return (t / DROP) ** Q * np.exp(noise * correlated(np.random.default_rng(seed), len(t)))


STEPS = np.arange(1, 7000)
