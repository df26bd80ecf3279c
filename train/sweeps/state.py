"""What has become of the runs of a sweep while it is made."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from time import monotonic
from typing import Literal

from train.sweeps.spec import PlannedRun, Sweep

REFERENCE_FAILED = "a run that it needs failed"


@dataclass(frozen=True)
class RunStatus:
    """How far a run of a sweep is."""

    status: Literal["waiting", "running", "done", "failed"] = "waiting"
    """The state that the run is in."""
    t: int = 0
    """Updates made so far."""
    updates: int = 0
    """Updates in all; 0 while they are not known."""
    began: float | None = None
    """When the run was started, by `time.monotonic`; None for one that was not, or was done before."""
    seconds: float = 0.0
    """How long the run took, once it has ended."""
    failure: str = ""
    """Why the run failed, in one line."""
    lost: int = 0
    """How many workers of a cluster died while they made the run."""


Watch = Callable[[PlannedRun, RunStatus], None]


class SweepState:
    """The status of every run of a sweep; each change is passed to a callback.

    Args:
        sweep: the sweep.
        watch: called as watch(run, status) after each change.

    Attributes:
        sweep: the sweep.
        statuses: each run's status, by its store's path.
    """

    def __init__(self, sweep: Sweep, watch: Watch):
        self.sweep, self._watch = sweep, watch
        self.statuses = {run.path: RunStatus() for run in sweep.runs}

    def keep(self, run: PlannedRun, updates: int) -> None:
        """Note that a run was done before.

        Args:
            run: the run.
            updates: updates that it made.
        """
        self._set(run, RunStatus("done", t=updates, updates=updates))

    def begin(self, run: PlannedRun) -> None:
        """Note that a run is started.

        Args:
            run: the run.
        """
        self._set(run, RunStatus("running", began=monotonic()))

    def report(self, run: PlannedRun, t: int, updates: int) -> None:
        """Note how far a run is. A report that arrives after the run has ended is dropped.

        Args:
            run: the run.
            t: updates made so far.
            updates: updates in all.
        """
        if self.statuses[run.path].status == "waiting":
            self.begin(run)
        if self.statuses[run.path].status == "running":
            self._set(run, replace(self.statuses[run.path], t=t, updates=updates))

    def lose(self, run: PlannedRun) -> None:
        """Note that the worker which made a run has died, and that another one goes on with it.

        Args:
            run: the run.
        """
        known = self.statuses[run.path]
        self._set(run, replace(known, status="running", lost=known.lost + 1))

    def end(self, run: PlannedRun, failure: str = "") -> None:
        """Note that a run is done, or has failed.

        Args:
            run: the run.
            failure: why it failed, in one line; empty if it did not.
        """
        known = self.statuses[run.path]
        seconds = 0.0 if known.began is None else monotonic() - known.began
        self._set(run, replace(known, status="failed" if failure else "done", seconds=seconds, failure=failure))

    def is_ready(self, run: PlannedRun) -> bool:
        """Return whether all references of a run are done. If one of them failed, the run has failed too.

        Args:
            run: the run.
        """
        references = [self.statuses[reference.path] for reference in self.sweep.references(run)]
        if any(reference.status == "failed" for reference in references):
            self.end(run, REFERENCE_FAILED)
            return False
        return all(reference.status == "done" for reference in references)

    def _set(self, run: PlannedRun, status: RunStatus) -> None:
        self.statuses[run.path] = status
        self._watch(run, status)
