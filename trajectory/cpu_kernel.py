"""Sums of squares of all parameters in one pass on a CPU, compiled by Numba.

The parameters are cut into chunks that stay in a core's cache. A thread reads a chunk of the weights once from
memory, and each copy's once, where they lie; nothing as large as a chunk is written, but for half precision, which is
widened first. A chunk is summed in float32, or in float64 for float64 parameters; the chunks' sums are added in
float64 in their order, so that equal weights give equal numbers on any number of threads.

The first use compiles for seconds and keeps the result in Numba's cache.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from typing import Any

import numba
import numpy as np
import torch
from numba import carray, njit, prange, types
from numba.extending import intrinsic
from torch import Tensor

from trajectory.addresses import ABSENT, CODE, GRADIENT, GRADIENT_CODE, HEAD, KEPT, WEIGHTS, Addresses

_CHUNK = 1 << 14  # elements
_SUMS = {"reassoc", "contract", "nsz"}  # sums in any order, so that they vectorize; NaN and inf stay what they are


@intrinsic
def _pointer(context, address, like):
    """The number `address` as a pointer to elements of the array `like`'s type."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@njit
def _view(address, first, size, like):
    """`size` elements of `like`'s type from the one numbered `first` on, in the memory at `address`."""
    return carray(_pointer(address + first * like.itemsize, like), (size,))


@njit
def _widened(bits, code):
    """bfloat16 (code 1) or float16 in float32; bits: as uint16."""
    wide = np.empty(len(bits), np.uint32)
    values = wide.view(np.float32)
    if code == 1:
        for i in range(len(bits)):
            wide[i] = bits[i] << 16
        return values
    for i in range(len(bits)):
        sign, magnitude = bits[i] >> 15, bits[i] & 0x7FFF
        if magnitude < 0x0400:  # subnormal
            values[i] = magnitude * 2.0**-24
        else:
            bias = 127 - 15 if magnitude < 0x7C00 else 255 - 31  # inf and NaN keep the highest exponent
            wide[i] = (magnitude << 13) + (bias << 23)
        wide[i] |= sign << 31
    return values


@njit(fastmath=_SUMS)
def _square(x):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i] * x[i]
    return np.float64(total)


@njit(fastmath=_SUMS)
def _squared_difference(x, y):
    total = x.dtype.type(0)
    for i in range(len(x)):
        difference = x[i] - y[i]
        total += difference * difference
    return np.float64(total)


@njit
def _measure(x, table, parameter, first, copies, sums):
    """Differences of a chunk x of weights from each copy; then the weights are kept, if they are to be."""
    for k in range(copies):
        address = table[HEAD + k, parameter]
        if address == 0:
            sums[k] = _square(x)
        elif address != ABSENT:
            sums[k] = _squared_difference(x, _view(address, first, len(x), x))
    if table[KEPT, parameter] != 0:
        _view(table[KEPT, parameter], first, len(x), x)[:] = x


@njit
def _measure_chunk(table, chunk, copies, sums):
    single, double, half = np.empty(0, np.float32), np.empty(0, np.float64), np.empty(0, np.uint16)
    parameter, first, size = chunk
    sums[:] = 0.0
    weights, code = table[WEIGHTS, parameter], table[CODE, parameter]
    if code == 0:
        _measure(_view(weights, first, size, single), table, parameter, first, copies, sums)
    elif code == 3:
        _measure(_view(weights, first, size, double), table, parameter, first, copies, sums)
    else:
        _measure(_widened(_view(weights, first, size, half), code), table, parameter, first, copies, sums)
    address, code = table[GRADIENT, parameter], table[GRADIENT_CODE, parameter]
    if address > 0:
        if code == 0:
            sums[copies] = _square(_view(address, first, size, single))
        elif code == 3:
            sums[copies] = _square(_view(address, first, size, double))
        else:
            sums[copies] = _square(_widened(_view(address, first, size, half), code))


