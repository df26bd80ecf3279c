"""The state of a store's recording: one commit of rows, scalars, snapshots and events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajectory.schema import entries
from trajectory.schema.entries import Entries, Kind
from trajectory.schema.layout import Event

RECORDING = "recording"
STATE_KEYS = frozenset({"status", "committed", "journal", "events"})  # of the root's `ultraslow` attribute


@dataclass(frozen=True)
class Commit:
    """What the root says of the state of the recording.

    Attributes:
        status: `recording`, `complete`, or `interrupted (...)`.
        steps: the rows that the arrays over `step` hold.
        metrics: likewise of the group `metrics`.
        snapshots: likewise of the group `snapshots`.
        origins: the copies of weights that distances are measured from, w_0's among them.
        sketches: likewise of the group `sketches`.
        generation: the number of the journal that continues the arrays.
        events: all events up to the commit.
    """

    status: str = RECORDING
    steps: int = 0
    metrics: int = 0
    snapshots: int = 0
    origins: int = 0
    sketches: int = 0
    generation: int = 0
    events: tuple[Event, ...] = ()

    @property
    def journal(self) -> int | None:
        """The number of the journal that holds the newest rows; None once the run was closed."""
        return self.generation if self.status == RECORDING else None

    def to_json(self) -> dict[str, Any]:
        """Return the entries in the root's `ultraslow` attribute."""
        return {
            "status": self.status,
            "committed": {
                "step": self.steps,
                "metrics": self.metrics,
                "snapshots": self.snapshots,
                "origins": self.origins,
                "sketches": self.sketches,
            },
            "journal": self.journal,
            "events": [[event.step, event.name, event.details] for event in self.events],
        }

    @staticmethod
    def from_json(values: Mapping[str, Any], path: object) -> "Commit":
        """Parse the root's `ultraslow` attribute.

        Args:
            values: the attribute.
            path: the store's path, for messages.

        Returns:
            The commit.

        Raises:
            StoreError: an entry is missing or of another type; the message names it.
        """
        root, counts = Entries(values, path), Entries(values, path).nested("committed")
        return Commit(
            status=root.get("status", entries.text),
            steps=counts.get("step", entries.count),
            metrics=counts.get("metrics", entries.count),
            snapshots=counts.get("snapshots", entries.count),
            origins=counts.get_or("origins", 0, entries.count),
            sketches=counts.get_or("sketches", 0, entries.count),
            generation=root.get("journal", entries.optional_count) or 0,
            events=root.get("events", _events),
        )


def table_of(name: str, node: Mapping[str, Any]) -> str | None:
    """Return the key of `committed` that counts an array's rows.

    Args:
        name: the array's path in the store.
        node: its metadata.

    Returns:
        The key; None for what has no row for each step.
    """
    if node["node_type"] != "array":
        return None
    group = name.rpartition("/")[0]
    return group if group else "step" if node["dimension_names"][0] == "step" else None


_events = Kind(
    "a list of [step, name, details]",
    lambda value: tuple(
        Event(entries.count(step), entries.text(name), entries.mapping(details)) for step, name, details in value
    ),
)
