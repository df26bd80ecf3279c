"""Training steps of networks, recorded in several ways."""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from recording.networks import Transformer
from recording.report import (
    Report,
    Turn,
    comparison,
    devices,
    in_turns,
    ratios,
    record,
    repeated,
    rounds_of,
    scratch,
    where,
)
from torch import nn

from train.models import NETWORKS
from trajectory import LogSpaced


@dataclass(frozen=True)
class Task:
    """A network to train on random data of its shape, and how long to measure it."""

    network: Callable[[], nn.Module]
    image: tuple[int, ...] | None  # None: a language model
    steps: int  # updates a turn
    rounds: int

    def begin(self, device: str) -> tuple[nn.Module, torch.optim.Optimizer, Turn]:
        """The network, its optimizer, and one update."""
        torch.manual_seed(0)
        model = self.network().to(device)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
        if self.image:
            x, y = torch.randn(128, *self.image, device=device), torch.randint(10, (128,), device=device)
        else:
            x = torch.randint(50_257, (1, 32) if device == "cpu" else (8, 1024), device=device)
            y = x.roll(-1, 1).flatten()

        def update() -> None:
            loss = F.cross_entropy(model(x).flatten(0, -2), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return model, optimizer, update


TASKS = {
    "F1": Task(lambda: NETWORKS["f1"]((1, 28, 28), 10), (1, 28, 28), steps=20, rounds=60),
    "ResNet44": Task(lambda: NETWORKS["resnet44"]((3, 32, 32), 10), (3, 32, 32), steps=2, rounds=7),
    "transformer, 124 M": Task(Transformer, None, steps=2, rounds=5),
}


def nothing(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """Recorded: nothing."""
    return lambda: None


def recorded(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path, schedule: LogSpaced | int = 1) -> Turn:
    """`Recorder`: distances in total and by parameter, by its hook on the optimizer."""
    record(path, model, optimizer, schedule=schedule).flush()
    return lambda: None


def reading(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """Read w and w_0 once by an inner product, and do nothing else: the floor for any exact distance."""
    parameters = [p.detach().flatten() for p in model.parameters()]
    origin = [p.clone() for p in parameters]
    return lambda: [torch.dot(p, w) for p, w in zip(parameters, origin, strict=True)]


def foreach(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """`torch._foreach_sub` and `_foreach_norm`, read at every update."""
    parameters, kept = [p.detach() for p in model.parameters()], []
    origin = [p.clone() for p in parameters]
    return lambda: kept.append(torch.stack(torch._foreach_norm(torch._foreach_sub(parameters, origin))).tolist())


def item_loop(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> Turn:
    """`(w - w0).norm().item()` for every parameter, kept in a list."""
    origin, kept = [p.detach().clone() for p in model.parameters()], []
    pairs = list(zip((p.detach() for p in model.parameters()), origin, strict=True))
    return lambda: kept.append([(p - w).norm().item() for p, w in pairs])


def measure_steps(report: Report, scale: float) -> None:
    """Training steps, recorded in several ways."""
    variants = {
        "not recorded": nothing,
        "Recorder, every update": recorded,
        "Recorder, 12 a decade": partial(recorded, schedule=LogSpaced(12)),
        "w and w_0 read once": reading,
        "torch._foreach_*": foreach,
        "(w - w0).norm().item()": item_loop,
    }
    found: dict[tuple[str, str, str], float] = {}
    for device in devices():
        for name, task in TASKS.items():
            chosen = {v: attach for v, attach in variants.items() if task.image or "decade" not in v}
            with scratch() as folder:
                turns = {}
                for k, (variant, attach) in enumerate(chosen.items()):
                    model, optimizer, update = task.begin(device)
                    turns[variant] = partial(
                        repeated, update, attach(model, optimizer, folder / f"{k}.zarr"), task.steps, device
                    )
                    turns[variant]()
                results = in_turns(turns, rounds_of(task.rounds, scale))
            report.table(
                f"{name}, {where(device)}", ["", "ms/update", "ratio", "quartiles"], comparison(results, 1e3, 2)
            )
            for variant in list(chosen)[1:3]:
                found[name, device, variant] = median(ratios(results, variant, "not recorded"))
            del turns, model, optimizer, update
            gc.collect()
    every, log_spaced = list(variants)[1:3]
    report.target("CPU: F1's step at every update, over unrecorded", found["F1", "cpu", every], at_most=1.02)
    report.target("CPU: F1's step, log-spaced, over unrecorded", found["F1", "cpu", log_spaced], at_most=1.01)
    for name in list(TASKS)[1:]:
        report.target(f"GPU: {name}, over unrecorded", found.get((name, "cuda", every)), at_most=1.01)
