"""The training loop: one recorded run, from its configuration to its store."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from time import perf_counter

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from analysis.reference import as_reference, check_network
from train.data import Dataset, batches, crop_and_flip, crop_choices, epoch_seed, load, shuffle_labels
from train.errors import ConfigError, DivergedError
from train.ghost_batch_norm import convert_ghost_batch_norm
from train.matched_lr import DistanceMatchedLR
from train.models import NETWORKS
from train.noise import sample_weights
from train.recipes import Config
from trajectory import LogSpaced, Recorder
from trajectory.place import Where
from trajectory.snapshots import signature

_CHECK_EVERY = 200  # updates between two looks at the loss: reading it waits for the device
_TEST_BATCH = 2000  # samples evaluated at a time: bounds the memory, changes no result


def train(
    config: Config,
    out: Where,
    *,
    data_root: str | Path = "data",
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> Path | str:
    """Trains as `config` says and records the run in a new store at `out`; returns its path.

    Recorded: ‖w_t − w_0‖ at every update, total and by parameter; loss and learning rate at every update;
    epoch, validation_error (a fraction), validation_loss, train_loss (the epoch's mean) and wall_time (seconds
    since the first update, evaluations included) at the end of each epoch and of the run; every learning-rate
    drop as an event; weight snapshots, log-spaced and the last; the configuration.

    Under `config.match` the drops follow the reference (`DistanceMatchedLR`), and the run ends when its last phase
    is as long as the reference's, or after the configuration's epochs.

    `config.seed` seeds torch's global generator, and so the initial weights (made on the host, the same for
    every device). On one device, one seed gives bit-identical weights. `progress(t, updates)` is called
    after each update. Interrupted or failed, the run leaves a readable store.

    Raises ConfigError (a batch beyond the training set, no such device), DataError, StoreError (`out` is
    taken or cannot be written), and DivergedError when the loss is no longer finite.
    """
    device = _available(device)
    data = shuffle_labels(load(config.dataset, data_root, device), config.label_noise)
    train_size = len(data.train_x)
    schedule = config.schedule(train_size)
    torch.manual_seed(config.seed)
    model = NETWORKS[config.network](tuple(data.train_x.shape[1:]), data.classes).to(device)
    if config.ghost_batch_size is not None:
        convert_ghost_batch_norm(model, config.ghost_batch_size)
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(
        parameters, lr=schedule.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    drops = {at for at, _ in schedule.drops}
    reference = as_reference(list(config.match), origin=config.match_origin) if config.match else None
    if reference is not None:  # before a store is made
        check_network(reference.signature, reference.names[0], signature(model), "the network to train")
    noise = torch.Generator(device)
    snapshots = _Snapshots(LogSpaced(config.snapshots or 1), schedule.updates)
    origins = {*config.origins, config.match_origin}
    recorder = Recorder(
        out,
        model,
        optimizer,
        schedule=LogSpaced(config.rows) if config.rows else 1,
        snapshots=snapshots if config.snapshots else None,
        origins=origins - {0},
        config=config.record(train_size),
        seed=config.seed,
        overwrite=overwrite,
    )
    with recorder:
        matched = None
        if reference is not None:
            matched = DistanceMatchedLR(
                optimizer,
                recorder,
                reference,
                gamma=config.gamma,
                min_step=max(config.min_step, schedule.warm_up),
                later_phases=config.later_phases,
                timeout=config.timeout,
                on_timeout=config.on_timeout,
                already_above=config.already_above,
            )
        t, last, began = 0, schedule.updates, perf_counter()
        for epoch in count():
            model.train()
            noise.manual_seed(epoch_seed(config.seed, epoch, "noise"))
            crops = crop_choices(train_size, seed=config.seed, epoch=epoch, device=device)
            losses: list[Tensor] = []
            for index in batches(train_size, config.batch_size, seed=config.seed, epoch=epoch, device=device):
                rate = schedule.rate(t)
                if matched is None or t < schedule.warm_up:
                    set_rate(optimizer, rate)
                if t in drops:
                    before = schedule.rate(t - 1)
                    name = "lr_drop" if rate < before else "lr_rise"
                    recorder.event(name, lr_from=before, lr_to=rate, reason="regime")
                x = data.train_x[index]
                if config.augment:
                    x = crop_and_flip(x, crops[index])
                x = data.normalize(x)
                if config.input_noise:
                    x += config.input_noise * torch.randn(x.shape, generator=noise, device=device)
                each = F.cross_entropy(model(x), data.train_y[index], reduction="none")
                loss = objective = each.mean()
                if config.multiplicative_noise:
                    objective = (sample_weights(each, config.sigma, noise) * each).mean()
                optimizer.zero_grad()
                objective.backward()
                if config.clip_norm is not None:
                    nn.utils.clip_grad_norm_(parameters, config.clip_norm)
                optimizer.step()
                t += 1
                losses.append(loss.detach())
                recorder.log(loss=losses[-1])
                if matched is not None:
                    matched.step()
                    snapshots.last = last = min(schedule.updates, matched.last_update or schedule.updates)
                if progress is not None:
                    progress(t, last)
                if t % _CHECK_EVERY == 0:
                    _check_finite(losses, t, recorder.path)
                if t == last:
                    break
            _check_finite(losses, t, recorder.path)
            error, validation_loss = evaluate(model, data)
            recorder.log(
                epoch=t / (train_size // config.batch_size),
                validation_error=error,
                validation_loss=validation_loss,
                train_loss=torch.stack(losses).mean(),
                wall_time=perf_counter() - began,
            )
            if t == last:
                break
    return recorder.path


@torch.no_grad()
def evaluate(model: nn.Module, data: Dataset) -> tuple[Tensor, Tensor]:
    """Fraction of the test set that is misclassified, and its mean loss in nats, as tensors on the device.

    Leaves the random state and every module's training flag as they were.
    """
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    wrong = torch.zeros((), device=data.test_y.device)
    loss = torch.zeros((), device=data.test_y.device)
    for x, y in zip(data.test_x.split(_TEST_BATCH), data.test_y.split(_TEST_BATCH), strict=True):
        logits = model(data.normalize(x))
        wrong += (logits.argmax(1) != y).sum()
        loss += F.cross_entropy(logits, y, reduction="sum")
    for module, training in flags:
        module.training = training
    return wrong / len(data.test_y), loss / len(data.test_y)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every parameter group the learning rate `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate


@dataclass
class _Snapshots:
    """Log-spaced steps and the last one: the trained weights are what is most often asked for."""

    spaced: LogSpaced
    last: int  # a match moves it when it makes its last drop

    def __contains__(self, step: int) -> bool:
        return step in self.spaced or step == self.last


def _check_finite(losses: list[Tensor], t: int, out: Path | str) -> None:
    """Raises DivergedError if one of the last losses, the newest that of update t, is not finite."""
    values = torch.stack(losses)
    bad = (~torch.isfinite(values)).nonzero()
    if len(bad):
        first = int(bad[0])
        raise DivergedError(
            f"the loss is {float(values[first])} at update {t - len(losses) + 1 + first}, expected a finite "
            f"number; lower the learning rate, warm it up or clip the gradient (the run is kept in {out})"
        )


def _available(device: torch.device | str) -> torch.device:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {str(device)!r} cannot be used here; expected cpu, or cuda if it has one"
        ) from error
    return torch.device(device)
