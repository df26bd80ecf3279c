"""Distances and norms of a parameter list, on its device, without waiting for it.

    distance_i(t) = ‖w_i(t) − w_i(0)‖,   distance(t) = sqrt(Σ_i distance_i(t)²)

over the trainable parameters i, tied ones once, buffers never; likewise the other quantities. Differences
are taken and squares are summed in float32, or float64 for float64 parameters, whatever the weights' own type.
"""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from trajectory.measure.optimizer_state import Momentum
from trajectory.measure.pointer_table import CODES
from trajectory.measure.sharding import LocalElements
from trajectory.measure.weight_copy import Copy, has_memory
from trajectory.schema.layout import QUANTITIES
from trajectory.signals import is_raised_by_handler

if TYPE_CHECKING:
    from trajectory.measure import kernel_cpu, kernel_gpu

    Kernel = kernel_cpu.SumsOfSquares | kernel_gpu.SumsOfSquares


@torch.no_grad()
def squared_norms(parameters: Sequence[Tensor]) -> np.ndarray:
    """Return ‖w_i‖² by parameter (float64), after waiting for the device.

    Args:
        parameters: The parameters w_i.
    """
    return np.square([float(torch.linalg.vector_norm(p, dtype=torch.float64)) for p in parameters])


_OTHERS = ("grad_norm", "momentum_norm")  # norms of tensors beside the weights
_ZERO: list[Tensor] = []  # what a norm of the weights themselves is measured from


