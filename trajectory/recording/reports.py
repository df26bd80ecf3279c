"""What a recorder files beside its rows: scalars, events, and what a reader of the rows has to know."""

import warnings
from collections.abc import Mapping

from torch import Tensor

from trajectory.errors import UltraslowError, first_line
from trajectory.recording.lr_watcher import LRWatcher
from trajectory.recording.options import to_jsonable
from trajectory.recording.row_buffer import RowBuffer
from trajectory.recording.rows import BLOCK
from trajectory.recording.session import Session
from trajectory.recording.signals import is_raised_by_handler
from trajectory.recording.writer_thread import OnError, WriterThread
from trajectory.schema.layout import LR_DROP, WARNING, Event

UNKNOWN_OPTIMIZER, OPTIMIZER_ORDER = "unknown_optimizer", "optimizer_order"
WEIGHTS_CHANGED, _REPEATED_LOG = "weights_changed", "repeated_log"
NO_UPDATES = "no_updates"
_CAUSES, _CONSEQUENCES = {UNKNOWN_OPTIMIZER, OPTIMIZER_ORDER}, {WEIGHTS_CHANGED, _REPEATED_LOG}


class Reports:
    """Files scalars and events, and warns once of each kind of fault.

    Args:
        session: The recording.
        rows: Takes the scalars.
        thread: Writes the events.
        lr: Is told of the drops of the learning rate that are filed.
        on_error: Whether a scalar that cannot be filed raises its error, or brings a warning.

    Attributes:
        uncounted: Whether updates are known to lack their rows.
    """

    def __init__(self, session: Session, rows: RowBuffer, thread: WriterThread, lr: LRWatcher, *, on_error: OnError):
        self.uncounted = False
        self._path, self._store, self._on_error = session.path, session.store, on_error
        self._rows, self._thread, self._lr = rows, thread, lr
        self._warned: set[str] = set()  # kinds of reports that a warning was given of
        self._refused: set[str] = set()  # the scalars that a warning has said are left out

    def log(self, step: int, scalars: Mapping[str, float | Tensor]) -> None:
        """File scalars.

        Args:
            step: The number of updates that they belong to.
            scalars: Numbers, or tensors of one element, by name.

        Raises:
            UltraslowError: One cannot be filed, and `on_error` is "raise".
        """
        if self._rows.silent:
            return
        for name, value in scalars.items():
            try:
                if self._rows.log(step, name, value) == BLOCK:
                    self._report_repeated(step, name)
            except Exception as error:
                if self._on_error == "raise" or is_raised_by_handler(error):
                    raise
                if name not in self._refused:
                    self._refused.add(name)
                    sentence = (
                        str(error) if isinstance(error, UltraslowError) else f"log({name}=...): {first_line(error)}"
                    )
                    warnings.warn(f"{sentence}; it is left out", RuntimeWarning, stacklevel=3)

    def event(self, step: int, name: str, details: Mapping[str, object]) -> None:
        """File an event.

        Args:
            step: The number of updates after which it happened.
            name: The kind of event.
            details: What else is to be known of it.
        """
        if self._rows.silent:
            return
        if name == LR_DROP:
            self._lr.note_filed(step)
        event = Event(step, name, {key: to_jsonable(value) for key, value in details.items()})
        self._thread.call(self._store.append_event, event)

    def report(
        self, step: int, name: str, sentence: str, details: Mapping[str, object], *, silently: bool = False
    ) -> None:
        """File what a reader of the rows has to know as an event, and warn of it, unless that was done before.

        Args:
            step: The number of updates after which it was seen.
            name: The kind of event, of which one warning is given.
            sentence: What is wrong, and what to do.
            details: What else is to be known of it.
            silently: Whether to file it alone.
        """
        if self._rows.silent:
            return
        if name in _CONSEQUENCES and self._warned & _CAUSES:
            return
        self.uncounted |= name == UNKNOWN_OPTIMIZER or (name == NO_UPDATES and bool(details["count"]))
        details = {**details, WARNING: sentence}
        filed = [(event.name, event.details) for event in self._store.events]
        if (name, {key: to_jsonable(value) for key, value in details.items()}) not in filed:
            self.event(step, name, details)
        if name not in self._warned and not silently:
            self._warned.add(name)
            warnings.warn(f"{self._path}: {sentence}", RuntimeWarning, stacklevel=4)

    def _report_repeated(self, step: int, name: str) -> None:
        self.report(
            step,
            _REPEATED_LOG,
            f"log({name}=...) was called {BLOCK} times at t = {step}, and each value replaced the one before; if"
            " weights were updated meanwhile, have the updates counted, by follow(optimizer) or update()",
            {"metric": name},
        )
