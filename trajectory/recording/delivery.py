"""The way of what was recorded to the store, and its end."""

from functools import partial

from torch import nn

from trajectory.errors import RecordingError
from trajectory.recording.options import RecordingOptions
from trajectory.recording.row_buffer import RowBuffer
from trajectory.recording.session import Session
from trajectory.recording.snapshot_writer import SnapshotWriter
from trajectory.recording.worker import Call
from trajectory.recording.writer_thread import WriterThread
from trajectory.signals import is_raised_by_handler


class Delivery:
    """Brings rows, scalars, events and copies of the weights to the store, by threads of its own.

    Args:
        session: The recording.
        model: The model, whose buffers are saved in snapshots.
        options: The recorder's options.

    Attributes:
        thread: Writes rows, scalars and events, and keeps what has failed.
        rows: The rows and scalars that the thread has not been given yet.
        snapshots: Writes copies of the weights.
        ended: Whether nothing is left to be closed.
    """

    def __init__(self, session: Session, model: nn.Module, options: RecordingOptions):
        self.thread = WriterThread(session.path, options.on_error)
        self.rows = RowBuffer(session, self.thread, capturable=options.capturable, on_error=options.on_error)
        self.snapshots = SnapshotWriter(session, model, self.thread.failures.append)
        self.ended = False
        self._store, self._sharded, self._options = session.store, session.ranks.sharded, options
        self._synced: Call | None = None
        self._closing: Call | None = None

    def send(self, *, wait: bool) -> None:
        """Send what was recorded so far to the store and to subscribers.

        Args:
            wait: Whether to wait until all of it would survive a power cut.
        """
        if wait:
            self.snapshots.wait()
        if wait and self._sharded:
            self.thread.wait()  # so that the ranks count the shards written until now
        self.rows.flush()
        self.rows.dispatch(wait=wait)
        if wait or self._synced is None or self._synced.done:  # a slow store gets fewer and larger pieces
            durable = wait or self._options.durable
            self._synced = self.thread.call(partial(self._store.sync, durable=durable))
        if wait:
            self.thread.wait()

    def flush(self, *, wait: bool) -> None:
        """Send what was recorded so far, and raise or warn of what has failed.

        Args:
            wait: Whether to wait until all of it would survive a power cut.

        Raises:
            RecordingError: Recording has failed.
        """
        try:
            self.send(wait=wait)
        except Exception as error:
            self.give_up(error)
        if wait:
            self.thread.raise_failures()

    def give_up(self, error: Exception) -> None:
        """Raise an error, or warn of it and end the recording, as `on_error` says.

        Args:
            error: The error.

        Raises:
            RecordingError: Recording has failed, and `on_error` is "raise".
        """
        if self._options.on_error == "raise" or is_raised_by_handler(error):
            raise error
        self.thread.failures.append(error)
        self.thread.raise_failures()

    def close(self, status: str, failure: Exception | None, *, collective: bool) -> None:
        """Write what is on its way, and mark how the run ended.

        Args:
            status: How the run ended.
            failure: What has failed before, which is raised in the end; None if nothing has.
            collective: Whether all ranks close. Otherwise rows that are not flushed yet are lost where a model is
                sharded.

        Raises:
            RecordingError: Recording has failed.
        """
        self.snapshots.close()
        try:
            self.rows.flush(collective=collective)
            self.rows.dispatch(wait=True)
            self.rows.flush(collective=False)  # what subscribers have logged when they were told of the last rows
            self.rows.dispatch(wait=True)
        except RecordingError as error:
            failure, status = error, "interrupted (a rank ended)"
        except Exception as error:  # a subscriber's
            if is_raised_by_handler(error):
                raise
            failure = error
        self.thread.wait()
        if self._closing is None:
            status = "interrupted (recording failed)" if self.thread.failures else status
            self._closing = Call(self._store.close, status)
        self.thread.put(self._closing)
        self.thread.close()
        self.ended = True
        self.thread.raise_failures()
        if failure:
            raise failure

    def abandon(self) -> None:
        """Leave the store as it is."""
        self.snapshots.close()
        self.thread.close()
        self._store.release()
        self.ended = True
