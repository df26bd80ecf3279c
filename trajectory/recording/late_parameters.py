"""Parameters that are frozen at the start: once they are unfrozen, they count in the totals."""

from collections.abc import Mapping
from operator import attrgetter

from torch import Tensor, nn

from trajectory.recording.measured_model import MeasuredModel
from trajectory.recording.model_reports import ModelReports
from trajectory.recording.session import Session
from trajectory.recording.versions import versions

_TRAINABLE = attrgetter("requires_grad")
_UNKNOWN = -1  # the version of weights that may not be those of the start


class LateParameters:
    """Finds the parameters that training unfreezes, and has them measured by a copy of their weights alone.

    Args:
        session: The recording.
        measured: Measures them.
        reports: Takes what is to be said of them.

    Attributes:
        frozen: The parameters that are frozen still, by name.
        counted: Those that count.
    """

    def __init__(self, session: Session, measured: MeasuredModel, reports: ModelReports):
        self._session, self._measured, self._reports = session, measured, reports
        self.frozen = dict(session.tracked.frozen)
        self.counted: dict[str, nn.Parameter] = {}
        self._versions = dict(zip(self.frozen, versions(self.frozen.values()), strict=True))

    def look(self) -> None:
        """Count the parameters that have been unfrozen from now on."""
        if any(map(_TRAINABLE, self.frozen.values())):
            self._count({name: p for name, p in self.frozen.items() if p.requires_grad})

    def go_back(self) -> None:
        """Take all of them for frozen again, since the rows go on from an earlier step."""
        self._versions.update(dict.fromkeys(self.counted, _UNKNOWN))
        self.frozen |= {name: p for name, p in self._session.tracked.frozen.items() if name in self.counted}
        self.counted.clear()

    def follow(self, present: Mapping[int, Tensor], now: Mapping[str, nn.Parameter]) -> list[nn.Parameter]:
        """Follow frozen parameters in whose places others of their shapes are.

        Args:
            present: The parameters of the model by identity.
            now: The same by name.

        Returns:
            Those that have taken the places.
        """
        gone = {name: now[name] for name, p in self.frozen.items() if id(p) not in present and name in now}
        taken = {name: p for name, p in gone.items() if p.shape == self.frozen[name].shape}
        self._versions.update(dict.fromkeys(taken, _UNKNOWN))
        self.frozen |= taken
        return list(taken.values())

    def _count(self, unfrozen: dict[str, nn.Parameter]) -> None:
        """Measure parameters; an interrupt leaves them among the frozen, for another call."""
        since_start = versions(unfrozen.values()) == [self._versions[name] for name in unfrozen]
        counted = self._measured.extend(list(unfrozen.values()))
        if counted:
            self.counted |= unfrozen
        self._reports.unfrozen(list(unfrozen), counted=counted, exact=since_start and not self._session.resumes)
        self.frozen = {name: p for name, p in self.frozen.items() if name not in unfrozen}
