"""What ranks do: each case is run by every rank of `ranks.py`."""

import sys
from copy import deepcopy

import pytest
import torch
import torch.distributed as dist
from rank_twins import QUANTITIES, Net, Twin, smooth_batch, smooth_network, whole
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel

from trajectory import At, Recorder, RecordingError, Run, StoreError

UPDATES = 70  # past one flush
SNAPSHOTS = [0, 3, 70]
BUCKETS = 64  # of a sketch


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
