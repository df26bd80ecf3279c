"""What test_distributed.py runs in processes of their own: `python ranks.py RANKS FOLDER CASE...`.

The case `kill`, the last one, is two runs that each lose a rank. Exits with 1 if an assertion fails on a rank.
"""

import os
import signal
import sys
import time
import traceback
import warnings
from copy import deepcopy
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from trajectory import At, Recorder, RecordingError, Run, StoreError
from trajectory.measure.observables import Observables

UPDATES = 70  # past one flush
QUANTITIES = ("distance", "norm", "update_norm", "grad_norm", "momentum_norm")
SNAPSHOTS = [0, 3, 70]
BUCKETS = 64  # of a sketch


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


def shards(folder, mesh=None):
    """fully_shard: every quantity, group, origin and snapshot; scalars, events and rows of the first rank alone."""
    rank, size = dist.get_rank(), dist.get_world_size()
    model = Net()
    for layer in (model.hidden, model.narrow):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh, ignored_params={model.whole})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    twin, seen = Twin(model, optimizer), []
    kept = {"snapshots": At(SNAPSHOTS), "sketch": BUCKETS, "sketches": At(SNAPSHOTS)}
    recorders = [
        Recorder(folder / "shards.zarr", model, optimizer, quantities=QUANTITIES, **kept),
        Recorder(folder / "groups.zarr", model, optimizer, origins=[3], group_by="module", exclude="whole"),
    ]
    recorders[0].subscribe(seen.append)
    for t in range(1, UPDATES + 1):
        tokens = torch.randint(5, (4,), generator=torch.Generator().manual_seed(size * t + rank))
        optimizer.zero_grad()
        model(tokens).square().mean().backward()
        dist.all_reduce(model.whole.grad)  # fully_shard leaves it alone
        optimizer.step()
        twin.measure()
        if t in SNAPSHOTS:
            twin.keep(t)
        recorders[0].log(rank=rank)
        if t == 10:
            recorders[0].event("ten", rank=rank)
            recorders[0].flush(wait=False)
            recorders[1].flush()
        assert recorders[0].step == t
    for recorder in recorders:
        recorder.close()
    assert sum(len(rows.step) for rows in seen) == (UPDATES if rank == 0 else 0)
    twin.save(folder / "shards.pt")
    model.load_state_dict({name: torch.zeros_like(value) for name, value in model.state_dict().items()})
    dist.barrier()  # the first rank has closed
    Run(folder / "shards.zarr").load_into(model, UPDATES)
    loaded = {name: whole(p) for name, p in model.named_parameters()}
    assert all(torch.equal(value, twin.states[UPDATES][name]) for name, value in loaded.items())
    norms = torch.tensor([recorder.origin_norm for recorder in recorders])
    dist.all_reduce(norms)
    assert norms[0] / size == torch.tensor(recorders[0].origin_norm)  # on every rank


def train_smoothly(path, model, rank, size):
    """The same updates however the batch is shared out: what wraps the model averages the gradients."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with Recorder(path, model, optimizer, snapshots=At([70]), origins=[5]) as recorder:
        if dist.get_rank() > 0:
            recorder.subscribe(lambda rows: sys.exit("rows on a rank that writes none"))
        for t in range(1, UPDATES + 1):
            loss = model(smooth_batch(t)[rank::size]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            recorder.log(rank=rank)
        assert recorder.step == UPDATES
    return recorder.origin_norm


def copies(folder):
    """DistributedDataParallel, and the same training sharded, and in one process."""
    rank, size = dist.get_rank(), dist.get_world_size()
    norm = train_smoothly(folder / "copies.zarr", DistributedDataParallel(smooth_network()), rank, size)
    sharded = train_smoothly(folder / "smooth-shards.zarr", fully_shard(smooth_network()), rank, size)
    expected = torch.cat([p.detach().flatten() for p in smooth_network().parameters()]).norm().item()
    assert abs(norm - expected) < 1e-9
    assert abs(sharded - expected) < 1e-9
    if rank == 0:  # copies need not meet: this rank may record on its own, and flush when it likes
        train_smoothly(folder / "one.zarr", smooth_network(), 0, 1)


def tensor_parallel(folder):
    """distribute_tensor: split across columns, and replicas whose gradients are still to be summed."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    model = smooth_network()
    for layer, placement in ((model[0], Shard(1)), (model[2], Replicate())):
        for name, p in list(layer.named_parameters()):
            split = placement if p.dim() > 1 else Replicate()
            setattr(layer, name, nn.Parameter(distribute_tensor(p.detach(), mesh, [split])))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    twin = Twin(model, optimizer)
    kept = {"snapshots": At([5]), "sketch": BUCKETS, "sketches": At([5])}
    with Recorder(folder / "columns.zarr", model, optimizer, quantities=QUANTITIES, **kept):
        for t in range(1, 6):
            batch = distribute_tensor(smooth_batch(t), mesh, [Shard(0)])
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()
            twin.measure()
        twin.keep(5)
    twin.save(folder / "columns.pt")


