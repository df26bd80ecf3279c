"""One run of the study: the perceptron trained, and its curves at log-spaced updates after each origin."""

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn

from study.perceptron import Moments, Motion, Parameters, advance
from study.settings import CLIP, DEPTH, WIDTH, Setting
from train.data.images import load, shuffle_labels
from train.models import f1
from trajectory import LogSpaced

ROWS_PER_DECADE = 24  # two for each of a fit's bins


def eight_by_eight(name: str, label_noise: float, data_root: str) -> tuple[np.ndarray, np.ndarray]:
    """Training images (N, 64) of mean 0 and standard deviation 1, and labels (N,).

    Images of 28 × 28 lose two pixels at each edge, and blocks of 3 × 3 are averaged.
    """
    data = load(name, data_root)
    images = data.train_x.numpy().astype(np.float64)
    if images.shape[-1] == 28:
        images = images[:, 0, 2:26, 2:26].reshape(-1, 8, 3, 8, 3).mean(axis=(2, 4))
    images = images.reshape(len(images), 64)
    standard = (images - images.mean()) / images.std()
    return standard.astype(np.float32), shuffle_labels(data.train_y, label_noise).numpy()


def network(batch_norm: bool, seed: int) -> nn.Sequential:
    """The network with torch's initial weights."""
    torch.manual_seed(seed)
    layers = f1(64, 10, width=WIDTH, depth=DEPTH)
    return layers if batch_norm else nn.Sequential(*(one for one in layers if not isinstance(one, nn.BatchNorm1d)))


def batches(samples: int, batch_size: int, seed: int, *, with_replacement: bool = False) -> Iterator[np.ndarray]:
    """The sample numbers of each epoch's batches, (updates, batch size), without end; short ends are dropped.

    with_replacement: each number is drawn from all samples, and an epoch is as many updates.
    """
    generator = np.random.default_rng([seed, 1])
    shape = samples // batch_size, batch_size
    while True:
        if with_replacement:
            yield generator.integers(samples, size=shape)
        else:
            yield generator.permutation(samples)[: shape[0] * batch_size].reshape(shape)


def record(
    setting: Setting, seed: int, images: np.ndarray, labels: np.ndarray, dtype: type = np.float32
) -> dict[str, np.ndarray]:
    """Train one seed to its end in a precision; return its curves.

    Squares of lengths are summed by group: one for each weight matrix, from the input on, and one for biases, gains
    and shifts. With S origins, T times and G groups:

    - `t` (T,), updates counted from an origin; `origins` (S,)
    - `distance` (S, T, G), ‖w_{s+t} − w_s‖²; `norm` (S, T, G), ‖w_{s+t}‖²; NaN after the run's end
    - `loss`, `gradient` (T,): means since the row before, of the loss and of the gradient's square before clipping
    - `update` (T, G), `rotation` (T, G − 1): the same of ‖Δw‖² and of the squared angle of an update
    - `seconds`: of processor time
    """
    clock = time.process_time()
    torch.set_flush_denormal(True)  # dead units' weights decay to 1e-38, where arithmetic is a hundred times slower
    weights = Parameters.of(network(setting.batch_norm, seed), dtype)
    gradient, moments = weights.zeros(), Moments.none(weights.flat, adamw=setting.optimizer == "adamw")
    images, groups = images.astype(dtype), _groups(weights)
    times = np.array(list(LogSpaced(ROWS_PER_DECADE, until=setting.updates)))
    origins = np.array(setting.origins)
    lengths = np.full((2, len(origins), len(times), groups.shape[1]), np.nan)
    motions = np.full((len(times), 2 + 2 * groups.shape[1]), np.nan)
    row_of = {int(t): row for row, t in enumerate(times)}
    stops = sorted({int(s + t) for s in origins for t in times if s + t <= setting.updates})
    copies: dict[int, np.ndarray] = {}
    motion, since = Motion.none(len(weights.bounds) - 1), 0
    epochs = batches(len(images), setting.batch_size, seed, with_replacement=setting.with_replacement)
    order = next(epochs)
    scalars = [dtype(x) for x in (setting.learning_rate, setting.momentum, setting.weight_decay)]
    done = 0
    for stop in stops:
        while done < stop:
            if not len(order):
                order = next(epochs)
            now, order = order[: stop - done], order[stop - done :]
            advance(weights, gradient, moments, images, labels, now, *scalars, CLIP, motion)
            done += len(now)
        if stop in setting.origins:
            copies[stop] = weights.flat.copy()
        current = weights.flat.astype(np.float64)
        norm = _squares(current, weights.bounds) @ groups
        for s, (origin, copy) in enumerate(copies.items()):
            if (row := row_of.get(stop - origin)) is not None:
                lengths[:, s, row] = _squares(current - copy, weights.bounds) @ groups, norm
        if (row := row_of.get(stop)) is not None:
            if stop > since:
                sums = (motion.loss, motion.gradient, motion.update @ groups, motion.rotation @ groups)
                motions[row] = np.concatenate(sums) / (stop - since)
            motion, since = Motion.none(len(weights.bounds) - 1), stop
            if not np.isfinite(current).all():
                break
    update, rotation = np.split(motions[:, 2:], 2, axis=1)
    return {
        "t": times,
        "origins": origins,
        "distance": lengths[0].astype(np.float32),
        "norm": lengths[1].astype(np.float32),
        "loss": motions[:, 0].astype(np.float32),
        "gradient": motions[:, 1].astype(np.float32),
        "update": update.astype(np.float32),
        "rotation": rotation[:, :-1].astype(np.float32),
        "seconds": np.array(time.process_time() - clock),
    }


def _groups(weights: Parameters) -> np.ndarray:
    """Which tensor belongs to which group, (tensors, G), zeros and ones."""
    starts = [(view.ctypes.data - weights.flat.ctypes.data) // weights.flat.itemsize for view in weights.weights]
    member = weights.bounds[:-1, None] == np.array(starts)
    return np.column_stack([member, ~member.any(axis=1)]).astype(float)


def _squares(flat: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """The sum of squares of each tensor."""
    return np.add.reduceat(flat * flat, bounds[:-1])
