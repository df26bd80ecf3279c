"""`Recorder`: the hook in a training loop that streams ‖w_t − w_0‖ and weights to a Zarr store."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from trajectory.errors import RecordingError, StoreError
from trajectory.measure.count_sketch import SEED as SKETCH_SEED
from trajectory.measure.count_sketch import sketches as sketches_of
from trajectory.measure.host_copy import HostCopy, is_capturing
from trajectory.measure.observables import Observables, squared_norms
from trajectory.measure.ranks import Ranks
from trajectory.measure.tracked_parameters import Subject
from trajectory.recording.options import buckets, chosen_quantities, further_origins, hooked, plain, snapshot_form
from trajectory.recording.provenance import provenance
from trajectory.recording.resume import Resume, is_resumed, reopen
from trajectory.recording.row_buffer import BLOCK, NON_FINITE, RATE, Rows, Stream
from trajectory.recording.snapshot_writer import SnapshotWriter
from trajectory.recording.writer_thread import Background, OnError
from trajectory.schedule import Every, LogSpaced, Schedule, as_schedule
from trajectory.schema.layout import QUANTITIES, Event
from trajectory.schema.metadata import RunMetadata, SketchFormat
from trajectory.schema.parameter_groups import GroupBy
from trajectory.schema.shards import check_cover
from trajectory.storage.backend import StoreLike, open_backend
from trajectory.storage.non_writing_rank import NonWritingRank
from trajectory.storage.run_writer import RunWriter
from trajectory.storage.writer import StoreWriter

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

_SKETCHED = LogSpaced(12)
_SHARP_DROP = 1.5  # a rate that falls by this factor between two updates is a drop, not a smooth decay


class Recorder:
    """Records every optimizer step of `model` into a new store at `path`, by a hook on `optimizer`.

    w_0 is the model at construction; t counts the optimizer's steps since. Distances are computed on
    the parameters' device, kept there in a ring, and drained every 64 updates; nothing in a step waits for
    the device, and neither weights nor random state are touched. A killed process loses at most what was
    not drained.

    With a GradScaler, an update that it skips is none: t does not count it. A fused optimizer skips by itself, after
    the step has begun: that one is counted, and marked by the event "skipped_update".

    path: the store's folder (`runs/sb.zarr`), created with its parents; or a URL (`s3://bucket/sb.zarr`) that
        obstore or fsspec opens, or a Zarr store. Writes to those two lag behind; a block's rows are put there
        together, and the training waits only if hundreds of blocks are on their way.
    schedule: steps that are recorded: an int n for every n, or a schedule; default every step.
    quantities: what is recorded of them, in total and by parameter: "distance" ‖w_t − w_0‖, always, and by
        choice "norm" ‖w_t‖, "update_norm" ‖w_t − w_{t−1}‖ (one more copy of the weights, taken before each
        recorded step) and "grad_norm" ‖g_t‖, the gradient as `p.grad` holds it when the optimizer has made
        its step: clipped, if it was clipped. A parameter without a gradient counts 0; NaN if none has one.
    group_by: "parameter", or by "module", or a function from a parameter's name to its group's: then sums of
        squares within a group take the parameters' place.
    include, exclude: patterns of parameters' names, such as "*.bias"; only those that match one of include
        (default all) and none of exclude are measured, and totals are over these alone. Snapshots hold all.
    snapshots: steps whose weights and buffers are kept, likewise; default none. Frozen parameters are
        not stored. Each carries a hash, which `verify` checks.
    snapshot_dtype: "float32" keeps weights as they are (float64 if a parameter is), "bfloat16" rounds them to half
        the bytes. compression: "zstd" compresses snapshots without loss; bench/snapshots.py says what it gains.
    origins: further steps t_w to measure from, listed or a schedule with an end (`LogSpaced(1, until=10**5)`):
        ‖w_t − w_{t_w}‖ for t > t_w at every recorded step. Each keeps one copy of the measured weights (in float32
        or wider) from t_w on and costs as much time as the distance from w_0. More than max_origins are refused at
        the start, so that no copy is a surprise late in a run.
    sketch: K > 0 keeps a count sketch of K numbers for each layer at the steps `sketches` (default twelve a decade),
        so that `Run.pairwise_distance` gives ‖w_s − w_t‖ between any two of them to about 1/√(2K) (K = 4096: 1 %).
        Each is 4 K bytes a layer on the disk, and takes a hash of every weight's index to make.
    config: JSON-able facts about the run, or a dataclass; seed: the run's seed. Both only for the record.
    overwrite: replace a run that is there.
    resume: "allow" goes on with the run at `path` if there is one, "must" refuses to begin a new one. Which step
        to go on from comes from `load_state_dict`, or from `step`: what was recorded after it is taken back.
        w_0, the origins' weights, config and seed are those in the store.
    step: the number of updates the model has made, if no `state_dict()` was kept; 0 starts the run over.
    on_error: what a failure of the disk does at the next step: "raise" RecordingError, or "warn", give up
        recording and let the training go on. What was written before stays readable either way.
    capturable: the optimizer's step may be captured in a CUDA graph. A replay runs no hook, so the loop calls
        `replayed()` after each. Every update is recorded, from w_0 alone.

    process_group: the ranks that train this model, if not all of torch.distributed's.

    Where torch.distributed is initialized, every rank makes a Recorder alike; the first one writes rows, scalars
    and events and calls subscribers, the others count steps. Copies of a model (DistributedDataParallel) need not
    meet: the others compute nothing. Shards of it (fully_shard, any DTensor) are summed on every rank and added up
    once a drain, and each rank writes its part of a snapshot: there, to construct, drain, flush and close are for
    all ranks after the same update, as torch's collectives are, and end with the process group's timeout if one
    is missing.

    Raises StoreError if the path is taken or cannot be written, and RecordingError if the model has no
    trainable real parameters.
    """

    def __init__(
        self,
        path: StoreLike,
        model: nn.Module,
        optimizer: Optimizer,
        *,
        schedule: Schedule | int = 1,
        quantities: Iterable[str] = QUANTITIES[:1],
        group_by: GroupBy = "parameter",
        include: str | Iterable[str] | None = None,
        exclude: str | Iterable[str] = (),
        snapshots: Schedule | int | None = None,
        snapshot_dtype: Literal["float32", "bfloat16"] = "float32",
        compression: Literal["zstd"] | None = None,
        origins: Iterable[int] = (),
        max_origins: int = 8,
        sketch: int = 0,
        sketches: Schedule | int = _SKETCHED,
        config: Any = None,
        seed: int | None = None,
        overwrite: bool = False,
        resume: Resume = "never",
        step: int | None = None,
        on_error: OnError = "raise",
        process_group: "ProcessGroup | None" = None,
        capturable: bool = False,
    ):
        self._optimizer = hooked(optimizer)
        at = open_backend(path)
        self.path = at.path
        self.step = 0
        self._background = Background(self.path, on_error)
        self._schedule = as_schedule(schedule)
        if capturable and (self._schedule != Every(1) or origins):
            raise RecordingError("capturable=True with a schedule or origins; give neither: a graph stays as it is")
        self._snapshots = () if snapshots is None else as_schedule(snapshots)
        self._buckets, self._sketches = buckets(sketch), as_schedule(sketches) if sketch else ()
        self._ranks = ranks = Ranks(model, process_group)
        if capturable and ranks.sharded:
            raise RecordingError("capturable=True with a sharded model; its sums cannot be in a graph: leave it out")
        # no update before it is known where to go on
        resumed = ranks.all_or_none(lambda: ranks.writes and is_resumed(at, resume, step))
        self._awaits_step = any(ranks.gather(resumed))
        if ranks.looks_on:
            self.step = step or 0
        self._subject = subject = Subject(model, group_by, include, exclude)
        self.parameter_specs = subject.parameter_specs
        weights, whole = list(subject.parameters.values()), list(subject.measured.values())
        self._origins = further_origins(origins, max_origins, whole)
        form = snapshot_form(snapshot_dtype, compression, subject.dtype)
        metadata = RunMetadata(
            parameters=tuple(subject.specs),
            buffers=tuple(subject.buffer_specs),
            tied=subject.tied,
            groups=subject.groups,
            quantities=tuple(chosen_quantities(quantities)),
            origins=tuple(self._origins),
            snapshot=form,
            sketch=SketchFormat(sketch, SKETCH_SEED) if sketch else SketchFormat(),
            origin_norm=0.0,
        )
        columns = metadata.columns
        ranks.agree({**asdict(columns), **self.parameter_specs, "sketch": sketch}, subject.parameters)
        measured, self._kept = ranks.share(whole), ranks.share(weights)
        squares = np.sum(ranks.gather(squared_norms(measured)), axis=0)
        origin_norms = np.sqrt(subject.groups.sum(squares, list(subject.measured)))
        origin_norm = float(np.linalg.norm(origin_norms))
        shards = ranks.shards(self._kept)
        if not ranks.looks_on:  # before there is a store that an interruption could leave open
            self._observables = Observables(measured, columns.quantities, len(self._origins))

        def begin() -> RunWriter:
            if not ranks.writes:
                unknown = ranks.looks_on and resume != "never"  # these weights may not be w_0
                return NonWritingRank(at, ranks.rank, torch.nan if unknown else origin_norm)
            if self._awaits_step:
                return reopen(at, metadata, shards)
            if ranks.sharded:
                check_cover(subject.specs, shards)
            return StoreWriter.create(
                at,
                replace(
                    metadata,
                    origin_norm=origin_norm,
                    origin_norms=tuple(origin_norms.tolist()),
                    id=uuid4().hex,
                    config=plain(config or {}),
                    seed=seed,
                    **provenance(),
                ),
                shards=shards,
                weight_dtype=str(subject.dtype).removeprefix("torch."),
                buffer_bytes=subject.buffer_bytes,
                overwrite=overwrite or step == 0,
            )

        self._store = ranks.all_or_none(begin)
        self.origin_norm = float(ranks.gather(self._store.origin_norm)[0])
        self._stream = Stream(
            self._store,
            self._background,
            ranks,
            subject.groups,
            list(subject.measured),
            columns,
            weights[0],
            capturable=capturable,
        )
        self._capturable, self._device = capturable, weights[0].device
        self._rate: float | None = None
        self._drop_filed_at = -1
        self._closed = False
        self._sync: Future[None] | None = None
        self._snapshot_thread = SnapshotWriter(
            model, self._kept, subject.dtype, getattr(torch, form.dtype or "float32"), self._store.append_snapshot
        )
        self._hook = self._optimizer.register_step_post_hook(torch.compiler.disable(self._after_step))
        self._first_hook: RemovableHandle | None = None
        if self._awaits_step:
            self._first_hook = self._optimizer.register_step_pre_hook(self._before_first_step)
            if step:
                self._go_back(step)
                self._rate = self._store.scalars(step).get(RATE)
        elif not ranks.looks_on:
            self._keep_origin()
            if 0 in self._snapshots:
                self._background.watch(self._snapshot_thread.take(0))
            if 0 in self._sketches:
                self._take_sketch()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        with suppress(RecordingError):  # the error in flight is the one to report
            self._close(f"interrupted ({kind.__name__})", together=False)  # the other ranks may go on

    @property
    def origins(self) -> list[int]:
        """The steps t_w that distances are measured from, 0 first."""
        return [0, *self._origins]

    def log(self, **scalars: float | Tensor) -> None:
        """Files scalars under the current step t. A tensor (one element) stays on its device: no sync."""
        self._refuse_if_closed()
        if not self._stream.silent:
            for name, value in scalars.items():
                self._stream.log(self.step, name, value)

    def event(self, name: str, **details: Any) -> None:
        """Files something that happened after the current number of updates.

        A learning-rate drop is `event("lr_drop", lr_from=..., lr_to=...)`, before the first update at the
        new rate.
        """
        self._refuse_if_closed()
        if self._stream.silent:
            return
        if name == "lr_drop":
            self._drop_filed_at = self.step
        self._background.call(self._store.append_event, Event(self.step, name, plain(details)))

    def replayed(self) -> None:
        """Says that a CUDA graph with one step of the optimizer in it was replayed, on the current stream."""
        self._refuse_if_closed()
        if not self._capturable:
            raise RecordingError(f"{self.path}: replayed() without capturable=True; give it to the Recorder")
        self._background.raise_failures()
        if self._ranks.looks_on:
            self.step += 1
        else:
            self._count_step()

    def state_dict(self) -> dict[str, Any]:
        """Where the recording stands, in plain types, to be kept with the weights in the training's checkpoint.

        Waits until everything recorded so far would outlive this process.
        """
        self._refuse_if_closed()
        self.flush()
        return {
            "run": self._store.id,
            "step": self.step,
            "events": len(self._store.events),
            "rate": self._rate,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `state_dict()`; what was recorded after it is taken back, in one commit.

        The model's and the optimizer's states are to be loaded besides, before or after. Raises RecordingError
        if the state is of another run than the one at `path`.
        """
        self._refuse_if_closed(awaits_step=True)
        if self._ranks.looks_on:
            self.step = state["step"]
            return
        self._ranks.all_or_none(lambda: self._refuse_another(state["run"]))
        if not self._awaits_step:
            self.flush()
        self._go_back(state["step"], events=state["events"])
        self._rate = state["rate"]

    def subscribe(self, receive: Callable[[Rows], None]) -> None:
        """Hands every drained block of rows to `receive`, in order, in the training thread."""
        self._stream.subscribers.append(receive)

    def drain(self) -> None:
        """Hands on the rows that have arrived from the device, without waiting for it."""
        self._stream.send()
        self._stream.receive(wait=False)
        if self._sync is None or self._sync.done():  # a store that lags behind gets fewer and larger pieces
            self._sync = self._background.call(self._store.sync)

    def flush(self) -> None:
        """Waits until everything recorded so far would outlive this process."""
        if self._ranks.sharded:
            self._background.wait()  # then the ranks tell each other of these parts of snapshots
        self._stream.send()
        self._stream.receive(wait=True)
        self._background.call(self._store.sync)
        self._background.wait()
        self._background.raise_failures()

    def close(self, status: str = "complete") -> None:
        """Flushes, marks how the run ended, and removes the hook. Further calls do nothing."""
        self._close(status, together=True)

    def _close(self, status: str, *, together: bool) -> None:
        """together: all ranks close. Otherwise rows not drained yet are lost where a model is sharded."""
        if self._closed:
            return
        self._closed = True
        self._hook.remove()
        self._remove_first_hook()
        if self._awaits_step:  # nothing was recorded
            self._snapshot_thread.close()
            self._background.close()
            self._store.release()
            return
        self._snapshot_thread.close()
        failure = None
        try:
            self._stream.send(together=together)
            self._stream.receive(wait=True)
        except RecordingError as error:
            failure, status = error, "interrupted (a rank ended)"
        self._background.call(
            self._store.close, "interrupted (recording failed)" if self._background.given_up else status
        )
        self._background.close()
        self._background.raise_failures()
        if failure:
            raise failure

    def _go_back(self, step: int, events: int | None = None) -> None:
        """To the moment after `step` updates, when `events` had been filed."""
        copies = self._ranks.all_or_none(lambda: self._weights_until(step))
        if self._ranks.writes:
            self._store.cut(step, events)
        self._ranks.gather(None)  # the others go on behind the cut
        if not self._ranks.writes:
            self._store.cut(step, events)
        self._observables.restore(copies)
        if self._first_hook is None:
            self._first_hook = self._optimizer.register_step_pre_hook(self._before_first_step)
        filed = self._store.events
        self._stream.finite = all(event.name != NON_FINITE for event in filed)
        self._drop_filed_at = max((event.step for event in filed if event.name == "lr_drop"), default=-1)
        self.step = step
        self._awaits_step = False

    def _weights_until(self, step: int) -> list[list[Tensor]]:
        """The measured weights at w_0 and the origins up to `step`, as they lie here."""
        copies = self._store.origins(step)
        reached = [0, *(origin for origin in self._origins if origin <= step)]
        if list(copies) != reached:
            raise StoreError(f"{self.path}: holds the weights of steps {list(copies)}, expected those of {reached}")
        sizes = [piece.numel() for piece in self._kept]
        pieces = [torch.from_numpy(flat).split(sizes) for flat in copies.values()]
        measured = [i for i, spec in enumerate(self._subject.specs) if spec.name in self._subject.measured]
        return [[flat[i].reshape(self._kept[i].shape) for i in measured] for flat in pieces]

    def _keep_origin(self) -> None:
        """Puts the weights now measured from into the store, to go on from after an interruption."""
        self._background.watch(self._snapshot_thread.keep(self.step, self._store.append_origin))

    def _before_first_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Of a resumed run: the weights to go on with are those that the update begins with."""
        self._refuse_if_closed()
        self._observables.keep()

    def _remove_first_hook(self) -> None:
        if self._first_hook is not None:
            self._first_hook.remove()
            self._first_hook = None

    @torch.no_grad()
    def _after_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._capturable and is_capturing(self._device):
            if not self._ranks.looks_on:
                self._measure()  # for the replays to do; `replayed` does the rest
            return
        self._remove_first_hook()
        self._background.raise_failures()
        if self._ranks.looks_on or (self._background.given_up and not self._ranks.sharded):
            self.step += 1
            return
        if self.step + 1 in self._schedule:
            self._measure()
        elif self.step + 2 in self._schedule:
            self._observables.keep()
        self._count_step()

    def _measure(self) -> None:
        """Writes the row of the update just made."""
        self._stream.measure(self._observables, keep=self.step + 2 in self._schedule)

    def _count_step(self) -> None:
        """What the host does for an update whose row, if it has one, is in the ring."""
        rate = self._optimizer.param_groups[0]["lr"]
        self._watch_rate(rate)
        self.step += 1
        skipped = getattr(self._optimizer, "found_inf", None)  # set by a GradScaler while a fused optimizer steps
        if isinstance(skipped, Tensor) and not self._stream.silent:
            self._stream.skipped(self.step, skipped)
        if self.step in self._schedule:
            self._stream.add_step(self.step)
            self.log(**{RATE: rate})
        if self.step in self._origins:
            self._observables.add_origin(self._origins.index(self.step))
            self._keep_origin()
        if self.step % BLOCK == 0:
            self.drain()
        if self.step in self._snapshots and not self._background.given_up:
            self._background.watch(self._snapshot_thread.take(self.step))
        if self.step in self._sketches:
            self._take_sketch()

    def _take_sketch(self) -> None:
        values = sketches_of([self._ranks.runs(members) for members in self._subject.layers], self._buckets)
        self._ranks.add(values)
        if self._stream.silent:
            return
        copy = HostCopy(values)
        self._background.call(lambda step: self._store.append_sketch(step, copy.wait().numpy()), self.step)

    def _watch_rate(self, rate: float | Tensor) -> None:
        """Files a drop that nobody filed: the update just made used a much lower rate than the one before."""
        if isinstance(rate, Tensor):
            return  # reading it would wait for the device
        if self._rate and rate * _SHARP_DROP <= self._rate and self._drop_filed_at != self.step:
            self.event("lr_drop", lr_from=self._rate, lr_to=rate, reason="seen in the optimizer")
        self._rate = rate

    def _refuse_another(self, run: str | None) -> None:
        if self._ranks.writes and run != self._store.id:
            raise RecordingError(
                f"{self.path}: is not the run the checkpoint belongs to, but another or a new one; "
                "give the path of the run that was interrupted, and resume='allow' or 'must'"
            )

    def _refuse_if_closed(self, *, awaits_step: bool = False) -> None:
        if self._closed:
            raise RecordingError(f"{self.path}: the recorder is closed; log and file events before close()")
        if self._awaits_step and not awaits_step:
            raise RecordingError(
                f"{self.path}: holds a run to go on with, but not from which step; call load_state_dict() with the "
                "checkpoint's, or give step= (0 starts over)"
            )
