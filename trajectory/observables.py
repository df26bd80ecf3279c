"""Distances and norms of a parameter list, on its device, without waiting for it.

    distance_i(t) = ‖w_i(t) − w_i(0)‖,   distance(t) = sqrt(Σ_i distance_i(t)²)

over the trainable parameters i, tied ones once, buffers never; likewise the other quantities. Differences
are taken and squares are summed in float32, or float64 for float64 parameters, whatever the weights' own type.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.distributed import Share
from trajectory.errors import RecordingError
from trajectory.layout import QUANTITIES

if TYPE_CHECKING:
    from trajectory.kernel import SumsOfSquares

_BlockKey = tuple[torch.device, torch.dtype]
_WRAPPERS = ("module.", "_orig_mod.")  # DistributedDataParallel's and torch.compile's
_TILE = 1 << 18  # elements a CPU tile holds: 1 MiB of differences, which stay in a core's L2 cache


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


@torch.no_grad()
def squared_norms(parameters: Sequence[Tensor]) -> np.ndarray:
    """‖w_i‖² by parameter (waits for the device)."""
    return np.square([float(torch.linalg.vector_norm(p, dtype=torch.float64)) for p in parameters])


class Copy:
    """The weights at one moment, in float32 or wider.

    Each device and type has one flat block, in which every parameter's elements lie as in its own memory, the
    small parameters next to each other; `tensors` are views of it with the parameters' shapes.
    """

    def __init__(self, parameters: Sequence[Tensor]):
        sizes: dict[_BlockKey, int] = {}
        self.offsets = [0] * len(parameters)
        for i in _small_first(parameters):
            key = _block(parameters[i])
            self.offsets[i] = sizes.get(key, 0)
            sizes[key] = self.offsets[i] + parameters[i].numel()
        self.blocks = {key: torch.empty(size, dtype=key[1], device=key[0]) for key, size in sizes.items()}
        self.tensors, self.tiles = [], list[Tensor]()
        for p, offset in zip(parameters, self.offsets, strict=True):
            order = _memory_order(p)
            flat = self.blocks[_block(p)][offset : offset + p.numel()].view([p.shape[d] for d in order])
            self.tensors.append(flat.permute([order.index(d) for d in range(p.dim())]))
        self.refresh(parameters)

    def cut(self, tiles: "Sequence[_Tile]") -> Self:
        """Puts its part of each tile into `tiles`."""
        self.tiles = [self.blocks[tile.block][tile.span] for tile in tiles]
        return self

    @torch.no_grad()
    def refresh(self, parameters: Sequence[Tensor]) -> None:
        """Takes the weights as they are now."""
        if self.tensors:
            torch._foreach_copy_(self.tensors, [p.detach() for p in parameters])

    def laid_out_as(self, parameters: Sequence[Tensor]) -> "Copy":
        """The same weights where the parameters are now: their device, type and order in memory."""
        moved = [w.to(p.device, accumulator(p.dtype)) for w, p in zip(self.tensors, parameters, strict=True)]
        copy = Copy([torch.empty_like(p, dtype=w.dtype) for w, p in zip(moved, parameters, strict=True)])
        copy.refresh(moved)
        return copy


@dataclass(frozen=True)
class _Tile:
    """Neighbouring elements of one parameter, or of several small ones."""

    pieces: list[Tensor]  # flat views of the parameters
    owners: np.ndarray  # each piece's parameter
    starts: np.ndarray  # each piece's first element within the tile
    block: "_BlockKey"
    span: slice  # of a copy's block
    gathered: Tensor  # room for the pieces in one
    scratch: Tensor  # room for differences


class Observables:
    """Sums of squares by parameter, all in one pass over the weights w_t.

    A row for each measurement: ‖w_t − w_0‖² and ‖w_t − w_{t_w}‖² for every further origin, then, as `quantities`
    asks, ‖w_t‖², ‖w_t − w_{t−1}‖² and ‖g_t‖², the gradient as the optimizer left it. A parameter without a
    gradient counts 0 there; all are NaN where none has one. w_0 is taken at construction.

    Holds a copy of the weights (in float32 or wider) for each origin reached and one for w_{t−1}; on a CPU two
    tiles more.
    """

    def __init__(self, parameters: Sequence[Tensor], quantities: Sequence[str] = QUANTITIES[:1], origins: int = 0):
        self.parameters = parameters
        self.quantities = tuple(quantities)
        self.copies: list[Copy | None] = [Copy(self.parameters)] + [None] * origins
        self.previous = Copy(self.parameters) if "update_norm" in quantities else None
        self._pointers: list[int] = []
        self._lay_out()

    @property
    def measurements(self) -> int:
        """The rows that `write` fills."""
        return len(self.copies) + len(self.quantities) - 1

    def add_origin(self, k: int) -> None:
        """Measures from the weights as they are now, in the row of the k-th further origin."""
        self.copies[1 + k] = Copy(self.parameters).cut(self._tiles or ())

    def restore(self, origins: Sequence[Sequence[Tensor]]) -> None:
        """Measures from these weights, each as `parameters`: w_0, then those of the origins reached so far."""
        reached = [Copy(self.parameters) for _ in origins]
        for copy, weights in zip(reached, origins, strict=True):
            copy.refresh(weights)
        self.copies = [*reached, *[None] * (len(self.copies) - len(reached))]
        self.previous = self.previous and Copy(self.parameters)
        self._pointers = []
        self._lay_out()

    def keep(self) -> None:
        """Notes the weights as w_{t−1} of the next step, if that is measured."""
        if self.previous:
            self.previous.refresh(self.parameters)

    @torch.no_grad()
    def write(self, out: Tensor, *, keep: bool = False) -> None:
        """Writes the sums of squares into `out`, (measurement, parameter), without waiting for the device.

        keep: also do what `keep()` does.
        """
        if [p.data_ptr() for p in self.parameters] != self._pointers:
            self._lay_out()
        kept = self.previous if keep else None
        if self._tiles is not None:
            out.copy_(torch.from_numpy(self._tile_by_tile(self._tiles, kept)))
        elif self._kernel is not None and out.device == self.parameters[0].device:
            self._fused(out, self._kernel, kept)
        else:
            self._foreach(out)
            if keep:
                self.keep()

    def _lay_out(self) -> None:
        """Follows the parameters' storage: .to(), load_state_dict(assign=True), an optimizer that swaps tensors."""
        if self._pointers:
            self.copies = [copy and copy.laid_out_as(self.parameters) for copy in self.copies]
            self.previous = self.previous and self.previous.laid_out_as(self.parameters)
        self._pointers = [p.data_ptr() for p in self.parameters]
        self._tiles = None
        if all(p.device.type == "cpu" and _is_dense(p) for p in self.parameters):
            self._tiles = _tiles(self.parameters, cast(Copy, self.copies[0]).offsets)
            for copy in filter(None, [*self.copies, self.previous]):
                copy.cut(self._tiles)
        self._kernel = _kernel(self.parameters, self.measurements)

    def _gradients(self) -> list[Tensor | None]:
        """Each parameter's gradient, dense."""
        weights = self.parameters
        gradients = weights.gradients if isinstance(weights, Share) else [p.grad for p in weights]
        return [None if g is None else (g.to_dense() if g.is_sparse else g).detach() for g in gradients]

    def _sources(self) -> list[Copy | str | None]:
        """What each measurement takes the difference from, or its name; None before an origin is reached."""
        rest = [self.previous if name == "update_norm" else name for name in self.quantities if name != "distance"]
        return [*self.copies, *rest]

    def _tile_by_tile(self, tiles: Sequence[_Tile], kept: Copy | None) -> np.ndarray:
        """On the CPU: each buffer is read once, and no large temporary is written. kept: takes the weights."""
        sources = self._sources()
        squares = np.zeros((len(sources), len(self.parameters)))
        squares[[source is None for source in sources]] = np.nan
        for k, tile in enumerate(tiles):
            alone, scratch = len(tile.pieces) == 1, tile.scratch
            weights = tile.pieces[0] if alone else torch.cat(tile.pieces, out=tile.gathered)
            for row, source in zip(squares, sources, strict=True):
                if isinstance(source, Copy):
                    values = torch.sub(weights, source.tiles[k], out=scratch)
                elif source == "norm":
                    values = weights if weights.dtype == scratch.dtype else scratch.copy_(weights)
                else:
                    continue
                if alone:
                    row[tile.owners[0]] += torch.dot(values, values).item()
                else:
                    row[tile.owners] += np.add.reduceat(np.square(values.numpy(), dtype=np.float64), tile.starts)
            if kept:
                kept.tiles[k].copy_(weights)
        if "grad_norm" in sources:
            squares[sources.index("grad_norm")] = self._squared_gradients()
        return squares

    def _squared_gradients(self) -> np.ndarray:
        """Likewise, in the gradients' own order of memory."""
        gradients = self._gradients()
        if all(g is None for g in gradients):
            return np.full(len(gradients), np.nan)
        squares = np.zeros(len(gradients))
        for i, g in enumerate(gradients):
            if g is None:
                continue
            scratch = torch.empty(min(g.numel(), _TILE), dtype=accumulator(self.parameters[i].dtype))
            for piece in _flat(g, like=g).split(_TILE):
                values = piece if piece.dtype == scratch.dtype else scratch[: len(piece)].copy_(piece)
                squares[i] += torch.dot(values, values).item()
        return squares

    def _fused(self, out: Tensor, kernel: "SumsOfSquares", kept: Copy | None) -> None:
        """On a GPU: one launch for all parameters."""
        sources = self._sources()
        gradients = None
        if sources[-1] == "grad_norm":
            sources.pop()
            gradients = [g if g is None or _is_dense(g) else g.contiguous() for g in self._gradients()]
        copies = [
            source.tensors if isinstance(source, Copy) else None if source is None else [] for source in sources
        ]
        kernel.write(out, copies, gradients, kept.tensors if kept else None)

    def _foreach(self, out: Tensor) -> None:
        """On other devices, and for weights with gaps in memory."""
        weights = [p.detach() for p in self.parameters]
        for row, source in zip(out, self._sources(), strict=True):
            if isinstance(source, Copy):
                _write_squares(row, torch._foreach_sub(weights, source.tensors))
            elif source is None:
                row.fill_(torch.nan)
            else:
                _write_squares(row, weights if source == "norm" else self._gradients())


