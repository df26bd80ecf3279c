"""What recording costs a training step, beside what one would write instead.

    python bench/recorder.py [--rounds 15] [--steps 20] [--device cpu]

F1 (1.46 M weights) at batch 128, SGD with momentum. Each round times every variant once, in random order,
for `steps` updates; a variant's ratio is its time over the unrecorded one's of the same round. Printed:
medians over rounds, with the quartiles of the ratio.
"""

import argparse
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F

from train.models import NETWORKS
from trajectory import LogSpaced, Recorder

Step = Callable[[], None]


def training_step(device: str) -> tuple[torch.nn.Module, torch.optim.Optimizer, Step]:
    """F1 on random images, and one update of it."""
    torch.manual_seed(0)
    model = NETWORKS["f1"]((1, 28, 28), 10).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    x, y = torch.randn(128, 1, 28, 28, device=device), torch.randint(10, (128,), device=device)

    def step() -> None:
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return model, optimizer, step


def unrecorded(device: str, folder: Path) -> Step:
    """The training step alone."""
    return training_step(device)[2]


def recorded(device: str, folder: Path) -> Step:
    """`Recorder` at every update, total and by parameter."""
    model, optimizer, step = training_step(device)
    Recorder(folder / "every.zarr", model, optimizer)
    return step


def log_spaced(device: str, folder: Path) -> Step:
    """`Recorder` at twelve updates a decade."""
    model, optimizer, step = training_step(device)
    Recorder(folder / "spaced.zarr", model, optimizer, schedule=LogSpaced(12))
    return step


def item_loop(device: str, folder: Path) -> Step:
    """`(w - w0).norm().item()` for every parameter, kept in a list."""
    model, _, step = training_step(device)
    origin, kept = [p.detach().clone() for p in model.parameters()], []

    def both() -> None:
        step()
        kept.append([(p.detach() - w).norm().item() for p, w in zip(model.parameters(), origin, strict=True)])

    return both


def foreach(device: str, folder: Path) -> Step:
    """`torch._foreach_sub` and `_foreach_norm`, read at every update."""
    model, _, step = training_step(device)
    parameters = [p.detach() for p in model.parameters()]
    origin, kept = [p.clone() for p in parameters], []

    def both() -> None:
        step()
        kept.append(torch.stack(torch._foreach_norm(torch._foreach_sub(parameters, origin))).tolist())

    return both


def timed(step: Step, steps: int, device: str) -> float:
    """Seconds an update takes."""
    started = time.perf_counter()
    for _ in range(steps):
        step()
    if device != "cpu":
        torch.cuda.synchronize()
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Times the variants and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    variants = [unrecorded, recorded, log_spaced, foreach, item_loop]
    with tempfile.TemporaryDirectory() as folder:
        steps = {variant: variant(options.device, Path(folder)) for variant in variants}
        seconds: dict[Callable, list[float]] = {variant: [] for variant in variants}
        for step in steps.values():
            timed(step, 5, options.device)
        for _ in range(options.rounds):
            for variant in random.sample(variants, len(variants)):
                seconds[variant].append(timed(steps[variant], options.steps, options.device))
    processor = (
        torch.cuda.get_device_name() if options.device != "cpu" else platform.processor() or platform.machine()
    )
    print(f"{processor}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"{'':<14}{'ms/update':>10}{'ratio':>8}   quartiles")
    for variant in variants:
        ratios = [a / b for a, b in zip(seconds[variant], seconds[unrecorded], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(
            f"{variant.__name__:<14}{1e3 * statistics.median(seconds[variant]):>10.2f}{middle:>8.3f}"
            f"   {low:.3f} .. {high:.3f}"
        )


if __name__ == "__main__":
    main()
