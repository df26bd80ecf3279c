"""Walks in random potentials whose law is known exactly: what α is, independently of any fit.

A walker in a potential V at inverse temperature one crosses a barrier ΔV in a time t ~ e^ΔV, so that after t it
sits at the bottom of the deepest valley within barriers of Γ = log t. V Brownian is Sinai's walk, α = 1; V a
fractional Brownian motion of Hurst exponent H has E[(V(x) − V(y))²] ~ |x − y|^(2H), so that α = 2H.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.linalg.lapack import zgtsv

Array = NDArray[np.float64]

# Mean of a Gaussian walk's overshoot of a far barrier, in units of its step's standard deviation,
# −ζ(1/2)/√(2π) (Siegmund 1985); a valley has two ends.
OVERSHOOT = 0.5826


def brownian_potential(rng: np.random.Generator, disorders: int, length: int, sigma: float = 1.0) -> Array:
    """Return V on the sites −length..length, shape (disorder, 2 length + 1), V(0) = 0; steps of deviation sigma."""
    sides = np.cumsum(rng.normal(0.0, sigma, (2, disorders, length)), axis=2)
    return np.concatenate([sides[0, :, ::-1], np.zeros((disorders, 1)), sides[1]], axis=1)


def fractional_potential(rng: np.random.Generator, disorders: int, length: int, hurst: float) -> Array:
    """Fractional Brownian V on −length..length with E[(V(x) − V(y))²] = |x − y|^(2H), V(0) = 0.

    Exact, by circulant embedding of the increments (Davies & Harte 1987); 0 < H < 1.
    """
    n = 2 * length
    lag = np.arange(n + 1)
    h = 2 * hurst
    covariance = 0.5 * ((lag + 1.0) ** h - 2.0 * lag**h + np.abs(lag - 1.0) ** h)
    spectrum = fft.fft(np.concatenate([covariance, covariance[-2:0:-1]])).real
    noise = rng.normal(size=(disorders, 2 * n)) + 1j * rng.normal(size=(disorders, 2 * n))
    increments = fft.fft(noise * np.sqrt(np.maximum(spectrum, 0) / (2 * n)), axis=1).real[:, :n]
    potential = np.concatenate([np.zeros((disorders, 1)), np.cumsum(increments, axis=1)], axis=1)
    return potential - potential[:, length : length + 1]


def golosov_valley(potential: Array, barriers: Array) -> Array:
    """The site at whose bottom a walk from the origin sits after log t = Γ, (disorder, barrier), NaN off the lattice.

    On each side, b is the bottom of the first valley of depth Γ: the minimum of V up to the first site whose V lies
    Γ above the minimum so far; M is the highest V on the way to b. The walk is at b₊ if and only if
    max(M₊, V(b₊) + Γ) < max(M₋, V(b₋) + Γ) (Golosov 1984).

    potential: (disorder, 2 length + 1), the origin in the middle; barriers: (barrier,).
    """
    centre = potential.shape[1] // 2
    right, right_cost = _side(potential[:, centre:], barriers)
    left, left_cost = _side(potential[:, centre::-1], barriers)
    return np.where(np.isnan(left + right), np.nan, np.where(right_cost < left_cost, right, -left))


def _side(potential: Array, barriers: Array) -> tuple[Array, Array]:
    """b and max(M, V(b) + Γ) for each disorder and barrier, on the half-line from the origin."""
    lowest = np.minimum.accumulate(potential, axis=1)
    highest = np.maximum.accumulate(potential, axis=1)
    climb = np.maximum.accumulate(potential - lowest, axis=1)
    bottom = np.full((len(potential), len(barriers)), np.nan)
    cost = np.full_like(bottom, np.nan)
    for i, (v, low, high, up) in enumerate(zip(potential, lowest, highest, climb, strict=True)):
        ends = np.searchsorted(up, barriers)
        for j, end in enumerate(ends[ends < len(v)]):
            b = int(np.searchsorted(-low, -low[end]))  # the first site at the minimum
            bottom[i, j], cost[i, j] = b, max(high[b], v[b] + barriers[j])
    return bottom, cost


def kesten_cdf(x: Array, terms: int = 200) -> Array:
    """Distribution of |m| σ²/Γ², the scaled position of Sinai's walk (Kesten 1986; Golosov 1986).

    F(x) = 1 − (4/π) Σ_k (−1)^k/(2k+1) · 8/((2k+1)² π²) · exp(−(2k+1)² π² x / 8); its mean is 5/6.
    """
    odd = 2.0 * np.arange(terms) + 1
    sign = (-1.0) ** np.arange(terms)
    x = np.asarray(x, float)[..., None]
    decay = np.exp(-(odd**2) * np.pi**2 * x / 8)
    return 1 - 4 / np.pi * np.sum(sign / odd * 8 / (odd * np.pi) ** 2 * decay, axis=-1)


def master_equation(potential: Array, times: Array) -> tuple[Array, Array]:
    """E|x| and E x² of a walk from the origin at the given times, exactly: each (disorder, time).

    Rates W(x → x ± 1) = exp((V(x) − V(x ± 1))/2), reflecting ends. p(t) = exp(W t) p(0) by Talbot's contour for
    the inverse Laplace transform, in the optimised form of Weideman & Trefethen (2007, error ~ 3.9^−N for N nodes):
    one tridiagonal solve a node, which no valley's e^(−V) spoils as it does eigenvectors.
    potential: (disorder, 2 length + 1).
    """
    sites = potential.shape[1]
    position = np.abs(np.arange(sites) - sites // 2).astype(float)
    start = position == 0
    first, second = (np.empty((len(potential), len(times))) for _ in range(2))
    for i, v in enumerate(potential):
        right, left = np.exp(-np.diff(v) / 2), np.exp(np.diff(v) / 2)
        leave = np.append(right, 0) + np.insert(left, 0, 0)
        for j, t in enumerate(times):
            p = np.zeros(sites)
            for z, weight in zip(_NODES / t, _WEIGHTS, strict=True):
                p += (weight * zgtsv(-right, z + leave, -left, start)[3]).real
            first[i, j], second[i, j] = p @ position / t, p @ position**2 / t
    return first, second


def _talbot(n: int) -> tuple[Array, Array]:
    """Nodes t z and weights of exp(W t) ≈ Re Σ weight (z − W)^−1 / t over the upper half of the contour."""
    theta = np.pi * np.arange(1, n, 2) / n
    z = n * (0.5017 * theta / np.tan(0.6407 * theta) - 0.6122 + 0.2645j * theta)
    slope = 0.5017 / np.tan(0.6407 * theta) - 0.5017 * 0.6407 * theta / np.sin(0.6407 * theta) ** 2 + 0.2645j
    return z, -2j * np.exp(z) * slope


_NODES, _WEIGHTS = _talbot(20)
