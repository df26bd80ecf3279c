"""The gradient noise scale of a run at scheduled updates, on batches of its own."""

from itertools import islice

import torch
from torch import Tensor, nn

from train.configs.config import TrainConfig
from train.data.images import Images, epoch_seed
from train.engine.train_step import TrainStep
from train.errors import ConfigError
from ultraslow.large_batch.noise_scale import gradient_noise_scale


class NoiseMeasurement:
    """Measures the gradient noise scale of a run, and changes nothing of it.

    The batches are as large as the run's and made as its own are, augmentation and input noise included, but in an
    order of their own. Multiplicative noise, clipping and weight decay are left out.

    Args:
        config: the run's configuration, with a schedule for the noise scale.
        data: the data set.
        model: the network.
        step: what makes the run's updates.

    Raises:
        ConfigError: if an epoch has fewer than two batches.
    """

    def __init__(self, config: TrainConfig, data: Images, model: nn.Module, step: TrainStep):
        self._config, self._data, self._model, self._step = config, data, model, step
        self.schedule = config.noise_scale_steps()
        if data.train_size < 2 * config.batch_size:
            raise ConfigError(
                f"got noise_scale with batch_size {config.batch_size} of {data.train_size} samples; expected two"
                " batches in an epoch: leave it out, or take a smaller batch"
            )

    def at(self, t: int) -> dict[str, Tensor]:
        """Measure at the weights after t updates.

        Args:
            t: the updates made so far.

        Returns:
            What a run logs: noise_scale (samples), squared_gradient |G|² and gradient_trace tr Σ.
        """
        config, data = self._config, self._data
        seed = epoch_seed(config.seed, t, "noise scale")
        images = data.train_batches(config.batch_size, seed=seed, epoch=0, augment=config.augments)
        generator = torch.Generator(next(self._model.parameters()).device).manual_seed(seed % 2**63)

        def loss(batch: tuple[Tensor, Tensor]) -> Tensor:
            x, y = batch
            if config.input_noise:
                x = x + config.input_noise * torch.randn(x.shape, generator=generator, device=x.device)
            return self._step.forward(x, y)[1].mean()

        finite = not (config.augments or config.input_noise)  # else each epoch brings new pictures
        self._model.train()
        found = gradient_noise_scale(
            self._model,
            loss,
            islice(images, config.noise_scale_batches),
            config.batch_size,
            population=data.train_size if finite else None,
        )
        return {
            "noise_scale": found.batch_size,
            "squared_gradient": found.squared_gradient,
            "gradient_trace": found.trace,
        }
