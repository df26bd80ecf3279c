"""What a store holds at a moment: the root's facts, and the rows its journal holds beyond the arrays."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from trajectory.errors import StoreError
from trajectory.schema.layout import Event, RowColumns, read_root
from trajectory.storage import journal
from trajectory.storage.backend import Place


class Tail:
    """The journal's records, sorted out: rows (n, width), scalars by step, events."""

    def __init__(self, records: Iterable[tuple[bytes, bytes]], columns: RowColumns):
        rows = [np.empty((0, columns.width))]
        self.metrics: dict[int, dict[str, float]] = {}
        self.events: list[Event] = []
        for kind, payload in records:
            if kind == journal.ROWS:
                rows.append(np.frombuffer(payload, dtype="<f8").reshape(-1, columns.width))
            elif kind == journal.METRICS:
                for step, scalars in journal.decode(payload):
                    self.metrics.setdefault(step, {}).update(scalars)
            else:
                self.events.append(Event(*journal.decode(payload)))
        self.rows = np.concatenate(rows)


def read(place: Place) -> tuple[Mapping[str, Any], Tail]:
    """The facts of the store there and its tail.

    A running recorder may commit between the two reads and remove the journal: then both are read again.
    Raises StoreError if there is no run of a known format, or its journal is missing.
    """
    facts = read_root(place)["attributes"]["ultraslow"]
    for _ in range(10):
        columns = RowColumns.of(facts)
        if facts["journal"] is None:
            return facts, Tail([], columns)
        try:
            records: bytes | None = place.read_journal(facts["journal"])
        except FileNotFoundError:
            records = None
        before, facts = facts, read_root(place)["attributes"]["ultraslow"]
        if records is not None and facts["journal"] == before["journal"]:
            return before, Tail(journal.read(records), columns)
    raise StoreError(f"{place.path}: its journal.{facts['journal']} is missing; restore the whole run")
