"""The parts of a run that a configuration asks for: its data, network, optimizer, recorder and device."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from train.configs.config import TrainConfig
from train.data.image_folder import load_image_folder
from train.data.images import Images, as_published, load, shuffle_labels
from train.data.readers import IMAGE_FOLDERS
from train.engine.snapshots import Snapshots
from train.errors import ConfigError
from train.models import NETWORKS, PUBLISHED
from trajectory import LogSpaced, Recorder
from trajectory.storage.location import StoreLike
from ultraslow.large_batch.ghost_batch_norm import convert_ghost_batch_norm
from ultraslow.large_batch.ghost_noise import convert_ghost_noise


def data_of(config: TrainConfig, root: str | Path, device: torch.device) -> Images:
    """Load a configuration's data set; its label noise shuffles a fraction of the training labels.

    Args:
        config: the configuration.
        root: folder of the data sets.
        device: where the data lie, or are put batch by batch.

    Returns:
        The data set.

    Raises:
        DataError: if the data set is missing or damaged.
    """
    if config.dataset in IMAGE_FOLDERS:
        folder = load_image_folder(config.dataset, root, device)
        return replace(
            folder, whole_scale=config.published, train_y=shuffle_labels(folder.train_y, config.label_noise)
        )
    data = load(config.dataset, root, device)
    data = as_published(data) if config.published else data
    return replace(data, train_y=shuffle_labels(data.train_y, config.label_noise))


def network_of(config: TrainConfig, data: Images) -> nn.Module:
    """Make a configuration's network for the images of a data set.

    Args:
        config: the configuration.
        data: the data set.

    Returns:
        The network, with initial weights from torch's global generator.

    Raises:
        ConfigError: if the network does not take images of that shape, or normalizes a batch of one sample.
    """
    model = (PUBLISHED if config.published else NETWORKS)[config.network](data.shape, data.classes)
    last = data.train_size % config.batch_size if config.published else 0
    if (last or config.batch_size) == 1 and any(isinstance(layer, nn.BatchNorm1d) for layer in model.modules()):
        raise ConfigError(
            f"batch_size is {config.batch_size}, which makes a batch of one sample, and batch norm takes no variance"
            " of one; expected 2 samples or more in every batch"
        )
    if config.ghost_batch_size is not None:
        convert_ghost_batch_norm(model, config.ghost_batch_size)
    if config.ghost_noise is not None:
        convert_ghost_noise(model, config.ghost_noise)
    return model


def optimizer_of(config: TrainConfig, data: Images, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """Make the optimizer with the rate before the first drop; fused on a CPU, where torch's default is slower.

    Args:
        config: the configuration.
        data: the data set.
        parameters: the parameters to train.

    Returns:
        The optimizer.
    """
    weights, regime = list(parameters), config.regime(data.train_size)
    fused = True if weights[0].device.type == "cpu" else None
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            weights, lr=regime.lr, momentum=regime.momentum, weight_decay=config.weight_decay, fused=fused
        )
    make = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return make(
        weights,
        lr=regime.lr,
        betas=config.adam.betas,
        eps=config.adam.eps,
        weight_decay=config.weight_decay,
        capturable=config.cuda_graph,  # the count of its steps is on the device then
        fused=fused,
    )


def recorder_of(
    config: TrainConfig,
    out: StoreLike,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    snapshots: Snapshots,
    metadata: Mapping[str, Any],
    *,
    overwrite: bool,
    resume: bool = False,
) -> Recorder:
    """Make the recorder that a configuration asks for.

    Args:
        config: the configuration.
        out: the run's store.
        model: the network.
        optimizer: its optimizer.
        snapshots: the updates after which weights are recorded.
        metadata: what the store says of the run.
        overwrite: replace a run at `out`.
        resume: resume the run at `out`.

    Returns:
        The recorder.
    """
    return Recorder(
        out,
        model,
        optimizer,
        schedule=LogSpaced(config.rows_per_decade) if config.rows_per_decade else 1,
        snapshots=snapshots or None,
        quantities=config.quantities,
        sketch=config.sketch,
        sketches=config.sketch_steps(),
        origins={*config.origin_steps(), config.match_origin} - {0},
        config=metadata,
        seed=config.seed,
        overwrite=overwrite,
        capturable=config.cuda_graph,
        resume="must" if resume else "never",
    )


def available(device: torch.device | str) -> torch.device:
    """Return a device if it can be used here.

    Args:
        device: the device.

    Raises:
        ConfigError: if it cannot.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"device {str(device)!r} cannot be used here; expected cpu, or cuda if it has one"
        ) from error
    return torch.device(device)
