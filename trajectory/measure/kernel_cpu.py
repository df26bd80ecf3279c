"""Sums of squares of all parameters in one pass on a CPU, compiled by Numba, run on the threads that torch runs on.

The parameters are cut into chunks that stay in a core's cache. A thread reads a chunk of the weights once from
memory, and each copy's once, where they lie; nothing as large as a chunk is written, but for half precision, which is
widened first. A chunk is summed in float32, or in float64 for float64 parameters and where float32 overflows; the
chunks' sums are added in float64 in their order, so that equal weights give equal numbers on any number of threads.

The first use compiles for seconds and keeps the result in Numba's cache.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import cfunc, njit
from torch import Tensor

from trajectory.measure.openmp import compiled, run, take, view
from trajectory.measure.pointer_table import ABSENT, CODE, HEAD, KEPT, WEIGHTS, Lists, PointerTable, are_same

_CHUNK = 1 << 14  # elements
_SUMS = {"reassoc", "contract", "nsz"}  # sums in any order, so that they vectorize; NaN and inf stay what they are
# the entries of a job, which the threads of a pass read: the next chunk to take, the number of chunks, the table's
# size, and pointers to the arrays
_NEXT, _COUNT, _COPIES, _OTHERS, _PARAMETERS, _MEASUREMENTS, _TABLE, _CHUNKS, _PARTIAL, _OUT = range(10)


@njit
def _widened(bits, code):
    """Widen bfloat16 (code 1) or float16, given as bits in uint16, to float32."""
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
    if math.isfinite(total):
        return np.float64(total)
    wide = 0.0  # float32 may have overflown
    for i in range(len(x)):
        wide += np.float64(x[i]) * np.float64(x[i])
    return wide


@njit(fastmath=_SUMS)
def _squared_difference(x, y):
    total = x.dtype.type(0)
    for i in range(len(x)):
        difference = x[i] - y[i]
        total += difference * difference
    if math.isfinite(total):
        return np.float64(total)
    wide = 0.0
    for i in range(len(x)):
        widened = np.float64(x[i]) - np.float64(y[i])
        wide += widened * widened
    return wide


@njit
def _measure(x, table, parameter, first, copies, sums):
    """Measure the differences of a chunk x of weights from each copy; then keep the weights, if they are to be."""
    for k in range(copies):
        address = table[HEAD + k, parameter]
        if address == 0:
            sums[k] = _square(x)
        elif address != ABSENT:
            sums[k] = _squared_difference(x, view(address, first, len(x), x))
    if table[KEPT, parameter] != 0:
        view(table[KEPT, parameter], first, len(x), x)[:] = x


@njit
def _measure_chunk(table, chunk, copies, others, sums, like):
    single, double, half = like
    parameter, first, size = chunk
    sums[:] = 0.0
    weights, code = table[WEIGHTS, parameter], table[CODE, parameter]
    if code == 0:
        _measure(view(weights, first, size, single), table, parameter, first, copies, sums)
    elif code == 3:
        _measure(view(weights, first, size, double), table, parameter, first, copies, sums)
    else:
        _measure(_widened(view(weights, first, size, half), code), table, parameter, first, copies, sums)
    for k in range(others):
        address, code = table[HEAD + copies + 2 * k, parameter], table[HEAD + copies + 2 * k + 1, parameter]
        if address <= 0:
            continue
        if code == 0:
            sums[copies + k] = _square(view(address, first, size, single))
        elif code == 3:
            sums[copies + k] = _square(view(address, first, size, double))
        else:
            sums[copies + k] = _square(_widened(view(address, first, size, half), code))


@njit
def _matrix(address, rows, columns, like):
    return view(address, 0, rows * columns, like).reshape(rows, columns)


@njit
def _arrays(job):
    """Return the table, the chunks, and their sums."""
    rows, count = HEAD + job[_COPIES] + 2 * job[_OTHERS], job[_COUNT]
    table, chunks = _matrix(job[_TABLE], rows, job[_PARAMETERS], job), _matrix(job[_CHUNKS], count, 3, job)
    return table, chunks, _matrix(job[_PARTIAL], count, job[_MEASUREMENTS], np.empty(0, np.float64))


def _work(address):
    """Take chunks until there are none left; each thread of a pass calls this with the address of the job."""
    job = view(address, 0, 10, np.empty(0, np.int64))
    single, double, half = np.empty(0, np.float32), np.empty(0, np.float64), np.empty(0, np.uint16)
    copies, others = job[_COPIES], job[_OTHERS]
    table, chunks, partial = _arrays(job)
    c = take(job)
    while c < job[_COUNT]:
        chunk = (chunks[c, 0], chunks[c, 1], chunks[c, 2])
        _measure_chunk(table, chunk, copies, others, partial[c], (single, double, half))
        c = take(job)


def _add_up(address):
    """Add up the chunks' sums of a job (measurement, parameter), with NaN for what is absent."""
    job = view(address, 0, 10, np.empty(0, np.int64))
    copies = job[_COPIES]
    table, chunks, partial = _arrays(job)
    out = _matrix(job[_OUT], job[_MEASUREMENTS], job[_PARAMETERS], np.empty(0, np.float64))
    for parameter in range(out.shape[1]):
        for k in range(len(out)):
            source = HEAD + k if k < copies else HEAD + 2 * k - copies
            out[k, parameter] = np.nan if table[source, parameter] == ABSENT else 0.0
    for c in range(len(chunks)):
        for k in range(len(out)):
            out[k, chunks[c, 0]] += partial[c, k]


