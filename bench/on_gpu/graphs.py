"""Updates captured in a CUDA graph, with and without a recorder in it."""

from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from recording.report import ratios, record, repeated, scratch
from recording.steps import TASKS, Task

from on_gpu.measured import Measured
from trajectory import Recorder

STEPS = {"F1": 400, "ResNet44": 60}
WARM_UP = 4  # updates before a capture: cuBLAS and cuDNN make their first allocations, momentum is made


def measure(report: Measured) -> None:
    """A table for each network."""
    if report.trial:
        report.say("Graphs are CUDA's: nothing to try out on a CPU.")
        return
    for name, steps in STEPS.items():
        with scratch() as folder:
            turns = {}
            for variant, graph, record in (
                ("replayed, not recorded", True, False),
                ("replayed, recorded", True, True),
                ("one by one, not recorded", False, False),
                ("one by one, recorded", False, True),
            ):
                path = folder / f"{len(turns)}.zarr" if record else None
                update = captured(TASKS[name], path) if graph else one_by_one(TASKS[name], path)
                turns[variant] = partial(repeated, update, lambda: None, steps, report.device)
            found = report.compare(f"{name}, an update", turns, 0.4)
            value = median(ratios(found, "replayed, recorded", "replayed, not recorded"))
            report.target(f"{name}, replayed and recorded, over replayed", value, at_most=1.01)
            del turns, update


def one_by_one(task: Task, path: object | None) -> Callable[[], None]:
    """An update as it is."""
    model, optimizer, update = task.begin("cuda")
    if path is not None:
        record(path, model, optimizer).flush()
    return update


def captured(task: Task, path: object | None) -> Callable[[], None]:
    """A replay of an update, which the recorder is told of."""
    model, optimizer, update = task.begin("cuda")
    recorder = record(path, model, optimizer, capturable=True) if path is not None else None
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP):
            update()
    torch.cuda.current_stream().wait_stream(stream)
    optimizer.zero_grad()  # gradients are to lie in the graph's own memory
    graph = torch.cuda.CUDAGraph()
    # the recorder's threads make calls of their own to the device, which do not belong to the graph
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        update()

    return partial(replay, graph, recorder, update)


def replay(graph: torch.cuda.CUDAGraph, recorder: Recorder | None, update: Callable[[], None]) -> None:
    """Replays an update, which is held for as long: the graph reads its tensors by address alone."""
    graph.replay()
    if recorder is not None:
        recorder.replayed()
