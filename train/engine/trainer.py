"""`Trainer`: makes a run update by update, and evaluates it at the end of each epoch."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from train.configs.config import TrainConfig
from train.configs.lr_schedule import Schedule, updates_per_epoch
from train.data.images import Images, epoch_seed
from train.engine.data_parallel import ALONE, DataParallel
from train.engine.epoch_record import EpochRecord
from train.engine.epochs import Epochs
from train.engine.evaluation import evaluate
from train.engine.noise_measurement import NoiseMeasurement
from train.engine.random_state import random_state, set_random_state
from train.engine.snapshots import Snapshots
from train.engine.train_step import GraphedTrainStep, Step, TrainStep
from train.engine.warm_start import OptimizerStates
from train.errors import ConfigError
from trajectory import Recorder
from ultraslow.large_batch.ghost_batch_norm import keep_ghost_batch_size
from ultraslow.large_batch.multiplicative_noise import matching_sigma, sample_weights

if TYPE_CHECKING:
    from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR

_CHECK_EVERY = 200  # updates between two looks at the loss: reading it waits for the device


class Trainer:
    """Trains a model along a schedule; it holds everything that an update changes.

    Args:
        config: the run's configuration.
        data: the data set.
        model: the network.
        optimizer: the optimizer of the network's parameters.
        recorder: the recorder of the run.
        matched: the scheduler of a run that is matched to a reference, or None.
        snapshots: the updates after which weights are recorded.
        processes: the processes that train the run together.

    Attributes:
        t: updates made so far.
        schedule: the learning rate of every update.
        epochs: how updates make epochs, with the batch size of the next one.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Images,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        recorder: Recorder,
        matched: "DistanceMatchedLR | None",
        snapshots: Snapshots,
        processes: DataParallel = ALONE,
    ):
        self.config, self.data, self.model, self.optimizer = config, data, model, optimizer
        self.recorder, self.matched, self.snapshots = recorder, matched, snapshots
        self.processes = processes
        step = TrainStep(config, processes.wrap(model), optimizer)
        self._step: Step = GraphedTrainStep(step, recorder) if config.cuda_graph else step
        self.schedule: Schedule = config.schedule(data.train_size)
        self.epochs = Epochs(config.batch_size, self._updates_per_epoch(config.batch_size))
        if matched is not None and config.at_match == "grow":
            matched.grow = self.grow
        self.t = 0
        self._noise_scale = NoiseMeasurement(config, data, model, step) if config.noise_scale else None
        self._sigma = matching_sigma(config.batch_size, config.base_batch_size)
        self._device = next(model.parameters()).device
        self._noise = torch.Generator(self._device)
        self._epoch_record = EpochRecord(self._device)

    @property
    def last(self) -> int:
        """The update that ends the run; a match brings it forward when it makes its last drop."""
        return self.snapshots.last

    def run(self) -> Iterator[int]:
        """Train to the end.

        Yields:
            t after each update, once everything that is due then is recorded.
        """
        while self.t < self.last:
            epochs = self.epochs
            epoch, start = epochs.at(self.t)
            if start == 0:
                self.begin_epoch(epoch)
            self.model.train()
            for x, y in self.batches(epoch, start):
                self.update(x, y)
                grew = self.epochs is not epochs
                if epochs.ends(self.t) or self.t == self.last or grew:
                    self.end_epoch(epochs)
                yield self.t
                if self.t == self.last or grew:
                    break

    def state_dict(self) -> dict[str, Any]:
        """Return everything that resuming exactly needs, between two updates.

        It waits until the recorded rows are written. Every rank must call it after the same update.
        """
        return {
            **self._machine,
            "t": self.t,
            "last": self.last,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "recorder": self.recorder.state_dict(),
            "matched": self.matched.state_dict() if self.matched else None,
            "noise": self._noise.get_state(),
            "random": self.processes.gather(random_state(self._device)),
            "epochs": self.epochs.state_dict(),
            **self._epoch_record.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a `state_dict()`; rows that were recorded after it are taken back.

        Args:
            state: the state.

        Raises:
            ConfigError: if it comes from another number of processes, or another kind of device.
        """
        for name, here in self._machine.items():
            if state[name] != here:
                raise ConfigError(
                    f"{self.recorder.path}: was interrupted with {name} {state[name]}, not {here}; resume it with"
                    f" {state[name]}, or overwrite the run"
                )
        self.t, self.snapshots.last = state["t"], state["last"]
        if "epochs" in state:  # former checkpoints are of runs whose batch does not grow
            self.epochs = Epochs(**state["epochs"])
            self._normalize_as_before_growth()
        self.recorder.load_state_dict(state["recorder"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.matched is not None:
            self.matched.load_state_dict(state["matched"])
        self._noise.set_state(state["noise"])
        set_random_state(state["random"][self.processes.rank], self._device)
        self._epoch_record.load_state_dict(state)

    @property
    def _machine(self) -> dict[str, Any]:
        return {"processes": self.processes.size, "device": self._device.type}

    def batches(self, epoch: int, start: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Return the batches of an epoch's updates.

        Args:
            epoch: number of the epoch, from 0.
            start: updates of the epoch to leave out.

        Returns:
            An iterator over normalized images (B, C, H, W) and labels (B,).
        """
        config = self.config
        return self.data.train_batches(
            self.epochs.batch_size,
            seed=config.seed,
            epoch=epoch,
            augment=config.augments,
            start=start,
            keep_short=config.published,
        )

    def update(self, x: Tensor, y: Tensor) -> None:
        """Make one update.

        Args:
            x: images (B, C, H, W), normalized.
            y: labels (B,).
        """
        x, weights = self.prepare(x)
        share = self.processes.share
        loss, wrong = self._step(share(x), share(y), None if weights is None else share(weights))
        self.count(*self.processes.of_whole_batch(loss, wrong))

    def prepare(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Set the learning rate of the next update, and draw its noise.

        Args:
            x: images (B, C, H, W), normalized.

        Returns:
            The images with the input noise; and the weights (B,) of the samples, None without multiplicative noise.
        """
        config = self.config
        self._set_rate()
        if config.input_noise:
            x = x + config.input_noise * torch.randn(x.shape, generator=self._noise, device=x.device)
        return x, sample_weights(len(x), self._sigma, self._noise) if config.multiplicative_noise else None

    def count(self, loss: Tensor, wrong: Tensor) -> None:
        """Count an update that was made: record its loss, and let the match decide.

        Args:
            loss: its mean loss in nats.
            wrong: its number of misclassified samples.
        """
        self.t += 1
        self._epoch_record.count(loss, wrong)
        self.recorder.log(loss=loss)
        if self._noise_scale is not None and self.t in self._noise_scale.schedule:
            self.recorder.log(**self._noise_scale.at(self.t))
        if self.matched is not None:
            self.matched.step()
            self.snapshots.last = min(self.schedule.updates, self.matched.last_update or self.schedule.updates)
        if self.config.keep_optimizer and self.t in self.snapshots and self.processes.is_first:
            OptimizerStates(self.recorder.path).write(self.t, self.optimizer)
        if self.t % _CHECK_EVERY == 0:
            self._epoch_record.check_finite(self.t, self.recorder.path)

    def grow(self, factor: float) -> tuple[int, int]:
        """Let the batch grow by a factor from the next update on, as far as the training set reaches.

        Normalization stays what it was: over ghost batches of the size that it was over before.

        Args:
            factor: the factor, above 1.

        Returns:
            The batch size before, and from then on.
        """
        before, processes = self.epochs.batch_size, self.processes.size
        after = max(before, min(round(factor * before), self.data.train_size) // processes * processes)
        if after > before:
            self.epochs = self.epochs.grown(self.t, after, self._updates_per_epoch(after))
            self._normalize_as_before_growth()
        return before, after

    def _normalize_as_before_growth(self) -> None:
        if self.epochs.batch_size > self.config.batch_size and self.config.ghost_batch_size is None:
            keep_ghost_batch_size(self.model, self.config.batch_size)

    def _updates_per_epoch(self, batch_size: int) -> int:
        return updates_per_epoch(self.data.train_size, batch_size, keep_short=self.config.published)

    def _set_rate(self) -> None:
        """Sets the schedule's rate and decay for the next update; under a match, the rate of the warm-up alone."""
        rate = self.schedule.rate(self.t)
        if self.matched is None or self.t < self.schedule.warmup_steps:
            for group in self.optimizer.param_groups:
                group["lr"] = rate
        for group in self.optimizer.param_groups:
            group["weight_decay"] = self.schedule.decay(self.t)
        if any(at == self.t for at, _ in self.schedule.drops):
            before = self.schedule.rate(self.t - 1)
            name = "lr_drop" if rate < before else "lr_rise"
            self.recorder.event(name, lr_from=before, lr_to=rate, reason="regime")

    def begin_epoch(self, epoch: int) -> None:
        """Start the epoch's noise and its means; the published code also makes a new optimizer, without momentum.

        Args:
            epoch: number of the epoch, from 0.
        """
        if self.config.published:
            self.optimizer.state.clear()
        self._noise.manual_seed(epoch_seed(self.config.seed, epoch, "noise"))
        self._epoch_record.begin()

    def end_epoch(self, epochs: Epochs | None = None) -> None:
        """Evaluate the network, and record the epoch's errors and losses.

        Args:
            epochs: the epochs that it is one of; None for those of the next update.

        Raises:
            DivergedError: if one of the epoch's losses is not finite.
        """
        self._epoch_record.check_finite(self.t, self.recorder.path)
        if not self.processes.is_first:
            return
        epochs = self.epochs if epochs is None else epochs
        error, loss = evaluate(self.model, self.data)
        self.recorder.log(
            epoch=epochs.passes(self.t),
            validation_error=error,
            validation_loss=loss,
            **self._epoch_record.values(epochs.batch_size, self.data.train_size),
        )
