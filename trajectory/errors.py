"""One tree of errors. Every message is one line: what was got, what was expected, what to do."""


class UltraslowError(ValueError):
    """A problem with the user's input or data; the command line prints it and exits with 1."""


class StoreError(UltraslowError):
    """A run's store cannot be read or written."""


class RecordingError(UltraslowError):
    """The recorder cannot go on: bad arguments, or an error of its background writer."""
