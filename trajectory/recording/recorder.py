"""`Recorder`: the hook in a training loop that records ‖w_t − w_0‖ and weights in a Zarr store."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from trajectory.recording.optimizer_settings import memory_time, shared_settings
from trajectory.recording.optimizers import Optimizers, check_common, unwrap_optimizers
from trajectory.recording.options import Compression, RecordingOptions, SnapshotDtype, sorted_quantities
from trajectory.recording.recording import Recording
from trajectory.recording.resume import Resume, plain_step
from trajectory.recording.writer_thread import OnError
from trajectory.schedule import LogSpaced, Schedule, as_schedule, origin_steps
from trajectory.schema.layout import QUANTITIES
from trajectory.schema.parameter_groups import GroupBy
from trajectory.storage.location import StoreLike

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch.distributed import ProcessGroup

_SKETCHED = LogSpaced(12)


class Recorder(Recording):
    """Records every update of a model into a new store, by a hook on its optimizer, or on its optimizers.

    w_0 is the model at construction; t counts the updates since. With one optimizer an update is its step. With
    several it is a round, which ends with the step of the optimizer listed last: the row is taken then, and the
    others are to step before it. Without an optimizer an update is what the loop reports by `update()`.

    Distances are computed on the parameters' device, kept there in a ring, and flushed after updates 1, 2, 4, ..., 32
    and every 64 updates; nothing in a step waits for the device, and neither weights nor random state are touched. A
    killed process loses at most what was not flushed; a program that ends without `close()` loses nothing, and its
    run is `interrupted (not closed)`.

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
            (`s3://bucket/sb.zarr`) that obstore or fsspec opens; or a Zarr store. A leading `~` is the home folder,
            and a relative folder is that of the present working directory, also after `os.chdir`. Writes to the last
            two lag behind: the training waits only if hundreds of blocks are on their way.
        model: The model that is trained.
        optimizer: The optimizer whose steps are counted; or the model's optimizers, in the order in which they step
            (`[muon, adamw]`). Without one, the loop calls `update()` after each update: weights that are updated by
            hand, in the backward pass, or by something that steps an optimizer and then moves them on. A warning
            and the event "uncovered_parameters" name measured parameters that no optimizer here holds.
        schedule: The steps that are recorded: an int n for every n-th, or a schedule.
        quantities: What is recorded of them, in total and by parameter: "distance" ‖w_t − w_0‖, always; and by
            choice "norm" ‖w_t‖; "update_norm" ‖w_t − w_{t−1}‖, which takes one more copy of the weights;
            "grad_norm" ‖g_t‖ of the gradient as `p.grad` holds it after the optimizer's step, clipped if it was
            clipped; and "momentum_norm" ‖m_t‖ of the optimizer's momentum after the step (SGD's `momentum_buffer`,
            Adam's `exp_avg`, which is not divided by 1 − β₁^t). A parameter without a gradient, or without a
            momentum buffer of its shape, counts 0; the norm is NaN if none has one.
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
            "network" (names), "batch_size" (samples), "lr" (the first learning rate), "momentum", "nesterov",
            "dampening", "weight_decay", "optimizer" ("sgd", "adamw", ...). What it leaves out of the last six is read
            off the optimizer, where all of its groups agree (`Run.settings`).
        seed: The run's seed, for the record.
        overwrite: Whether to replace a run at the path. A recorder that the same thread has left open there, as a
            notebook's cell does that is run again, is closed first, with a warning; likewise where a run is resumed.
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
        origins: Iterable[int | str] | int = (),
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
        options = RecordingOptions(
            schedule=as_schedule(schedule),
            quantities=sorted_quantities(quantities, optimizers),
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
            settings=shared_settings(optimizers),
            seed=seed,
            overwrite=overwrite,
            resume=resume,
            step=plain_step(step),
            on_error=on_error,
            process_group=process_group,
            capturable=capturable,
            durable=durable,
        )
        super().__init__(path, model, optimizers, options)
