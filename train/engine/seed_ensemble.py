"""Seeds together: K runs of one configuration as one computation, each recorded in a store of its own.

Expectations in the law of ultra-slow diffusion are over runs, so many runs must be cheap. A small network's update
is mostly the overhead of its operations; K networks with their weights stacked, θ (K, ...), share it (`torch.func`:
stacked parameters, one vectorised forward pass). Where the matrix products take the time there is nothing to share;
bench/training.py shows both.

Each seed keeps its own weights, batch-norm statistics, order of samples, noise and clipping, as `train` draws them
for it alone; only the rounding differs, since products are batched.
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
from train.engine.run_training import available, data_of, network_of, optimizer_of, recorder_of
from train.engine.trainer import Snapshots, Training
from train.errors import ConfigError, DivergedError
from trajectory import LogSpaced
from trajectory.storage.backend import StoreLike

_ALONE = ("precision", "channels_last", "compile", "cuda_graph", "warm_start")  # what `train` alone heeds


def train_batched(
    config: TrainConfig,
    stores: Mapping[int, StoreLike],
    *,
    data_root: str | Path = "data",
    device: torch.device | str = "cpu",
    progress: Callable[[int, int], None] | None = None,
    overwrite: bool = False,
) -> list[Path | str]:
    """Trains one run for each seed of `stores` {seed: store}, all at once; returns their paths.

    Each store is what `train` makes of its seed, to the rounding of batched products, with two differences: wall_time
    is that of all seeds together, and the configuration names them as "batched_seeds". A seed whose loss is no
    longer finite ends alone; the others go on, and DivergedError is raised at the end. `progress(t, updates)` is
    called after each update of all.

    Raises besides what `train` does, before a store is made: ConfigError for no seed, a match (whose drops are the
    seed's own) or another setting that `train` alone heeds, or a network that `Ensemble` refuses.
    """
    if not stores or config.match:
        got = f"a match with {', '.join(config.match)}" if stores else "no seed"
        raise ConfigError(f"got {got}, expected seeds with one schedule to train together; train them one by one")
    if is_by_torchrun():
        raise ConfigError("got torchrun, expected one process for seeds trained together; start it without")
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
        trainings = []
        for each, network, out in zip(configs, networks, stores.values(), strict=True):
            snapshots = Snapshots(LogSpaced(config.snapshots_per_decade or 1), updates)
            facts = {**each.record(data.train_size), "processes": 1, "batched_seeds": list(stores)}
            recorder = recorder_of(each, out, network, optimizer, snapshots, facts, overwrite=overwrite)
            recorders.enter_context(recorder)
            trainings.append(Training(each, data, network, optimizer, recorder, None, snapshots))
        together = Together(trainings, ensemble)
        for t in together.run():
            if progress is not None:
                progress(t, updates)
    for failure in together.failures:
        raise failure
    return [training.recorder.path for training in trainings]


class Together:
    """Trainings of one configuration, seed by seed, whose updates an ensemble makes at once.

    failures: what ended the trainings that did not reach their end.
    """

    def __init__(self, trainings: Sequence[Training], ensemble: "Ensemble"):
        self.trainings, self.ensemble = trainings, ensemble
        self.failures: list[DivergedError] = []
        self._running = list(trainings)
        self._optimizer, self._max_grad_norm = trainings[0].optimizer, trainings[0].config.max_grad_norm

    def run(self) -> Iterator[int]:
        """Trains to the end; yields t after each update."""
        t, last, per_epoch = 0, self.trainings[0].last, self.trainings[0].per_epoch
        while t < last and self._running:
            self._each(Training.begin_epoch, [(t // per_epoch,)] * len(self.trainings))
            self.ensemble.networks[0].train()  # the one whose layers are called
            for batches in zip(*(training.batches(t // per_epoch, 0) for training in self.trainings), strict=True):
                self.update(batches)
                t += 1
                yield t
                if t == last or not self._running:
                    break
            self._each(Training.end_epoch, [()] * len(self.trainings))

    def update(self, batches: Sequence[tuple[Tensor, Tensor]]) -> None:
        """One update of every network on images and labels of its own."""
        prepared = [
            training.prepare(x) if training in self._running else (x, None)
            for training, (x, _) in zip(self.trainings, batches, strict=True)
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
        self._each(Training.count, list(zip(losses.detach(), wrong, strict=True)))

    def _each(self, call: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
        """Calls it for every training under way; one that has diverged is closed and goes on no more."""
        for training, values in zip(self.trainings, arguments, strict=True):
            if training not in self._running:
                continue
            try:
                call(training, *values)
            except DivergedError as error:
                self.failures.append(error)
                self._running.remove(training)
                training.recorder.close("interrupted (DivergedError)")


class Ensemble:
    """Networks of one architecture as one function of stacked inputs (K, B, ...).

    `parameters` and `buffers` are stacked, (K, ...) by name; the parameters and buffers of each of `networks`
    become views of them, so that a network goes on showing the weights of its seed.

    Raises ConfigError for layers that are no gain when stacked (convolutions: they become grouped ones) or that
    draw random numbers (dropout: not those that the seed draws alone).
    """

    def __init__(self, networks: Sequence[nn.Module]):
        for layer in networks[0].modules():
            if isinstance(layer, (_ConvNd, _DropoutNd)):
                raise ConfigError(
                    f"the network has a {type(layer).__name__} layer, expected none where seeds are trained together;"
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
        """Logits (K, B, classes) of the inputs (K, B, ...), each network's of its own."""
        return self._call(self.parameters, self.buffers, x)


def clip_each(parameters: Sequence[Tensor], most: float) -> None:
    """Clips the gradients (K, ...) network by network to the total norm `most`, as `clip_grad_norm_` does for one."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])  # (parameter, K)
    factors = (most / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factors.view(-1, *[1] * (g.dim() - 1)))
