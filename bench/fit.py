"""One thousand curves by variable projection, by scipy's curve_fit (bounded, and Levenberg-Marquardt) and by lmfit.

    python bench/fit.py [--curves 1000] [--points 1000000] > bench/results/fit.txt    # lmfit is in the extra `bench`
    python bench/fit.py --shares >> bench/results/fit.txt

All minimise the same sum of squares of log d over 36 log bins, in the same parameters (a, q, s), from one start.
The solvers take turns in blocks of 100 curves, so that a busy machine slows all alike; the time is the median over
the blocks, per curve. A failure is an exception or a result that is not finite; |Δα| is against variable projection.
Then the form everybody writes first, d = A (log t/T)^p, on power-law curves, the time of one run's posterior, and
that of whole fits, scans and comparisons. With --shares, where the time of these goes, in place of all else.
"""

import argparse
import cProfile
import pstats
import warnings
from collections.abc import Callable
from time import perf_counter, process_time

import numpy as np
from heading import heading
from lmfit import Model
from scipy.optimize import curve_fit

from analysis import compare, fit, scan
from analysis.fitting.laws import growth, s_range
from analysis.fitting.log_bins import Bins
from analysis.fitting.noise_mixture import Mixture
from analysis.fitting.rival_laws import LAWS
from analysis.fitting.variable_projection import centred, variable_projection
from analysis.synthetic import noise

Array = np.ndarray
Solver = Callable[[Array], Array]  # log d of some curves -> their α, NaN for a failure

u = np.log(np.geomspace(10, 1e4, 36))
x = centred(u)
low, high = s_range(x, 0.95)
BOUNDS = ([-np.inf, 0.0, 0.999 * low], [np.inf, np.inf, 0.999 * high])


def law(x: Array, a: float, q: float, s: float) -> Array:
    """The nested family, as one would type it."""
    return a + q * np.log1p(s * x) / s


def naive(u: Array, a: float, p: float, log_t0: float) -> Array:
    """Return the log of A (log t/T)^p."""
    return a + p * np.log(u - log_t0)


def start(z: Array) -> tuple[float, float, float]:
    """The mean, the mean slope, and a slight bend: what a user would begin from."""
    return float(z.mean()), float((z[-1] - z[0]) / (u[-1] - u[0])), 0.05


def each(fit_one: Callable[[Array], tuple[float, float]]) -> Solver:
    """Curve after curve; fit_one gives (q, s)."""

    def solve(curves: Array) -> Array:
        alpha = np.full(len(curves), np.nan)
        for i, z in enumerate(curves):
            try:
                q, s = fit_one(z)
                alpha[i] = 2 * s / q
            except (RuntimeError, ValueError):
                pass
        return alpha

    return solve


def levenberg_marquardt(z: Array) -> tuple[float, float]:
    """Fit with scipy's curve_fit by MINPACK, unbounded."""
    return tuple(curve_fit(law, x, z, start(z), method="lm")[0][1:])


def bounded(z: Array) -> tuple[float, float]:
    """Fit with scipy's curve_fit by trust region, inside the family's range."""
    return tuple(curve_fit(law, x, z, start(z), bounds=BOUNDS)[0][1:])


def by_lmfit(z: Array) -> tuple[float, float]:
    """Fit with lmfit's default method."""
    a, q, s = start(z)
    result = MODEL.fit(z, x=x, a=a, q=q, s=s)
    if not result.success:
        raise RuntimeError(result.message)
    return result.best_values["q"], result.best_values["s"]


def naive_form(z: Array) -> tuple[float, float]:
    """α = 2/p of the naive form."""
    p = curve_fit(naive, u, z, (float(z.mean()), 1.0, 0.0), method="lm")[0][1]
    return 1.0, 1 / p


MODEL = Model(law)
SOLVERS: dict[str, Solver] = {
    "variable projection": lambda z: variable_projection(u, z, "independent").alpha,
    "curve_fit, LM": each(levenberg_marquardt),
    "curve_fit, bounded": each(bounded),
    "lmfit": each(by_lmfit),
}


def curves(n: int, rng: np.random.Generator) -> Array:
    """α drawn from (0, 3), q from (.1, .4), OU noise of 0.8 %: n of them, t₀ below the fit range."""
    alpha, q = rng.uniform(0, 3, n), rng.uniform(0.1, 0.4, n)
    s = np.minimum(alpha * q / 2, 0.9 * high)
    return q[:, None] * growth(s[:, None], x) + noise(rng, u, n)