def hybrid(folder):
    """Shards over two ranks, copied over two."""
    shards(folder, mesh=init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard")))


def both(folder):
    """fully_shard over what tensor parallelism has split already, along the same dimension and along another."""
    mesh = init_device_mesh("cpu", (2, 2), mesh_dim_names=("data", "tensor"))
    model = smooth_network()
    parallelize_module(model, mesh["tensor"], {"0": ColwiseParallel(), "2": RowwiseParallel()})
    fully_shard(model, mesh=mesh["data"])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    twin = Twin(model, optimizer)
    kept = {"snapshots": At([5]), "sketch": BUCKETS, "sketches": At([5])}
    with Recorder(folder / "columns.zarr", model, optimizer, quantities=QUANTITIES, **kept):
        for t in range(1, 6):
            optimizer.zero_grad()
            model(smooth_batch(t)).square().mean().backward()
            optimizer.step()
            twin.measure()
        twin.keep(5)
    twin.save(folder / "columns.pt")


def resumed(folder):
    """fully_shard: trained in one go, and interrupted and gone on with from the checkpoint of update 40."""
    rank = dist.get_rank()

    def train(path, until, state=None, keep_at=None):
        model = Net()
        for layer in (model.hidden, model.narrow):
            fully_shard(layer)
        fully_shard(model, ignored_params={model.whole})
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        if state:
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
        resume = "must" if state else "never"
        kept = {"quantities": QUANTITIES, "origins": [3, 60], "snapshots": At([0, 30, 45, 70])}
        recorder = Recorder(folder / path, model, optimizer, resume=resume, **kept)
        if state:
            recorder.load_state_dict(state["recorder"])
        while recorder.step < until:
            tokens = torch.randint(5, (4,), generator=torch.Generator().manual_seed(2 * recorder.step + rank))
            optimizer.zero_grad()
            model(tokens).square().mean().backward()
            dist.all_reduce(model.whole.grad)
            optimizer.step()
            recorder.log(t=recorder.step)
            if recorder.step == keep_at:
                weights = {name: value.clone() for name, value in model.state_dict().items()}
                state = {"model": weights, "optimizer": deepcopy(optimizer.state_dict())}
                state["recorder"] = recorder.state_dict()
        recorder.close("complete" if until == UPDATES else "interrupted")
        return state

    train("in-one-go.zarr", UPDATES)
    state = train("resumed.zarr", 50, keep_at=40)
    dist.barrier()
    train("resumed.zarr", UPDATES, state)


def refusals(folder):
    """What every rank refuses, none waiting for another."""
    rank = dist.get_rank()

    def refused(kind, words, path, model, **arguments):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        with pytest.raises(kind, match=words) as caught:
            Recorder(folder / path, model, optimizer, **arguments)
        assert "\n" not in str(caught.value)

    flat = FullyShardedDataParallel(nn.Linear(3, 3), device_id=torch.device("cpu"))
    refused(RecordingError, "fully_shard", "flat.zarr", flat)
    refused(StoreError, "already exists", "shards.zarr", fully_shard(nn.Linear(3, 3)))
    refused(RecordingError, "differ", "networks.zarr", fully_shard(nn.Linear(3, 3 + rank)))
    again = {"resume": "must", "step": 40, "origins": [5]}
    refused(StoreError, "lie otherwise", "copies.zarr", fully_shard(smooth_network()), **again)
    again = {"resume": "must", "step": 3, "sketch": BUCKETS, "quantities": QUANTITIES}
    refused(StoreError, "lie otherwise", "columns.zarr", fully_shard(smooth_network()), **again)  # split by rows
    odd = nn.Sequential(nn.Linear(3, 3), fully_shard(nn.Linear(3, 3)))
    nn.init.constant_(odd[0].weight, rank)
    refused(RecordingError, "0.weight", "odd.zarr", odd)


def endless(folder):
    """Trains until a rank is killed; says when rows and snapshots are safe."""
    model = fully_shard(smooth_network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with Recorder(folder / "killed.zarr", model, optimizer, snapshots=20) as recorder:
        while recorder.step < 100_000:  # should nobody come to kill it
            optimizer.zero_grad()
            model(smooth_batch(recorder.step)).square().mean().backward()
            optimizer.step()
            if recorder.step == 70:
                recorder.flush()
                (folder / f"flushed.{dist.get_rank()}").touch()


def spawn(size, folder, *cases):
    """Forks ranks that run `cases`; returns their process ids."""
    torch.optim.SGD([torch.zeros(1)])  # imports what torch imports late, and
    Observables([torch.zeros(1)])  # loads the kernel, once for all
    children = []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=size)
                for case in cases:
                    case(folder)
                dist.barrier()
                dist.destroy_process_group()
                status = 0
            except Exception:
                traceback.print_exc()
            sys.stderr.flush()
            os._exit(status)
        children.append(child)
    return children


def together(size, folder, *cases):
    """Runs `cases` on `size` ranks; exits with 1 if a rank does."""
    children = spawn(size, folder, *cases)
    failed = [os.waitpid(child, 0)[1] for child in children]
    if any(failed):
        sys.exit(1)


def killed(victim, folder):
    """Kills one of two ranks that train; the other must end by itself."""
    children = spawn(2, folder, endless)
    until = time.monotonic() + 1200
    while not all((folder / f"flushed.{rank}").exists() for rank in (0, 1)):
        assert time.monotonic() < until, "the ranks did not start"
        assert os.waitpid(-1, os.WNOHANG)[0] == 0, "a rank has ended by itself"
        time.sleep(0.05)
    os.kill(children[victim], signal.SIGKILL)
    os.waitpid(children[victim], 0)
    assert os.waitpid(children[1 - victim], 0)[1] != 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.filterwarnings("error", module="trajectory")
    ranks, folder, cases = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    together(ranks, folder, *(globals()[name] for name in cases if name != "kill"))
    for victim in (1, 0) if "kill" in cases else ():
        (folder / str(victim)).mkdir()
        killed(victim, folder / str(victim))
