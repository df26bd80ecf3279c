"""When detectors of a distance crossing fire, under step noise, and what DistanceMatcher costs an update.

    python bench/match.py [--curves 300]

Each curve is d = (t / t*)^.23, which reaches its target 1 at t* = 4690 (the small batch's first drop on MNIST),
times e^noise: normal, correlated over 30 updates. Per detector: the mean of log(step fired / t*) × 100, and the
fraction of curves fired on more than 5 % early. All detectors see the same curves.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from analysis import DistanceMatcher

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


def matcher(window: float | None) -> Callable[[Array], int]:
    """DistanceMatcher with window W, or its own choice."""

    def fire(distances: Array) -> int:
        watch = DistanceMatcher(1.0, window=window)
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=300, help="curves per noise level")
    curves = parser.parse_args().curves
    print(f"Error in log step × 100 (mean ± sd over {curves} curves); fraction more than 5 % early\n")
    accuracy(curves)
    cost()
