"""How wide α's interval over seeds is against the Cramér-Rao bound, and what choosing the noise model would gain.

    python bench/widths.py [--repetitions 400] [--rows FILE] > bench/results/widths.txt

Three columns for 3 and for 5 seeds: how often Student's interval over the seeds' α holds the true one (nominal .95),
and the standard deviation of the mean α over the Cramér-Rao bound under the noise drawn, once with Brownian GLS for
each seed, as `fit` does, and once (chosen) with GLS under the noise model of the largest restricted likelihood on the
pooled residuals of all seeds: the mixture's models (`noise_models.CELLS`), and white noise, steady, growing and
shrinking. The mean over the four laws of `intervals.TRUTHS`, each repeated so often. Noises as in `intervals.py`.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np
from heading import heading
from intervals import NOISE, TRUTHS, covered, draw, t, u
from rows import Rows

from analysis.fitting.law_fits import interval_over_seeds
from analysis.fitting.laws import growth, growth_slope
from analysis.fitting.noise_models import WHITENERS, correlations, step_variance
from analysis.fitting.variable_projection import Projection, centred, variable_projection
from analysis.synthetic import distance

Array = np.ndarray
x, step = centred(u), step_variance(covered, covered)
WHITE = [np.diag(np.exp(2 * trend * (u - u.mean()))) for trend in (-0.4, 0.0, 0.4)]
R = np.concatenate([correlations(u, step), WHITE]) + 1e-10 * np.eye(len(u))
L = np.linalg.cholesky(R)
W = np.linalg.inv(L)
ONE = W.sum(axis=2)
WEIGHT = np.sum(ONE**2, axis=1)
Q = W - ONE[:, :, None] * (np.einsum("cn,cnm->cm", ONE, W) / WEIGHT[:, None])[:, None]  # Q'Q = P, as in the mixture
LOG_PRIOR = -np.sum(np.log(np.diagonal(L, axis1=1, axis2=2)), axis=1) - 0.5 * np.log(WEIGHT)


def chosen(z: Array) -> int:
    """Return the noise model of the largest restricted likelihood on the residuals of all seeds, (seed, bin)."""
    s = variable_projection(u, z.mean(axis=0)).s[0]
    design = Q @ np.stack([growth(s, x), growth_slope(s, x)]).T
    square, y = design.transpose(0, 2, 1) @ design, Q @ z.T
    score = design.transpose(0, 2, 1) @ y
    rss = np.sum(y**2, axis=(1, 2)) - np.einsum("cki,cki->c", score, np.linalg.solve(square, score))
    log_likelihood = len(z) * (LOG_PRIOR - 0.5 * np.linalg.slogdet(square)[1])
    return int(np.argmax(log_likelihood - 0.5 * len(z) * (len(u) - 3) * np.log(np.maximum(rss, 1e-30))))


def under(cell: int, z: Array) -> Projection:
    """Fit each seed by GLS under a noise model."""
    WHITENERS["chosen"] = lambda u: lambda f: f @ Q[cell].T
    return variable_projection(u, z, "chosen")


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
    """Coverage with Brownian and with chosen noise, and the two standard deviations over the bound."""
    means = []
    for alpha in TRUTHS:
        curves = [draw(rng, alpha, kind, n) for _ in range(repetitions)]
        found = [(variable_projection(u, z).alpha, under(chosen(z), z).alpha) for z in curves]
        ends = np.array([[interval_over_seeds(values) for values in pair] for pair in found])
        held = np.mean((ends[..., 0] <= alpha) & (alpha <= ends[..., 1]), axis=0)
        spread = np.std([[values.mean() for values in pair] for pair in found], axis=0)
        means.append([*held, *(spread * np.sqrt(n) / cramer_rao(kind, alpha))])
    return np.mean(means, axis=0).tolist()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="where what is measured is kept")
    args = parser.parse_args()
    heading()
    rows = Rows(args.rows, args.seed, args.repetitions)
    print("coverage (nominal .95) with Brownian and with chosen noise; standard deviations over the Cramér-Rao bound")
    print(f"{'noise':<18}" + "".join(f"{f'n = {n}':>28}" for n in (3, 5)))
    for kind in NOISE:
        cells = [rows(lambda rng, k=kind, n=n: cell(rng, k, n, args.repetitions), kind, n) for n in (3, 5)]
        shown = ["{:.3f} {:.3f}  {:.2f} {:.2f}".format(*one) for one in cells]
        print(f"{kind:<18}" + "".join(f"{one:>28}" for one in shown), flush=True)


if __name__ == "__main__":
    main()
