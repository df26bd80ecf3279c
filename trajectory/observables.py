"""Distances of a parameter list from its origin, on its device, without waiting for it.

    distance_i(t) = ‖w_i(t) − w_i(0)‖,   distance(t) = sqrt(Σ_i distance_i(t)²)

over the trainable parameters i, tied ones once, buffers never. Differences are taken and squares are
summed in float32, or float64 for float64 parameters, whatever the weights' own type.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.errors import RecordingError

_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel's and torch.compile's
_TILE = 1 << 17  # elements a CPU tile holds: 512 KiB of differences, which stay in a core's L2 cache


def plain_name(name: str) -> str:
    """A parameter's name without the prefixes of wrappers around (parts of) the model."""
    for prefix in _WRAPPERS:
        name = name.removeprefix(prefix).replace(f".{prefix}", ".")
    return name


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters a distance is taken over, by plain name in the model's order; tied ones once.

    Raises RecordingError if there are none, or if one is complex.
    """
    parameters = {plain_name(name): p for name, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise RecordingError("the model has no trainable parameters; expected one at least with requires_grad=True")
    for name, parameter in parameters.items():
        if not parameter.is_floating_point():
            raise RecordingError(f"parameter {name} is {parameter.dtype}; expected real floating-point weights")
    return parameters


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type differences of `dtype` are taken and summed in."""
    return torch.float64 if dtype == torch.float64 else torch.float32


@dataclass(frozen=True)
class _Tile:
    """Neighbouring elements of one parameter, or of several small ones, and their origin."""

    pieces: list[Tensor]  # flat views of the parameters
    origin: Tensor  # flat, all pieces' elements
    owners: np.ndarray  # each piece's parameter
    starts: np.ndarray  # each piece's first element


class Displacement:
    """‖w_i − w_i(0)‖ for every parameter i, with w(0) the weights at construction.

    Holds one copy of the weights (in float32 or wider) and, on a CPU, one tile of differences.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        self._parameters = list(parameters)
        self._origin = [p.detach().to(accumulator(p.dtype), copy=True) for p in self._parameters]
        self._tiled = all(p.device.type == "cpu" and _is_dense(p) for p in self._parameters)
        self._pointers: list[int] = []
        self._scratch = {w.dtype: torch.empty(_TILE, dtype=w.dtype) for w in self._origin if self._tiled}

    def origin_norm(self) -> float:
        """‖w(0)‖ (waits for the device)."""
        return float(torch.stack([w.double().norm().cpu() for w in self._origin]).norm())

    @torch.no_grad()
    def write(self, out: Tensor) -> None:
        """Writes the distances into `out`, shape (parameters,), without waiting for the device."""
        if self._tiled:
            out.copy_(torch.from_numpy(np.sqrt(self._squares())))
            return
        differences = torch._foreach_sub([p.detach() for p in self._parameters], self._origin)
        # summed in out's type: a CPU's float32 norm of millions of elements loses digits
        norms = torch._foreach_norm(differences, 2, dtype=out.dtype)
        out.copy_(torch.stack([norm.to(out.device, non_blocking=True) for norm in norms]))

    def _squares(self) -> np.ndarray:
        """Tile by tile on the CPU: both buffers are read once and no large temporary is written."""
        pointers = [p.data_ptr() for p in self._parameters]
        if pointers != self._pointers:  # .to(), load_state_dict(assign=True), an optimizer that swaps tensors
            self._tiles = _tiles(self._parameters, self._origin)
            self._pointers = pointers
        squares = np.zeros(len(self._parameters))
        for tile in self._tiles:
            scratch = self._scratch[tile.origin.dtype][: len(tile.origin)]
            if len(tile.pieces) == 1:
                difference = torch.sub(tile.pieces[0], tile.origin, out=scratch)
                squares[tile.owners[0]] += torch.dot(difference, difference).item()
            else:
                difference = torch.cat(tile.pieces, out=scratch).sub_(tile.origin)
                by_piece = np.add.reduceat(np.square(difference.numpy(), dtype=np.float64), tile.starts)
                squares[tile.owners] += by_piece
        return squares


def _tiles(parameters: Sequence[Tensor], origin: Sequence[Tensor]) -> list[_Tile]:
    """Cuts parameters into tiles of at most _TILE elements; small neighbours of one type share a tile."""
    tiles: list[_Tile] = []
    pending: list[tuple[int, Tensor, Tensor]] = []

    def close_tile() -> None:
        if pending:
            owners, pieces, origins = zip(*pending, strict=True)
            starts = np.cumsum([0, *map(len, pieces[:-1])])
            tiles.append(_Tile(list(pieces), torch.cat(origins), np.array(owners), starts))
            pending.clear()

    for i, (p, w) in enumerate(zip(parameters, origin, strict=True)):
        flat_p, flat_w = _flat(p.detach(), like=p), _flat(w, like=p)
        if p.numel() > _TILE:
            for piece, start in zip(flat_p.split(_TILE), flat_w.split(_TILE), strict=True):
                tiles.append(_Tile([piece], start, np.array([i]), np.array([0])))
        elif p.numel() > 0:
            held = sum(len(piece) for _, piece, _ in pending)
            if pending and (held + p.numel() > _TILE or pending[0][2].dtype != w.dtype):
                close_tile()
            pending.append((i, flat_p, flat_w))
    close_tile()
    return tiles


def _memory_order(tensor: Tensor) -> list[int]:
    return sorted(range(tensor.dim()), key=tensor.stride, reverse=True)


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill a block of memory in some order of the dimensions (channels last, say)."""
    return tensor.permute(_memory_order(tensor)).is_contiguous()


def _flat(tensor: Tensor, like: Tensor) -> Tensor:
    """The elements in `like`'s memory order: a view, if `tensor` lies in memory as `like` does."""
    return tensor.permute(_memory_order(like)).reshape(-1)
