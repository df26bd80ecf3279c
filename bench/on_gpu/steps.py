"""Recorded updates of networks against unrecorded ones."""

import gc
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median

from recording.report import ratios, repeated, scratch
from recording.steps import TASKS, foreach, item_loop, nothing, recorded

from on_gpu.measured import Measured

VARIANTS: Mapping[str, Callable] = {
    "not recorded": nothing,
    "Recorder, every update": recorded,
    "torch._foreach_*": foreach,
    "(w - w0).norm().item()": item_loop,
}
STEPS = {"F1": 200, "ResNet44": 40, "transformer, 124 M": 8}  # a turn takes about a second on a large card


def measure(report: Measured) -> None:
    """A table for each network."""
    names = ["F1"] if report.trial else ["ResNet44", "transformer, 124 M", "F1"]
    for name in names:
        task, steps = TASKS[name], 5 if report.trial else STEPS[name]
        with scratch() as folder:
            turns = {}
            for k, (variant, attach) in enumerate(VARIANTS.items()):
                model, optimizer, update = task.begin(report.device)
                after = attach(model, optimizer, folder / f"{k}.zarr")
                turns[variant] = partial(repeated, update, after, steps, report.device)
            found = report.compare(f"{name}, an update", turns, 0.8 / len(names))
            value = median(ratios(found, "Recorder, every update", "not recorded"))
            report.target(f"{name}, every update recorded, over unrecorded", value, at_most=1.01)
            del turns, model, optimizer, update, after
            gc.collect()
