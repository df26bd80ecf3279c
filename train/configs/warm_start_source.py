"""The run that a training starts from, as a configuration names it: RUN, RUN@STEP or RUN@Nepochs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from train.errors import ConfigError
from trajectory import Run

_PLACE = re.compile(r"(?P<run>.+)@(?:(?P<step>\d+)|(?P<epochs>\d+(?:\.\d+)?)epochs?)")


@dataclass(frozen=True)
class WarmStartSource:
    """A run, and the snapshot of it that is started from."""

    run: str
    """The run's store; in a sweep file also a method's name."""
    step: int | None = None
    """The snapshot's update; None: by epochs, or the last one."""
    epochs: float | None = None
    """The epochs after which the snapshot was taken; None: by step, or the last one."""

    @classmethod
    def parse(cls, text: str) -> "WarmStartSource":
        """Return the source that a text names: RUN, RUN@STEP or RUN@Nepochs.

        Args:
            text: the text.
        """
        found = _PLACE.fullmatch(text)
        if found is None:
            return cls(text)
        if found["step"] is not None:
            return cls(found["run"], step=int(found["step"]))
        return cls(found["run"], epochs=float(found["epochs"]))

    def step_in(self, run: Run) -> int:
        """Return the update whose snapshot is meant.

        Args:
            run: the opened run.

        Raises:
            ConfigError: for a run without snapshots, or epochs of a run that does not say how long one is.
        """
        if not run.snapshots:
            raise ConfigError(f"{self.run}: holds no snapshot to start from; expected a run recorded with snapshots")
        if self.epochs is None:
            return run.snapshots[-1] if self.step is None else self.step
        if not {"updates", "epochs"} <= run.config.keys():
            raise ConfigError(f"{self.run}: does not say how many updates an epoch has; name a step, as in RUN@1000")
        return round(self.epochs * float(run.config["updates"]) / float(run.config["epochs"]))


def runs_needed(match: Sequence[str], warm_start: str) -> tuple[str, ...]:
    """Return the stores of the runs that a training reads: what it is matched to, and what it starts from.

    Args:
        match: as of `TrainConfig`.
        warm_start: likewise.
    """
    return (*match, *([WarmStartSource.parse(warm_start).run] if warm_start else []))
