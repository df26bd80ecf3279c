"""Nominal against measured coverage of α's 95 % interval, for every estimator, law and noise; and what builds on it.

    python bench/intervals.py [--repetitions 400] [--only start|one|laws|seeds] > bench/results/intervals.txt

Four tables: the start of the fit range chosen by its p-value when a transient is in the data, with the interval of
that range and the hull over the starts to a decade later; the single run's noise mixture (with, at α = 0, the false
rejection of the power law); how often BIC finds a true power law under Brownian and under independent errors; and the
t interval over seeds. But for the first, 37 log bins of t = 10..1e4, in each the noise at its middle plus step noise
of 0.05 %. The standard error of a coverage of .95 is .011 at 400 repetitions. All coverage assumes that the law is
right.
"""

import argparse

import numpy as np
from heading import heading

from analysis.curve import Curve
from analysis.fitting.estimator import estimate
from analysis.fitting.goodness_of_fit import ACCEPTED
from analysis.fitting.log_bins import Bins
from analysis.fitting.model_comparison import SEPARABLE, compare
from analysis.fitting.noise_models import step_variance
from analysis.fitting.start_scan import choose, interval_over_starts, starts
from analysis.synthetic import distance, noise

Array = np.ndarray

t = np.geomspace(10, 1e4, 37)
u = np.log(t)
covered = t * (u[1] - u[0])
NOISE = {
    "OU 0.8 % l=1": ("OU", 0.008, 1.0),
    "OU 2 % l=3": ("OU", 0.02, 3.0),
    "Matérn 0.8 % l=1": ("Matérn", 0.008, 1.0),
    "Matérn 0.8 % l=3": ("Matérn", 0.008, 3.0),
    "Matérn 2 % l=5": ("Matérn", 0.02, 5.0),
    "Brownian 0.5 %": ("Brownian", 0.005, 1.0),
}
TRUTHS = {
    0.0: ("power law", {"q": 0.25}),
    0.5: ("ultraslow", {"alpha": 0.5, "t0": 1.0}),
    1.0: ("sinai", {"t0": 1.0}),
    2.0: ("pure log", {"t0": 1.0}),
}


def draw(rng: np.random.Generator, alpha: float, kind: str, n: int) -> Array:
    """Draw n curves of log d, (curve, bin)."""
    law, parameters = TRUTHS[alpha]
    name, std, length = NOISE[kind]
    quick = 5e-4 * np.sqrt(step_variance(covered, covered)) * rng.normal(size=(n, len(u)))
    return np.log(distance(law, t, **parameters)) + noise(rng, u, n, kind=name, std=std, length=length) + quick


def coverage(rng: np.random.Generator, alpha: float, kind: str, n: int, repetitions: int) -> tuple[float, float]:
    """How often the 95 % interval from n curves holds α, and how often its p-value is below 5 %."""
    held, rejected = 0, 0
    for _ in range(repetitions):
        names = tuple(f"seed {i}" for i in range(n))
        at = estimate(Bins(u, draw(rng, alpha, kind, n), covered, covered, (10.0, 1e4), names), 0.95)
        held += at.interval[0] <= alpha <= at.interval[1]
        rejected += at.p_value < ACCEPTED
    return held / repetitions, rejected / repetitions


def seeds_table(rng: np.random.Generator, repetitions: int) -> None:
    """The t interval over 3, 5 and 20 seeds."""
    print("\nt interval over seeds, coverage of 95 % (p-value below 5 %)")
    print(f"{'noise':<18}{'alpha':>6}" + "".join(f"{f'n = {n}':>15}" for n in (3, 5, 20)))
    for kind in NOISE:
        for alpha in TRUTHS:
            cells = [coverage(rng, alpha, kind, n, repetitions) for n in (3, 5, 20)]
            print(f"{kind:<18}{alpha:>6g}" + "".join(f"{held:>9.3f} ({bad:.2f})" for held, bad in cells), flush=True)