class Observables:
    """Sums of squares by parameter, all in one pass over the weights w_t.

    There is a row for each measurement: ‖w_t − w_0‖² and ‖w_t − w_{t_w}‖² for every other origin t_w; then, as
    `quantities` asks, ‖w_t‖², ‖w_t − w_{t−1}‖², ‖g_t‖² of the gradient as the optimizer left it, and ‖m_t‖² of the
    optimizer's momentum. A parameter without a gradient, or a momentum buffer, counts 0 there; all are NaN where none
    has one. w_0 is taken at construction.

    It holds a copy of the weights (in float32 or wider) for each origin reached and one for w_{t−1}.

    Args:
        parameters: The parameters w.
        quantities: The names of the quantities, in the order of a row, the distance first.
        origins: The number of origins other than w_0.

    Attributes:
        parameters: The parameters, then those of `extend`.
        resized: The numbers of the parameters whose tensors have got another shape. They are not measured any more:
            what is written for them is what w_0 would give.
    """

    def __init__(self, parameters: Sequence[Tensor], quantities: Sequence[str] = QUANTITIES[:1], origins: int = 0):
        self.parameters = parameters
        self._first = parameters  # without those of `extend`
        self.resized: list[int] = []
        self.quantities = tuple(quantities)
        self._other_norms = [name for name in _OTHERS if name in quantities]
        self.copies: list[Copy | None] = [Copy(self.parameters)] + [None] * origins
        self.previous = Copy(self.parameters) if "update_norm" in quantities else None
        self._momentum = Momentum(())
        self._pointers: list[int] = []
        self._lay_out()

    @property
    def measurements(self) -> int:
        """The number of rows that `write` fills."""
        return len(self.copies) + len(self.quantities) - 1

    @property
    def keeps(self) -> bool:
        """Whether `keep` does anything."""
        return self.previous is not None

    @property
    def lacks_momentum(self) -> bool:
        """Whether momentum is to be measured, and there is none."""
        return "momentum_norm" in self.quantities and all(m is None for m in self._others("momentum_norm"))

    def follow(self, optimizers: Sequence[Optimizer]) -> None:
        """Measure the momentum that these optimizers keep.

        Args:
            optimizers: The optimizers of the parameters.
        """
        self._momentum = Momentum(optimizers)

    def add_origin(self, k: int) -> None:
        """Measure from the weights as they are now.

        Args:
            k: The number of the origin among those other than w_0, from 0.
        """
        self.copies[1 + k] = Copy(self.parameters)
        self._differences = self._list_differences()

    def extend(self, parameters: Sequence[Tensor]) -> None:
        """Measure more parameters, whose weights have been what they are now since w_0.

        Args:
            parameters: The further parameters.
        """
        if self.have_moved():
            self._lay_out()
        extended = {
            "parameters": [*self.parameters, *parameters],
            "copies": [copy and copy.extended(parameters) for copy in self.copies],
            "previous": self.previous and self.previous.extended(parameters),
            "_pointers": [],
        }
        vars(self).update(extended)  # by one call into C: an interrupt comes before all of it or after
        self._lay_out()

    def replace(self, k: int, parameter: Tensor) -> None:
        """Measure another tensor in the place of a parameter, from the same origins.

        Args:
            k: The parameter's number.
            parameter: The tensor, of the same shape.
        """
        self.parameters = [*self.parameters[:k], parameter, *self.parameters[k + 1 :]]
        if k < len(self._first):
            self._first = self.parameters[: len(self._first)]

    def have_moved(self) -> bool:
        """Return whether the parameters lie elsewhere than when they were measured last."""
        return list(map(Tensor.data_ptr, self.parameters)) != self._pointers

    def restore(self, origins: Sequence[Sequence[Tensor]]) -> None:
        """Measure from stored weights, and those parameters alone that were there at construction.

        Args:
            origins: The weights w_0, then those at the other origins reached so far, each as `parameters`.
        """
        reached = [Copy(self._first) for _ in origins]
        for copy, weights in zip(reached, origins, strict=True):
            copy.refresh(weights)
        restored = {
            "parameters": self._first,
            "copies": [*reached, *[None] * (len(self.copies) - len(reached))],
            "previous": self.previous and Copy(self._first),
            "_pointers": [],
        }
        vars(self).update(restored)
        self._lay_out()

    def keep(self) -> None:
        """Keep the weights as w_{t−1} of the next step, if that is measured."""
        if self.previous:
            self.previous.refresh(self.parameters)

    def write(self, out: Tensor, *, keep: bool = False) -> None:
        """Write the sums of squares, without waiting for the device.

        Args:
            out: Takes the sums (measurement, parameter).
            keep: Whether to do also what `keep()` does.
        """
        if self.have_moved():
            self._lay_out()
        kept = self.previous if keep else None
        if self._kernel is not None and out.device == self.parameters[0].device:
            self._fused(out, self._kernel, kept)
        else:
            self._foreach(out)
            if keep:
                self.keep()

    def _lay_out(self) -> None:
        """Follow the parameters' storage: .to(), load_state_dict(assign=True), an optimizer that swaps tensors."""
        self._leave_out_resized()
        self.copies = [copy and copy.laid_out_as(self.parameters) for copy in self.copies]
        self.previous = self.previous and self.previous.laid_out_as(self.parameters)
        self._differences = self._list_differences()
        pointers = list(map(Tensor.data_ptr, self.parameters))
        self._kernel = _kernel(self.parameters, self.measurements)
        self._pointers = pointers  # last: an interrupt until then leaves all of it to be done anew

    def _leave_out_resized(self) -> None:
        start = self.copies[0]
        for k, weights in enumerate(start.tensors if start else ()):
            if self.parameters[k].shape != weights.shape:
                if k not in self.resized:
                    self.resized.append(k)
                self.replace(k, weights)

    def _others(self, quantity: str) -> list[Tensor | None]:
        """Return each parameter's gradient or momentum buffer, not sparse."""
        weights = self.parameters
        whole = weights.parameters if isinstance(weights, LocalElements) else weights
        tensors = [p.grad for p in whole] if quantity == "grad_norm" else self._momentum.of(whole)
        if isinstance(weights, LocalElements):
            tensors = weights.of(tensors)
        return [None if t is None else _plain(t) for t in tensors]

    def _sources(self) -> list[Copy | str | None]:
        """List what each measurement takes the difference from, or its name; None before an origin is reached."""
        rest = [self.previous if name == "update_norm" else name for name in self.quantities[1:]]
        return [*self.copies, *rest]

    def _fused(self, out: Tensor, kernel: "Kernel", kept: Copy | None) -> None:
        """Write in one pass over all parameters."""
        others = [
            [t if t is None else _readable(t, p) for t, p in zip(self._others(name), self.parameters, strict=True)]
            for name in self._other_norms
        ]
        kernel.write(out, self._differences, others, kept.tensors if kept else None)

    def _list_differences(self) -> tuple[Sequence[Tensor] | None, ...]:
        """List what differences are taken from, as a kernel takes it: an empty list stands for 0."""
        copies = [None if copy is None else copy.tensors for copy in self.copies]
        norms = [name for name in self.quantities[1:] if name not in _OTHERS]
        return *copies, *(self.previous.tensors if self.previous and n == "update_norm" else _ZERO for n in norms)

    @torch.no_grad()
    def _foreach(self, out: Tensor) -> None:
        """Write with torch's operations: on other devices, and for weights with gaps in memory."""
        weights = [p.detach() for p in self.parameters]
        for row, source in zip(out, self._sources(), strict=True):
            if isinstance(source, Copy):
                _write_squares(row, torch._foreach_sub(weights, source.tensors))
            elif source is None:
                row.fill_(torch.nan)
            else:
                _write_squares(row, weights if source == "norm" else self._others(source))


