"""What a training run leaves behind: `Recorder` writes it, `Run` reads it.

Every name is imported when it is first used: `Run` needs no torch until weights are asked for.
"""

from typing import TYPE_CHECKING

from trajectory.lazy import lazy_exports

if TYPE_CHECKING:
    from trajectory.errors import RecordingError, RunNotFoundError, StoreError, UltraslowError
    from trajectory.recording.recorder import Recorder
    from trajectory.run import Run
    from trajectory.schedule import At, Every, LogSpaced
    from trajectory.schema.layout import Event
    from trajectory.storage.verify import Problem, verify
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "trajectory.errors": ["RecordingError", "RunNotFoundError", "StoreError", "UltraslowError"],
            "trajectory.recording.recorder": ["Recorder"],
            "trajectory.run": ["Run"],
            "trajectory.schedule": ["At", "Every", "LogSpaced"],
            "trajectory.schema.layout": ["Event"],
            "trajectory.storage.verify": ["Problem", "verify"],
        },
    )

__all__ = [
    "At",
    "Event",
    "Every",
    "LogSpaced",
    "Problem",
    "Recorder",
    "RecordingError",
    "Run",
    "RunNotFoundError",
    "StoreError",
    "UltraslowError",
    "verify",
]
