"""What a recorded update costs whatever the weights' number: many small tensors, whose step is short.

Beside the time by the clock stands the processor's for the training's thread, which other processes change less.
"""

from functools import partial
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter, thread_time

import torch
from recording.report import Report, Turn, in_turns, record, repeated, rounds_of, scratch
from recording.steps import foreach, item_loop, nothing, recorded
from torch import nn

from trajectory import Recorder

_STEPS = 640  # ten blocks


def measure_fixed_cost(report: Report, scale: float) -> None:
    """The time that recording adds to a step of 20 tensors of 8×8, with a number logged after each."""
    variants = {"not recorded": nothing, "Recorder, every update": logged, "Recorder, without log": recorded}
    variants |= {"torch._foreach_*": foreach, "(w - w0).norm().item()": item_loop}
    with scratch() as folder:
        turns = {}
        for k, (name, attach) in enumerate(variants.items()):
            model, optimizer = small_network()
            after = attach(model, optimizer, folder / f"{k}.zarr")
            turns[name] = partial(timed, optimizer.step, after)
            turns[name]()
        results = in_turns(turns, rounds_of(30, scale))
    alone, rows = results["not recorded"], []
    for name, times in results.items():
        clock, processor = ([1e6 * (a[k] - b[k]) for a, b in zip(times, alone, strict=True)] for k in range(2))
        low, middle, high = quantiles(clock, n=4)
        whole = 1e6 * median(seconds for seconds, _ in times)
        added = [f"{middle:.0f}", f"{low:.0f} to {high:.0f}", f"{median(processor):.0f}"]
        share = median(a[0] / b[0] for a, b in zip(times, alone, strict=True)) - 1
        rows.append([name, f"{whole:.0f}", *added, f"{share:.2f}"])
    head = ["", "µs/update", "added", "quartiles", "added by its thread's processor", "share of the step"]
    report.table("A step of 20 tensors of 8×8, CPU", head, rows)
    report.target("CPU: µs that recording adds to it, a number logged", float(rows[1][2]), at_most=50)


def timed(update: Turn, after: Turn) -> tuple[float, float]:
    """Seconds that an update takes with what follows it, by the clock and of the thread's processor."""
    clock, processor = perf_counter(), thread_time()
    for _ in range(_STEPS):
        update()
        after()
    return (perf_counter() - clock) / _STEPS, (thread_time() - processor) / _STEPS


def small_network(tensors: int = 20) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Parameters with gradients that stay, and SGD with momentum."""
    torch.manual_seed(0)
    model = nn.ParameterList([torch.randn(8, 8) for _ in range(tensors)])
    for parameter in model:
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    return model, torch.optim.SGD(model.parameters(), lr=1e-6, momentum=0.9)


def logged(model: nn.Module, optimizer: torch.optim.Optimizer, path: Path) -> partial[None]:
    """`Recorder`, with a number of Python's logged after each update."""
    recorder = record(path, model, optimizer)
    recorder.flush()
    return partial(recorder.log, loss=0.5)


def by_layers(counts: list[int], rounds: int) -> dict[int, tuple[float, float]]:
    """Seconds of a step of so many tensors of 8×8, alone and recorded, by their number."""
    found = {}
    for count in counts:
        pairs = [small_network(count) for _ in range(2)]
        with scratch() as folder, Recorder(folder / "run.zarr", *pairs[1]):
            steps = max(2, 5000 // count)
            for _, optimizer in pairs:
                repeated(optimizer.step, lambda: None, steps, "cpu")
            times: list[list[float]] = [[], []]
            for _ in range(rounds):
                for each, (_, optimizer) in zip(times, pairs, strict=True):
                    start = perf_counter()
                    for _ in range(steps):
                        optimizer.step()
                    each.append((perf_counter() - start) / steps)
            found[count] = (median(times[0]), median(times[1]))
    return found