@cache
def _kernels() -> tuple[Any, Any]:
    """Return `_work` and `_add_up` as C functions."""
    return compiled(cfunc, "void(int64)", _work), compiled(cfunc, "void(int64)", _add_up)


class SumsOfSquares:
    """The kernel for parameters that stay where they are, each dense in memory in some order.

    Args:
        parameters: The parameters, on the CPU.
        measurements: The number of rows that `write` fills.
    """

    def __init__(self, parameters: Sequence[Tensor], measurements: int):
        self._work, add_up = _kernels()
        self._add_up = add_up.ctypes
        self._pointers = PointerTable(parameters)
        self._lists: Lists = []  # what the job was made of
        self._rows: list[int] = []
        chunks = [
            (i, first, min(_CHUNK, p.numel() - first))
            for i, p in enumerate(parameters)
            for first in range(0, p.numel(), _CHUNK)
        ]
        self._chunks, self._elements = np.array(chunks, np.int64).reshape(-1, 3), sum(p.numel() for p in parameters)
        self._count, self._partial = len(chunks), np.empty((len(chunks), measurements))
        self._shape = (measurements, len(parameters))
        self._job = np.zeros(10, np.int64)
        self._address = self._job.ctypes.data

    def write(
        self,
        out: Tensor,
        copies: Lists,
        others: Sequence[Sequence[Tensor | None]],
        kept: Sequence[Tensor] | None,
    ) -> None:
        """Write ‖w − copy‖² for every copy, then the squared norms of further tensors.

        Args:
            out: Takes the sums of squares (measurement, parameter), float64, row by row in memory.
            copies: What each difference is taken from, each a list of tensors as the parameters that stays as it is;
                an empty list stands for 0, and None for a copy that is not taken yet, which gives NaN.
            others: Lists of further tensors as the parameters, dense in memory; None for one that a parameter lacks,
                which counts 0, and gives NaN if all lack it.
            kept: Tensors that take the weights in the end; None if nothing does.
        """
        lists = [*copies, kept]
        if others or not are_same(lists, self._lists):
            self._lists = []  # an interrupt until the job is whole leaves it to be made anew
            self._point_to(self._pointers.rows(copies, others, kept), len(copies), len(others))
            self._lists = lists
        assert out.dtype is torch.float64
        assert out.is_contiguous()
        self._job[_NEXT], self._job[_OUT] = 0, out.data_ptr()
        run(self._work, self._address, self._count, self._elements)
        self._add_up(self._address)

    def _point_to(self, rows: list[int], copies: int, others: int) -> None:
        """Make the job of a table, unless it is that of the table before."""
        if rows == self._rows:
            return
        self._rows = []
        self._table = np.array(rows, np.int64).reshape(-1, self._shape[1])
        shape = [self._count, copies, others, *self._shape[::-1]]
        held = (self._table, self._chunks, self._partial)
        self._job[_COUNT:_OUT] = [*shape, *(array.ctypes.data for array in held)]
        self._rows = rows
