"""Nominal against measured: α's 95 % interval, its tests at 5 %, and what breaks them, on curves of a known law.

    python bench/intervals.py [--repetitions 400] [--only TABLE] [--rows FILE] > bench/results/intervals.txt

With --rows, what is measured is kept there: an interrupted run goes on, and tables measured by several processes at
once (--only, a file each or one for all) are printed together at the end.

Tables:

    seeds      the t interval over 3 and 5 seeds, and the size of the test of the law and of the test that α moves
    one        the single run's noise mixture; at α = 0, one minus the coverage is how often a power law is excluded
    shared     a share of the noise common to all seeds: coverage, the law's false rejection, and coverage of the
               interval if all that seeds have in common were noise
    start      a start chosen from the data after transients that occur: the interval of that start, and the one that
               a fit then states
    jump       ν of jump + power from starts after the jump and within it
    laws       how often BIC finds a true power law under Brownian and under independent errors

But for `start` and `jump`, 37 log bins of t = 10..1e4, in each the noise at its middle plus step noise of 0.05 %. The
mixture of one run holds OU, Matérn, Gaussian and trending OU noise; the other kinds it was not designed for. The
standard error of a coverage of .95 is .011 at 400 repetitions. All coverage assumes that the law is right.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from heading import heading
from rows import Rows

from analysis.curve import Curve
from analysis.fitting.estimator import Estimate, estimate
from analysis.fitting.invariance import range_invariance
from analysis.fitting.law_fits import fit_law
from analysis.fitting.log_bins import Bins
from analysis.fitting.model_comparison import SEPARABLE, compare
from analysis.fitting.noise_models import step_variance
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.seed_noise import seed_noise
from analysis.fitting.shared_noise import widening
from analysis.fitting.start_scan import choose, interval_over_starts, starts
from analysis.synthetic import distance, noise

Array = np.ndarray
Noise = Callable[[np.random.Generator, int], Array]

t = np.geomspace(10, 1e4, 37)
u = np.log(t)
covered = t * (u[1] - u[0])


def known(kind: str, std: float, length: float = 1.0, trend: float = 0.0) -> Noise:
    """Return a noise of `analysis.synthetic`, times e^(trend · u) about the middle of the range."""
    return lambda rng, n: noise(rng, u, n, kind=kind, std=std, length=length) * np.exp(trend * (u - u.mean()))


def fractional(hurst: float, std: float) -> Noise:
    """Return fractional Brownian motion in u, from a third of an e-fold before the range."""
    v = u - u[0] + 1 / 3
    covariance = 0.5 * (v[:, None] ** (2 * hurst) + v ** (2 * hurst) - np.abs(v[:, None] - v) ** (2 * hurst))
    root = np.linalg.cholesky(covariance + 1e-10 * np.eye(len(u)))
    return lambda rng, n: std * rng.normal(size=(n, len(u))) @ root.T


def heavy(rng: np.random.Generator, n: int) -> Array:
    """Draw a walk in u whose steps are Student's t on 3 degrees of freedom."""
    return np.cumsum(0.003 * rng.standard_t(3, size=(n, len(u))), axis=1)


def rare(rng: np.random.Generator, n: int) -> Array:
    """Draw jumps of 1 %, about three in a curve."""
    return np.cumsum(0.01 * rng.normal(size=(n, len(u))) * (rng.random((n, len(u))) < 3 / len(u)), axis=1)


