"""Curves of a short run of the study against the weights themselves."""

from dataclasses import replace

import numpy as np
import pytest
from study.perceptron import Moments, Motion, Parameters, advance
from study.recording import ROWS_PER_DECADE, batches, network, record
from study.settings import CLIP, SETTINGS, Setting

from trajectory import LogSpaced

SHORT = Setting(name="short", weight_decay=0.1, updates=200)  # τ = 20: origins at 0, 10, 20, 50 and 100


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    return generator.normal(size=(100, 64)), generator.integers(0, 10, 100)


@pytest.fixture(scope="module")
def curves(samples):
    return record(SHORT, 1, *samples, dtype=np.float64)


def weights_after(samples, updates):
    """An independent pass to one update, in one piece."""
    images, labels = samples
    weights = Parameters.of(network(True, 1), np.float64)
    epochs = batches(len(images), SHORT.batch_size, 1)
    order = np.concatenate([next(epochs) for _ in range(updates // 6 + 1)])[:updates]
    rates = (SHORT.learning_rate, SHORT.momentum, SHORT.weight_decay)
    motion = Motion.none(len(weights.bounds) - 1)
    advance(weights, weights.zeros(), Moments.none(weights.flat), images, labels, order, *rates, CLIP, motion)
    return weights, motion


def test_distances_and_norms_are_those_of_the_weights(samples, curves):
    assert curves["origins"].tolist() == [0, 10, 20, 50, 100]
    assert curves["t"].tolist() == list(LogSpaced(ROWS_PER_DECADE, until=200))
    (early, _), (late, _) = weights_after(samples, 20), weights_after(samples, 120)
    origin, row = curves["origins"].tolist().index(20), curves["t"].tolist().index(100)
    found = curves["distance"][origin, row], curves["norm"][origin, row]
    for k, (then, now) in enumerate(zip(early.weights, late.weights, strict=True)):
        assert found[0][k] == pytest.approx(np.sum((now - then) ** 2), rel=1e-5)
        assert found[1][k] == pytest.approx(np.sum(now**2), rel=1e-5)
    assert found[0].sum() == pytest.approx(np.sum((late.flat - early.flat) ** 2), rel=1e-5)
    assert found[1].sum() == pytest.approx(np.sum(late.flat**2), rel=1e-5)


def test_means_since_the_row_before_add_up_to_the_sums_over_updates(samples, curves):
    _, motion = weights_after(samples, 100)
    until = curves["t"] <= 100
    spans = np.diff(curves["t"][until])
    for name, total in (("loss", motion.loss), ("gradient", motion.gradient), ("update", motion.update)):
        means = curves[name][until][1:].reshape(len(spans), -1).sum(axis=1)
        assert means @ spans == pytest.approx(total.sum(), rel=1e-5)


def test_rows_after_the_run_s_end_are_empty(curves):
    late = curves["t"] + 100 > 200
    assert np.isnan(curves["distance"][-1][late]).all()
    assert np.isfinite(curves["distance"][-1][~late]).all()


def test_settings_have_names_of_their_own_and_a_steady_origin_where_there_is_decay():
    names = [setting.name for setting in SETTINGS]
    assert len(set(names)) == len(names)
    for setting in SETTINGS:
        assert setting.origins[0] == 0
        assert not setting.weight_decay or setting.origins[-1] >= 5 * setting.memory
    assert replace(SETTINGS[0], weight_decay=5e-4).memory == pytest.approx(4000)