@njit
def _add_up(table, chunks, copies, partial, out):
    """The sums of the chunks' sums; NaN for what is absent."""
    for parameter in range(out.shape[1]):
        for k in range(len(out)):
            source = HEAD + k if k < copies else GRADIENT
            out[k, parameter] = np.nan if table[source, parameter] == ABSENT else 0.0
    for c in range(len(chunks)):
        for k in range(len(out)):
            out[k, chunks[c, 0]] += partial[c, k]


def _sum_alone(table, chunks, copies, partial, out):
    """Sums of squares (measurement, parameter) into `out`, chunk by chunk (parameter, first element, size)."""
    for c in range(len(chunks)):
        _measure_chunk(table, (chunks[c, 0], chunks[c, 1], chunks[c, 2]), copies, partial[c])
    _add_up(table, chunks, copies, partial, out)


def _sum_together(table, chunks, copies, partial, out):
    """The same on several threads; a function of its own, as Numba's cache goes by the name."""
    for c in prange(len(chunks)):
        _measure_chunk(table, (chunks[c, 0], chunks[c, 1], chunks[c, 2]), copies, partial[c])
    _add_up(table, chunks, copies, partial, out)


def _compiled(function: Callable[..., None], *, parallel: bool) -> Callable[..., None]:
    signature = "void(int64[:,::1], int64[:,::1], int64, float64[:,::1], float64[:,::1])"
    options: dict[str, Any] = {"nogil": True, "parallel": parallel}
    try:
        return njit(signature, cache=True, **options)(function)
    except RuntimeError:  # there is no folder for Numba's cache that can be written to
        return njit(signature, **options)(function)


def _shares_threads() -> bool:
    """Whether Numba can run on OpenMP's threads, which are torch's; others would fight with those for the cores."""
    try:
        import_module("numba.np.ufunc.omppool")
    except ImportError:
        return False
    return numba.config.THREADING_LAYER != "workqueue"


@cache
def _kernels() -> tuple[Callable[..., None], Callable[..., None]]:
    """For one thread, and for several."""

    def compiled() -> tuple[Callable[..., None], Callable[..., None]]:
        alone = _compiled(_sum_alone, parallel=False)
        return alone, _compiled(_sum_together, parallel=True) if _shares_threads() else alone

    # as it starts, Numba sets OpenMP's number of threads for the thread it starts from; torch's must not change
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(compiled).result()


class SumsOfSquares:
    """The kernel for parameters that stay where they are, each dense in memory in some order.

    measurements: how many rows `write` fills.
    """

    def __init__(self, parameters: Sequence[Tensor], measurements: int):
        self._alone, self._together = _kernels()
        self._addresses = Addresses(parameters)
        self._rows: list[int] = []
        chunks = [
            (i, first, min(_CHUNK, p.numel() - first))
            for i, p in enumerate(parameters)
            for first in range(0, p.numel(), _CHUNK)
        ]
        self._chunks = np.array(chunks, np.int64).reshape(-1, 3)
        self._partial = np.empty((len(chunks), measurements))
        self._sums = np.empty((measurements, len(parameters)))

    def write(
        self,
        out: Tensor,
        copies: Sequence[Sequence[Tensor] | None],
        gradients: Sequence[Tensor | None] | None,
        kept: Sequence[Tensor] | None,
    ) -> None:
        """Writes into `out`, (measurement, parameter): ‖w − copy‖² for every copy, then ‖g‖².

        The tensors are those of `Addresses.rows`; a copy that is not taken yet gives NaN.
        """
        rows = self._addresses.rows(copies, gradients, kept)
        if rows != self._rows:
            self._rows, self._table = rows, np.array(rows, np.int64).reshape(-1, self._sums.shape[1])
        threads = min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS)
        arguments = self._table, self._chunks, len(copies), self._partial, self._sums
        if threads == 1 or len(self._chunks) < 2 * threads:
            self._alone(*arguments)
        elif threads == (before := numba.get_num_threads()):
            self._together(*arguments)
        else:
            numba.set_num_threads(threads)
            try:
                self._together(*arguments)
            finally:
                numba.set_num_threads(before)
        out.copy_(torch.from_numpy(self._sums))
