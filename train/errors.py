"""Errors of the trainer. Every message is one line: what was got, what was expected, what to do."""

from trajectory.errors import UltraslowError


class ConfigError(UltraslowError):
    """A recipe or a setting that cannot be run."""


class DataError(UltraslowError):
    """A data set is missing, foreign or damaged."""


class GhostBatchNormError(UltraslowError):
    """A network or a size that ghost batch normalization cannot take."""


class DivergedError(UltraslowError):
    """The loss of a training run is no longer finite."""


class NotMatchedError(UltraslowError):
    """A run did not reach its reference's distance, and its scheduler was told to stop then."""
