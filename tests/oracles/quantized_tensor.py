"""A tensor that keeps its numbers in another one, as quantized weights and 8-bit optimizers' states do."""

import torch
from torch.utils._pytree import tree_map_only


class Quantized(torch.Tensor):
    """Stands for twice the numbers that it holds; it has no memory of its own."""

    @staticmethod
    def __new__(cls, halves):
        return torch.Tensor._make_wrapper_subclass(cls, halves.shape, dtype=halves.dtype, device=halves.device)

    def __init__(self, halves):
        self.halves = halves

    def dequantize(self):
        return 2 * self.halves

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.detach.default:
            return cls(args[0].halves)
        plain = tree_map_only(cls, cls.dequantize, (args, kwargs or {}))
        return func(*plain[0], **plain[1])
