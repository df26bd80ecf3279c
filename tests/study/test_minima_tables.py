"""What docs/landscape.md says of minima, from the committed results."""

import json
from pathlib import Path

import numpy as np
import pytest
from study.minima_tables import MINIMA_TABLES, seeds_of

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "minima.json"


@pytest.fixture(scope="module")
def minima():
    return json.loads(RESULTS.read_text())


def phi(runs, mode="running", measure="eps 0.001"):
    return [run[mode][measure] for run in runs]


def test_a_large_batch_is_sharper_after_equal_epochs(minima):
    for start, small, large in (
        ("full-f1-mnist", "sb-128", "lb-4096"),
        ("batch-sizes-f1-mnist", "sb-128", "lb-1024"),
        ("batch-sizes-f1-fashion-mnist", "sb-128", "lb-1024"),
        ("keskar-f1-mnist", "sb-256", "lb-6000"),
        ("c1-c1-cifar10", "sb-32", "lb-512"),
    ):
        least, most = seeds_of(minima, f"{start}-{large}"), seeds_of(minima, f"{start}-{small}")
        assert len(least) == len(most) == (3 if start.startswith("full") else 5)
        for mode in ("running", "batch"):
            for measure in ("eps 0.001", "eps 0.0005", "rho 0.01"):
                assert min(phi(least, mode, measure)) > max(phi(most, mode, measure))


@pytest.mark.parametrize("data", ["mnist", "fashion-mnist"])
def test_a_large_batch_of_as_many_updates_is_sharper_and_errs_less(minima, data):
    large, small = (seeds_of(minima, f"batch-sizes-f1-{data}-{name}") for name in ("ra-1024", "sb-128"))
    assert len(large) == len(small) == 5
    assert {run["updates"] for run in large + small} == {936}
    for mode in ("running", "batch"):
        assert min(phi(large, mode)) > max(phi(small, mode))
    assert max(run["error"] for run in large) < min(run["error"] for run in small)


def test_sharpness_does_not_order_the_errors(minima):
    """At the paper's length a scaled rate has a third of the large batch's sharpness, and no smaller error."""
    plain, scaled = (seeds_of(minima, f"full-f1-mnist-{name}-4096") for name in ("lb", "lr"))
    assert max(phi(scaled)) < min(phi(plain)) / 2
    errors = [sum(run["error"] for run in runs) / len(runs) for runs in (plain, scaled)]
    assert errors[1] > errors[0] - 0.002


def test_half_of_the_directions_rise_near_by_and_all_far_off(minima):
    """As for any smooth loss, whatever its minimum: and the curvature takes over nearer to the large batch."""
    small, large = (np.array(one["delta"]) > 0 for one in minima["rising"].values())
    for up in (small, large):
        n = up[..., 0].size // 2  # the senses of a direction are no two draws
        assert abs(up[..., 0].mean() - 0.5) < 3 * 0.5 / n**0.5
        assert up[..., -1].mean() > 0.95
    assert (large.mean(axis=(0, 1, 2)) > small.mean(axis=(0, 1, 2)))[2:].all()


def test_every_table_has_its_rows(minima):
    for make in MINIMA_TABLES.values():
        lines = make(minima)
        assert len(lines) > 2
        assert len({line.count("|") for line in lines}) == 1
