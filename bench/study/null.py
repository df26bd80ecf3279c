"""A null without a random landscape: a quadratic basin whose relaxation times are spread over many decades.

In a basin each direction i is an Ornstein-Uhlenbeck process of variance σ² and relaxation time τ_i, and

    E‖w_{s+t} − w_s‖² = 2σ² Σ_i (1 − e^(−t/τ_i)),

the same for every s. If the number of directions per unit of log τ grows as (log τ)^m, the sum grows as
(log t)^(m+1) until t reaches the longest τ: d ~ (log t)^(2/α) with α = 4/(m + 1), without any barrier.
"""

import numpy as np

from study.curve_files import Curve

LONGEST = 20.0  # log of the longest relaxation time, in updates
TIMES = np.unique(np.round(np.geomspace(1, 1e6, 145)))


def basin(m: float, *, directions: int = 20_000, seeds: int = 5) -> list[Curve]:
    """Exact samples of the distance from a stationary start.

    m: exponent of the density of log τ on (0, `LONGEST`).
    """
    shares = (np.arange(directions) + 0.5) / directions
    relaxation = np.exp(LONGEST * shares ** (1 / (m + 1)))
    return [(TIMES, _distances(relaxation, np.random.default_rng(seed))) for seed in range(seeds)]


def _distances(relaxation: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """From one update of `TIMES` to the next, exactly: w ← e^(−Δt/τ) w + √(1 − e^(−2Δt/τ)) ξ."""
    start = generator.normal(size=len(relaxation))
    w, found = start, []
    for gap in np.diff(TIMES, prepend=0.0):
        kept = np.exp(-gap / relaxation)
        w = kept * w + np.sqrt(1 - kept**2) * generator.normal(size=len(w))
        found.append(np.linalg.norm(w - start))
    return np.array(found)
