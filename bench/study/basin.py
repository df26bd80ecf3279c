"""A steady walk beside the loss around it: is it a basin, or a random potential?

At w_s the Hessian H of the loss and the covariance C of the clipped gradients of batches are measured. If the loss
were the quadratic of H over the distances travelled, the weights would relax along each eigenvector of H, at the rate
η' (h + λ) with η' = η/(1 − μ), and for t past the momentum's memory

    E‖w_{s+t} − w_s‖² = η'² Σ_i C_ii (1 − e^(−r_i t)) / r_i,    r_i = η' (max(h_i, 0) + λ):

a curve without a free parameter. Lanczos' quadrature makes the sum from noise vectors, Σ_i C_ii f(h_i) = E ξᵀf(H)ξ.
Eigenvalues below 0 count as 0: there weight decay alone holds the weights.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from scipy.linalg import eigh_tridiagonal

from analysis.landscape import Objective, eigenvalues, probe, spectral_density
from analysis.landscape.density import lanczos
from study.perceptron import Moments, Motion, Parameters, advance
from study.recording import batches, network
from study.settings import CLIP, Setting
from ultraslow.large_batch.ghost_batch_norm import convert_ghost_batch_norm

Array = np.ndarray

AGE = 20
"""The origin s, in memory times."""
LENGTH = 30
"""What follows it, in memory times."""
PER_MEMORY = 50
"""Weights that are kept in a memory time."""
LAGS = (0.06, 0.1, 0.2, 0.5, 1, 2, 3, 5, 10, 20)
"""Lags, in memory times, of the tables."""
WITHIN, BEYOND = (0.06, 3), (3, 20)
"""Lags up to which weight decay could hold the weights, and beyond."""
TOP, NEXT, BULK = 10, 20, 30
"""Directions: the largest eigenvalues, those after them, and random ones orthogonal to both."""
SAMPLES = 4096
"""Of the loss; normalized in parts of the batch's size, as in training."""
NOISES, STEPS = 6, 60
"""Noise vectors that Lanczos' iteration starts from, and its steps."""
DRAWS = 200
"""Batches that the gradients' covariance is the mean of."""
DIRECTIONS = 8
DISTANCES = np.geomspace(1, 16, 13)
"""Of the random potential, wider than any walk; its α is of those that the walk covers from `LAGS[0]` on."""


