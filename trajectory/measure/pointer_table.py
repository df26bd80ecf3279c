"""Where the kernels find parameters, copies and further tensors: a table of pointers, a column for each parameter."""

from collections.abc import Sequence
from operator import is_
from typing import TypeAlias

import torch
from torch import Tensor

CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
ABSENT = -1  # the pointer to a copy that is not taken yet, or to further tensors of which there are none
# the table's rows; behind them come the pointers to the measurements' copies, then two rows for each further list:
# its pointers and its types
SIZE, WEIGHTS, CODE, KEPT = range(4)
HEAD = 4


Lists: TypeAlias = "Sequence[Sequence[Tensor] | None]"


class PointerTable:
    """The table of parameters that stay where they are.

    Args:
        parameters: The parameters, of the types in `CODES`.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        self._parameters = [p.numel() for p in parameters] + [p.data_ptr() for p in parameters]
        self._parameters += [CODES[p.dtype] for p in parameters]
        self._nothing, self._absent = [0] * len(parameters), [ABSENT] * len(parameters)

    def rows(
        self,
        copies: Lists,
        others: Sequence[Sequence[Tensor | None]],
        kept: Sequence[Tensor] | None,
    ) -> list[int]:
        """Lay out the table, one row behind the other.

        Args:
            copies: Lists of tensors as the parameters, in the same order of memory, in float32, or float64 where they
                are; an empty list stands for 0, and None for a copy that is not taken yet.
            others: Lists of further tensors, each with as many elements as its parameter, dense and of the types in
                `CODES`; None for one that a parameter lacks.
            kept: Tensors that take the weights in the end; None if nothing does.

        Returns:
            The entries.
        """
        rows = self._parameters + (self._nothing if kept is None else [w.data_ptr() for w in kept])
        for copy in copies:
            rows += self._absent if copy is None else [w.data_ptr() for w in copy] if len(copy) else self._nothing
        for tensors in others:
            none = ABSENT if all(t is None for t in tensors) else 0
            rows += [none if t is None else t.data_ptr() for t in tensors]
            rows += [0 if t is None else CODES[t.dtype] for t in tensors]
        return rows


def are_same(lists: Lists, others: Lists) -> bool:
    """Return whether lists of tensors are the very same objects, one by one.

    Args:
        lists: The lists.
        others: What they are compared with.
    """
    return len(lists) == len(others) and all(map(is_, lists, others))