NOISE: dict[str, Noise] = {
    "OU 0.8 % l=1": known("OU", 0.008),
    "OU 2 % l=3": known("OU", 0.02, 3.0),
    "Matérn 0.8 % l=1": known("Matérn", 0.008),
    "Matérn 0.8 % l=3": known("Matérn", 0.008, 3.0),
    "Matérn 2 % l=5": known("Matérn", 0.02, 5.0),
    "Brownian 0.5 %": known("Brownian", 0.005),
    "Gaussian 1 % l=2": known("Gaussian", 0.01, 2.0),
    "growing OU": known("OU", 0.004, 1.0, 0.3),
    "shrinking OU": known("OU", 0.004, 1.0, -0.3),
    "white 0.8 %": known("independent", 0.008),
    "fractional H=.3": fractional(0.3, 0.008),
    "fractional H=.8": fractional(0.8, 0.008),
    "t3 steps": heavy,
    "rare jumps": rare,
}
TRUTHS = {
    -1.0: ("ultraslow", {"alpha": -1.0, "t0": 1e6}),
    0.0: ("power law", {"q": 0.25}),
    1.0: ("sinai", {"t0": 1.0}),
    2.0: ("pure log", {"t0": 1.0}),
}


def draw(rng: np.random.Generator, alpha: float, kind: str, n: int, share: float = 0.0) -> Array:
    """Draw n curves of log d, (curve, bin), of whose noise's variance they have a share in common."""
    law, parameters = TRUTHS[alpha]
    quick = 5e-4 * np.sqrt(step_variance(covered, covered)) * rng.normal(size=(n, len(u)))
    slow = np.sqrt(1 - share) * NOISE[kind](rng, n)
    if share:
        slow += np.sqrt(share) * NOISE[kind](rng, 1)
    return np.log(distance(law, t, **parameters)) + slow + quick


def binned_curves(z: Array) -> Bins:
    """Curves of log d as bins."""
    return Bins(u, z, covered, covered, (10.0, 1e4), tuple(f"seed {i}" for i in range(len(z))))


def estimated(z: Array) -> tuple[Bins, Estimate]:
    """α from curves of log d."""
    bins = binned_curves(z)
    return bins, estimate(bins, 0.95)


def coverage(rng: np.random.Generator, alpha: float, kind: str, n: int, repetitions: int) -> list[float]:
    """How often the interval holds α, the law is rejected, and α said to move; and the median width."""
    rows = []
    for _ in range(repetitions):
        bins, at = estimated(draw(rng, alpha, kind, n))
        low, high = at.interval
        rows.append((low <= alpha <= high, at.rejected, range_invariance(bins).moves, high - low))
    held, rejected, moves, width = zip(*rows, strict=True)
    return [float(np.mean(held)), float(np.mean(rejected)), float(np.mean(moves)), float(np.median(width))]


def _coverage_rows(rows: Rows, counts: tuple[int, ...]) -> None:
    print(f"{'noise':<18}{'alpha':>6}" + "".join(f"{f'n = {n}':>26}" for n in counts))
    for kind in NOISE:
        for alpha in TRUTHS:
            cells = [
                rows(
                    lambda rng, a=alpha, k=kind, n=n: coverage(rng, a, k, n, rows.repetitions),
                    "cover",
                    kind,
                    alpha,
                    n,
                )
                for n in counts
            ]
            print(
                f"{kind:<18}{alpha:>6g}" + "".join(f"{a:>9.3f} {b:.2f} {c:.2f} {w:>6.3f}" for a, b, c, w in cells),
                flush=True,
            )


def seeds_table(rows: Rows) -> None:
    """The t interval over 3 and 5 seeds."""
    print("\nseeds: coverage (nominal .95), law rejected (.05), α said to move (.05), median width")
    _coverage_rows(rows, (3, 5))


def one_table(rows: Rows) -> None:
    """The single run's mixture."""
    print("\none run: coverage (nominal .95), law rejected (.05), α said to move (.05), median width")
    _coverage_rows(rows, (1,))


