"""What a store holds at a moment: the root's facts, and the rows its journal holds beyond the arrays."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from trajectory import journal
from trajectory.errors import StoreError
from trajectory.layout import Event, RowColumns, journal_path, read_root


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


def read(path: Path) -> tuple[Mapping[str, Any], Tail]:
    """The facts of the store at `path` and its tail.

    A running recorder may commit between the two reads and remove the journal: then both are read again.
    Raises StoreError if there is no run of a known format, or its journal is missing.
    """
    for _ in range(10):
        facts = read_root(path)["attributes"]["ultraslow"]
        columns = RowColumns.of(facts)
        if facts["journal"] is None:
            return facts, Tail([], columns)
        try:
            return facts, Tail(journal.read(journal_path(path, facts["journal"])), columns)
        except FileNotFoundError:
            continue
    raise StoreError(f"{path}: its journal.{facts['journal']} is missing; restore the whole folder of the run")