def _kernel(parameters: Sequence[Tensor], measurements: int) -> "SumsOfSquares | None":
    """The kernel for parameters that lie dense on one GPU, if Triton is there."""
    devices, types = {p.device for p in parameters}, {p.dtype for p in parameters}
    if len(devices) > 1 or next(iter(devices)).type != "cuda" or not all(map(_is_dense, parameters)):
        return None
    if not types <= {torch.float32, torch.bfloat16, torch.float16, torch.float64}:
        return None
    try:
        from trajectory.kernel import SumsOfSquares
    except ImportError:
        return None
    return SumsOfSquares(parameters, measurements)


def _write_squares(row: Tensor, tensors: Sequence[Tensor | None]) -> None:
    """‖tensor‖² of each into `row`: 0 for None, NaN if all are None."""
    present = [tensor for tensor in tensors if tensor is not None]
    # summed in row's type: a CPU's float32 norm of millions of elements loses digits
    norms = iter(torch._foreach_norm(present, 2, dtype=row.dtype) if present else ())
    absent = row.new_full((), 0.0 if present else torch.nan)
    by_parameter = [absent if tensor is None else next(norms).to(row.device, non_blocking=True) for tensor in tensors]
    torch.square(torch.stack(by_parameter), out=row)


def _tiles(parameters: Sequence[Tensor], offsets: Sequence[int]) -> list[_Tile]:
    """Cuts parameters into tiles of at most _TILE elements; small neighbours of one type share a tile.

    offsets: where each parameter starts in a copy's block.
    """
    types = {accumulator(p.dtype) for p in parameters}
    rooms = {dtype: torch.empty(2, _TILE, dtype=dtype) for dtype in types}
    tiles: list[_Tile] = []
    pending: list[tuple[int, Tensor]] = []

    def add(owners: Sequence[int], pieces: Sequence[Tensor], first: int = 0) -> None:
        ends = np.cumsum([0, *map(len, pieces)])
        block, start, size = _block(parameters[owners[0]]), offsets[owners[0]] + first, int(ends[-1])
        room = rooms[block[1]][:, :size]
        span = slice(start, start + size)
        tiles.append(_Tile(list(pieces), np.array(owners), ends[:-1], block, span, room[0], room[1]))

    def close_tile() -> None:
        if pending:
            owners, pieces = zip(*pending, strict=True)
            add(owners, pieces)
            pending.clear()

    for i in _small_first(parameters):
        flat = _flat(parameters[i].detach(), like=parameters[i])
        if len(flat) > _TILE:
            for k, piece in enumerate(flat.split(_TILE)):
                add([i], [piece], k * _TILE)
        elif len(flat) > 0:
            held = sum(len(piece) for _, piece in pending)
            if pending and (held + len(flat) > _TILE or accumulator(pending[0][1].dtype) != accumulator(flat.dtype)):
                close_tile()
            pending.append((i, flat))
    close_tile()
    return tiles


def _small_first(parameters: Sequence[Tensor]) -> list[int]:
    """Indices in order, those of parameters larger than a tile behind the others."""
    return sorted(range(len(parameters)), key=lambda i: parameters[i].numel() > _TILE)


def _block(parameter: Tensor) -> _BlockKey:
    return parameter.device, accumulator(parameter.dtype)


def _memory_order(tensor: Tensor) -> list[int]:
    return sorted(range(tensor.dim()), key=tensor.stride, reverse=True)


def _is_dense(tensor: Tensor) -> bool:
    """Whether the elements fill a block of memory in some order of the dimensions (channels last, say)."""
    return tensor.permute(_memory_order(tensor)).is_contiguous()


def _flat(tensor: Tensor, like: Tensor) -> Tensor:
    """The elements in `like`'s memory order: a view, if `tensor` lies in memory as `like` does."""
    return tensor.permute(_memory_order(like)).reshape(-1)
