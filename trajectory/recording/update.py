"""An update that was made, while it is being recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from torch import Tensor

from trajectory.recording.worker import Call


@dataclass(slots=True)
class Update:
    """An update that was made, and how far its recording has come, for another attempt if an interrupt ends it.

    Attributes:
        step: Its number t.
        round: The rounds of the optimizers until then.
        rate: The learning rate that it was made with; None if it is unknown.
        skipped: A number on the device, other than 0 if the update changed nothing; None if it did for certain.
        late: Whether its gradient may be gone.
        begun: Whether its measuring was begun.
        lost: The quantities that can no longer be measured.
        measured: Whether its row is in the ring.
        watched: The state of `LRWatcher` before it.
        recorded: Whether it has a row.
        events: What is to be filed of it, by name.
        copies: What is to be written of the weights after it, by kind.
    """

    step: int
    round: int
    rate: float | Tensor | None = None
    skipped: Tensor | None = None
    late: bool = False
    measured: bool = False
    watched: tuple[float | None, float] = (None, 0.0)
    recorded: bool = False
    begun: bool = False
    lost: Sequence[str] = ()
    events: dict[str, Call] = field(default_factory=dict)
    copies: dict[str, Call] = field(default_factory=dict)
