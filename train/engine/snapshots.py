"""When a training records its weights."""

from dataclasses import dataclass

from train.configs.config import TrainConfig
from train.configs.lr_schedule import updates_per_epoch
from trajectory import Every, LogSpaced


@dataclass
class Snapshots:
    """The updates after which weights are recorded: those of schedules, and the last one."""

    schedules: tuple[LogSpaced | Every, ...]
    """Log-spaced updates, those that end an epoch."""
    last: int
    """The update that ends the run; its weights are the ones most often asked for."""

    @classmethod
    def of(cls, config: TrainConfig, train_size: int) -> "Snapshots":
        """Return the updates that a configuration asks for.

        Args:
            config: the configuration.
            train_size: samples in the training set.
        """
        schedules: list[LogSpaced | Every] = []
        if config.snapshots_per_decade:
            schedules.append(LogSpaced(config.snapshots_per_decade))
        if config.snapshot_epochs:
            per_epoch = updates_per_epoch(train_size, config.batch_size, keep_short=config.published)
            schedules.append(Every(max(1, round(config.snapshot_epochs * per_epoch))))
        return cls(tuple(schedules), config.schedule(train_size).updates)

    def __bool__(self) -> bool:
        """Return whether any are recorded: the last one only beside others."""
        return bool(self.schedules)

    def __contains__(self, step: int) -> bool:
        return bool(self) and (step == self.last or any(step in schedule for schedule in self.schedules))