def _kernel(parameters: Sequence[Tensor], measurements: int) -> "Kernel | None":
    """Return the kernel for parameters that lie dense on one device, if there is one for it."""
    devices = {p.device for p in parameters}
    if len(devices) > 1 or not all(_is_addressed(p) for p in parameters):
        return None
    device = next(iter(devices)).type
    if device not in ("cpu", "cuda"):
        return None
    try:
        if device == "cpu":
            from trajectory.measure.kernel_cpu import SumsOfSquares as OnCPU

            return OnCPU(parameters, measurements)
        from trajectory.measure.kernel_gpu import SumsOfSquares as OnGPU

        return OnGPU(parameters, measurements)
    except Exception as error:  # a compiler that cannot be had here must not end a training
        if is_raised_by_handler(error):
            raise
        name, reason = {"cpu": "Numba", "cuda": "Triton"}[device], str(error).partition("\n")[0]
        warnings.warn(f"{name} is of no use here ({reason}); torch takes its place, which is slower", stacklevel=2)
        return None


def _is_addressed(parameter: Tensor) -> bool:
    """Return whether a kernel that is given an address finds the weights there."""
    return parameter.dtype in CODES and has_memory(parameter) and _is_dense(parameter) and not parameter.is_neg()


def _write_squares(row: Tensor, tensors: Sequence[Tensor | None]) -> None:
    """Write ‖tensor‖² of each into `row`: 0 for None, NaN if all are None."""
    present = [tensor for tensor in tensors if tensor is not None]
    # summed in row's type: a CPU's float32 norm of millions of elements loses digits
    norms = iter(torch._foreach_norm(present, 2, dtype=row.dtype) if present else ())
    absent = row.new_full((), 0.0 if present else torch.nan)
    by_parameter = [absent if tensor is None else next(norms).to(row.device, non_blocking=True) for tensor in tensors]
    torch.square(torch.stack(by_parameter), out=row)


def _plain(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor: of a sparse one, and of one that keeps them in others, as a quantized one."""
    if tensor.is_sparse:
        return tensor.to_dense().detach()
    if type(tensor) is Tensor or has_memory(tensor):
        return tensor.detach()
    try:
        return tensor.detach().dequantize()
    except (RuntimeError, NotImplementedError, TypeError):  # it is none of those
        return torch.full(tensor.shape, torch.nan, device=tensor.device)


def _readable(tensor: Tensor, parameter: Tensor) -> Tensor:
    """Return a tensor as the kernel reads it beside a parameter: on its device, of a known type, without gaps."""
    tensor = tensor.to(parameter.device, tensor.dtype if tensor.dtype in CODES else torch.float32, non_blocking=True)
    return tensor if _is_dense(tensor) else tensor.contiguous()


def _memory_order(tensor: Tensor) -> list[int]:
    return sorted(range(tensor.dim()), key=tensor.stride, reverse=True)


def _is_dense(tensor: Tensor) -> bool:
    """Return whether the elements fill a block of memory in some order of the dimensions (channels last, say)."""
    return tensor.permute(_memory_order(tensor)).is_contiguous()
