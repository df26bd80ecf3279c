"""What a training run leaves behind: `Recorder` writes it, `Run` reads it.

`Run` needs no torch until weights are asked for, so `Recorder` is imported when it is first named.
"""

from typing import TYPE_CHECKING, Any

from trajectory.errors import RecordingError, StoreError, UltraslowError
from trajectory.run import Event, Run
from trajectory.schedule import At, Every, LogSpaced
from trajectory.storage.verify import Finding, verify

if TYPE_CHECKING:
    from trajectory.recording.recorder import Recorder

__all__ = [
    "At",
    "Event",
    "Every",
    "Finding",
    "LogSpaced",
    "Recorder",
    "RecordingError",
    "Run",
    "StoreError",
    "UltraslowError",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "Recorder":
        from trajectory.recording.recorder import Recorder

        return Recorder
    raise AttributeError(f"module 'trajectory' has no attribute {name!r}")
