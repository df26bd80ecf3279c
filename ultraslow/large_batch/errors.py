"""Errors of the large-batch methods. Every message is one line: what was got, what was expected, what to do."""

from trajectory.errors import UltraslowError


class SettingError(UltraslowError):
    """A setting of a large-batch method that cannot be used."""


class GhostBatchNormError(UltraslowError):
    """A network or a size that ghost batch normalization cannot take."""


class NotMatchedError(UltraslowError):
    """A run did not reach its reference's distance, and its scheduler was set to raise an error in that case."""
