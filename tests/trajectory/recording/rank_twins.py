"""Networks that ranks share out, and what is recorded of them, from whole tensors in float64."""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor

QUANTITIES = ("distance", "norm", "update_norm", "grad_norm", "momentum_norm")


class Net(nn.Module):
    """Shards of uneven length, of one row and of none; a tied weight, a layer in bfloat16, buffers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(5, 3)
        self.hidden = nn.Linear(3, 7)
        self.norm = nn.BatchNorm1d(7)
        self.narrow = nn.Linear(7, 3, dtype=torch.bfloat16)
        self.scale = nn.Parameter(torch.ones(1))
        self.whole = nn.Parameter(torch.ones(3))  # left as it is beside the shards
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        hidden = self.norm(self.hidden(self.embed(tokens))).relu()
        return self.head(self.narrow(hidden.bfloat16()).float() * self.scale * self.whole)


def smooth_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()


def smooth_batch(t):
    """The whole batch of update t, the same in one process and in several."""
    return torch.randn(8, 4, generator=torch.Generator().manual_seed(t), dtype=torch.float64)


def whole(tensor):
    """A tensor with all its elements, as a copy; every rank must ask for it."""
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).detach().clone()


class Twin:
    """The recorded quantities by parameter, from whole tensors in float64, and the state dicts of snapshots."""

    def __init__(self, model, optimizer):
        self.model, self.rows, self.states = model, {name: [] for name in QUANTITIES}, {}
        self.optimizer = optimizer
        self.origin = self.before = self.weights()
        self.keep(0)

    def weights(self):
        return [whole(p).double() for p in self.model.parameters()]

    def keep(self, step):
        self.states[step] = {name: whole(value) for name, value in self.model.state_dict().items()}

    def measure(self):
        now = self.weights()
        gradients = [whole(p.grad).double() for p in self.model.parameters()]
        for name, others in (("distance", self.origin), ("update_norm", self.before)):
            self.rows[name].append([(w - other).norm().item() for w, other in zip(now, others, strict=True)])
        momenta = [whole(self.optimizer.state[p]["momentum_buffer"]).double() for p in self.model.parameters()]
        for name, tensors in (("norm", now), ("grad_norm", gradients), ("momentum_norm", momenta)):
            self.rows[name].append([tensor.norm().item() for tensor in tensors])
        self.before = now

    def save(self, path):
        if dist.get_rank() == 0:
            names = [name for name, _ in self.model.named_parameters()]
            torch.save({"names": names, "rows": self.rows, "states": self.states}, path)
