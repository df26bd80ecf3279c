"""Sums of squares of all parameters in one launch on a GPU, and a second that adds up the parts (Triton).

The parameters are cut into chunks; a program reads its chunk of the weights, of every copy and of further tensors
where they lie, by a table of pointers, and writes one partial sum for each measurement. Partial sums are added in the
order of the chunks, so that equal weights give equal numbers; nothing as large as a parameter is written.

Elements are taken to float32, or to float64 if any parameter is, before they are subtracted. Chunks are summed in
that type lane by lane, over 16 elements each, and from there on in float64.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from torch import Tensor

from trajectory.measure.host_copy import is_capturing
from trajectory.measure.pointer_table import HEAD, KEPT, Lists, PointerTable, are_same

_LANES, _TURNS = 1024, 16  # elements a program takes at a time, and how often
_CHUNK = _LANES * _TURNS
_PARTS = 256  # partial sums added at a time


@triton.jit
def _load(address, code, offsets, mask, like):
    """Load elements at `address`, of the type that `code` names, in the type of `like`."""
    if code == 0:
        values = tl.load(address.to(tl.pointer_type(tl.float32)) + offsets, mask=mask, other=0.0).to(like.dtype)
    elif code == 1:
        values = tl.load(address.to(tl.pointer_type(tl.bfloat16)) + offsets, mask=mask, other=0.0).to(like.dtype)
    elif code == 2:
        values = tl.load(address.to(tl.pointer_type(tl.float16)) + offsets, mask=mask, other=0.0).to(like.dtype)
    else:
        values = tl.load(address.to(tl.pointer_type(tl.float64)) + offsets, mask=mask, other=0.0).to(like.dtype)
    return values


@triton.jit
def _sum_chunks(
    table, owners, firsts, partial, parameters, chunks,
    DIFFERENCES: tl.constexpr, OTHERS: tl.constexpr, KEEP: tl.constexpr, WIDE: tl.constexpr,
    HEAD: tl.constexpr, KEPT: tl.constexpr, LANES: tl.constexpr, TURNS: tl.constexpr,
):  # fmt: skip
    """Sum the squares of each measurement over one chunk."""
    chunk = tl.program_id(0)
    entry = table + tl.load(owners + chunk)
    size, weights, code = tl.load(entry), tl.load(entry + parameters), tl.load(entry + 2 * parameters)
    wide = tl.where(code == 3, 3, 0)  # the type of copies
    first = tl.load(firsts + chunk) + tl.arange(0, LANES)
    zero = tl.zeros((LANES,), tl.float64 if WIDE else tl.float32)
    for row in tl.static_range(DIFFERENCES):
        copy = tl.load(entry + (HEAD + row) * parameters)
        there = tl.where(copy > 0, size, 0)
        total = zero
        for turn in range(TURNS):
            at = first + turn * LANES
            x = _load(weights, code, at, at < size, zero)
            x -= _load(copy, wide, at, at < there, zero)
            total += x * x
        tl.store(partial + row * chunks + chunk, tl.sum(total.to(tl.float64), 0))
    for row in tl.static_range(OTHERS):
        behind = entry + (HEAD + DIFFERENCES + 2 * row) * parameters
        tensor, kind = tl.load(behind), tl.load(behind + parameters)
        there = tl.where(tensor > 0, size, 0)
        total = zero
        for turn in range(TURNS):
            at = first + turn * LANES
            x = _load(tensor, kind, at, at < there, zero)
            total += x * x
        tl.store(partial + (DIFFERENCES + row) * chunks + chunk, tl.sum(total.to(tl.float64), 0))
    if KEEP:
        kept = tl.load(entry + KEPT * parameters)
        tl.debug_barrier()  # what lies there has been read
        for turn in range(TURNS):
            at = first + turn * LANES
            x = _load(weights, code, at, at < size, zero)
            if wide == 3:
                tl.store(kept.to(tl.pointer_type(tl.float64)) + at, x.to(tl.float64), mask=at < size)
            else:
                tl.store(kept.to(tl.pointer_type(tl.float32)) + at, x.to(tl.float32), mask=at < size)


@triton.jit
def _add_up(
    table, ends, partial, out, parameters, chunks, stride,
    DIFFERENCES: tl.constexpr, HEAD: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """Add up a parameter's sums of squares over its chunks, with NaN for what is absent."""
    parameter, row = tl.program_id(0), tl.program_id(1)
    start, stop = tl.load(ends + parameter), tl.load(ends + parameter + 1)
    total = tl.zeros((PARTS,), tl.float64)
    for at in range(start, stop, PARTS):
        part = at + tl.arange(0, PARTS)
        total += tl.load(partial + row * chunks + part, mask=part < stop, other=0.0)
    source = tl.where(row < DIFFERENCES, HEAD + row, HEAD + 2 * row - DIFFERENCES)
    absent = tl.load(table + source * parameters + parameter) == -1
    result = tl.where(absent, float("nan"), tl.sum(total, 0))
    tl.store(out + row * stride + parameter, result.to(out.dtype.element_ty))


