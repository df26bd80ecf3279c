"""What a recorder decides once, before the first step: ranks, parameters, columns, store, and the norm of w_0."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self
from uuid import uuid4

import numpy as np
import torch
from torch import Tensor, nn

from trajectory.errors import RecordingError, StoreError
from trajectory.measure.count_sketch import SEED, count_sketches
from trajectory.measure.host_copy import has_graphs
from trajectory.measure.observables import Observables, squared_norms
from trajectory.measure.tracked_parameters import TrackedParameters
from trajectory.recording.options import RecordingOptions
from trajectory.recording.provenance import provenance
from trajectory.recording.recording_ranks import RecordingRanks
from trajectory.recording.resume import is_resumed, recorded_names, reopen
from trajectory.schema.layout import RowColumns
from trajectory.schema.metadata import RunMetadata, SketchFormat, SnapshotFormat
from trajectory.schema.shards import check_cover
from trajectory.storage.backend import Backend
from trajectory.storage.non_writing_rank import NonWritingRank
from trajectory.storage.opening import create_store
from trajectory.storage.run_writer import RunWriter


@dataclass(frozen=True)
class Session:
    """One recording of one model, as it stands from its first step to its last.

    Attributes:
        path: The store's path.
        ranks: The processes that train the model.
        tracked: The model's parameters and buffers.
        weights: The elements of all trainable parameters that this rank saves.
        columns: The columns of a recorded row.
        observables: What measures a step on this rank; None on a replica, where nothing is measured.
        store: What writes on this rank.
        origin_norm: ‖w_0‖ over the measured parameters.
        snapshot_dtype: The type of the weights in a snapshot.
        resumes: Whether the store holds a run to be resumed.
    """

    path: Path | str
    ranks: RecordingRanks
    tracked: TrackedParameters
    weights: Sequence[Tensor]
    columns: RowColumns
    observables: Observables | None
    store: RunWriter
    origin_norm: float
    snapshot_dtype: torch.dtype
    resumes: bool

    @classmethod
    def begin(cls, backend: Backend, model: nn.Module, options: RecordingOptions) -> Self:
        """Decide how a model is recorded, and create its store or reopen it.

        Args:
            backend: Where the store is or will be.
            model: The model, with the weights w_0 unless the run is resumed.
            options: The recorder's options.

        Returns:
            The session. Where the model is sharded, every rank must call this.

        Raises:
            RecordingError: The options do not fit the model or the ranks.
            StoreError: The path is taken or cannot be written, or holds another run than the one to resume.
        """
        ranks = RecordingRanks.of(model, options.process_group)
        if options.capturable and ranks.sharded:
            raise RecordingError("capturable=True with a sharded model; its sums cannot be in a graph: leave it out")
        found = ranks.raise_on_all_ranks(lambda: ranks.is_first and is_resumed(backend, options.resume, options.step))
        resumes = any(ranks.gather(found))
        names = ranks.raise_on_all_ranks(lambda: recorded_names(backend) if resumes and ranks.is_first else None)
        tracked = TrackedParameters.of(
            model,
            options.group_by,
            options.include,
            options.exclude,
            frozen=options.frozen,
            recorded=ranks.gather(names)[0],
        )
        parameters, measured = list(tracked.parameters.values()), list(tracked.measured.values())
        if options.capturable and not all(has_graphs(p.device) for p in measured):
            raise RecordingError(
                f"capturable=True with weights on the {measured[0].device.type}; CUDA alone has graphs: leave it out,"
                " and count updates that no step makes by update()"
            )
        options.check_origins(measured)
        metadata = _metadata(options, tracked)
        settings = {**asdict(metadata.columns), **tracked.parameter_specs, "sketch": options.sketch}
        ranks.check_agreement(settings, tracked.parameters)
        local = ranks.local(measured)
        squares = np.sum(ranks.gather(squared_norms(local)), axis=0)
        if not resumes:
            _check_finite(squares, list(tracked.measured))
        origin_norms = np.sqrt(tracked.groups.sum(squares, list(tracked.measured)))
        origin_norm = float(np.linalg.norm(origin_norms))
        weights = ranks.local(parameters)
        shards = ranks.shards(weights)
        # copies of the weights are made before the store, which an interruption would leave open
        observables = None if ranks.is_replica else Observables(local, options.quantities, len(options.origins))

        def open_store() -> RunWriter:
            if not ranks.is_first:
                unknown = ranks.is_replica and options.resume != "never"  # these weights may not be w_0
                return NonWritingRank(backend, ranks.rank, torch.nan if unknown else origin_norm)
            if resumes:
                return reopen(backend, metadata, shards)
            if ranks.sharded:
                check_cover(tracked.specs, shards)
            return create_store(
                backend,
                replace(
                    metadata,
                    origin_norm=origin_norm,
                    origin_norms=tuple(origin_norms.tolist()),
                    id=uuid4().hex,
                    config=options.stored_config(),
                    optimizer=options.settings,
                    seed=options.stored_seed(),
                    **provenance(),
                ),
                shards=shards,
                weight_dtype=str(tracked.dtype).removeprefix("torch."),
                buffer_bytes=tracked.buffer_bytes,
                overwrite=options.overwrite or options.step == 0,
            )

        store = ranks.raise_on_all_ranks(open_store)
        return cls(
            path=backend.path,
            ranks=ranks,
            tracked=tracked,
            weights=weights,
            columns=metadata.columns,
            observables=observables,
            store=store,
            origin_norm=ranks.gather(store.origin_norm)[0],
            snapshot_dtype=options.stored_dtype(tracked.dtype),
            resumes=resumes,
        )

    def replace(self, name: str, parameter: nn.Parameter) -> None:
        """Record another parameter under a name; the model may not be sharded.

        Args:
            name: The name.
            parameter: The parameter, of the same shape as the one before.
        """
        if self.observables is not None and name in self.tracked.measured:
            self.observables.replace(list(self.tracked.measured).index(name), parameter)
        self._record(name, parameter)

    def leave_out_resized(self) -> None:
        """Save w_0 in the place of parameters that have got another shape, as `observables` measures it."""
        observables, measured = self.observables, list(self.tracked.measured)
        for k in observables.resized if observables else ():
            if k < len(measured):  # not one that was unfrozen
                assert observables
                self._record(measured[k], nn.Parameter(observables.parameters[k], requires_grad=False))

    def _record(self, name: str, parameter: nn.Parameter) -> None:
        assert isinstance(self.weights, list)  # of an unsharded model
        self.weights[list(self.tracked.parameters).index(name)] = parameter
        self.tracked.replace(name, parameter)

    def check_run(self, run: str | None) -> None:
        """Check that a checkpoint belongs to this run; every rank of a sharded model must call this.

        Args:
            run: The run's identifier in the checkpoint.

        Raises:
            RecordingError: The checkpoint is of another run; it is raised on every rank.
        """
        self.ranks.raise_on_all_ranks(lambda: self._refuse_other(run))

    def rewind(self, step: int, events: int | None = None) -> None:
        """Take back what was recorded after a step, and measure from the stored weights.

        Args:
            step: The number of updates after which the recording continues.
            events: How many events had been filed by then; None for all up to that step.

        Raises:
            StoreError: The store lacks rows or events up to that step, or weights that distances are measured from.
        """
        copies = self.ranks.raise_on_all_ranks(lambda: self._stored_copies(step, events))
        if self.ranks.is_first:
            self.store.cut(step, events)
        self.ranks.gather(None)  # the others continue behind what the first one has left
        if not self.ranks.is_first:
            self.store.cut(step, events)
        if self.observables is not None:
            self.observables.restore(copies)

    def sketch(self, buckets: int) -> Tensor:
        """Sketch the weights as they are now, without waiting for the device.

        Args:
            buckets: The numbers that a sketch has for each layer.

        Returns:
            The sketches (layer, bucket) of the whole model.
        """
        values = count_sketches([self.ranks.unbroken_runs(members) for members in self.tracked.layers], buckets)
        self.ranks.add_up(values)
        return values

    def _refuse_other(self, run: str | None) -> None:
        if self.ranks.is_first and run != self.store.id:
            raise RecordingError(
                f"{self.path}: is not the run the checkpoint belongs to, but another or a new one; "
                "give the path of the run that was interrupted, and resume='allow' or 'must'"
            )

    def _stored_copies(self, step: int, events: int | None) -> list[list[Tensor]]:
        """Read the measured weights at w_0 and at the origins up to `step`, as they lie on this rank.

        Before that, the first rank checks that the rows go on to that step.
        """
        self.store.check_step(step, events)
        copies = self.store.origins(step)
        reached = [0, *(origin for origin in self.columns.origins if origin <= step)]
        if list(copies) != reached:
            raise StoreError(f"{self.path}: holds the weights of steps {list(copies)}, expected those of {reached}")
        sizes = [piece.numel() for piece in self.weights]
        pieces = [torch.from_numpy(flat).split(sizes) for flat in copies.values()]
        measured = [i for i, name in enumerate(self.tracked.parameters) if name in self.tracked.measured]
        return [[flat[i].reshape(self.weights[i].shape) for i in measured] for flat in pieces]


def _check_finite(squares: np.ndarray, names: Sequence[str]) -> None:
    for name, square in zip(names, squares, strict=True):
        if not np.isfinite(square):
            raise RecordingError(
                f"parameter {name}: its norm is {np.sqrt(square)} before the first update; initialize its weights, or"
                " leave it out by exclude="
            )


def _metadata(options: RecordingOptions, tracked: TrackedParameters) -> RunMetadata:
    """Describe what is recorded, without what only the start of a run decides."""
    stored = str(options.stored_dtype(tracked.dtype)).removeprefix("torch.")
    return RunMetadata(
        parameters=tuple(tracked.specs),
        buffers=tuple(tracked.buffer_specs),
        tied=tracked.tied,
        groups=tracked.groups,
        quantities=options.quantities,
        origins=options.origins,
        snapshot=SnapshotFormat(stored, options.compression),
        sketch=SketchFormat(options.sketch, SEED) if options.sketch else SketchFormat(),
        origin_norm=0.0,
        schedules=((0, options.schedule),),
    )
