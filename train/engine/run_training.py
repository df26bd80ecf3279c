"""The training loop: one recorded run, from its configuration to its store."""

from collections.abc import Callable
from pathlib import Path

import torch

from train.configs.config import TrainConfig
from train.configs.warm_start_source import runs_needed
from train.data.images import epoch_seed
from train.engine.checkpoint import CHECKPOINT, Checkpoint, finishing_the_update, is_complete
from train.engine.data_parallel import data_parallel, device_of_rank
from train.engine.parts import available, data_of, network_of, optimizer_of, recorder_of
from train.engine.snapshots import Snapshots
from train.engine.trainer import Trainer
from train.engine.warm_start import OptimizerStates, WarmStart
from train.errors import ConfigError
from trajectory.recording.rows import Rows
from trajectory.storage.location import StoreLike, open_backend

_AGREE_EVERY = 20  # updates after which several processes agree whether a checkpoint is due


def train(
    config: TrainConfig,
    out: StoreLike,
    *,
    data_root: str | Path = "data",
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    receive: Callable[[Rows], None] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: float | None = 60.0,
) -> Path | str:
    """Train a network as a configuration says, and record the run in a store.

    Recorded are: ‖w_t − w_0‖ at every update, total and by parameter; loss and learning rate at every update; at the
    end of each epoch and of the run: epoch, validation_error (a fraction), validation_loss, train_error (the fraction
    of the epoch's samples that were misclassified, each as it was trained on), train_loss (the epoch's mean) and
    wall_time (seconds since the first update, evaluations included); every learning-rate drop as an event; weight
    snapshots, log-spaced and the last; the configuration. An interrupted or failed run leaves a readable store.

    With a match, the drops follow the reference (`DistanceMatchedLR`), and the run ends when its last phase is as
    long as the reference's, or after the configuration's epochs.

    The seed seeds torch's global generator, and so the initial weights, which are made on the host and are the same
    for every device. On one device, one seed gives bit-identical weights.

    A run in a local folder keeps a checkpoint beside it, RUN.checkpoint.pt, while it trains: it is written at the
    start, then every `checkpoint_every` seconds, and on Ctrl-C in one process. On a CPU, a resumed run is bit for bit
    the one that was not interrupted, but for wall_time, which counts the time trained.

    Several processes that `torchrun` has started train one run together: each calls this function alike, and the
    first one records (`train.engine.data_parallel` says how a batch is shared). Resuming needs as many processes.

    Args:
        config: the run's configuration.
        out: the run's store, a path or a URL.
        data_root: folder of the data sets; what is missing is downloaded.
        device: the device to train on.
        progress: called as progress(t, updates) after each update.
        receive: called with the rows that were recorded, every 64 updates, as by `Recorder.subscribe`.
        overwrite: replace a run at `out`.
        resume: resume the run at `out`; where there is none, begin one, and where it is complete, do nothing.
        checkpoint_every: seconds between two checkpoints; None for none.

    Returns:
        The path or URL of the run.

    Raises:
        ConfigError: for a batch that is beyond the training set or cannot be shared evenly, for a device that is not
            there, when resuming for other settings than the run's, or a missing checkpoint, and when replacing a run
            that this one is matched to, or starts from.
        DataError: if the data set is missing or damaged.
        StoreError: if there is a run at `out`, or the store cannot be written.
        DivergedError: when the loss is no longer finite.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, train
        >>> from trajectory import Run
        >>> run = Run(train(replace(RECIPES["f1-digits"](), epochs=0.25), "short.zarr"))
        >>> run.status, len(run.distance)
        ('complete', 20)
    """
    if resume and overwrite:
        raise ConfigError("got resume and overwrite; expected one of them: resume the run, or begin it again")
    if overwrite:
        _check_replaced(config, out)
    checkpoint = Checkpoint(out, checkpoint_every)
    device = device_of_rank(available(device))
    ranks = data_parallel(device)
    ranks.check(config.batch_size)
    if config.published and ranks.size > 1:
        raise ConfigError(
            f"the published protocol in {ranks.size} processes: its last batches are short; expected one"
        )
    if config.cuda_graph and (device.type != "cuda" or ranks.size > 1):
        raise ConfigError(f"cuda_graph on {device.type} in {ranks.size} processes; expected cuda, in one process")
    if config.noise_scale and ranks.size > 1:
        raise ConfigError(
            f"noise_scale in {ranks.size} processes; expected one, whose gradients are of whole batches"
        )
    state = ranks.raise_on_all_ranks(lambda: checkpoint.read(config)) if resume else None
    if resume and is_complete(out):
        checkpoint.remove()
        return checkpoint.run
    data = data_of(config, data_root, device)
    schedule = config.schedule(data.train_size)
    torch.manual_seed(config.seed)
    model = network_of(config, data).to(device)
    start = WarmStart.read(config) if config.warm_start and state is None else None
    if start is not None:
        start.load_weights(model)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not ranks.is_first:  # dropout's masks
        torch.manual_seed(epoch_seed(config.seed, ranks.rank, "rank"))
    optimizer = optimizer_of(config, data, model.parameters())
    if start is not None:
        start.load_optimizer(optimizer, config.optimizer)
    reference = None
    if config.match:  # read before a store is made
        from train.engine.matched import reference_of, scheduler_of

        reference = reference_of(config, model)
    snapshots = Snapshots.of(config, data.train_size)
    metadata = {**config.record(data.train_size), "processes": ranks.size}
    how = {"overwrite": overwrite or resume, "resume": state is not None}
    recorder = ranks.raise_on_all_ranks(
        lambda: recorder_of(config, out, model, optimizer, snapshots, metadata, **how)
    )
    with recorder:
        if receive is not None:
            recorder.subscribe(receive)
        matched = None
        if reference is not None:
            matched = scheduler_of(config, optimizer, recorder, reference, schedule.warmup_steps)
        trainer = Trainer(config, data, model, optimizer, recorder, matched, snapshots, ranks)
        if state is not None:
            trainer.load_state_dict(state)
        else:
            checkpoint.remove()  # of a run that this one replaces
            OptimizerStates(out).remove()
        if start is not None:
            recorder.event("warm_start", **start.event())
        _run(trainer, checkpoint, progress)
    if ranks.is_first:
        checkpoint.remove()
    return recorder.path


def _check_replaced(config: TrainConfig, out: StoreLike) -> None:
    """Refuse to replace a run that the training reads."""
    own = _place(out)
    for name in runs_needed(config.match, config.warm_start):
        if _place(name.removesuffix(CHECKPOINT)) == own:
            how = "is matched to" if name in config.match else "starts from"
            raise ConfigError(f"{out}: holds the run that this one {how}; train to another path")


def _place(run: StoreLike) -> Path | str:
    path = open_backend(run).path
    return path.resolve() if isinstance(path, Path) else path


def _run(trainer: Trainer, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None) -> None:
    """Trains to the end, with checkpoints on the way."""
    ranks = trainer.processes

    def is_due(t: int) -> bool:
        if ranks.size == 1:
            return checkpoint.is_due()
        return t % _AGREE_EVERY == 0 and ranks.gather(checkpoint.is_due())[0]

    def write() -> None:
        state = trainer.state_dict()
        if ranks.is_first:
            checkpoint.write(state)

    with finishing_the_update(alone=ranks.size == 1) as interrupted:
        if is_due(trainer.t):
            write()
        for t in trainer.run():
            stop = interrupted()
            if (stop and checkpoint.is_kept) or (t < trainer.last and is_due(t)):
                write()
            if progress is not None and ranks.is_first:
                progress(t, trainer.last)
            if stop:
                raise KeyboardInterrupt