def main() -> None:
    """Time the solvers and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--points", type=int, default=10**6, help="of a long curve")
    parser.add_argument("--shares", action="store_true", help="profile whole fits, scans and comparisons")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # the rivals' overflows and unestimated covariances are counted, not printed
    heading("lmfit")
    rng = np.random.default_rng(args.seed)
    if args.shares:
        print_shares(whole_calls(rng, args.points))
        return
    z = curves(args.curves, rng)
    found: dict[str, list[Array]] = {name: [] for name in SOLVERS}
    seconds: dict[str, list[float]] = {name: [] for name in SOLVERS}
    whole = []
    for block in np.array_split(z, max(1, len(z) // 100)):
        for name, solve in SOLVERS.items():
            began = perf_counter()
            found[name].append(solve(block))
            seconds[name].append((perf_counter() - began) / len(block))
        began = perf_counter()
        variable_projection(u, z, "independent")  # all at once, as it is meant to be used
        whole.append((perf_counter() - began) / len(z))
    seconds["variable projection"] = whole
    report(found, {name: float(np.median(times)) for name, times in seconds.items()})
    power = np.outer(np.full(200, 0.25), u) + noise(rng, u, 200)
    failed = np.isnan(each(naive_form)(power)).sum()
    ours = np.isnan(variable_projection(u, power, "independent").alpha).sum()
    print(f"\nfailures on 200 power-law curves: curve_fit in (A, p, T) {failed}, variable projection {ours}")
    times = ", ".join(f"{posterior(rng, bins):.0f} ms for {bins} bins" for bins in (36, 60))
    print(f"one run's posterior under the noise mixture, best of 15: {times}")
    time_whole(whole_calls(rng, args.points))


def whole_calls(rng: np.random.Generator, points: int) -> dict[str, Callable[[], object]]:
    """Return `fit`, `scan` and `compare` as a user calls them, by what they are called on."""
    many = [long_curve(rng, points) for _ in range(3)]
    longest = long_curve(rng, 10 * points)
    few = [(np.exp(u), np.exp(2 * np.log(u + 2) + path)) for path in noise(rng, u, 3)]
    return {
        f"fit of {points:g} points": lambda: fit(many[0]),
        f"fit of three seeds of {points:g} points": lambda: fit(many),
        f"fit of {10 * points:g} points": lambda: fit(longest),
        "scan of 36 bins": lambda: scan(few[0]),
        "scan of 36 bins, three seeds": lambda: scan(few),
        f"compare of 36 bins, {len(LAWS)} laws": lambda: compare(few[0], t_min=10),
        f"compare of 36 bins, {len(LAWS)} laws, three seeds": lambda: compare(few, t_min=10),
    }


def time_whole(calls: dict[str, Callable[[], object]]) -> None:
    """Print wall time and processor time of each call, the best of three."""
    print(f"\n{'best of three':<50}{'ms':>8}{'ms of processor':>18}")
    for name, call in calls.items():
        times = []
        for _ in range(3):
            began = perf_counter(), process_time()
            call()
            times.append((perf_counter() - began[0], process_time() - began[1]))
        wall, processor = (1e3 * min(one[i] for one in times) for i in (0, 1))
        print(f"{name:<50}{wall:>8.0f}{processor:>18.0f}")


PARTS = {
    "curves": "reading",
    "log_sums": "log bins",
    "nested_whitenings": "factors of the noise models",
    "posterior": "posterior under them",
    "p_value": "p-value",
    "variable_projection": "least squares of the family",
    "least_squares": "least squares of all laws",
    "_from_grid": "of that, the grid to start from",
}
"""Functions whose share of a call is printed."""


def print_shares(calls: dict[str, Callable[[], object]]) -> None:
    """Print which share of each call's time is spent in each of `PARTS`, what they call included."""
    for name, call in calls.items():
        call()
        profile = cProfile.Profile()
        profile.runcall(call)
        rows = pstats.Stats(profile).stats  # (file, line, function): (calls, own calls, own time, time, callers)
        whole = max(row[3] for row in rows.values())
        spent = {part: sum(row[3] for key, row in rows.items() if _is(key, part)) / whole for part in PARTS}
        print(f"{name}: " + ", ".join(f"{PARTS[part]} {share:.0%}" for part, share in spent.items() if share > 0.02))


def _is(key: tuple[str, int, str], part: str) -> bool:
    """Tell a function of that name in `analysis`, but for the mixture's own p-value, which `law_test` calls."""
    return key[2] == part and "analysis" in key[0] and not (part == "p_value" and "noise_mixture" in key[0])


def long_curve(rng: np.random.Generator, points: int) -> tuple[Array, Array]:
    """Sinai's law at every update, with OU noise of 0.8 % and step noise."""
    t = np.arange(1.0, points + 1)
    knots = np.linspace(0, np.log(points), 100)
    path = np.interp(np.log(t), knots, noise(rng, knots, 1)[0])
    return t, np.log(t / 0.1) ** 2 * np.exp(path + 3e-4 * rng.normal(size=points))


def posterior(rng: np.random.Generator, bins: int) -> float:
    """Milliseconds for the whole of one run's interval on that many bins of t = 10..1e4, the best of 15."""
    log_t = np.log(np.geomspace(10, 1e4, bins))
    steps = np.exp(log_t) * (log_t[1] - log_t[0])
    times = []
    for path in noise(rng, log_t, 15):
        began = perf_counter()
        z = np.log(log_t) + path
        Mixture(Bins(log_t, z[None], steps, steps, (10.0, 1e4), ("run",))).posterior(z)
        times.append(perf_counter() - began)
    return 1e3 * min(times)


def report(found: dict[str, list[Array]], seconds: dict[str, float]) -> None:
    """One row a solver."""
    ours = np.concatenate(found["variable projection"])
    print(f"{'':<22}{'µs a curve':>11}{'slower by':>11}{'failures':>10}{'median |Δα|':>13}{'within 1e-5':>13}")
    for name, parts in found.items():
        alpha = np.concatenate(parts)
        good = np.isfinite(alpha)
        apart = np.abs(alpha - ours)[good]
        ratio = seconds[name] / seconds["variable projection"]
        print(
            f"{name:<22}{1e6 * seconds[name]:>11.1f}{ratio:>11.1f}{(~good).sum():>10}{np.median(apart):>13.1e}"
            f"{np.mean(apart < 1e-5):>13.1%}"
        )


if __name__ == "__main__":
    main()
