"""Recorded updates under FSDP2 on one device, and their distances against an unsharded twin's."""

import gc
import tempfile
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.distributed as dist
from recording.networks import Transformer
from recording.report import Turn, ratios, repeated, scratch
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

from on_gpu.measured import Measured
from trajectory import Recorder, Run

UPDATES = 8  # a turn


def measure(report: Measured) -> None:
    """A table, and how far the recorded distances are from those of the same training unsharded."""
    with tempfile.NamedTemporaryFile() as file:
        backend = "nccl" if report.device == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=f"file://{file.name}", rank=0, world_size=1)
        try:
            compare_steps(report)
            compare_distances(report)
        finally:
            dist.destroy_process_group()


def prepared(report: Measured, path: Path | None, *, shard: bool = True) -> tuple[Turn, Recorder | None]:
    """An update of the transformer, and its recorder if there is a path."""
    torch.manual_seed(0)
    size = {"width": 64, "depth": 2, "tokens": 1000, "positions": 64} if report.trial else {}
    model: nn.Module = Transformer(**size).to(report.device)
    if shard:
        for block in model.blocks.layers:
            fully_shard(block)
        fully_shard(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    shape, tokens = ((2, 32), 1000) if report.trial else ((8, 1024), 50_257)
    x = torch.randint(tokens, shape, device=report.device)
    recorder = Recorder(path, model, optimizer) if path is not None else None

    def update() -> None:
        loss = F.cross_entropy(model(x).flatten(0, -2), x.roll(-1, 1).flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return update, recorder


def compare_steps(report: Measured) -> None:
    """Recorded against not."""
    with scratch() as folder:
        updates = {
            "not recorded": prepared(report, None)[0],
            "Recorder, every update": prepared(report, folder / "run.zarr")[0],
        }
        turns = {
            name: partial(repeated, update, lambda: None, UPDATES, report.device) for name, update in updates.items()
        }
        found = report.compare("The transformer under FSDP2, an update", turns, 0.6)
        value = median(ratios(found, "Recorder, every update", "not recorded"))
        report.target("under FSDP2, every update recorded, over unrecorded", value, at_most=1.01)
        del turns, updates
        gc.collect()


def compare_distances(report: Measured) -> None:
    """Ten updates of each."""
    with scratch() as folder:
        runs = []
        for shard in (True, False):
            path = folder / f"{shard}.zarr"
            update, recorder = prepared(report, path, shard=shard)
            for _ in range(10):
                update()
            recorder.close()
            del update, recorder
            gc.collect()
            runs.append(Run(path).distance.to_numpy())
    away = abs(runs[0] / runs[1] - 1).max()
    report.say(f"Largest relative difference of a distance from the unsharded training's, ten updates: {away:.1e}.")
