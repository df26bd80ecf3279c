"""Rows for experiment trackers: functions for `Recorder.subscribe`, one for each of four libraries.

Each passes on the distance, the recorded quantities and the learning rate of every recorded step. None of the
libraries is imported: the caller hands over a writer or a run of its own.

A recorder that is resumed at an earlier step records some steps again. Rows that a tracker has already, up to
`after`, are passed over, so that no step is stored twice: give it the last step that the tracker holds.
"""

from collections.abc import Callable, Iterator
from math import isfinite
from typing import Any

from trajectory.recording.rows import Rows

Subscriber = Callable[[Rows], None]


def to_tensorboard(writer: Any, *, prefix: str = "trajectory/", after: int = 0) -> Subscriber:
    """Return a subscriber that writes scalars with a TensorBoard writer.

    Args:
        writer: a `torch.utils.tensorboard.SummaryWriter`, or anything with its `add_scalar(tag, value, step)`.
        prefix: begins the scalars' names.
        after: the last step that the writer holds, 0 for a new one.

    Examples:
        >>> import torch
        >>> from trajectory import Recorder
        >>> from trajectory.integrations.loggers import to_tensorboard
        >>> class Printer:
        ...     def add_scalar(self, tag, value, step):
        ...         print(step, tag, value)
        >>> model = torch.nn.Linear(1, 1, bias=False)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        >>> with Recorder("logged.zarr", model, optimizer) as recorder:
        ...     recorder.subscribe(to_tensorboard(Printer()))
        ...     model.weight.grad = torch.ones(1, 1)
        ...     optimizer.step()
        1 trajectory/distance 0.5
        1 trajectory/learning_rate 0.5
    """

    def write(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    return _subscriber(write, prefix, after)


def to_wandb(run: Any, *, prefix: str = "trajectory/", after: int = 0) -> Subscriber:
    """Return a subscriber that logs to a W&B run.

    W&B counts its own steps and refuses earlier ones, so that updates are logged as `<prefix>step`, which becomes the
    x axis of these metrics.

    Args:
        run: what `wandb.init` returned.
        prefix: begins the metrics' names.
        after: the last update that the run holds, 0 for a new one.
    """
    run.define_metric(f"{prefix}step")
    run.define_metric(f"{prefix}*", step_metric=f"{prefix}step")
    return _subscriber(lambda step, values: run.log({f"{prefix}step": step, **values}), prefix, after)


def to_trackio(run: Any, *, prefix: str = "trajectory/", after: int = 0) -> Subscriber:
    """Return a subscriber that logs to a trackio run.

    Args:
        run: what `trackio.init` returned.
        prefix: begins the metrics' names.
        after: the last step that the run holds, 0 for a new one.
    """
    return _subscriber(lambda step, values: run.log(values, step=step), prefix, after)


def to_mlflow(client: Any, run_id: str, *, prefix: str = "trajectory/", after: int = 0) -> Subscriber:
    """Return a subscriber that logs to an MLflow run.

    Args:
        client: an `mlflow.MlflowClient`.
        run_id: the run's identifier, such as `mlflow.active_run().info.run_id`.
        prefix: begins the metrics' names.
        after: the last step that the run holds, 0 for a new one.
    """

    def write(step: int, values: dict[str, float]) -> None:
        for name, value in values.items():
            client.log_metric(run_id, name, value, step=step)

    return _subscriber(write, prefix, after)


def _subscriber(write: Callable[[int, dict[str, float]], object], prefix: str, after: int) -> Subscriber:
    """Return a function that writes each step of the rows once."""
    last = after

    def receive(rows: Rows) -> None:
        nonlocal last
        for step, values in _scalars(rows, prefix):
            if step > last:
                write(step, values)
                last = step

    return receive


def _scalars(rows: Rows, prefix: str) -> Iterator[tuple[int, dict[str, float]]]:
    """Iterate over steps and their finite scalars."""
    columns = {"distance": rows.distance, **rows.totals, "learning_rate": rows.learning_rate}
    for k, step in enumerate(rows.step.tolist()):
        values = {f"{prefix}{name}": float(column[k]) for name, column in columns.items()}
        yield step, {name: value for name, value in values.items() if isfinite(value)}
