"""Whether two configurations travel the same path: level and power where both are known."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from scipy import special

from analysis import Curve, equivalent
from analysis.errors import DifferentNetworksError, MatchError, SeedError, ShortCurveError
from analysis.matching.equivalence import deviations
from trajectory import Recorder

T = np.geomspace(1, 1000, 37)  # one point in each log bin, and six half decades
LAW = 0.3 * np.log(T)
SPREAD = 0.01


def seeds(generator, n, noise, shift=0.0):
    return [Curve(T, np.exp(LAW + shift + SPREAD * noise(generator)), f"seed {k}") for k in range(n)]


def of_a_seed(generator):
    return generator.standard_normal()


def test_a_common_path_is_refuted_at_the_stated_level():
    generator, count = np.random.default_rng(1), 2000
    found = [deviations(*generator.standard_normal((2, 3, 6)), 0.95) for _ in range(count)]
    refuted = [p < 0.05 for _, p in found]
    exact = 1 - (1 - 0.05 / 6) ** 6  # of six independent windows
    assert np.mean(refuted) == pytest.approx(exact, abs=3 * math.sqrt(exact / count))
    assert refuted == [bool((table["low"] > 0).any() or (table["high"] < 0).any()) for table, _ in found]


def test_power_is_that_of_students_t():
    generator, count, shift = np.random.default_rng(1), 2000, 4.0
    spreads = (np.repeat(generator.standard_normal((2, 3, 1)), 6, axis=2) for _ in range(count))
    refuted = [deviations(a, b + shift, 0.95)[1] < 0.05 for a, b in spreads]
    power = 1 - special.nctdtr(4, shift / math.sqrt(2 / 3), special.stdtrit(4, 1 - 0.05 / 12))
    assert np.mean(refuted) == pytest.approx(power, abs=3 * math.sqrt(power * (1 - power) / count))


def test_it_is_equivalent_only_if_the_seeds_can_tell():
    generator = np.random.default_rng(0)
    quiet = equivalent(seeds(generator, 5, of_a_seed), seeds(generator, 5, of_a_seed))
    assert quiet.state == "equivalent"
    assert f"to within {quiet.margin}" in repr(quiet)
    noisy = equivalent(seeds(generator, 3, of_a_seed), seeds(generator, 3, of_a_seed), margin=0.01)
    assert noisy.state == "undecided"
    apart = equivalent(seeds(generator, 3, of_a_seed), seeds(generator, 3, of_a_seed, 0.2))
    assert apart.state == "apart"
    assert apart.interval[0] < apart.deviation < apart.interval[1]
    assert len(apart.frame) == 6
    assert apart.to_dict()["frame"][0]["t_start"] == 1
    ax = Figure().subplots()
    assert apart.plot(ax) is ax.figure
    assert ax.get_ylabel() == r"deviation of $\log d$"
    assert not any(line.get_linestyle() == "--" for line in ax.lines)  # which means a law that is rejected


def test_runs_may_be_compared_after_as_many_samples():
    t = np.arange(1.0, 1001.0)
    small = [Curve(t, a * t**0.5, config={"batch_size": 16}) for a in (0.999, 1.0, 1.001)]
    large = [Curve(t, a * (4 * t) ** 0.5, config={"batch_size": 64}) for a in (0.9985, 1.0, 1.001)]
    found = equivalent(small, large, per="samples", t_max=16_000)
    assert found.state == "equivalent"
    assert found.frame.t_start.iloc[0] == 64
    assert equivalent(small, large).deviation == pytest.approx(math.log(2), abs=0.002)
    late = [replace(curve, warmup_end=99.0) for curve in large]
    with pytest.raises(ShortCurveError, match=r"begin at t = 6336 and end at 1600, from the end of the warm"):
        equivalent(small, late, per="samples", t_max=1600)


def test_what_cannot_be_compared_is_refused_in_one_line(tmp_path):
    generator = np.random.default_rng(0)
    three, two = seeds(generator, 3, of_a_seed), seeds(generator, 2, of_a_seed)
    for arguments, message in (
        ({"runs_a": three[:1], "runs_b": two}, "got 1 and 2 runs; expected four or more"),
        ({"runs_a": three, "runs_b": two, "margin": 0}, "margin is 0; expected a number above 0"),
        ({"runs_a": three, "runs_b": two, "per": "epochs"}, "per is 'epochs'; expected updates or samples"),
        ({"runs_a": three, "runs_b": two, "per": "samples"}, "notes batch_size None"),
    ):
        with pytest.raises(MatchError, match=message) as caught:
            equivalent(**arguments)
        assert "\n" not in str(caught.value)
    with pytest.raises(SeedError, match="are one curve"):
        equivalent(three, [*two, three[0]])
    paths = []
    for size, seed in ((1, 0), (1, 1), (2, 0), (2, 1)):
        torch.manual_seed(seed)
        model = torch.nn.Linear(size, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        paths.append(tmp_path / f"{size}-{seed}.zarr")
        with Recorder(paths[-1], model, optimizer):
            for _ in range(20):
                model.weight.grad = torch.randn_like(model.weight)
                optimizer.step()
    with pytest.raises(DifferentNetworksError, match="where 1-0"):
        equivalent(paths[:2], paths[2:])
