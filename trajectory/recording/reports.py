"""What a recorder files beside its rows: scalars, events, and what a reader of the rows has to know."""

from collections.abc import Mapping

from torch import Tensor

from trajectory.errors import RecordingError, UltraslowError, first_line
from trajectory.recording.lr_watcher import LRWatcher
from trajectory.recording.options import Json, to_jsonable
from trajectory.recording.row_buffer import RowBuffer
from trajectory.recording.rows import BLOCK
from trajectory.recording.session import Session
from trajectory.recording.warned import Warned
from trajectory.recording.worker import Call
from trajectory.recording.writer_thread import OnError, WriterThread
from trajectory.schema.layout import LR_DROP, WARNING, Event
from trajectory.signals import is_raised_by_handler

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
        self._warned, self._refused = Warned(), Warned()  # by kind of report; by the name of a scalar left out
        self._filing: list[tuple[Event, Call]] = []  # reports on their way to the store

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
                sentence = (
                    str(error) if isinstance(error, UltraslowError) else f"log({name}=...): {first_line(error)}"
                )
                self._refused.warn(name, f"{sentence}; it is left out", stacklevel=3)

    def event(self, step: int, name: str, details: Mapping[str, object]) -> None:
        """File an event.

        Args:
            step: The number of updates after which it happened.
            name: The kind of event.
            details: What else is to be known of it.

        Raises:
            RecordingError: It cannot be filed, and `on_error` is "raise".
        """
        if self._rows.silent:
            return
        try:
            event = Event(step, _text(name), _jsonable(details))
        except RecordingError as error:
            if self._on_error == "raise":
                raise
            self._refused.warn(repr(name), f"{error}; it is left out", stacklevel=3)
            return
        if name == LR_DROP:
            self._lr.note_filed(step)
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
        if name in _CONSEQUENCES and any(cause in self._warned for cause in _CAUSES):
            return
        self.uncounted |= name == UNKNOWN_OPTIMIZER or (name == NO_UPDATES and bool(details["count"]))
        self._file_once(Event(step, name, _jsonable({**details, WARNING: sentence})))
        if not silently:
            self._warned.warn(name, f"{self._path}: {sentence}", stacklevel=4)

    def _file_once(self, event: Event) -> None:
        """File an event, unless one of the same name and details is in the store or on its way there."""
        self._filing = [filing for filing in self._filing if not filing[1].done]
        known = [*self._store.events, *(other for other, _ in self._filing)]
        if all((event.name, event.details) != (other.name, other.details) for other in known):
            self._filing.append((event, Call(self._store.append_event, event)))
        for _, call in self._filing:
            self._thread.put(call)

    def _report_repeated(self, step: int, name: str) -> None:
        self.report(
            step,
            _REPEATED_LOG,
            f"log({name}=...) was called {BLOCK} times at t = {step}, and each value replaced the one before; if"
            " weights were updated meanwhile, have the updates counted, by follow(optimizer) or update()",
            {"metric": name},
        )


def _text(name: object) -> str:
    if not isinstance(name, str):
        raise RecordingError(f"event({name!r}): got a {type(name).__name__}, expected the kind of event as a string")
    return name


def _jsonable(details: Mapping[str, object]) -> dict[str, Json]:
    return {key: to_jsonable(value) for key, value in details.items()}