def one_table(rng: np.random.Generator, repetitions: int) -> None:
    """The single run's mixture."""
    print("\none run, noise mixture, coverage of 95 % (p-value below 5 %)")
    print(f"{'noise':<18}" + "".join(f"{f'alpha = {alpha:g}':>15}" for alpha in TRUTHS))
    for kind in NOISE:
        cells = [coverage(rng, alpha, kind, 1, repetitions) for alpha in TRUTHS]
        print(f"{kind:<18}" + "".join(f"{held:>9.3f} ({bad:.2f})" for held, bad in cells), flush=True)
    print("One minus the column alpha = 0 is the false rejection of a power law at 5 %.")


def start_table(rng: np.random.Generator, repetitions: int) -> None:
    """Where a fit of d = log(t/.1)^2 exp(-A exp(-t/30)) starts, and what its interval is worth there.

    The first good start; good twice in a row, as `fit` chooses; and there the hull over the starts to a decade later.
    """
    steps = np.unique(np.round(np.geomspace(1, 2e4, 600)))
    print("\nstart chosen by p-value, transient exp(-A exp(-t/30)), OU 0.8 %:")
    print("coverage, median alpha - 1, median start; for the hull coverage, and median width over the interval's")
    print(f"{'A':>4}{'n':>3}{'the first good start':>24}{'good there and one before':>27}{'hull over starts':>18}")
    for size in (0.0, 0.3, 1.0):
        for n in (1, 3, 5):
            rows: list[list[tuple[float, float, float]]] = [[], [], []]
            for _ in range(max(1, repetitions // (10 if n == 1 else 5))):
                clean = 2 * np.log(np.log(steps / 0.1)) - size * np.exp(-steps / 30)
                paths = noise(rng, np.log(steps), n) + 3e-4 * rng.normal(size=(n, len(steps)))
                curves = [Curve(steps, np.exp(clean + path), f"seed {i}") for i, path in enumerate(paths)]
                found = starts(curves, None, None, 0.95)
                good = [start.p_value >= ACCEPTED for start in found]
                if not any(good):
                    continue
                chosen = choose(found, None)[0]
                for row, start in zip(rows, (found[good.index(True)], chosen), strict=False):
                    low, high = start.estimate.interval
                    row.append((low <= 1 <= high, start.estimate.alpha - 1, start.t))
                hull = interval_over_starts(found, chosen)
                rows[2].append((hull[0] <= 1 <= hull[1], (hull[1] - hull[0]) / (high - low), 0))
            first, settled, over = (np.array(row) for row in rows)
            cells = [
                f"{r[:, 0].mean():.2f} {np.median(r[:, 1]):+.2f} {np.median(r[:, 2]):.0f}" for r in (first, settled)
            ]
            last = f"{over[:, 0].mean():.2f} {np.median(over[:, 1]):.1f}"
            print(f"{size:>4}{n:>3}{cells[0]:>24}{cells[1]:>27}{last:>18}", flush=True)


def laws_table(rng: np.random.Generator, repetitions: int) -> None:
    """How often BIC ranks a true power law first among the nested laws, and how often it rules it out."""
    nested = ("power law", "pure log", "sinai", "ultraslow")
    print("\nlaws compared on a true power law t^.25, one run: best by BIC (by 6 or more beaten; ruled out)")
    print(f"{'noise':<18}{'Brownian GLS':>20}{'independent':>20}")
    for kind in NOISE:
        curves = np.exp(draw(rng, 0.0, kind, max(1, repetitions // 4)))
        cells = []
        for way in ("brownian", "independent"):
            found = [compare((t, d), nested, t_min=10, noise=way) for d in curves]
            truth = [next(fit for fit in each.fits if fit.law.name == "power law") for each in found]
            shares = [np.mean([fit.delta == 0 for fit in truth]), np.mean([fit.delta >= SEPARABLE for fit in truth])]
            cells.append(f"{shares[0]:.2f} ({shares[1]:.2f}; {np.mean([fit.ruled_out for fit in truth]):.2f})")
        print(f"{kind:<18}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


TABLES = {"start": start_table, "one": one_table, "laws": laws_table, "seeds": seeds_table}


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    counts = f"{args.repetitions} repetitions, a fifth for starts (a tenth for one run), a quarter for laws"
    heading()
    print(f"coverage: {counts}, seed {args.seed}")
    for name, table in TABLES.items():
        if args.only in (None, name):
            table(np.random.default_rng(args.seed), args.repetitions)


if __name__ == "__main__":
    main()
