"""How a sweep's runs are made: one after another, in processes of this machine, or on a Dask cluster."""

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import TYPE_CHECKING, Any, cast
from uuid import uuid4

import torch

from train.errors import ConfigError
from train.sweeps.spec import PlannedRun
from train.sweeps.state import REFERENCE_FAILED, SweepState
from train.sweeps.task import Task
from trajectory.errors import first_line

if TYPE_CHECKING:
    from distributed import Client

_ASK_EVERY = 2.0  # seconds between two questions of a worker whether the sweep was interrupted
_CONNECT = 10  # seconds to find the scheduler in

Executor = Callable[[Sequence[Task], SweepState], None]


def in_this_process(tasks: Sequence[Task], state: SweepState) -> None:
    """Make one run after another, in this process.

    Args:
        tasks: the runs to make, references first.
        state: where their status is noted.
    """
    for task in tasks:
        if state.is_ready(task.run):
            state.begin(task.run)
            state.end(task.run, task(partial(state.report, task.run)))


def in_processes(jobs: int) -> Executor:
    """Return an executor that makes several runs at a time, each in a process of its own.

    A process that dies takes no other along. The cores are divided among them.

    Args:
        jobs: runs at a time.

    Raises:
        ConfigError: if jobs is below 1.
    """
    if jobs < 1:
        raise ConfigError(f"jobs is {jobs}; expected a whole number of at least 1")
    return partial(_side_by_side, jobs)


def _side_by_side(jobs: int, tasks: Sequence[Task], state: SweepState) -> None:
    waiting = list(tasks)
    running: dict[Any, tuple[Any, PlannedRun]] = {}  # by the connection that it reports on
    try:
        while waiting or running:
            for task in list(waiting):
                if len(running) < jobs and state.is_ready(task.run):
                    process, receiver = _start(task, max(1, (os.cpu_count() or 1) // jobs))
                    running[receiver] = (process, task.run)
                    state.begin(task.run)
                if state.statuses[task.run.path].status != "waiting":
                    waiting.remove(task)
            if running:  # there is none if all that waited were matched to one that failed
                _receive(running, state)
    finally:  # after Ctrl-C some are still running
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.join()


def _receive(running: dict[Any, tuple[Any, PlannedRun]], state: SweepState) -> None:
    """Waits for messages of the running processes and notes them; a run that has ended leaves `running`."""
    for receiver in cast("list[Connection]", wait(list(running))):
        process, run = running[receiver]
        try:
            message = receiver.recv()
        except EOFError:  # the process died
            message = None
        if isinstance(message, tuple):
            state.report(run, *message)
            continue
        process.join()
        del running[receiver]
        state.end(run, f"its process ended with status {process.exitcode}" if message is None else message)


def _start(task: Task, threads: int) -> tuple[Any, Any]:
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_in_process, args=(task, sender, threads), name=task.run.path)
    # A terminal sends Ctrl-C to all processes of a group: the sweep alone handles it, and stops the others.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    process.start()
    signal.signal(signal.SIGINT, before)
    sender.close()
    return process, receiver


def _in_process(task: Task, sender: Connection, threads: int) -> None:
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.raise_signal(signal.SIGINT))
    torch.set_num_threads(threads)
    with suppress(KeyboardInterrupt, BrokenPipeError):  # a pipe breaks when the sweep is killed
        sender.send(task(lambda t, updates: sender.send((t, updates))))


def on_cluster(address: str) -> Executor:
    """Return an executor that makes the runs on the workers of a Dask scheduler.

    The workers need one thread each, and the same file system.

    Args:
        address: the scheduler's address, as tcp://host:8786.

    Raises:
        ConfigError: if `distributed` is not installed, or if the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ConfigError("a scheduler needs Dask: pip install 'ultraslow[dask]'") from error
    try:
        client = Client(address, timeout=_CONNECT)
    except (OSError, ValueError) as error:
        raise ConfigError(f"no Dask scheduler answers at {address} ({first_line(error)})") from error
    return partial(_by_workers, client)


def _by_workers(client: "Client", tasks: Sequence[Task], state: SweepState) -> None:
    from distributed import Event, as_completed

    name = f"ultraslow-{uuid4().hex}"
    runs = {task.run.path: task.run for task in tasks}

    def note(event: tuple[object, tuple[str, int, int] | str]) -> None:
        message = event[1]
        if isinstance(message, str):
            state.lose(runs[message])
        else:
            state.report(runs[message[0]], *message[1:])

    client.subscribe_topic(name, note)
    futures: dict[str, Any] = {}
    for task in tasks:
        references = [futures[run.path] for run in state.sweep.references(task.run) if run.path in futures]
        futures[task.run.path] = client.submit(_on_worker, task, name, references, key=f"{name}-{task.run.path}")
    try:
        paths = {future.key: path for path, future in futures.items()}
        for future in as_completed(futures.values()):
            failure = future.result() if future.status == "finished" else first_line(future.exception())
            state.end(runs[paths[future.key]], failure)
    except KeyboardInterrupt:
        Event(name, client=client).set()
        raise
    finally:
        client.close()


def _on_worker(task: Task, name: str, references: list[str]) -> str:
    """Returns what the task returns, unless one of its references returned a failure.

    A task that was begun before, on a worker that has died, goes on from the run's last checkpoint.
    """
    from distributed import Event, get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:  # a run seeds the generator of its process
        return f"its worker has {worker.state.nthreads} threads; expected dask worker --nthreads 1"
    if any(references):
        return REFERENCE_FAILED
    begun = Event(f"{name}-{task.run.path}-begun")
    if begun.is_set():
        worker.log_event(name, task.run.path)
        task = replace(task, fresh=False)
    begun.set()
    stop, asked = Event(name), monotonic()

    def report(t: int, updates: int) -> None:
        nonlocal asked
        worker.log_event(name, (task.run.path, t, updates))
        if monotonic() - asked > _ASK_EVERY:
            asked = monotonic()
            if stop.is_set():
                raise KeyboardInterrupt

    try:
        return task(report)
    except KeyboardInterrupt:
        return "interrupted"