def shared_table(rows: Rows) -> None:
    """Noise of which seeds have a share in common, α = 1."""
    print(
        "\nnoise that seeds share, α = 1: coverage of the interval (nominal .95), of the interval if what seeds have"
    )
    print("in common were noise; law rejected (.05); median estimate of the share")
    print(f"{'noise':<18}{'share':>6}" + "".join(f"{f'n = {n}':>26}" for n in (3, 5, 10)))
    for kind in ("OU 0.8 % l=1", "Matérn 0.8 % l=3"):
        for share in (0.0, 0.25, 0.5, 0.75, 0.9):
            cells = []
            for n in (3, 5, 10):
                cell = rows(lambda rng, k=kind, s=share, n=n: _shared(rng, k, s, n, rows.repetitions), kind, share, n)
                cells.append("{:>9.3f} {:.3f} {:.2f} {:.2f}".format(*cell))
            print(f"{kind:<18}{share:>6g}" + "".join(f"{cell:>26}" for cell in cells), flush=True)


def _shared(rng: np.random.Generator, kind: str, share: float, n: int, repetitions: int) -> list[float]:
    drawn = [_shared_row(estimated(draw(rng, 1.0, kind, n, share))[1], n) for _ in range(repetitions)]
    held, wide, rejected, found = np.array(drawn, float).T
    return [float(held.mean()), float(wide.mean()), float(rejected.mean()), float(np.median(found))]


def _shared_row(at: Estimate, n: int) -> tuple[bool, bool, bool, float]:
    low, high = at.interval
    half = (high - low) / 2 * widening(at.shared, n)
    return low <= 1 <= high, abs(at.alpha - 1) <= half, at.rejected, at.shared


def start_table(rows: Rows) -> None:
    """Where a fit starts after a transient, and what the interval of that start and the stated one are worth."""
    steps = np.unique(np.round(np.geomspace(1, 2e4, 600)))
    fade = 1 + steps / 5
    laws = {0.0: 3 * steps**0.25, 1.0: np.log(steps / 0.1) ** 2, 2.0: np.log(steps / 0.1)}
    transients = {
        "none": lambda d: d,
        "e^(-t/30)": lambda d: d * np.exp(-0.3 * np.exp(-steps / 30)),
        "squares add": lambda d: np.hypot(d, d[np.searchsorted(steps, 30)] * (1 - np.exp(-steps / 5))),
        "t^-1": lambda d: d * (1 - 0.5 / fade),
        "t^-1/2": lambda d: d * (1 - 0.5 / np.sqrt(fade)),
    }
    print(
        "\nstart chosen by p-value, OU 1 %: coverage of the interval of that start; of the interval that is stated,"
    )
    print("the hull over later starts and jump + log; their median widths; median start")
    print(f"{'transient':<14}{'alpha':>6}" + "".join(f"{f'n = {n}':>30}" for n in (1, 3, 5)))
    for name, transient in transients.items():
        for alpha, law in laws.items():
            d = transient(law)
            cells = [
                rows(
                    lambda rng, d=d, a=alpha, n=n: _start_cell(rng, steps, d, a, n, rows.repetitions),
                    *(name, alpha, n),
                )
                for n in (1, 3, 5)
            ]
            print(f"{name:<14}{alpha:>6g}" + "".join(f"{cell:>30}" for cell in cells), flush=True)


