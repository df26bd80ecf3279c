"""A recording under way: what a training loop tells it, and how it goes on and ends."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn, Self

from torch import Tensor, nn
from torch.optim import Optimizer

from trajectory.errors import RecordingError, StoreError
from trajectory.recording.optimizers import Optimizers
from trajectory.recording.options import RecordingOptions
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.resume import check_state
from trajectory.recording.rows import Rows
from trajectory.recording.session import Session
from trajectory.recording.unclosed import STATUS, finish_in_the_end, unclosed_at
from trajectory.recording.update_counter import UpdateCounter
from trajectory.storage.backend import Backend
from trajectory.storage.location import StoreLike, open_backend


class Recording:
    """What `Recorder` does, once its options are known.

    Args:
        path: The store's folder, URL, or a Zarr store.
        model: The model that is trained.
        optimizers: Those whose steps are counted, in the order in which they step; none if the loop calls `update`.
        options: How it is recorded.
    """

    def __init__(self, path: StoreLike, model: nn.Module, optimizers: Sequence[Optimizer], options: RecordingOptions):
        self._options = options
        backend = open_backend(path)
        _close_earlier(backend, options)
        try:
            self._begin(backend, model, optimizers, options)
        except BaseException:  # for a later attempt, also while a traceback holds what was made of this one
            self._abandon()
            backend.unlock()
            raise

    def _begin(
        self, backend: Backend, model: nn.Module, optimizers: Sequence[Optimizer], options: RecordingOptions
    ) -> None:
        self._session = session = Session.begin(backend, model, options)
        self.path, self.origin_norm = backend.location, session.origin_norm
        self.parameter_specs = session.tracked.parameter_specs
        self._pipeline = Pipeline(session, model, options)
        self._updates = UpdateCounter(model, session, self._pipeline, owner=self)
        self._end = finish_in_the_end(self, backend.location, self._pipeline.close_forgotten)
        self._updates.count(optimizers)
        if session.ranks.is_replica:
            self._pipeline.step = options.step or 0
        elif not session.resumes:
            self._pipeline.start()
            self._updates.begin()
        elif options.step:
            self._rewind(options.step)
        else:
            self._updates.await_step()

    def _abandon(self) -> None:
        """Count no more updates of a recorder that could not be made."""
        if hasattr(self, "_updates"):
            self._updates.remove()
            self._pipeline.abandon()
        if hasattr(self, "_end"):
            self._end.detach()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(RecordingError):  # the error in flight is the one to report
            self._close(f"interrupted ({kind.__name__})", collective=False)  # the other ranks may go on

    @property
    def step(self) -> int:
        """The number t of updates made."""
        return self._pipeline.made(self._updates.rounds)

    @property
    def origins(self) -> list[int]:
        """The steps t_w that distances are measured from, 0 first."""
        return [0, *self._options.origins]

    def log(self, **scalars: float | Tensor) -> None:
        """File scalars under the current step t.

        Args:
            **scalars: Numbers by name. A tensor (one element) stays on its device, so that nothing waits for it.

        Raises:
            RecordingError: A tensor has several elements, or the recorder is closed.
            StoreError: No metric can have that name.
        """
        self._refuse_if_ended()
        self._pipeline.reports.log(self._pipeline.step, scalars)

    def event(self, name: str, **details: object) -> None:
        """File something that happened after the current number of updates.

        Args:
            name: The kind of event. A drop of the learning rate is `event("lr_drop", lr_from=..., lr_to=...)`,
                filed before the first update at the new rate.
            **details: What else is to be known of it, in types that JSON can hold.

        Raises:
            RecordingError: The name is no string, or the recorder is closed.
        """
        self._refuse_if_ended()
        self._pipeline.reports.event(self._pipeline.step, name, details)

    def replayed(self) -> None:
        """Count the step of a CUDA graph that was replayed on the current stream.

        Raises:
            RecordingError: The recorder is not capturable, or is closed, or recording has failed.
        """
        if not self._options.capturable:
            self._refuse_if_closed()
            raise RecordingError(f"{self.path}: replayed() without capturable=True; give it to the Recorder")
        self._updates.count_replayed()

    def update(self, *, learning_rate: float | Tensor | None = None) -> None:
        """Count and record the update of the weights just made, where no optimizer's steps are counted.

        Args:
            learning_rate: The rate that it was made with, which is filed as the metric "learning_rate"; None if there
                is none to file.

        Raises:
            RecordingError: The steps of an optimizer are counted, the recorder is closed, or recording has failed.

        Examples:
            >>> import torch
            >>> from trajectory import Recorder, Run
            >>> model = torch.nn.Linear(2, 1, bias=False)
            >>> with Recorder("by_hand.zarr", model) as recorder:
            ...     for _ in range(2):
            ...         with torch.no_grad():
            ...             model.weight += 1
            ...         recorder.update(learning_rate=0.1)
            >>> Run("by_hand.zarr").distance.round(3).tolist()
            [1.414, 2.828]
        """
        self._updates.count_reported(learning_rate)

    def follow(self, optimizer: Optimizers) -> None:
        """Count another optimizer's steps from now on, which has taken the place of those followed so far.

        Args:
            optimizer: The optimizer, or several in the order in which they step, as for `Recorder`.

        Raises:
            RecordingError: The updates are reported by `update()`, the optimizers hold none of the model's trainable
                parameters, or the recorder is closed.

        Examples:
            >>> import torch
            >>> from trajectory import Recorder, Run
            >>> model = torch.nn.Linear(2, 1)
            >>> with Recorder("rebuilt.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1)) as recorder:
            ...     for epoch in range(3):
            ...         optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            ...         recorder.follow(optimizer)
            ...         model(torch.ones(1, 2)).sum().backward()
            ...         optimizer.step()
            >>> len(Run("rebuilt.zarr").distance)
            3
        """
        self._refuse_if_closed(awaits_step=True)
        self._updates.follow(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the recording in plain types, to be saved in the training's checkpoint.

        Waits until everything recorded so far would survive a power cut.
        """
        self._refuse_if_closed()
        self.flush()
        store = self._session.store
        lr = self._pipeline.lr
        return {"run": store.id, "step": self.step, "events": len(store.events), "rate": lr.rate, "fall": lr.fall}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state; what was recorded after it is taken back, in one commit.

        Args:
            state: What `state_dict()` has returned. The model's and the optimizer's states are to be loaded
                besides, before or after.

        Raises:
            RecordingError: The state is of another run than the one at `path`, or none that `state_dict()` returns.
            StoreError: The store lacks a row that was recorded until then.
        """
        self._refuse_if_closed(awaits_step=True)
        check_state(state, self.path)
        if self._session.ranks.is_replica:
            self._pipeline.step = state["step"]
            return
        self._session.check_run(state["run"])
        if self._pipeline.started:
            self.flush()
        self._rewind(state["step"], events=state["events"])
        self._pipeline.lr.rate, self._pipeline.lr.fall = state["rate"], state.get("fall", 0.0)

    def subscribe(self, receive: Callable[[Rows], None]) -> None:
        """Pass every flushed block of rows to a function, in order, in the training thread.

        Args:
            receive: Called with the rows.
        """
        self._pipeline.delivery.rows.subscribers.append(receive)

    def flush(self, *, wait: bool = True) -> None:
        """Send what was recorded so far to the store and to subscribers.

        Args:
            wait: Whether to wait until all of it would survive a power cut. Otherwise rows that have not arrived from
                the device yet are passed on by a later flush.

        Raises:
            RecordingError: Recording has failed, or the recorder is closed.
        """
        if self._pipeline.closing:
            return  # a subscriber asks for it while `close` does it
        self._refuse_if_closed(awaits_step=True)
        self._pipeline.delivery.flush(wait=wait)

    def drain(self) -> None:
        """Call `flush(wait=False)`, whose former name this is."""
        warnings.warn("Recorder.drain() is now flush(wait=False)", DeprecationWarning, stacklevel=2)
        self.flush(wait=False)

    def close(self, status: str = "complete") -> None:
        """Flush, mark how the run ended, and remove the hook; further calls do nothing.

        What was recorded survives a power cut from then on.

        Args:
            status: How the run ended.

        Raises:
            RecordingError: Recording has failed.
        """
        self._close(status, collective=True)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise RecordingError(
            f"{self.path}: a Recorder cannot be copied or pickled, since it writes one run; keep it outside of what"
            " is copied"
        )

    def _close(self, status: str, *, collective: bool) -> None:
        if self._pipeline.delivery.ended:
            return
        try:
            try:
                self._look_back(collective)
            except BaseException:  # as `finish_if_interrupted` does, before whose first line an interrupt can come
                with suppress(Exception):
                    self._look_back(collective)
                raise
        finally:
            self._updates.remove()
            self._pipeline.close(status, collective=collective)
            self._end.detach()

    def _look_back(self, collective: bool) -> None:
        self._updates.catch_up()
        if collective:
            self._updates.at_end()

    def _rewind(self, step: int, events: int | None = None) -> None:
        """Continue after `step` updates, when `events` had been filed."""
        self._updates.await_step()  # also if an interrupt ends this
        self._pipeline.rewind(step, events=events)
        self._updates.resume()

    def _refuse_if_ended(self) -> None:
        if not self._pipeline.closing:  # then a subscriber is told of the last rows, and may file what follows
            self._refuse_if_closed()

    def _refuse_if_closed(self, *, awaits_step: bool = False) -> None:
        self._pipeline.check_open(awaits_step=awaits_step)
        self._updates.catch_up()


def _close_earlier(backend: Backend, options: RecordingOptions) -> None:
    """Close the recorder that still writes at a place, as a notebook's cell leaves it there that is run again.

    Raises:
        StoreError: The run there is neither to be replaced nor to be resumed.
    """
    for earlier in unclosed_at(backend.location):
        if earlier._pipeline.delivery.ended or backend.is_free():  # after a failure, or its folder has gone
            continue
        if not (options.overwrite or options.resume != "never"):
            raise StoreError(
                f"{backend.path}: an earlier recorder of this program is still recording there, after update"
                f" {earlier.step}; close() it and choose another path, or give overwrite=True, which replaces its run"
            )
        warnings.warn(
            f"{backend.path}: an earlier recorder of this program was still recording there, after update"
            f" {earlier.step}; it is closed, and its run is {'replaced' if options.overwrite else 'resumed'}",
            RuntimeWarning,
            stacklevel=4,
        )
        with suppress(RecordingError):  # its run is given up
            earlier._close(STATUS, collective=False)
