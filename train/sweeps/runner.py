"""The runs of a sweep, made where they are missing: in this process, in several, or on a Dask cluster.

What is complete is kept, what was interrupted goes on, and a run that fails does not stop the others.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic
from typing import Literal

import torch

from train.configs.config import TrainConfig
from train.configs.toml import as_config
from train.engine.checkpoint import Checkpoint
from train.engine.run_training import data_of, train
from train.errors import ConfigError
from train.sweeps.spec import Planned, Sweep
from trajectory import Run, StoreError
from trajectory.errors import first_line
from trajectory.storage.backend import open_backend

_TELL_EVERY = 0.5  # seconds between two messages of a run

State = Literal["missing", "interrupted", "done", "other"]
Tell = Callable[[int, int], None]


@dataclass(frozen=True)
class Standing:
    """Where a run of a sweep stands, after t of its updates."""

    status: Literal["waiting", "running", "done", "failed"] = "waiting"
    t: int = 0
    updates: int = 0
    began: float | None = None
    """When it was started, by `time.monotonic`; None for a run that was not, or was done before."""
    seconds: float = 0.0
    """What it took, once it has ended."""
    failure: str = ""
    """Why it failed, in one line."""


@dataclass(frozen=True)
class Task:
    """A run to make; an interrupted one goes on, if it has left a checkpoint and `fresh` does not replace it."""

    run: Planned
    data_root: str
    device: str
    fresh: bool

    def __call__(self, tell: Tell) -> str:
        """Trains; returns why it failed, or nothing. tell(t, updates) is called now and then."""
        last = 0.0

        def progress(t: int, updates: int) -> None:
            nonlocal last
            if t == updates or monotonic() - last > _TELL_EVERY:
                last = monotonic()
                tell(t, updates)

        checkpoint = Checkpoint(self.run.path, None).path
        resume = not self.fresh and checkpoint is not None and checkpoint.exists()
        try:
            train(
                self.run.config,
                self.run.path,
                data_root=self.data_root,
                device=self.device,
                progress=progress,
                overwrite=not resume,
                resume=resume,
            )
        except Exception as error:  # whatever it is, the sweep goes on, and says so at its end
            return first_line(error)
        return ""


class Ledger:
    """Where the runs of a sweep stand, told to `watch` whenever that changes."""

    def __init__(self, sweep: Sweep, watch: Callable[[Planned, Standing], None]):
        self.sweep, self._watch = sweep, watch
        self.standings = {run.path: Standing() for run in sweep.runs}

    def begin(self, run: Planned) -> None:
        """The run is started."""
        self._set(run, Standing("running", began=monotonic()))

    def tell(self, run: Planned, t: int, updates: int) -> None:
        """The run has made t of its updates. Late news of a run that has ended are dropped."""
        if self.standings[run.path].status == "waiting":
            self.begin(run)
        if self.standings[run.path].status == "running":
            self._set(run, replace(self.standings[run.path], t=t, updates=updates))

    def end(self, run: Planned, failure: str = "") -> None:
        """The run is done, or has failed."""
        known = self.standings[run.path]
        seconds = 0.0 if known.began is None else monotonic() - known.began
        self._set(run, replace(known, status="failed" if failure else "done", seconds=seconds, failure=failure))

    def ready(self, run: Planned) -> bool:
        """Whether the run's references have ended; if one of them failed, so has the run."""
        references = [self.standings[reference.path] for reference in self.sweep.references(run)]
        if any(reference.status == "failed" for reference in references):
            self.end(run, REFERENCE_FAILED)
            return False
        return all(reference.status == "done" for reference in references)

    def _set(self, run: Planned, standing: Standing) -> None:
        self.standings[run.path] = standing
        self._watch(run, standing)


REFERENCE_FAILED = "a run that it is matched to failed"
Backend = Callable[[Sequence[Task], Ledger], None]


def run_sweep(
    sweep: Sweep,
    *,
    device: str = "cpu",
    backend: Backend | None = None,
    overwrite: bool = False,
    watch: Callable[[Planned, Standing], None] = lambda run, standing: None,
) -> dict[str, Standing]:
    """Makes the runs that are not complete; returns where each stands at the end, by its store's path.

    backend: `here` (one after another in this process, the default), `in_processes(n)`, or `on_cluster(address)`.
    overwrite: replace a run that is there under another configuration, and what is matched to it.
    Raises ConfigError if a store holds another configuration, or a reference does not exist, before any training.
    """
    ledger = Ledger(sweep, watch)
    tasks = []
    for run, state in survey(sweep, overwrite=overwrite).items():
        if state == "done":
            ledger.end(run)
        else:
            tasks.append(Task(run, sweep.data_root, device, fresh=state == "other"))
    (backend or here)(tasks, ledger)
    return ledger.standings


def here(tasks: Sequence[Task], ledger: Ledger) -> None:
    """One run after another, in this process."""
    for task in tasks:
        if ledger.ready(task.run):
            ledger.begin(task.run)
            ledger.end(task.run, task(partial(ledger.tell, task.run)))


def survey(sweep: Sweep, *, overwrite: bool = False) -> dict[Planned, State]:
    """What there is of each run. Raises ConfigError for another configuration, unless it may be overwritten."""
    found: dict[Planned, State] = {}
    for run in sweep.runs:
        for path in run.config.match:
            if path not in {other.path for other in sweep.runs} and open_backend(path).is_free():
                raise ConfigError(f"{run.config.label} is matched to {path}: no such run; expected a run's store")
        stored = _stored(run.path)
        difference = _difference(stored, run.config) if stored else ""
        if difference and not overwrite:
            raise ConfigError(f"{run.path}: {difference}; choose another `out`, or replace the run (--overwrite)")
        if stored is None:
            found[run] = "missing"
        elif difference or any(found[reference] == "other" for reference in sweep.references(run)):
            found[run] = "other"
        else:
            found[run] = "done" if stored.status == "complete" else "interrupted"
    return found


def _stored(path: str) -> Run | None:
    """The run there; None if there is none that can be read, as when a process was killed while it made the store."""
    try:
        return Run(path)
    except StoreError:
        return None


def updates_of(sweep: Sweep) -> dict[Planned, int]:
    """Each run's updates; under a match, the most it makes. Reads the data sets.

    Raises ConfigError for a batch beyond the training set, and DataError.
    """
    configs = {run.config.dataset: run.config for run in sweep.runs}
    device = torch.device("cpu")
    sizes = {name: data_of(config, sweep.data_root, device).train_size for name, config in configs.items()}
    return {run: run.config.schedule(sizes[run.config.dataset]).updates for run in sweep.runs}


def _difference(stored: Run, here: TrainConfig) -> str:
    """How the stored run's configuration differs, in words; nothing if it does not."""
    try:
        there = as_config(stored.config.get("settings", {}), stored.path)
    except ConfigError:
        return "it holds a run that `ultraslow train` did not make"
    for name, value in vars(here).items():
        if getattr(there, name) != value:
            return f"it holds a run of another configuration, {name} = {getattr(there, name)!r} for {value!r}"
    return ""
