"""What a store holds at a moment: its root, and the rows that its journal holds beyond the arrays."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from trajectory.errors import StoreError, first_line
from trajectory.schema.entries import count, mapping, number, text
from trajectory.schema.layout import Event, RowColumns
from trajectory.storage import journal_records
from trajectory.storage.backend import Backend
from trajectory.storage.root import Root, read_root

_LAST_STEP = 2**53  # beyond it, a float64 does not tell a step from the next
_EXPECTED = {
    journal_records.ROWS: "rows of this run whose steps go on behind those before",
    journal_records.METRICS: "steps with numbers by name",
    journal_records.EVENT: "event of a step, a name and details",
}


@dataclass(frozen=True)
class UncommittedRows:
    """What the journal holds: everything recorded since the last commit.

    Attributes:
        rows: float64 (n, width), columns as in `RowColumns`.
        metrics: scalars by step and name.
        events: events in order.
        damage: what is damaged in the journal, in words; None: nothing is.
        torn: the bytes of a record that a kill has left unfinished.
    """

    rows: np.ndarray
    metrics: dict[int, dict[str, float]]
    events: list[Event]
    damage: str | None = None
    torn: int = 0

    @staticmethod
    def of(
        records: Iterable[tuple[bytes, bytes]], columns: RowColumns, fault: str | None = None
    ) -> "UncommittedRows":
        """Sort a journal's records; those that do not hold what their kind says are left out.

        Args:
            records: (kind, payload) of each, in order.
            columns: those of a row.
            fault: what is wrong beside them, in words.

        Returns:
            What they hold; `damage` says what is wrong first.
        """
        rows, metrics, events, last = [np.empty((0, columns.width))], dict[int, dict[str, float]](), list[Event](), -1
        for k, (kind, payload) in enumerate(records, start=1):
            try:
                if kind == journal_records.ROWS:
                    rows.append(_rows(payload, columns.width, last))
                    last = rows[-1][-1, 0] if len(rows[-1]) else last
                elif kind == journal_records.METRICS:
                    for step, scalars in _scalars(payload):
                        metrics.setdefault(step, {}).update(scalars)
                else:
                    events.append(_event(payload))
            except (ValueError, TypeError, OverflowError, RecursionError):
                fault = fault or f"record {k} holds no {_EXPECTED[kind]}"
        return UncommittedRows(np.concatenate(rows), metrics, events, fault)


def _rows(payload: bytes, width: int, last: float) -> np.ndarray:
    """Return the rows of a record; they have to go on behind a step."""
    rows = np.frombuffer(payload, dtype="<f8").reshape(-1, width)
    steps = rows[:, 0]
    if not (np.all(np.diff(steps, prepend=last) > 0) and np.all((steps % 1 == 0) & (steps <= _LAST_STEP))):
        raise ValueError("its steps do not increase")
    return rows


def _scalars(payload: bytes) -> list[tuple[int, dict[str, float]]]:
    return [
        (count(step), {text(name): _scalar(value) for name, value in mapping(scalars).items()})
        for step, scalars in journal_records.decode(payload)
    ]


def _scalar(value: object) -> float:
    return float("nan") if value is None else number(value)


def _event(payload: bytes) -> Event:
    step, name, details = journal_records.decode(payload)
    return Event(count(step), text(name), mapping(details))


def read_store(backend: Backend, *, skip_damaged: bool = False) -> tuple[Root, UncommittedRows]:
    """Read a store's root and its journal, as of one moment.

    A running recorder may commit between the two reads and remove the journal: then both are read again.

    Args:
        backend: where the store lies.
        skip_damaged: return the intact records of a damaged journal, and say in `damage` that others are lost.

    Returns:
        The root, and the rows that are not in the arrays yet.

    Raises:
        StoreError: the store is not a run of a known format, or its journal is damaged or missing.
    """
    root = read_root(backend)
    for _ in range(10):
        generation = root.commit.journal
        if generation is None:
            return root, UncommittedRows.of([], root.metadata.columns)
        try:
            data: bytes | None = backend.read_journal(generation)
        except FileNotFoundError:
            data = None
        except OSError as error:
            raise StoreError(
                f"{backend.path}: journal.{generation} cannot be read ({first_line(error)}); restore the whole run"
            ) from error
        before, root = root, read_root(backend)
        if data is not None and root.commit.journal == generation:
            uncommitted = _sorted(before, data)
            if uncommitted.damage and not skip_damaged:
                raise StoreError(f"{backend.path}: {uncommitted.damage}")
            return before, uncommitted
    raise StoreError(f"{backend.path}: its journal.{root.commit.journal} is missing; restore the whole run")


def _sorted(root: Root, data: bytes) -> UncommittedRows:
    name = f"journal.{root.commit.generation}"
    records = journal_records.read_as(data, root.metadata.id, root.commit.generation)
    found = UncommittedRows.of(records.intact, root.metadata.columns, records.fault)
    if found.damage is None:
        return replace(found, torn=len(data) - records.end)
    advice = "restore it as it was written, or keep its other records by `ultraslow verify --repair`"
    return replace(found, damage=f"{name} is damaged ({found.damage}); {advice}")
