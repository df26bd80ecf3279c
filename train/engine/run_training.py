"""The training loop: one recorded run, from its configuration to its store."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from analysis.matching.reference import Reference, as_reference
from analysis.matching.seeds import check_network
from train.configs.config import TrainConfig
from train.data.image_folder import load_image_folder
from train.data.images import Images, epoch_seed, load, shuffle_labels
from train.data.readers import IMAGE_FOLDERS
from train.engine.checkpoint import Checkpoint, finishing_the_update, is_complete
from train.engine.data_parallel import data_parallel, device_of_rank
from train.engine.trainer import Snapshots, Training
from train.engine.warm_start import warm_start
from train.errors import ConfigError
from train.models import NETWORKS
from trajectory import LogSpaced, Recorder
from trajectory.measure.tracked_parameters import parameter_specs
from trajectory.storage.backend import StoreLike
from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR
from ultraslow.large_batch.ghost_batch_norm import convert_ghost_batch_norm

_AGREE_EVERY = 20  # updates after which several processes agree whether a checkpoint is due


def train(
    config: TrainConfig,
    out: StoreLike,
    *,
    data_root: str | Path = "data",
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
    resume: bool = False,
    checkpoint_every: float | None = 60.0,
) -> Path | str:
    """Trains as `config` says and records the run in a new store at `out`; returns its path.

    Recorded: ‖w_t − w_0‖ at every update, total and by parameter; loss and learning rate at every update;
    epoch, validation_error (a fraction), validation_loss, train_error (the fraction misclassified of the epoch's
    samples, each as it was trained on), train_loss (the epoch's mean) and wall_time (seconds since the first update,
    evaluations included) at the end of each epoch and of the run; every learning-rate drop as an event; weight
    snapshots, log-spaced and the last; the configuration.

    Under `config.match` the drops follow the reference (`DistanceMatchedLR`), and the run ends when its last phase
    is as long as the reference's, or after the configuration's epochs.

    `config.seed` seeds torch's global generator, and so the initial weights (made on the host, the same for
    every device). On one device, one seed gives bit-identical weights. `progress(t, updates)` is called
    after each update. Interrupted or failed, the run leaves a readable store.

    A run in a local folder keeps a checkpoint beside it, RUN.checkpoint.pt, while it trains: at the start, after the
    first update that ends `checkpoint_every` seconds after the last one (None: no checkpoints), and on
    Ctrl-C in one process.
    `resume=True` goes on from it: on a CPU the run is then bit for bit the one that was not interrupted, but for
    wall_time, which counts the time trained. Where there is no run it begins one; where the run is complete it does
    nothing.

    Several processes that `torchrun` has started train one run together: each calls this alike, the first records
    (`train.engine.data_parallel` says how the batch is shared). To resume there, start as many again.

    Raises ConfigError (a batch beyond the training set, or not to be shared out evenly; no such device; to resume:
    other settings than the run's, no checkpoint), DataError, StoreError (`out` is taken or cannot be written), and
    DivergedError when the loss is no longer finite.
    """
    if resume and overwrite:
        raise ConfigError("got resume and overwrite; expected one of them: go on with the run, or begin it again")
    checkpoint = Checkpoint(out, checkpoint_every)
    device = device_of_rank(available(device))
    ranks = data_parallel(device)
    ranks.check(config.batch_size)
    if config.cuda_graph and (device.type != "cuda" or ranks.size > 1):
        raise ConfigError(f"cuda_graph on {device.type} in {ranks.size} processes; expected cuda, in one process")
    state = ranks.raise_on_all_ranks(lambda: checkpoint.read(config)) if resume else None
    if resume and is_complete(out):
        checkpoint.remove()
        return checkpoint.run
    data = data_of(config, data_root, device)
    schedule = config.schedule(data.train_size)
    torch.manual_seed(config.seed)
    model = network_of(config, data).to(device)
    if config.warm_start and state is None:
        warm_start(model, config.warm_start)
    if config.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not ranks.is_first:  # dropout's masks
        torch.manual_seed(epoch_seed(config.seed, ranks.rank, "rank"))
    optimizer = optimizer_of(config, data, model.parameters())
    reference = as_reference(list(config.match), origin=config.match_origin) if config.match else None
    if reference is not None:  # before a store is made
        check_network(reference.parameter_specs, reference.names[0], parameter_specs(model), "the network to train")
    snapshots = Snapshots(LogSpaced(config.snapshots_per_decade or 1), schedule.updates)
    facts = {**config.record(data.train_size), "processes": ranks.size}
    how = {"overwrite": overwrite or resume, "resume": state is not None}
    recorder = ranks.raise_on_all_ranks(lambda: recorder_of(config, out, model, optimizer, snapshots, facts, **how))
    with recorder:
        matched = None
        if reference is not None:
            matched = _matched(config, optimizer, recorder, reference, schedule.warmup_steps)
        training = Training(config, data, model, optimizer, recorder, matched, snapshots, ranks)
        if state is not None:
            training.load_state_dict(state)
        else:
            checkpoint.remove()  # of a run that this one replaces
        _run(training, checkpoint, progress)
    if ranks.is_first:
        checkpoint.remove()
    return recorder.path


def _run(training: Training, checkpoint: Checkpoint, progress: Callable[[int, int], None] | None) -> None:
    """Trains to the end, with checkpoints on the way."""
    ranks = training.processes

    def is_due(t: int) -> bool:
        if ranks.size == 1:
            return checkpoint.is_due()
        return t % _AGREE_EVERY == 0 and ranks.gather(checkpoint.is_due())[0]

    def keep() -> None:
        state = training.state_dict()
        if ranks.is_first:
            checkpoint.write(state)

    with finishing_the_update(alone=ranks.size == 1) as interrupted:
        if is_due(training.t):
            keep()
        for t in training.run():
            stop = interrupted()
            if (stop and checkpoint.is_kept) or (t < training.last and is_due(t)):
                keep()
            if progress is not None and ranks.is_first:
                progress(t, training.last)
            if stop:
                raise KeyboardInterrupt


def data_of(config: TrainConfig, root: str | Path, device: torch.device) -> Images:
    """The configuration's data set, its labels shuffled if it says so."""
    if config.dataset in IMAGE_FOLDERS:
        folder = load_image_folder(config.dataset, root, device)
        return replace(folder, train_y=shuffle_labels(folder.train_y, config.label_noise))
    data = load(config.dataset, root, device)
    return replace(data, train_y=shuffle_labels(data.train_y, config.label_noise))


def network_of(config: TrainConfig, data: Images) -> nn.Module:
    """The configuration's network for these images, with weights from torch's global generator."""
    model = NETWORKS[config.network](data.shape, data.classes)
    if config.ghost_batch_size is not None:
        convert_ghost_batch_norm(model, config.ghost_batch_size)
    return model


def optimizer_of(config: TrainConfig, data: Images, parameters: Iterable[Tensor]) -> torch.optim.SGD:
    """SGD at the schedule's rate before its first drop, fused on a CPU, where torch's default is slower."""
    weights = list(parameters)
    return torch.optim.SGD(
        weights,
        lr=config.schedule(data.train_size).lr,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=True if weights[0].device.type == "cpu" else None,
    )


def recorder_of(
    config: TrainConfig,
    out: StoreLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    snapshots: Snapshots,
    facts: Mapping[str, Any],
    *,
    overwrite: bool,
    resume: bool = False,
) -> Recorder:
    """A recorder at `out` of what the configuration asks for; facts: what the store says of the run."""
    return Recorder(
        out,
        model,
        optimizer,
        schedule=LogSpaced(config.rows_per_decade) if config.rows_per_decade else 1,
        snapshots=snapshots if config.snapshots_per_decade else None,
        origins={*config.origins, config.match_origin} - {0},
        config=facts,
        seed=config.seed,
        overwrite=overwrite,
        capturable=config.cuda_graph,
        resume="must" if resume else "never",
    )


def _matched(
    config: TrainConfig,
    optimizer: torch.optim.Optimizer,
    recorder: Recorder,
    reference: Reference,
    warmup_steps: int,
) -> DistanceMatchedLR:
    return DistanceMatchedLR(
        optimizer,
        recorder,
        reference,
        gamma=config.gamma,
        min_step=max(config.min_step, warmup_steps),
        later_phases=config.later_phases,
        timeout=config.timeout,
        on_timeout=config.on_timeout,
        already_above=config.already_above,
    )


def available(device: torch.device | str) -> torch.device:
    """The device, if it can be used here; ConfigError otherwise."""
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {str(device)!r} cannot be used here; expected cpu, or cuda if it has one"
        ) from error
    return torch.device(device)