class SumsOfSquares:
    """The kernels for parameters that stay where they are on one device, each dense in memory in some order.

    Args:
        parameters: The parameters, on one GPU.
        measurements: The number of rows that `write` fills.
    """

    def __init__(self, parameters: Sequence[Tensor], measurements: int):
        self._pointers, self._count = PointerTable(parameters), len(parameters)
        self._device = device = parameters[0].device
        self._wide = any(p.dtype == torch.float64 for p in parameters)
        counts = [-(-p.numel() // _CHUNK) for p in parameters]
        owners = [i for i, count in enumerate(counts) for _ in range(count)]
        firsts = [k * _CHUNK for count in counts for k in range(count)]
        ends = [sum(counts[:i]) for i in range(len(counts) + 1)]
        self._chunks = len(owners)
        self._owners, self._firsts, self._ends = (
            torch.tensor(values, dtype=torch.int64, device=device) for values in (owners, firsts, ends)
        )
        self._partial = torch.zeros(measurements, max(self._chunks, 1), dtype=torch.float64, device=device)
        self._lists: Lists = []  # what the table on the device was made of
        self._entries: list[int] = []
        self._table = torch.zeros((HEAD + 2 * measurements) * len(parameters), dtype=torch.int64, device=device)
        # a capture can pin no memory, and its replays read this again
        self._staged = torch.empty(len(self._table), dtype=torch.int64, pin_memory=device.type == "cuda")

    def write(
        self,
        out: Tensor,
        copies: Lists,
        others: Sequence[Sequence[Tensor | None]],
        kept: Sequence[Tensor] | None,
    ) -> None:
        """Write ‖w − copy‖² for every copy, then the squared norms of further tensors.

        It neither waits for the device nor allocates on it.

        Args:
            out: The sums of squares (measurement, parameter).
            copies: What each difference is taken from, each a list of tensors as the parameters that stays as it is;
                an empty list stands for 0, and None for a copy that is not taken yet, which gives NaN.
            others: Lists of further tensors as the parameters, dense in memory; None for one that a parameter lacks,
                which counts 0, and gives NaN if all lack it.
            kept: Tensors that take the weights in the end; None if nothing does.
        """
        self._send_table(copies, others, kept)
        count, n = len(copies) + len(others), self._count
        with torch.cuda.device(self._device) if self._device.type == "cuda" else nullcontext():
            if self._chunks:
                _sum_chunks[(self._chunks,)](
                    self._table, self._owners, self._firsts, self._partial, n, self._partial.shape[1],
                    DIFFERENCES=len(copies), OTHERS=len(others), KEEP=kept is not None, WIDE=self._wide,
                    HEAD=HEAD, KEPT=KEPT, LANES=_LANES, TURNS=_TURNS,
                )  # fmt: skip
            _add_up[(n, count)](
                self._table, self._ends, self._partial, out, n, self._partial.shape[1], out.stride(0),
                DIFFERENCES=len(copies), HEAD=HEAD, PARTS=_PARTS,
            )  # fmt: skip

    def _send_table(
        self,
        copies: Lists,
        others: Sequence[Sequence[Tensor | None]],
        kept: Sequence[Tensor] | None,
    ) -> None:
        """Put the pointers on the device, if one of them is new."""
        captured, lists = is_capturing(self._device), [*copies, kept]
        if not (others or captured) and are_same(lists, self._lists):
            return
        self._lists = []
        entries = self._pointers.rows(copies, others, kept)
        if entries == self._entries and not captured:
            self._lists = lists
            return
        self._entries = []  # an interrupt until the table is sent leaves it to be sent anew
        host = torch.tensor(entries, dtype=torch.int64)
        if captured:
            host = self._staged[: len(entries)].copy_(host)
        elif self._device.type == "cuda":
            host = host.pin_memory()  # torch keeps it until the copy is done
        self._table[: len(entries)].copy_(host, non_blocking=True)
        self._entries, self._lists = entries, lists
