"""The compiled trainer against torch, update by update, in float64."""

import numpy as np
import pytest
import torch
from study.perceptron import Moments, Motion, Parameters, advance
from study.recording import network
from torch import nn

UPDATES, BATCH = 20, 16
RATE, MOMENTUM, DECAY, CLIP = 0.1, 0.9, 5e-3, 0.4
ADAM_RATE = 0.01


@pytest.fixture(scope="module")
def samples():
    generator = np.random.default_rng(0)
    images = generator.normal(size=(200, 64))
    return images, generator.integers(0, 10, 200), generator.integers(0, 200, (UPDATES, BATCH))


def torch_s(adamw, network, images, labels, order):
    """The weights after every update, (updates, P), and the mean of losses and of the gradient's squares."""
    if adamw:
        options = {"lr": ADAM_RATE, "betas": (MOMENTUM, 0.999), "weight_decay": 1.0}
        optimizer = torch.optim.AdamW(network.parameters(), **options)
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM, weight_decay=DECAY)
    path, losses, squares = [], [], []
    for batch in order:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(network(torch.tensor(images[batch])), torch.tensor(labels[batch]))
        loss.backward()
        squares.append(float(nn.utils.clip_grad_norm_(network.parameters(), CLIP)) ** 2)
        optimizer.step()
        losses.append(loss.item())
        path.append(np.concatenate([p.detach().numpy().ravel() for p in network.parameters()]))
    return np.array(path), np.mean(losses), np.array(squares)


@pytest.mark.parametrize(("batch_norm", "adamw"), [(True, False), (False, False), (True, True)])
def test_updates_are_torch_s(samples, batch_norm, adamw):
    images, labels, order = samples
    weights = Parameters.of(network(batch_norm, 0), np.float64)
    start, motion = weights.flat.copy(), Motion.none(len(weights.bounds) - 1)
    moments, (rate, decay) = Moments.none(start, adamw=adamw), (ADAM_RATE, 1.0) if adamw else (RATE, DECAY)
    advance(weights, weights.zeros(), moments, images, labels, order, rate, MOMENTUM, decay, CLIP, motion)
    path, loss, squares = torch_s(adamw, network(batch_norm, 0).double(), images, labels, order)
    assert np.linalg.norm(weights.flat - path[-1]) < 1e-10 * np.linalg.norm(path[-1] - start)
    assert motion.loss[0] / UPDATES == pytest.approx(loss, rel=1e-10)
    assert (squares > CLIP**2).any()  # the clipping is in what is compared
    assert motion.gradient[0] == pytest.approx(squares.sum(), rel=1e-10)
    before = np.vstack([start, path[:-1]])
    for k, (low, high) in enumerate(zip(weights.bounds[:-1], weights.bounds[1:], strict=True)):
        then, now = before[:, low:high], path[:, low:high]
        assert motion.update[k] == pytest.approx(np.sum((now - then) ** 2), rel=1e-9)
        if not np.any(start[low:high]):
            continue  # shifts start at 0, which has no direction
        cosine = np.sum(then * now, axis=1) / np.linalg.norm(then, axis=1) / np.linalg.norm(now, axis=1)
        assert motion.rotation[k] == pytest.approx(np.sum(1 - cosine**2), rel=1e-6)  # sin²: angles are small


def test_a_gradient_s_views_are_the_parameters_places():
    weights = Parameters.of(network(True, 0))
    gradient = weights.zeros()
    for mine, its in zip(weights[2:], gradient[2:], strict=True):
        for view, zero in zip(mine, its, strict=True):
            zero[:] = view
    assert np.array_equal(gradient.flat, weights.flat)
