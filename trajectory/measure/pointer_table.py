"""Where the kernels find parameters, copies and gradients: a table of pointers with a column for each parameter."""

from collections.abc import Sequence

import torch
from torch import Tensor

CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2, torch.float64: 3}
ABSENT = -1  # the pointer to a copy that is not taken yet, or to gradients of which there are none
# the table's rows; behind them come the pointers to the measurements' copies
SIZE, WEIGHTS, CODE, GRADIENT, GRADIENT_CODE, KEPT = range(6)
HEAD = 6


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
        copies: Sequence[Sequence[Tensor] | None],
        gradients: Sequence[Tensor | None] | None,
        kept: Sequence[Tensor] | None,
    ) -> list[int]:
        """Lay out the table, one row behind the other.

        Args:
            copies: Lists of tensors as the parameters, in the same order of memory, in float32, or float64 where they
                are; an empty list stands for 0, and None for a copy that is not taken yet.
            gradients: The parameters' gradients; None if they are not measured.
            kept: Tensors that take the weights in the end; None if nothing does.

        Returns:
            The entries.
        """
        of_gradients, types = self._nothing, self._nothing
        if gradients is not None:
            none = ABSENT if all(g is None for g in gradients) else 0
            of_gradients = [none if g is None else g.data_ptr() for g in gradients]
            types = [0 if g is None else CODES[g.dtype] for g in gradients]
        rows = self._parameters + of_gradients + types
        rows += self._nothing if kept is None else [w.data_ptr() for w in kept]
        for copy in copies:
            rows += self._absent if copy is None else [w.data_ptr() for w in copy] if len(copy) else self._nothing
        return rows