def walk(setting: Setting, seed: int, images: Array, labels: Array) -> tuple[Array, float]:
    """Train to the origin and beyond; return the weights (LENGTH · PER_MEMORY + 1, weight) and the mean loss."""
    torch.set_flush_denormal(True)
    weights = Parameters.of(network(setting.batch_norm, seed))
    gradient, moments = weights.zeros(), Moments.none(weights.flat)
    motion = Motion.none(len(weights.bounds) - 1)
    rates = [np.float32(x) for x in (setting.learning_rate, setting.momentum, setting.weight_decay)]
    memory = round(setting.memory)
    orders = _updates(len(images), setting.batch_size, seed)
    kept = np.empty((LENGTH * PER_MEMORY + 1, len(weights.flat)), np.float32)
    for place, updates in enumerate([AGE * memory, *[memory // PER_MEMORY] * (len(kept) - 1)]):
        order = np.array([next(orders) for _ in range(updates)])
        advance(weights, gradient, moments, images, labels, order, *rates, CLIP, motion)
        kept[place] = weights.flat
    return kept, float(motion.loss[0]) / ((AGE + LENGTH) * memory)


def _updates(samples: int, batch_size: int, seed: int) -> Iterator[Array]:
    for epoch in batches(samples, batch_size, seed):
        yield from epoch


def measure(setting: Setting, seed: int, images: Array, labels: Array) -> dict[str, Any]:
    """Everything that the tables say of one seed, fit for JSON; lags in memory times."""
    kept, mean_loss = walk(setting, seed, images, labels)
    objective = _objective(setting, seed, images, labels)
    here = objective.at(torch.from_numpy(kept[0]))
    top = eigenvalues(here, k=TOP + NEXT)
    basis = top.vectors.astype(np.float32)
    density = spectral_density(here, steps=STEPS, probes=2)
    middle = objective.at(torch.from_numpy(kept.mean(axis=0)))
    return {
        "setting": setting.name,
        "seed": seed,
        "mean_loss": mean_loss,
        "norm": float(np.linalg.norm(kept[0])),
        "distance": _distances(kept),
        "basin": _predicted(here, setting, seed, kept[0], images, labels),
        "basin_of_the_mean": _predicted(middle, setting, seed, kept.mean(axis=0), images, labels),
        "eigenvalues": top.values.tolist(),
        "trace": density.trace,
        "squares": {name: _squares(kept @ part.T) for name, part in _parts(basis, seed).items()},
        "losses": _losses(objective, kept),
        "middles": _middles(objective, here, kept),
        "potential": _potential(here, seed),
    }


def _objective(setting: Setting, seed: int, images: Array, labels: Array) -> Objective:
    layers = network(setting.batch_norm, seed)
    convert_ghost_batch_norm(layers, setting.batch_size)
    chosen = np.random.default_rng(0).choice(len(images), SAMPLES, replace=False)
    pair = torch.from_numpy(images[chosen]), torch.from_numpy(labels[chosen]).long()
    return Objective(layers, [pair], statistics="batch")


def _lag_steps() -> list[int]:
    return [round(lag * PER_MEMORY) for lag in LAGS]


def _distances(kept: Array) -> dict[str, list[float]]:
    """Root mean square over origins of the distance, at log-spaced lags."""
    steps = np.unique(np.round(np.geomspace(3, BEYOND[1] * PER_MEMORY, 40)).astype(int))
    found = [float(np.sqrt(_mean_square(kept, step))) for step in steps]
    return {"lag": (steps / PER_MEMORY).tolist(), "d": found}


def _mean_square(kept: Array, step: int, every: int = 5) -> float:
    pairs = range(0, len(kept) - step, every)
    return float(np.mean([np.square(kept[i + step] - kept[i], dtype=np.float64).sum() for i in pairs]))


def _predicted(
    objective: Objective, setting: Setting, seed: int, w: Array, images: Array, labels: Array
) -> dict[str, Any]:
    """The basin's distance at the lags, and the share of the gradients' variance by curvature."""
    noise = _noise(setting, seed, w, images, labels)
    hessian = objective.hessian()
    nodes, weights = [], []
    for start in noise[:NOISES]:
        theta, vectors = eigh_tridiagonal(*lanczos(lambda v: hessian(torch.from_numpy(v)).numpy(), start, STEPS))
        nodes.append(theta)
        weights.append(vectors[0] ** 2)
    h, share = np.concatenate(nodes), np.concatenate(weights) / NOISES
    variance = float(np.square(noise, dtype=np.float64).sum(axis=1).mean()) * DRAWS / (DRAWS - 1)
    d = [
        relaxed(h, variance * share, setting.learning_rate / (1 - setting.momentum), setting.weight_decay, t)
        for t in _times(setting)
    ]
    order = np.argsort(h)
    quantiles = np.interp([0.1, 0.25, 0.5, 0.75, 0.9], np.cumsum(share[order]), h[order])
    return {"d": d, "variance": variance, "below_zero": float(share[h < 0].sum()), "quantiles": quantiles.tolist()}


def relaxed(h: Array, noise: Array, rate: float, weight_decay: float, t: float) -> float:
    """The distance after t updates in the basin of curvatures h whose gradients have variances `noise` along them.

    rate: η' = η/(1 − μ).
    """
    back = rate * (np.maximum(h, 0) + weight_decay)
    return float(rate * np.sqrt(noise @ (-np.expm1(-back * t) / back)))


def _times(setting: Setting) -> Array:
    return np.array(LAGS) * setting.memory


def _noise(setting: Setting, seed: int, w: Array, images: Array, labels: Array) -> Array:
    """(DRAWS, weight) clipped gradients of random batches, less their mean."""
    weights = Parameters.of(network(setting.batch_norm, seed))
    gradient, still, none = weights.zeros(), Moments.none(weights.flat), np.float32(0)
    motion = Motion.none(len(weights.bounds) - 1)
    weights.flat[:] = w
    generator = np.random.default_rng([seed, 7])
    found = np.empty((DRAWS, len(w)), np.float32)
    for draw in found:
        order = generator.choice(len(images), (1, setting.batch_size))
        advance(weights, gradient, still, images, labels, order, none, none, none, CLIP, motion)
        draw[:] = gradient.flat * min(1.0, CLIP / float(np.linalg.norm(gradient.flat)))
    return found - found.mean(axis=0)


def _parts(basis: Array, seed: int) -> dict[str, Array]:
    """Unit vectors (direction, weight): eigenvectors, and random ones orthogonal to them."""
    drawn = np.random.default_rng([seed, 8]).normal(size=(BULK, basis.shape[1])).astype(np.float32)
    drawn -= (drawn @ basis.T) @ basis
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    return {"top": basis[:TOP], "next": basis[TOP:], "bulk": drawn}


def _squares(along: Array) -> list[float]:
    """The mean square of the displacement along a direction, over origins and directions, by lag."""
    return [float(np.square(along[step:] - along[:-step], dtype=np.float64).mean()) for step in _lag_steps()]


def _losses(objective: Objective, kept: Array) -> dict[str, list[float]]:
    """The mean square of the walk's own differences of the loss, by lag."""
    every = PER_MEMORY // 2
    losses = np.array([objective.loss(torch.from_numpy(w)) for w in kept[::every]])
    steps = [step // every for step in _lag_steps() if step % every == 0]
    return {
        "lag": [step * every / PER_MEMORY for step in steps],
        "square": [float(np.square(losses[step:] - losses[:-step]).mean()) for step in steps],
    }


def _middles(objective: Objective, here: Objective, kept: Array) -> dict[str, list[float]]:
    """The loss half way from w_s to later weights, less the mean of the ends'; and what H makes of it, −dᵀHd/8."""
    product = here.hessian()
    seen, quadratic = [], []
    for step in _lag_steps():
        a, b = (torch.from_numpy(w) for w in (kept[0], kept[step]))
        ends = (objective.loss(a) + objective.loss(b)) / 2
        seen.append(objective.loss((a + b) / 2) - ends)
        quadratic.append(-float((b - a) @ product(b - a)) / 8)
    return {"seen": seen, "quadratic": quadratic}


def _potential(here: Objective, seed: int) -> dict[str, Any]:
    """Differences of the loss around w_s, (direction, sign, distance)."""
    found = probe(here, [here.weights], DISTANCES, directions=DIRECTIONS, seed=seed)
    return {"delta": found.delta[0].tolist(), "loss": found.loss[0], "gradient": float(found.gradient_norm[0])}
