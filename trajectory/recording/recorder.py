"""`Recorder`: the hook in a training loop that records ‖w_t − w_0‖ and weights in a Zarr store."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from torch import Tensor, nn

from trajectory.errors import RecordingError
from trajectory.recording.optimizers import Optimizers, check_common, memory_time, unwrap_optimizers
from trajectory.recording.options import (
    Compression,
    RecordingOptions,
    SnapshotDtype,
    sorted_quantities,
)
from trajectory.recording.pipeline import Pipeline
from trajectory.recording.resume import Resume, check_state
from trajectory.recording.row_buffer import Rows
from trajectory.recording.session import Session
from trajectory.recording.unclosed import finish_in_the_end
from trajectory.recording.update_counter import UpdateCounter
from trajectory.recording.writer_thread import OnError
from trajectory.schedule import LogSpaced, Schedule, as_schedule, origin_steps
from trajectory.schema.layout import QUANTITIES
from trajectory.schema.parameter_groups import GroupBy
from trajectory.storage.backend import StoreLike, open_backend

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch.distributed import ProcessGroup

_SKETCHED = LogSpaced(12)


class Recorder:
    """Records every update of a model into a new store, by a hook on its optimizer, or on its optimizers.

    w_0 is the model at construction; t counts the updates since. With one optimizer an update is its step. With
    several it is a round, which ends with the step of the optimizer listed last: the row is taken then, and the
    others are to step before it. Without an optimizer an update is what the loop reports by `update()`.

    Distances are computed on the parameters' device, kept there in a ring, and flushed every 64 updates; nothing in a
    step waits for the device, and neither weights nor random state are touched. A killed process loses at most what
    was not flushed; a program that ends without `close()` loses nothing, and its run is `interrupted (not closed)`.

    An update that a GradScaler skips is none: t does not count it. A fused optimizer skips by itself, after the step
    has begun: that step is counted, and marked by the event "skipped_update".

    Where torch.distributed is initialized, every rank makes a Recorder alike. The first rank writes rows, scalars
    and events and calls subscribers. The ranks of copies of a model (DistributedDataParallel) only count steps and
    never communicate. The ranks of shards of a model (fully_shard, any DTensor) add up their sums of squares once a
    flush, and each writes its shards of a snapshot. There, all ranks must construct, flush and close their
    recorders after the same update, as torch's collectives ask; if one is missing, the others end with the process
    group's timeout.

    Args:
        path: The store's folder (`runs/sb.zarr`), which is created with its parents; or a URL
            (`s3://bucket/sb.zarr`) that obstore or fsspec opens; or a Zarr store. A relative folder is that of the
            present working directory, also after `os.chdir`. Writes to the last two lag behind: the training waits
            only if hundreds of blocks are on their way.
        model: The model that is trained.
        optimizer: The optimizer whose steps are counted; or the model's optimizers, in the order in which they step
            (`[muon, adamw]`). Without one, the loop calls `update()` after each update: weights that are updated by
            hand, in the backward pass, or by something that steps an optimizer and then moves them on. A warning
            and the event "uncovered_parameters" name measured parameters that no optimizer here holds.
        schedule: The steps that are recorded: an int n for every n-th, or a schedule.
        quantities: What is recorded of them, in total and by parameter: "distance" ‖w_t − w_0‖, always; and by
            choice "norm" ‖w_t‖, "update_norm" ‖w_t − w_{t−1}‖, which takes one more copy of the weights, and
            "grad_norm" ‖g_t‖ of the gradient as `p.grad` holds it after the optimizer's step, clipped if it was
            clipped. A parameter without a gradient counts 0; the norm is NaN if none has one.
        group_by: What is measured apart from the total: each "parameter"; each "module"; or groups, by a function
            from a parameter's name to its group's name.
        include: Patterns of parameters' names, such as "*.bias", to measure; None for all. Totals are over these
            alone. Snapshots hold all parameters.
        exclude: Patterns of parameters' names to leave out. Those without dense weights of their own (lazy, meta,
            sparse) are left out of snapshots as well.
        frozen: Whether parameters with requires_grad=False are recorded from the start as all others are, which
            takes a copy of their weights. Otherwise they are left out; one that is unfrozen later counts in the
            totals from then on.
        snapshots: The steps whose weights and buffers are saved; None for none. Parameters that are frozen at the
            start are saved with frozen=True alone. Each snapshot carries a hash, which `verify` checks.
        snapshot_dtype: "float32" saves weights as they are (float64 if a parameter is); "bfloat16" rounds them to
            half the bytes.
        compression: "zstd" compresses snapshots without loss; docs/recording.md says what it gains.
        origins: Steps t_w other than 0 to measure from, listed or a schedule with an end
            (`LogSpaced(1, until=10**5)`): ‖w_t − w_{t_w}‖ at every recorded t > t_w. Each takes one copy of the
            measured weights (float32 or wider) from t_w on, and as much time as the distance from w_0. A text such as
            "5tau" is a multiple of τ = (1 − μ)/(ηλ), with the optimizer's settings at the start; laws are expected
            from five on.
        max_origins: The largest number of origins, so that no copy comes as a surprise late in a run.
        sketch: The size K of a count sketch of each layer, from which `Run.pairwise_distance` gives ‖w_s − w_t‖ of
            any two sketched steps to about 1/√(2K) (4096: 1 %); 0 for none. It takes 4 K bytes a layer on the disk.
        sketches: The steps that sketches are taken at, twelve a decade by default. Each hashes the index of every
            weight.
        config: A mapping that JSON can hold, or a dataclass: the user's description of the run. Figures and
            diagnostics read these entries if they are there: "label" (the run's name in a legend), "dataset" and
            "network" (names), "batch_size" (samples), "lr" (the first learning rate), "momentum", "weight_decay".
        seed: The run's seed, for the record.
        overwrite: Whether to replace a run at the path.
        resume: "never" begins a new run; "allow" resumes the run at the path if there is one; "must" refuses to
            begin a new one. `load_state_dict` or `step` say at which step; what was recorded after it is taken
            back. w_0, the origins' weights, config and seed are those in the store.
        step: The number of updates that the model has made, if no `state_dict()` was saved; 0 starts the run over.
        on_error: What a failure of the disk does at the next step: "raise" RecordingError, or "warn" and let the
            training continue unrecorded. What was written before stays readable either way.
        process_group: The ranks that train this model; None for all of torch.distributed's.
        capturable: Whether the optimizer's step may be captured in a CUDA graph. A replay runs no hook, so the loop
            calls `replayed()` after each. Every update is recorded, from w_0 alone. On CUDA only.
        durable: Whether every block of 64 updates survives a power cut as soon as it is written, at the price of a
            sync of the disk a block, which no step waits for. By default `flush()`, `state_dict()` and `close()` make
            durable what was recorded until then.

    Raises:
        StoreError: The path is taken or cannot be written.
        RecordingError: The model has no trainable real parameters, the optimizers hold none of them, or an argument
            is not as documented.

    Examples:
        >>> import torch
        >>> from trajectory import Recorder, Run
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> with Recorder("run.zarr", model, optimizer, quantities=["distance", "norm"]) as recorder:
        ...     for _ in range(3):
        ...         loss = model(torch.ones(4, 2)).square().mean()
        ...         optimizer.zero_grad()
        ...         loss.backward()
        ...         optimizer.step()
        ...         recorder.log(loss=loss)
        >>> run = Run("run.zarr")
        >>> run.distance.index.tolist(), list(run.metrics)
        ([1, 2, 3], ['learning_rate', 'loss'])
    """

    def __init__(
        self,
        path: StoreLike,
        model: nn.Module,
        optimizer: Optimizers = None,
        *,
        schedule: Schedule | int = 1,
        quantities: Iterable[str] = QUANTITIES[:1],
        group_by: GroupBy = "parameter",
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] = (),
        frozen: bool = False,
        snapshots: Schedule | int | None = None,
        snapshot_dtype: SnapshotDtype = "float32",
        compression: Compression | None = None,
        origins: Iterable[int | str] = (),
        max_origins: int = 8,
        sketch: int = 0,
        sketches: Schedule | int = _SKETCHED,
        config: "Mapping[str, Any] | DataclassInstance | None" = None,
        seed: int | None = None,
        overwrite: bool = False,
        resume: Resume = "never",
        step: int | None = None,
        on_error: OnError = "raise",
        process_group: "ProcessGroup | None" = None,
        capturable: bool = False,
        durable: bool = False,
    ):
        optimizers = unwrap_optimizers(optimizer)
        check_common(model, optimizers)
        self._options = options = RecordingOptions(
            schedule=as_schedule(schedule),
            quantities=sorted_quantities(quantities),
            group_by=group_by,
            include=include,
            exclude=exclude,
            frozen=frozen,
            snapshots=() if snapshots is None else as_schedule(snapshots),
            snapshot_dtype=snapshot_dtype,
            compression=compression,
            origins=origin_steps(origins, memory_time(optimizers)),
            max_origins=max_origins,
            sketch=sketch,
            sketches=as_schedule(sketches) if sketch else (),
            config=config,
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            step=step,
            on_error=on_error,
            process_group=process_group,
            capturable=capturable,
            durable=durable,
        )
        backend = open_backend(path)
        self._session = session = Session.begin(backend, model, options)
        self.path, self.origin_norm = backend.location, session.origin_norm
        self.parameter_specs = session.tracked.parameter_specs
        self._pipeline = Pipeline(session, model, options)
        self._end = finish_in_the_end(self, self._pipeline.close_forgotten)
        self._updates = UpdateCounter(model, optimizers, session, self._pipeline, owner=self)
        if session.ranks.is_replica:
            self._pipeline.step = step or 0
        elif not session.resumes:
            self._pipeline.start()
            self._updates.begin()
        elif step:
            try:
                self._rewind(step)
            except BaseException:
                self.close()  # for a later attempt
                raise
        else:
            self._updates.await_step()

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
        self._refuse_if_closed()
        self._pipeline.log(scalars)

    def event(self, name: str, **details: object) -> None:
        """File something that happened after the current number of updates.

        Args:
            name: The kind of event. A drop of the learning rate is `event("lr_drop", lr_from=..., lr_to=...)`,
                filed before the first update at the new rate.
            **details: What else is to be known of it, in types that JSON can hold.

        Raises:
            RecordingError: The recorder is closed.
        """
        self._refuse_if_closed()
        self._pipeline.event(name, details)

    def replayed(self) -> None:
        """Count the step of a CUDA graph that was replayed on the current stream.

        Raises:
            RecordingError: The recorder is not capturable, or is closed, or recording has failed.
        """
        self._refuse_if_closed()
        if not self._options.capturable:
            raise RecordingError(f"{self.path}: replayed() without capturable=True; give it to the Recorder")
        self._pipeline.update(self._updates.rate(), measured=True)

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
        self._refuse_if_closed()
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
        self._pipeline.subscribe(receive)

    def flush(self, *, wait: bool = True) -> None:
        """Send what was recorded so far to the store and to subscribers.

        Args:
            wait: Whether to wait until all of it would survive a power cut. Otherwise rows that have not arrived from
                the device yet are passed on by a later flush.

        Raises:
            RecordingError: Recording has failed, or the recorder is closed.
        """
        self._refuse_if_closed(awaits_step=True)
        self._pipeline.flush(wait=wait)

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
        if self._pipeline.ended:
            return
        try:
            self._updates.catch_up()
            if collective:
                self._updates.at_end()
        finally:
            self._updates.remove()
            self._pipeline.close(status, collective=collective)
            self._end.detach()

    def _rewind(self, step: int, events: int | None = None) -> None:
        """Continue after `step` updates, when `events` had been filed."""
        self._pipeline.rewind(step, events=events)
        self._updates.resume()

    def _refuse_if_closed(self, *, awaits_step: bool = False) -> None:
        self._pipeline.check_open(awaits_step=awaits_step)
        self._updates.catch_up()
