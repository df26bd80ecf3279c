"""What a store holds at a moment: its root, and the rows that its journal holds beyond the arrays."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.layout import Event, RowColumns
from trajectory.storage import journal
from trajectory.storage.backend import Backend
from trajectory.storage.root import Root, read_root


@dataclass(frozen=True)
class UncommittedRows:
    """What the journal holds: everything recorded since the last commit.

    Attributes:
        rows: float64 (n, width), columns as in `RowColumns`.
        metrics: scalars by step and name.
        events: events in order.
    """

    rows: np.ndarray
    metrics: dict[int, dict[str, float]]
    events: list[Event]

    @staticmethod
    def of(records: Iterable[tuple[bytes, bytes]], columns: RowColumns) -> "UncommittedRows":
        """Sort a journal's records.

        Args:
            records: (kind, payload) of each, in order.
            columns: those of a row.

        Returns:
            What they hold.
        """
        rows, metrics, events = [np.empty((0, columns.width))], dict[int, dict[str, float]](), list[Event]()
        for kind, payload in records:
            if kind == journal.ROWS:
                rows.append(np.frombuffer(payload, dtype="<f8").reshape(-1, columns.width))
            elif kind == journal.METRICS:
                for step, scalars in journal.decode(payload):
                    metrics.setdefault(step, {}).update(scalars)
            else:
                events.append(Event(*journal.decode(payload)))
        return UncommittedRows(np.concatenate(rows), metrics, events)


def read_store(backend: Backend) -> tuple[Root, UncommittedRows]:
    """Read a store's root and its journal, as of one moment.

    A running recorder may commit between the two reads and remove the journal: then both are read again.

    Args:
        backend: where the store lies.

    Returns:
        The root, and the rows that are not in the arrays yet.

    Raises:
        StoreError: the store is not a run of a known format, or its journal is missing.
    """
    root = read_root(backend)
    for _ in range(10):
        columns, generation = root.metadata.columns, root.commit.journal
        if generation is None:
            return root, UncommittedRows.of([], columns)
        try:
            records: bytes | None = backend.read_journal(generation)
        except FileNotFoundError:
            records = None
        before, root = root, read_root(backend)
        if records is not None and root.commit.journal == generation:
            return before, UncommittedRows.of(journal.read(records), columns)
    raise StoreError(f"{backend.path}: its journal.{root.commit.journal} is missing; restore the whole run")
