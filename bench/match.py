"""When detectors of a distance crossing fire, what DistanceMatcher costs an update, and how forecasts cover.

    python bench/match.py [--curves 300] [--forecasts 200]

Each curve is d = (t / t*)^.23, which reaches its target 1 at t* = 4690 (the small batch's first drop on MNIST),
times e^noise: normal, correlated over 30 updates. Per detector: the mean of log(step fired / t*) × 100, and the
fraction of curves fired on more than 5 % early. All detectors see the same curves.

Forecasts: the fraction of 90 % intervals that hold the update at which a noisy curve first reaches the noiseless
one's distance at t* = 5000, seen from t = 30 up to a part of t*.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from heading import heading
from scipy.signal import lfilter

from analysis import DistanceMatcher, Reference
from analysis import synthetic as simulate
from analysis.matching.forecast import predict_match

EXPONENT, CROSSING, CORRELATION = 0.23, 4690, 30
STEPS = np.arange(2000, 7500)
Array = np.ndarray


def noisy_curve(noise: float, seed: int, steps: Array = STEPS) -> Array:
    """The distance at each step."""
    decay = np.exp(-1 / CORRELATION)
    white = np.random.default_rng(seed).standard_normal(len(steps)) * np.sqrt(1 - decay**2)
    white[0] /= np.sqrt(1 - decay**2)
    return (steps / CROSSING) ** EXPONENT * np.exp(noise * lfilter([1], [1, -decay], white))


def first_crossing(distances: Array) -> int:
    """The first update above the target."""
    return int(STEPS[np.argmax(distances > 1)])


def ten_in_a_row(distances: Array) -> int:
    """The tenth update in a row above it."""
    above = np.convolve(distances > 1, np.ones(10), "valid") == 10
    return int(STEPS[np.argmax(above) + 9])


def moving_average(distances: Array) -> int:
    """The first update at which the exponential average over 100 updates is above it."""
    z = np.log(distances)
    average, _ = lfilter([0.01], [1, -0.99], z, zi=[0.99 * z[0]])
    return int(STEPS[np.argmax(average > 0)])


def matcher(bandwidth: float | None) -> Callable[[Array], int]:
    """DistanceMatcher with bandwidth W, or its own choice."""

    def fire(distances: Array) -> int:
        watch = DistanceMatcher(1.0, bandwidth=bandwidth)
        watch.update(STEPS, distances)
        return watch.matches[0].step

    return fire


DETECTORS: dict[str, Callable[[Array], int]] = {
    "first crossing": first_crossing,
    "10 in a row": ten_in_a_row,
    "EMA(100)": moving_average,
    "W = .05": matcher(0.05),
    "W = .1": matcher(0.1),
    "W chosen": matcher(None),
}


def accuracy(curves: int) -> None:
    """The table of errors and early fires."""
    print("| step noise | " + " | ".join(DETECTORS) + " |")
    print("|---" * (1 + len(DETECTORS)) + "|")
    for noise in (0.001, 0.01, 0.03):
        cells = []
        for fire in DETECTORS.values():
            steps = np.array([fire(noisy_curve(noise, seed)) for seed in range(curves)])
            error = 100 * np.log(steps / CROSSING)
            cells.append(f"{error.mean():+.1f} ± {error.std():.1f}; {np.mean(error < -5):.2f}")
        print(f"| {100 * noise:g} % | " + " | ".join(cells) + " |", flush=True)


def cost() -> None:
    """Processor time an update, one by one and as arrays, over runs of several lengths."""
    print("\n| updates | one by one, µs | in arrays of 64, µs |\n|---|---|---|")
    for updates in (100, 1000, 10_000, 100_000):
        steps = np.arange(1, updates + 1)
        distances = noisy_curve(0.001, 0, steps)
        took = []
        for parts in (zip(steps.tolist(), distances.tolist(), strict=True), _blocks(steps, distances)):
            watch = DistanceMatcher(1e9)
            start = time.process_time()
            for t, d in parts:
                watch.update(t, d)
            took.append(1e6 * (time.process_time() - start) / updates)
        print(f"| {updates} | {took[0]:.1f} | {took[1]:.1f} |")


def _blocks(steps: Array, distances: Array) -> list[tuple[Array, Array]]:
    return [(steps[k : k + 64], distances[k : k + 64]) for k in range(0, len(steps), 64)]


TRUTHS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "α = 1, Brownian .8 %": ({"law": "sinai"}, {"kind": "Brownian", "std": 0.008}),
    "α = 1, OU .8 %, ℓ = 1": ({"law": "sinai"}, {"kind": "OU", "std": 0.008, "length": 1.0}),
    "α = 1, Matérn .8 %, ℓ = 1": ({"law": "sinai"}, {"kind": "Matérn", "std": 0.008, "length": 1.0}),
    "α = 0, OU .8 %, ℓ = 1": ({"law": "power law", "q": 0.25}, {"kind": "OU", "std": 0.008, "length": 1.0}),
}
DISTANT = 5000


def coverage(curves: int) -> None:
    """The table of forecasts' coverage; "back-test" is its hits, from the longest part seen."""
    print("\n| truth | seen up to t*/4 | t*/2 | t*/1.25 | back-test |\n|---|---|---|---|---|")
    for name, (law, noise) in TRUTHS.items():
        held: dict[float, list[bool]] = {4: [], 2: [], 1.25: []}
        hits = []
        for t, d, reference, crossing in _forecast_cases(law, noise, curves):
            for part, inside in held.items():
                if crossing <= DISTANT / part:
                    continue  # reached before the forecast
                found = predict_match((t, d), reference, until=DISTANT / part, t_min=30, samples=1000)
                inside.append(found.interval[0] <= crossing <= found.interval[1])
                hits += [found.hit] if part == 1.25 and found.hit is not None else []
        cells = [f"{np.mean(inside):.2f}" for inside in (*held.values(), hits)]
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def _forecast_cases(
    law: dict[str, Any], noise: dict[str, Any], curves: int
) -> Iterator[tuple[Array, Array, Reference, float]]:
    """t, d, the reference, and the update at which d reaches it, for curves that do within e³ t*."""
    u = np.arange(np.log(30), np.log(DISTANT) + 3, 0.01)
    t, target = np.exp(u), float(simulate.distance(t=np.array([DISTANT]), **law)[0])
    for path in simulate.noise(np.random.default_rng(0), u, curves, **noise):
        d = simulate.distance(t=t, **law) * np.exp(path)
        if d.max() >= target:
            yield t, d, _reference(target), float(t[np.argmax(d >= target)])


def _reference(target: float) -> Reference:
    return Reference((target,), (np.nan,), (DISTANT,), (0.1,), 0.1, None, {"parameters": []}, False, ("truth",))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=300, help="curves per noise level")
    parser.add_argument("--forecasts", type=int, default=200, help="curves per truth of the forecasts")
    arguments = parser.parse_args()
    heading()
    print(f"Error in log step × 100 (mean ± std, {arguments.curves} curves); fraction more than 5 % early\n")
    accuracy(arguments.curves)
    cost()
    coverage(arguments.forecasts)
