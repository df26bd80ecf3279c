"""Batched seeds: K runs of one configuration as one computation, each recorded in a store of its own.

Expectations in the law of ultra-slow diffusion are over runs, so many runs must be cheap. A small network's update
is mostly the overhead of its operations; K networks with their weights stacked, θ (K, ...), share it (`torch.func`:
stacked parameters, one vectorised forward pass). Where matrix products take the time, there is nothing to share;
bench/training.py shows both.

Each seed keeps its own weights, batch-norm statistics, order of samples, noise and clipping, as `train` draws them
for that seed alone; only the rounding differs, since products are batched.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.dropout import _DropoutNd

from train.configs.config import TrainConfig
from train.engine.data_parallel import is_by_torchrun
from train.engine.parts import available, data_of, network_of, optimizer_of, recorder_of
from train.engine.snapshots import Snapshots
from train.engine.trainer import Trainer
from train.errors import ConfigError, DivergedError
from trajectory.recording.rows import Rows
from trajectory.storage.location import StoreLike

# what `train` alone heeds
_ALONE = (
    "precision",
    "channels_last",
    "compile",
    "cuda_graph",
    "warm_start",
    "keep_optimizer",
    "noise_scale",
    "ghost_noise",
)


def train_batched(
    config: TrainConfig,
    stores: Mapping[int, StoreLike],
    *,
    data_root: str | Path = "data",
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    receive: Callable[[Rows], None] | None = None,
    overwrite: bool = False,
) -> list[Path | str]:
    """Train one run for each of several seeds, all at once.

    Each store is what `train` makes of its seed, to the rounding of batched products, with two differences: wall_time
    is that of all seeds, and the configuration names them as "batched_seeds". A seed whose loss is no longer finite
    ends alone; the others continue, and DivergedError is raised at the end.

    Args:
        config: the configuration of all runs, but for the seed.
        stores: the store of each seed's run, by the seed.
        data_root: folder of the data sets; what is missing is downloaded.
        device: the device to train on.
        progress: called as progress(t, updates) after each update of all seeds.
        receive: called with the rows that were recorded of the first seed, every 64 updates.
        overwrite: replace runs that are there.

    Returns:
        The runs' paths or URLs, in the order of the seeds.

    Raises:
        ConfigError: as `train`, and before a store is made: for no seed, for a match (whose drops are each seed's
            own) or another setting that only `train` heeds, or for a network that `Ensemble` refuses.
        DataError: if the data set is missing or damaged.
        StoreError: if there is a run in one of the stores, or it cannot be written.
        DivergedError: at the end, if the loss of a seed was no longer finite.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, train_batched
        >>> config = replace(RECIPES["f1-digits"](), epochs=0.25)
        >>> [path.name for path in train_batched(config, {0: "a.zarr", 1: "b.zarr"})]
        ['a.zarr', 'b.zarr']
    """
    if not stores or config.match:
        got = f"a match with {', '.join(config.match)}" if stores else "no seed"
        raise ConfigError(f"got {got}, expected seeds with one schedule to train batched; train them one by one")
    if is_by_torchrun():
        raise ConfigError("got torchrun, expected one process for batched seeds; start it without")
    for name in _ALONE:
        if getattr(config, name) != getattr(TrainConfig, name):
            raise ConfigError(f"{name} is {getattr(config, name)!r}, for a run by itself; train the seeds one by one")
    device = available(device)
    data = data_of(config, data_root, device)
    configs = [replace(config, seed=seed) for seed in stores]
    networks = []
    for each in configs:
        torch.manual_seed(each.seed)
        networks.append(network_of(each, data).to(device))
    ensemble = Ensemble(networks)
    optimizer = optimizer_of(config, data, ensemble.parameters.values())
    updates = config.schedule(data.train_size).updates
    with ExitStack() as recorders:
        trainers = []
        for each, network, out in zip(configs, networks, stores.values(), strict=True):
            snapshots = Snapshots.of(config, data.train_size)
            metadata = {**each.record(data.train_size), "processes": 1, "batched_seeds": list(stores)}
            recorder = recorder_of(each, out, network, optimizer, snapshots, metadata, overwrite=overwrite)
            recorders.enter_context(recorder)
            trainers.append(Trainer(each, data, network, optimizer, recorder, None, snapshots))
        if receive is not None:
            trainers[0].recorder.subscribe(receive)
        batched = BatchedTrainer(trainers, ensemble)
        for t in batched.run():
            if progress is not None:
                progress(t, updates)
    for failure in batched.failures:
        raise failure
    return [trainer.recorder.path for trainer in trainers]


class BatchedTrainer:
    """Trainers of one configuration, one for each seed, whose updates an ensemble makes at once.

    Args:
        trainers: the trainers.
        ensemble: the ensemble of their networks, in the same order.

    Attributes:
        failures: the errors of the trainers that did not reach their end.
    """

    def __init__(self, trainers: Sequence[Trainer], ensemble: "Ensemble"):
        self.trainers, self.ensemble = trainers, ensemble
        self.failures: list[DivergedError] = []
        self._running = list(trainers)
        self._optimizer, self._max_grad_norm = trainers[0].optimizer, trainers[0].config.max_grad_norm

    def run(self) -> Iterator[int]:
        """Train to the end.

        Yields:
            t after each update.
        """
        t, last, per_epoch = 0, self.trainers[0].last, self.trainers[0].epochs.per_epoch
        while t < last and self._running:
            self._each(Trainer.begin_epoch, [(t // per_epoch,)] * len(self.trainers))
            self.ensemble.networks[0].train()  # the one whose layers are called
            for batches in zip(*(trainer.batches(t // per_epoch, 0) for trainer in self.trainers), strict=True):
                self.update(batches)
                t += 1
                yield t
                if t == last or not self._running:
                    break
            self._each(Trainer.end_epoch, [()] * len(self.trainers))

    def update(self, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Make one update of every network.

        Args:
            batches: each network's own images (B, C, H, W), normalized, and labels (B,).
        """
        prepared = [
            trainer.prepare(x) if trainer in self._running else (x, None)
            for trainer, (x, _) in zip(self.trainers, batches, strict=True)
        ]
        x, y = torch.stack([x for x, _ in prepared]), torch.stack([y for _, y in batches])
        logits = self.ensemble(x)
        each = F.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view(y.shape)  # (K, B)
        losses = each.mean(1)
        objectives = [
            loss if weights is None else (weights * samples).mean()
            for loss, samples, (_, weights) in zip(losses, each, prepared, strict=True)
        ]
        self._optimizer.zero_grad()
        torch.stack(objectives).sum().backward()
        if self._max_grad_norm is not None:
            clip_each(list(self.ensemble.parameters.values()), self._max_grad_norm)
        self._optimizer.step()
        wrong = (logits.argmax(2) != y).sum(1)
        self._each(Trainer.count, list(zip(losses.detach(), wrong, strict=True)))

    def _each(self, call: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
        """Calls a method of every trainer that is running; one whose loss has diverged is closed, and stops."""
        for trainer, values in zip(self.trainers, arguments, strict=True):
            if trainer not in self._running:
                continue
            try:
                call(trainer, *values)
            except DivergedError as error:
                self.failures.append(error)
                self._running.remove(trainer)
                trainer.recorder.close("interrupted (DivergedError)")


class Ensemble:
    """Networks of one architecture as one function of stacked inputs (K, B, ...).

    Args:
        networks: the networks. Their parameters and buffers become views of the stacked ones, so that each network
            keeps showing the weights of its seed.

    Attributes:
        parameters: the stacked parameters (K, ...), by name.
        buffers: the stacked buffers (K, ...), by name.

    Raises:
        ConfigError: for layers that gain nothing when stacked (convolutions, which become grouped ones), or that draw
            random numbers (dropout, whose numbers would not be those of the seed alone).
    """

    def __init__(self, networks: Sequence[nn.Module]):
        for layer in networks[0].modules():
            if isinstance(layer, (_ConvNd, _DropoutNd)):
                raise ConfigError(
                    f"the network has a {type(layer).__name__} layer, expected none where seeds are batched;"
                    " train them one after another"
                )
        self.networks = networks
        self.parameters, self.buffers = stack_module_state(list(networks))
        for k, network in enumerate(networks):
            for name, parameter in network.named_parameters():
                parameter.data = self.parameters[name].data[k]
            for name, buffer in network.named_buffers():
                buffer.data = self.buffers[name][k]
        self._call = vmap(lambda *arguments: functional_call(networks[0], arguments[:2], arguments[2]))

    def __call__(self, x: Tensor) -> Tensor:
        """Apply each network to its own inputs.

        Args:
            x: inputs (K, B, ...).

        Returns:
            Logits (K, B, classes).
        """
        return self._call(self.parameters, self.buffers, x)


def clip_each(parameters: Sequence[Tensor], most: float) -> None:
    """Clip gradients network by network, as `torch.nn.utils.clip_grad_norm_` does for one network.

    Args:
        parameters: stacked parameters (K, ...), whose gradients are clipped in place.
        most: the largest total norm of a network's gradient.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])  # (parameter, K)
    factors = (most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factors.view(-1, *[1] * (g.dim() - 1)))
