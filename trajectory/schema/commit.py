"""What a store's root says of its state: one commit of rows, scalars, snapshots and events."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trajectory.schema.layout import Event

RECORDING = "recording"


@dataclass(frozen=True)
class Commit:
    """What the root says of the store's state."""

    status: str = RECORDING
    steps: int = 0
    metrics: int = 0
    snapshots: int = 0
    origins: int = 0  # further ones' weights kept, and w_0's
    sketches: int = 0
    generation: int = 0
    events: tuple[Event, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The entries in the root's attributes."""
        return {
            "status": self.status,
            "committed": {
                "step": self.steps,
                "metrics": self.metrics,
                "snapshots": self.snapshots,
                "origins": self.origins,
                "sketches": self.sketches,
            },
            "journal": self.generation if self.status == RECORDING else None,
            "events": [[event.step, event.name, event.details] for event in self.events],
        }

    @staticmethod
    def from_json(facts: Mapping[str, Any]) -> "Commit":
        """The inverse of `to_json`."""
        counts = facts["committed"]
        events = tuple(Event(*entry) for entry in facts["events"])
        return Commit(
            status=facts["status"],
            steps=counts["step"],
            metrics=counts["metrics"],
            snapshots=counts["snapshots"],
            origins=counts.get("origins", 0),
            sketches=counts.get("sketches", 0),
            generation=facts["journal"] or 0,
            events=events,
        )


def table_of(name: str, node: Mapping[str, Any]) -> str | None:
    """The key of `committed` that counts an array's rows; None for what has no row for each step."""
    if node["node_type"] != "array":
        return None
    group = name.rpartition("/")[0]
    return group if group else "step" if node["dimension_names"][0] == "step" else None
