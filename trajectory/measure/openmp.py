"""Work for the threads that torch runs on: C functions compiled by Numba, and OpenMP's entry that calls them.

The threads are OpenMP's, by its C entry `GOMP_parallel`, which the library that torch has loaded brings along.
Numba's own `prange` loads a second OpenMP, whose threads fight with those of the first, which spin between two of
torch's operations, for the cores. Where torch has no such library one thread does it all.

The work is cut into pieces, and described by a *job*: an array of int64 whose address every thread is given. Its
first entry is the next piece to take; the others are what the function asks for, numbers and pointers.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from numba import carray, njit, types
from numba.extending import intrinsic

# elements that a thread is woken for: some microseconds of work. Waking one takes as long, and where its core is busy
# with another process, the others wait for milliseconds until the scheduler runs it
_GRAIN = 1 << 14


@intrinsic
def _pointer(context, address, like):
    """Turn the number `address` into a pointer to elements of the array `like`'s type."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@intrinsic
def take(context, job):
    """Return the number of the next piece of a job, and add 1 to it atomically.

    Args:
        context: Numba's, which a caller does not give.
        job: The job.
    """

    def generate(context, builder, signature, arguments):
        first = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        return builder.atomic_rmw("add", first, context.get_constant(types.int64, 1), "monotonic")

    return types.int64(job), generate


@njit
def view(address, first, size, like):
    """Return elements of the memory at an address, as an array.

    Args:
        address: The address, a number.
        first: The number of the first element.
        size: The number of elements.
        like: An array of the elements' type.
    """
    return carray(_pointer(address + first * like.itemsize, like), (size,))


def compiled(compiler: Callable[..., Any], signature: str, function: Callable[..., None]) -> Any:
    """Return a function compiled, from Numba's cache where there is a folder for one that can be written to.

    Args:
        compiler: Numba's `njit` or `cfunc`.
        signature: The types of the function's arguments.
        function: The function.
    """
    try:
        return compiler(signature, cache=True)(function)
    except RuntimeError:  # there is no folder for Numba's cache that can be written to
        return compiler(signature)(function)


@cache
def _team() -> Callable[[int, int, int, int], None] | None:
    """Return what calls a C function (address, argument, threads, flags) on OpenMP's threads; None without OpenMP."""
    try:
        call = ctypes.CDLL(None).GOMP_parallel
    except (AttributeError, OSError, TypeError):  # another OpenMP, or Windows
        return None
    call.argtypes, call.restype = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint), None
    return call


def run(function: Any, job: int, pieces: int, elements: int) -> None:
    """Call a compiled function on a job: on torch's threads if there is work for each, else on this one.

    Args:
        function: A C function of one pointer, by Numba's `cfunc`.
        job: The address of the job, whose first entry is 0.
        pieces: The number of pieces to take.
        elements: The number of elements that all pieces together read.
    """
    threads, team = torch.get_num_threads(), _team()
    if team is None or threads == 1 or pieces == 1 or elements < _GRAIN * threads:
        function.ctypes(job)
    else:
        team(function.address, job, threads, 0)