def _start_cell(rng: np.random.Generator, steps: Array, d: Array, alpha: float, n: int, repetitions: int) -> str:
    rows = []
    for _ in range(max(20, repetitions // (10 if n == 1 else 4))):
        paths = noise(rng, np.log(steps), n, std=0.01) + 3e-4 * rng.normal(size=(n, len(steps)))
        curves = [Curve(steps, d * np.exp(path), f"seed {i}") for i, path in enumerate(paths)]
        found = starts(curves, None, None, 0.95)
        chosen, _ = choose(found, None)
        hull = interval_over_starts(found, chosen)
        if hull is None:
            continue
        (low, high), (hull_low, hull_high) = chosen.estimate.interval, hull
        held = low <= alpha <= high, hull_low <= alpha <= hull_high
        rows.append((*held, high - low, hull_high - hull_low, chosen.t))
    if not rows:
        return "no start fits"
    table = np.array(rows, float)
    held, stated = table[:, :2].mean(axis=0)
    width, wide, start = np.median(table[:, 2:], axis=0)
    return f"{held:.2f} {stated:.2f} {width:6.2f} {wide:6.2f} {start:5.0f}"


def jump_table(rows: Rows) -> None:
    """ν of jump + power, five seeds, for starts in units of the jump's time of 20 updates."""
    print("\njump + power, n = 5, ν = .4, a jump of 20 updates: coverage of ν (.95), its bias, law rejected (.05)")
    print(f"{'d(T)/c':>7}" + "".join(f"{f'from {k} jump times':>24}" for k in (2, 3, 5, 6)))
    for reach in (1.5, 3.0, 10.0):
        cells = []
        for times in (2, 3, 5, 6):
            held, bias, rejected = rows(
                lambda rng, r=reach, k=times: _jump_cell(rng, r, k, rows.repetitions), "jump", reach, times
            )
            cells.append(f"{held:.3f} {bias:+.4f} {rejected:.2f}")
        print(f"{reach:>7g}" + "".join(f"{cell:>24}" for cell in cells), flush=True)


def _jump_cell(rng: np.random.Generator, reach: float, times: int, repetitions: int) -> list[float]:
    steps = np.geomspace(20 * times, 1e4, int(12 * np.log10(1e4 / (20 * times))) + 1)
    growth = (reach**2 - 1) / 1e4**0.8
    clean = 0.5 * np.log((1 - np.exp(-steps / 20)) ** 2 + growth * steps**0.8)
    drawn = []
    for _ in range(repetitions):
        z = clean + noise(rng, np.log(steps), 5)
        bins = Bins(np.log(steps), z, steps, steps, (steps[0], 1e4), ("seed",) * 5)
        found = fit_law(LAWS["jump + power"], bins, seed_noise(bins))
        low, high = found.intervals["nu"]
        drawn.append((low <= 0.4 <= high, (low + high) / 2 - 0.4, found.rejected))
    return np.array(drawn, float).mean(axis=0).tolist()


def laws_table(rows: Rows) -> None:
    """How often BIC ranks a true power law first among the nested laws, and how often it rules it out."""
    print("\nlaws compared on a true power law t^.25, one run: best by BIC (by 6 or more beaten; ruled out)")
    print(f"{'noise':<18}{'Brownian GLS':>20}{'independent':>20}")
    for kind in list(NOISE)[:6]:
        cells = rows(lambda rng, k=kind: _laws_cells(rng, k, max(1, rows.repetitions // 4)), "laws", kind)
        print(
            f"{kind:<18}" + "".join("{:.2f} ({:.2f}; {:.2f})".format(*cell).rjust(20) for cell in cells), flush=True
        )


def _laws_cells(rng: np.random.Generator, kind: str, repetitions: int) -> list[list[float]]:
    nested = ("power law", "pure log", "sinai", "ultraslow")
    curves, cells = np.exp(draw(rng, 0.0, kind, repetitions)), []
    for way in ("brownian", "independent"):
        found = [compare((t, d), nested, t_min=10, noise=way) for d in curves]
        truth = [next(fit for fit in each.fits if fit.law.name == "power law") for each in found]
        drawn = [(fit.delta == 0, fit.delta >= SEPARABLE, fit.ruled_out) for fit in truth]
        cells.append(np.array(drawn, float).mean(axis=0).tolist())
    return cells


TABLES = {
    "start": start_table,
    "one": one_table,
    "seeds": seeds_table,
    "shared": shared_table,
    "jump": jump_table,
    "laws": laws_table,
}


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=400)
    parser.add_argument("--only", choices=TABLES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=Path, help="where what is measured is kept")
    args = parser.parse_args()
    heading()
    counts = f"{args.repetitions} repetitions, a quarter for starts and laws (a tenth for starts of one run)"
    print(f"coverage: {counts}, seed {args.seed}")
    rows = Rows(args.rows, args.seed, args.repetitions)
    for name, table in TABLES.items():
        if args.only in (None, name):
            table(rows)


if __name__ == "__main__":
    main()
