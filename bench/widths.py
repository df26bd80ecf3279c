"""How wide α's interval over seeds is against the Cramér-Rao bound, and what choosing the noise model gains.

    python bench/widths.py [--repetitions 400] [--rows FILE] > bench/results/widths.txt

For 3 and for 5 seeds, each with Brownian noise for every set of seeds and with the noise that `fit` chooses by what
they differ by (`analysis.fitting.seed_noise`): how often Student's interval over the seeds' α holds the true one
(nominal .95), how often the test of the law rejects it (.05), and the standard deviation of the mean α over the
Cramér-Rao bound under the noise drawn. The mean over the four laws of `intervals.TRUTHS`, each repeated so often.
Noises as in `intervals.py`.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np
from heading import heading
from intervals import NOISE, TRUTHS, binned_curves, covered, draw, t, u
from rows import Rows

from analysis.fitting.estimator import estimate
from analysis.fitting.laws import growth, growth_slope
from analysis.fitting.noise_models import step_variance
from analysis.fitting.seed_noise import BROWNIAN, seed_noise
from analysis.fitting.variable_projection import centred, variable_projection
from analysis.synthetic import distance

Array = np.ndarray
x, step = centred(u), step_variance(covered, covered)


@cache
def covariance(kind: str) -> Array:
    """Return the noise's covariance, that of many draws."""
    paths = NOISE[kind](np.random.default_rng(0), 100_000)
    return paths.T @ paths / len(paths) + np.diag(5e-4**2 * step)


def cramer_rao(kind: str, alpha: float) -> float:
    """Compute the bound on α's standard deviation for one seed."""
    law, parameters = TRUTHS[alpha]
    at = variable_projection(u, np.log(distance(law, t, **parameters)))
    s, q = float(at.s[0]), float(at.q[0])
    tangent = np.stack([np.ones_like(x), growth(s, x), q * growth_slope(s, x)]).T
    gradient = np.array([0, -2 * s / q**2, 2 / q])
    return float(
        np.sqrt(gradient @ np.linalg.solve(tangent.T @ np.linalg.solve(covariance(kind), tangent), gradient))
    )


def cell(rng: np.random.Generator, kind: str, n: int, repetitions: int) -> list[float]:
    """With Brownian and with chosen noise: coverage, share of laws rejected, standard deviation over the bound."""
    means = []
    for alpha in TRUTHS:
        rows = [_drawn(rng, alpha, kind, n) for _ in range(repetitions)]
        held, rejected, found = np.array(rows, float).transpose(1, 2, 0)
        spread = found.std(axis=1) * np.sqrt(n) / cramer_rao(kind, alpha)
        means.append(np.column_stack([held.mean(axis=1), rejected.mean(axis=1), spread]).ravel())
    return np.mean(means, axis=0).tolist()


def _drawn(rng: np.random.Generator, alpha: float, kind: str, n: int) -> tuple[list[float], list[float], list[float]]:
    bins = binned_curves(draw(rng, alpha, kind, n))
    found = [estimate(bins, 0.95, noise) for noise in (BROWNIAN, seed_noise(bins))]
    return (
        [float(at.interval[0] <= alpha <= at.interval[1]) for at in found],
        [float(at.rejected) for at in found],
        [at.alpha for at in found],
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="where what is measured is kept")
    args = parser.parse_args()
    heading()
    rows = Rows(args.rows, args.seed, args.repetitions)
    print(
        "Brownian noise; the noise that fit chooses: coverage (.95), law rejected (.05), sd over the Cramér-Rao bound"
    )
    print(f"{'noise':<18}" + "".join(f"{f'n = {n}':>34}" for n in (3, 5)))
    for kind in NOISE:
        cells = [rows(lambda rng, k=kind, n=n: cell(rng, k, n, args.repetitions), kind, n) for n in (3, 5)]
        shown = ["{:.3f} {:.2f} {:.2f}; {:.3f} {:.2f} {:.2f}".format(*one) for one in cells]
        print(f"{kind:<18}" + "".join(f"{one:>34}" for one in shown), flush=True)


if __name__ == "__main__":
    main()
