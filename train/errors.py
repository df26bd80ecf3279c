"""Errors of the trainer. Every message is one line: what was got, what was expected, what to do."""

from trajectory.errors import UltraslowError
from ultraslow.large_batch.errors import GhostBatchNormError, NotMatchedError, SettingError

__all__ = [
    "ConfigError",
    "DataError",
    "DivergedError",
    "GhostBatchNormError",
    "NotMatchedError",
    "SettingError",
    "TableError",
]


class ConfigError(UltraslowError):
    """A recipe or a setting that cannot be run."""


class DataError(UltraslowError):
    """A data set is missing, foreign or damaged."""


class DivergedError(UltraslowError):
    """The loss of a training run is no longer finite."""


class TableError(UltraslowError):
    """Runs that no table can be made of: none complete, or without configuration or validation error."""
