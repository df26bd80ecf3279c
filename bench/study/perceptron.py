"""A small multilayer perceptron trained by SGD or AdamW, compiled by Numba: a million updates in minutes on one core.

Forward pass, softmax cross entropy, backward pass, clipping of the gradient's norm, and the update, for SGD

    g ← g · min(1, c/(‖g‖ + 1e-6)),  g ← g + λw,  v ← μv + g,  w ← w − ηv,

and for AdamW after the same clipping, at update t,

    w ← (1 − ηλ)w,  m ← β₁m + (1 − β₁)g,  v ← β₂v + (1 − β₂)g²,  w ← w − η m/(1 − β₁^t) / (√(v/(1 − β₂^t)) + 1e-8),

are those of a `torch.nn.Sequential` of linear layers, batch norms and ReLUs under `clip_grad_norm_` and
`torch.optim.SGD` or `torch.optim.AdamW`; tests hold it to them. The matrix products are BLAS calls, everything
between them is one loop.
"""

from typing import NamedTuple, Self

import numpy as np
from numba import njit
from torch import nn

_EPS = 1e-5  # torch's, in batch norm
_BETA2, _ADAM_EPS = 0.999, 1e-8  # torch's, in AdamW
_SUMS = {"reassoc", "contract", "nsz", "arcp"}  # sums in any order, so that they vectorize; NaN and inf stay


