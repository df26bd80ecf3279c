"""What a recorder calls to write a run, whether or not its rank writes the rows."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from trajectory.schema.layout import Event


class RunWriter(Protocol):
    """The writer of one rank: a `StoreWriter` on the first, which writes everything; else a `NonWritingRank`."""

    @property
    def id(self) -> str | None:
        """The run's id; None on a rank that does not write rows."""

    @property
    def origin_norm(self) -> float:
        """‖w_0‖ over the measured parameters."""

    @property
    def events(self) -> Sequence[Event]:
        """All events so far, in order; none on a rank that does not write rows."""

    @property
    def metric_arrays(self) -> Mapping[str, str]:
        """The arrays of the metrics by the metric's name; none on a rank that does not write rows."""

    @property
    def written(self) -> tuple[int, int]:
        """How many snapshots, and how many origins' weights, this rank has written its share of."""

    def append_rows(self, rows: np.ndarray) -> None:
        """Add recorded steps.

        Args:
            rows: float64 (n, width), columns as in `RowColumns`.
        """

    def append_metrics(self, entries: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        """Add scalars; several entries of one step end up in one row.

        Args:
            entries: (step, scalars by name).
        """

    def append_event(self, event: Event) -> None:
        """Add an event.

        Args:
            event: what happened.
        """

    def append_snapshot(self, step: int, weights: np.ndarray, buffers: np.ndarray) -> None:
        """Add a snapshot, or this rank's shards of it.

        Args:
            step: the number of updates made.
            weights: the weights that this rank stores, flat (n,).
            buffers: all buffers' bytes, uint8 (n,).
        """

    def append_origin(self, step: int, weights: np.ndarray) -> None:
        """Save the weights that distances are measured from, or this rank's shards of them; in order of step.

        Args:
            step: the origin.
            weights: the weights that this rank stores, flat (n,).
        """

    def append_sketch(self, step: int, values: np.ndarray) -> None:
        """Add a sketch.

        Args:
            step: the number of updates made.
            values: (layer, bucket).
        """

    def commit_shards(self, snapshots: int, origins: int) -> None:
        """Make the first snapshots and origins visible, which every rank has written its shards of.

        Args:
            snapshots: how many snapshots.
            origins: how many origins.
        """

    def origins(self, last: int) -> dict[int, np.ndarray]:
        """Read the weights that distances are measured from, as `append_origin` got them.

        Args:
            last: the last step to read.

        Returns:
            This rank's weights at w_0 and at the origins up to `last`, flat, by step.

        Raises:
            StoreError: stored bytes are damaged or missing.
        """

    def scalars(self, step: int) -> dict[str, float]:
        """Return what was logged at a step, if that is the newest step that anything was logged at.

        Args:
            step: the number of updates made.

        Returns:
            The scalars by name.
        """

    def check_step(self, step: int, events: int | None = None) -> None:
        """Check that the recorded rows go on to a step without a gap, so that the run can be resumed there.

        Args:
            step: the number of updates made.
            events: how many events were filed by then; None if that is not known.

        Raises:
            StoreError: a row or an event is missing that was to be recorded until then.
        """

    def cut(self, step: int, events: int | None = None) -> None:
        """Take back what was recorded after a step; the run then resumes from there.

        Args:
            step: the last step that stays.
            events: how many events stay; None: all up to `step`.
        """

    def sync(self, *, durable: bool = False) -> None:
        """Wait until everything appended so far outlives the process.

        Args:
            durable: whether it is to survive a power cut as well.
        """

    def close(self, status: str) -> None:
        """End the recording.

        Args:
            status: `complete`, or why it ended.
        """

    def release(self) -> None:
        """Stop writing and leave the store as it is."""
