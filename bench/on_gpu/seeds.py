"""Thirty seeds of F1 trained as one computation, against one seed by itself."""

import tempfile
from dataclasses import replace
from pathlib import Path
from statistics import median

from training import Clock

from on_gpu.measured import Measured
from train import RECIPES, train, train_batched
from train.data.images import load

SEEDS, UPDATES = 30, 300


def measure(report: Measured) -> None:
    """A table; F1 on the digits that scikit-learn bundles, at the paper's batch of 128."""
    seeds, updates = (3, 40) if report.trial else (SEEDS, UPDATES)
    digits = replace(RECIPES["f1-digits"](), network="f1", batch_size=128, drops=(), snapshots_per_decade=0)
    samples = load("digits").train_size
    config = replace(digits, epochs=digits.epochs * updates / digits.schedule(samples).updates)
    options = {"data_root": report.data_root, "device": report.device, "overwrite": True}
    with tempfile.TemporaryDirectory() as folder:

        def alone() -> float:
            clock = Clock(updates)
            train(config, Path(folder) / "alone", progress=clock, **options)
            return 1 / clock.rate

        def together() -> float:
            clock = Clock(updates)
            train_batched(config, {k: Path(folder) / str(k) for k in range(seeds)}, progress=clock, **options)
            return 1 / clock.rate

        found = report.compare("An update of all seeds", {"one seed": alone, f"{seeds} seeds as one": together}, 0.7)
    value = median(b / a for a, b in zip(*found.values(), strict=True))
    report.target(f"an update of {seeds} seeds of F1 over one seed's", value, at_most=3.0)