class Parameters(NamedTuple):
    """All parameters in one vector, and views of it by layer; a plain layer's gain and shift are empty."""

    flat: np.ndarray
    bounds: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    gains: tuple[np.ndarray, ...]
    shifts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, network: nn.Sequential, dtype: type = np.float32) -> Self:
        """A copy of a torch network's parameters, in its order. Layers: linear, or linear and batch norm."""
        tensors = [p.detach().numpy().astype(dtype) for p in network.parameters()]
        flat = np.concatenate([tensor.ravel() for tensor in tensors])
        bounds = np.cumsum([0, *(tensor.size for tensor in tensors)])
        views = {
            name: flat[low:high].reshape(tensor.shape)
            for (name, _), tensor, low, high in zip(
                network.named_parameters(), tensors, bounds[:-1], bounds[1:], strict=True
            )
        }
        linear = [name for name, layer in network.named_children() if isinstance(layer, nn.Linear)]
        norms = [name for name, layer in network.named_children() if isinstance(layer, nn.BatchNorm1d)]
        empty = (np.empty(0, dtype),) * (len(linear) - 1)
        return cls(
            flat,
            bounds,
            tuple(views[f"{name}.weight"] for name in linear),
            tuple(views[f"{name}.bias"] for name in linear),
            tuple(views[f"{name}.weight"] for name in norms) or empty,
            tuple(views[f"{name}.bias"] for name in norms) or empty,
        )

    def zeros(self) -> Self:
        """Zeros of the same shapes: room for a gradient."""
        flat = np.zeros_like(self.flat)
        start, size = self.flat.ctypes.data, self.flat.itemsize

        def alike(views: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
            places = [(view.ctypes.data - start) // size if view.size else 0 for view in views]
            return tuple(
                flat[at : at + view.size].reshape(view.shape) for at, view in zip(places, views, strict=True)
            )

        return type(self)(flat, self.bounds, *map(alike, self[2:]))


class Motion(NamedTuple):
    """Sums over updates, float64: of the loss, of the gradient's square, and by tensor of update² and rotation²."""

    loss: np.ndarray
    gradient: np.ndarray
    update: np.ndarray
    rotation: np.ndarray

    @classmethod
    def none(cls, tensors: int) -> Self:
        """No updates yet."""
        return cls(np.zeros(1), np.zeros(1), np.zeros(tensors), np.zeros(tensors))


class Moments(NamedTuple):
    """What the optimizer remembers of gradients: of their squares for AdamW alone, otherwise that is empty."""

    first: np.ndarray
    second: np.ndarray
    updates: np.ndarray

    @classmethod
    def none(cls, flat: np.ndarray, *, adamw: bool = False) -> Self:
        """Nothing yet."""
        return cls(np.zeros_like(flat), np.zeros(flat.size if adamw else 0, flat.dtype), np.zeros(1, np.int64))


@njit(fastmath=_SUMS, cache=True)
def _normalize(z, gain, shift, inverse, hat, h):
    """Batch norm and ReLU, with `inverse` = 1/√(variance + ε) over the batch.

    hat = (z − mean) · inverse,  h = relu(gain · hat + shift).
    """
    batch, width = z.shape
    share = z.dtype.type(1.0 / batch)
    eps = z.dtype.type(_EPS)
    mean = np.zeros(width, z.dtype)
    inverse[:] = 0
    for b in range(batch):
        for j in range(width):
            mean[j] += z[b, j] * share
    for b in range(batch):
        for j in range(width):
            hat[b, j] = z[b, j] - mean[j]
            inverse[j] += hat[b, j] * hat[b, j] * share
    for j in range(width):
        inverse[j] = z.dtype.type(1) / np.sqrt(inverse[j] + eps)
    for b in range(batch):
        for j in range(width):
            hat[b, j] *= inverse[j]
            h[b, j] = max(gain[j] * hat[b, j] + shift[j], z.dtype.type(0))


@njit(fastmath=_SUMS, cache=True)
def _normalize_backward(dz, gain, inverse, hat, d_gain, d_shift):
    """In `dz` the gradient by gain · hat + shift becomes that by z; fills the gradients by gain and shift."""
    batch, width = dz.shape
    share = dz.dtype.type(1.0 / batch)
    d_gain[:] = 0
    d_shift[:] = 0
    for b in range(batch):
        for j in range(width):
            d_gain[j] += dz[b, j] * hat[b, j]
            d_shift[j] += dz[b, j]
    for b in range(batch):
        for j in range(width):
            dz[b, j] = gain[j] * inverse[j] * (dz[b, j] - share * (d_shift[j] + hat[b, j] * d_gain[j]))


@njit(fastmath=_SUMS, cache=True)
def _cross_entropy(logits, labels):
    """The mean loss; `logits` become its gradient by them."""
    batch, classes = logits.shape
    loss = 0.0
    share = logits.dtype.type(1.0 / batch)
    for b in range(batch):
        top = logits[b, 0]
        for j in range(1, classes):
            top = max(top, logits[b, j])
        total = logits.dtype.type(0)
        loss += top - logits[b, labels[b]]
        for j in range(classes):
            logits[b, j] = np.exp(logits[b, j] - top)
            total += logits[b, j]
        loss += np.log(total)
        for j in range(classes):
            logits[b, j] *= share / total
        logits[b, labels[b]] -= share
    return loss / batch


@njit(fastmath=_SUMS, cache=True)
def _step(flat, moments, gradient, bounds, rate, momentum, decay, clip, motion):
    """Clip, decay, momentum, update; adds to the motion."""
    squared = flat.dtype.type(0)
    for i in range(flat.size):
        squared += gradient[i] * gradient[i]
    scale = flat.dtype.type(min(1.0, clip / (np.sqrt(squared) + 1e-6)))
    motion.gradient[0] += squared
    moments.updates[0] += 1
    first, second, adamw = moments.first, moments.second, moments.second.size > 0
    one, beta, eps = flat.dtype.type(1), flat.dtype.type(_BETA2), flat.dtype.type(_ADAM_EPS)
    rate_now = flat.dtype.type(rate / (1 - momentum ** moments.updates[0]))
    spread_now = flat.dtype.type(1 / np.sqrt(1 - _BETA2 ** moments.updates[0]))
    for k in range(bounds.size - 1):
        before, moved, along = flat.dtype.type(0), flat.dtype.type(0), flat.dtype.type(0)
        for i in range(bounds[k], bounds[k + 1]):
            if adamw:
                g = scale * gradient[i]
                first[i] = momentum * first[i] + (one - momentum) * g
                second[i] = beta * second[i] + (one - beta) * g * g
                step = -rate * decay * flat[i] - rate_now * first[i] / (np.sqrt(second[i]) * spread_now + eps)
            else:
                first[i] = momentum * first[i] + (scale * gradient[i] + decay * flat[i])
                step = -rate * first[i]
            before += flat[i] * flat[i]
            along += flat[i] * step
            moved += step * step
            flat[i] += step
        motion.update[k] += moved
        after = before + 2 * along + moved
        if before > 0 and after > 0:
            motion.rotation[k] += max(moved - along * along / before, 0.0) / after


@njit(fastmath=_SUMS, cache=True)
def advance(parameters, gradient, moments, images, labels, order, rate, momentum, decay, clip, motion):
    """One update for each row of `order`, (updates, batch): numbers of the samples in its batch.

    Parameters and moments change in place, `gradient` is overwritten, and what happens is added to `motion`. Rate,
    momentum (β₁ of AdamW) and decay have the parameters' type.
    """
    depth = len(parameters.weights) - 1
    dtype = parameters.flat.dtype
    batch, width = order.shape[1], parameters.weights[0].shape[0]
    h = np.empty((depth, batch, width), dtype)
    hat = np.empty((depth, batch, width), dtype)
    inverse = np.empty((depth, width), dtype)
    z = np.empty((batch, width), dtype)
    dh = np.empty((batch, width), dtype)
    logits = np.empty((batch, parameters.weights[depth].shape[0]), dtype)
    x = np.empty((batch, images.shape[1]), dtype)
    y = np.empty(batch, labels.dtype)
    for t in range(order.shape[0]):
        for b in range(batch):
            x[b] = images[order[t, b]]
            y[b] = labels[order[t, b]]
        for k in range(depth):
            np.dot(x if k == 0 else h[k - 1], parameters.weights[k].T, z)
            bias = parameters.biases[k]
            normalized = parameters.gains[k].size > 0
            for b in range(batch):
                for j in range(width):
                    z[b, j] += bias[j]
                    if not normalized:
                        h[k, b, j] = max(z[b, j], dtype.type(0))
            if normalized:
                _normalize(z, parameters.gains[k], parameters.shifts[k], inverse[k], hat[k], h[k])
        np.dot(h[depth - 1], parameters.weights[depth].T, logits)
        for b in range(batch):
            logits[b] += parameters.biases[depth]
        motion.loss[0] += _cross_entropy(logits, y)
        np.dot(logits.T, h[depth - 1], gradient.weights[depth])
        gradient.biases[depth][:] = 0
        for b in range(batch):
            gradient.biases[depth][:] += logits[b]
        np.dot(logits, parameters.weights[depth], dh)
        for k in range(depth - 1, -1, -1):
            for b in range(batch):
                for j in range(width):
                    dh[b, j] = dh[b, j] if h[k, b, j] > 0 else dtype.type(0)
            if parameters.gains[k].size > 0:
                _normalize_backward(
                    dh, parameters.gains[k], inverse[k], hat[k], gradient.gains[k], gradient.shifts[k]
                )
            np.dot(dh.T, x if k == 0 else h[k - 1], gradient.weights[k])
            gradient.biases[k][:] = 0
            for b in range(batch):
                gradient.biases[k][:] += dh[b]
            if k > 0:
                np.dot(dh, parameters.weights[k], z)
                dh[:] = z
        _step(parameters.flat, moments, gradient.flat, parameters.bounds, rate, momentum, decay, clip, motion)
