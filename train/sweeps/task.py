"""One run of a sweep, as a call that a process or a worker can make."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from train.engine.checkpoint import Checkpoint
from train.engine.run_training import train
from train.sweeps.spec import PlannedRun
from trajectory.errors import first_line

_REPORT_EVERY = 0.5  # seconds between two reports of a run


@dataclass(frozen=True)
class Task:
    """A run to make."""

    run: PlannedRun
    """Where the run's store is, and its configuration."""
    data_root: str
    """Folder of the data sets."""
    device: str
    """The device to train on."""
    fresh: bool
    """Replace the run that is there; otherwise an interrupted one is resumed if it has left a checkpoint."""

    def __call__(self, report: Callable[[int, int], None]) -> str:
        """Train the run.

        Args:
            report: called as report(t, updates) now and then, and after the last update.

        Returns:
            Why the run failed, in one line; empty if it did not.
        """
        last = 0.0

        def progress(t: int, updates: int) -> None:
            nonlocal last
            if t == updates or monotonic() - last > _REPORT_EVERY:
                last = monotonic()
                report(t, updates)

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
        except Exception as error:  # whatever it is, the sweep goes on and reports it at the end
            return first_line(error)
        return ""
