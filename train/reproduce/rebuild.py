"""The network and the data of a recorded run, and from them the loss landscape around its weights."""

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from analysis.landscape import Objective
from analysis.landscape.directions import check_snapshots
from analysis.landscape.evaluation import Statistics
from train.configs.config import TrainConfig
from train.configs.toml import as_config
from train.data.images import Images
from train.engine.parts import available, data_of, network_of
from train.errors import ConfigError
from trajectory import Run

# What train.engine.run_training's data_of and network_of read.
_BUILT_FROM = ("network", "dataset", "protocol", "label_noise", "ghost_batch_size", "ghost_noise")
_AT_ONCE = 4096  # samples evaluated at a time with running statistics: bounds the memory, changes no result


def rebuild(
    run: Run | str | Path, *, data_root: str | Path = "data", device: torch.device | str = "cpu"
) -> tuple[nn.Module, Images]:
    """Build the network and load the data of a run of `ultraslow train`.

    torch's global random state stays as it is.

    Args:
        run: the run, or its path.
        data_root: folder of the data sets; what is missing is downloaded.
        device: where both are put.

    Returns:
        The network, with the weights and buffers of the run's last snapshot, if it has one; and the data set, its
        labels shuffled as they were for the run.

    Raises:
        ConfigError: for a run of another origin, whose network is not on record.
        DataError: if the data set is missing or damaged.
        StoreError: for a path that is no run, or a damaged snapshot.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, rebuild, train
        >>> model, data = rebuild(train(replace(RECIPES["f1-digits"](), epochs=0.25), "digits.zarr"))
        >>> data.train_size, sum(p.numel() for p in model.parameters())
        (1280, 13514)
    """
    run = run if isinstance(run, Run) else Run(run)
    config, where = settings_of(run), available(device)
    data = data_of(config, data_root, where)
    with torch.random.fork_rng([]):
        model = network_of(config, data).to(where)
    if run.snapshots:
        run.load_into(model, run.snapshots[-1])
    return model, data


def settings_of(run: Run) -> TrainConfig:
    """Return the configuration that a run of `ultraslow train` was made with.

    Args:
        run: the run.

    Raises:
        ConfigError: for a run of another origin.
    """
    if "settings" not in run.config:
        raise ConfigError(
            f"{run.path}: its network is not on record; expected a run of `ultraslow train`: give your own model to"
            " analysis.landscape.Objective"
        )
    return as_config(run.config["settings"], str(run.path))


class Landscapes:
    """The loss around the weights of runs of `ultraslow train`; runs on the same data share them in memory.

    Args:
        data_root: folder of the data sets.
        device: where networks and data are put.
        samples: samples that the loss is the mean of; None: 4096, or all where there are fewer.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, train
        >>> from train.reproduce.rebuild import Landscapes
        >>> from trajectory import Run
        >>> run = Run(train(replace(RECIPES["f1-digits"](), epochs=0.25), "short.zarr"))
        >>> Landscapes(samples=500).objective(run, 20, "batch").samples
        500
    """

    def __init__(
        self,
        data_root: str | Path = "data",
        device: torch.device | str = "cpu",
        samples: int | None = None,
    ):
        self._root, self._device, self._samples = data_root, device, samples
        self._built: dict[tuple[object, ...], tuple[nn.Module, Images]] = {}

    def objective(self, run: Run, step: int, statistics: Statistics, *, test: bool = False) -> Objective:
        """Return the loss around a snapshot of a run.

        Training samples are the same for every run on the same data; they are neither cropped nor mirrored.

        Args:
            run: the run.
            step: of the snapshot.
            statistics: "running" or "batch"; with the latter all samples are one batch.
            test: take samples of the test set.

        Returns:
            The objective, which starts from the snapshot's weights.

        Raises:
            LandscapeError: for a run without snapshots, and a loss that is not finite.
            ConfigError: as `rebuild`, or for more samples than there are.
            StoreError: where the run holds no snapshot at that step.
        """
        check_snapshots(run)
        state, config = run.state_dict(step), settings_of(run)
        key = tuple(getattr(config, name) for name in _BUILT_FROM)
        if key not in self._built:
            self._built[key] = rebuild(run, data_root=self._root, device=self._device)
        model, data = self._built[key]
        x, y = fixed_batch(data, self._samples, test=test)
        batches = [(x, y)] if statistics == "batch" else zip(x.split(_AT_ONCE), y.split(_AT_ONCE), strict=True)
        return Objective(model, batches, statistics=statistics).at(state)


def fixed_batch(data: Images, samples: int | None = None, *, test: bool = False) -> tuple[Tensor, Tensor]:
    """Return samples drawn at random, always the same ones, neither cropped nor mirrored.

    Args:
        data: the data set.
        samples: how many; None: 4096, or all where there are fewer.
        test: take the first ones of the test set instead.

    Returns:
        Normalized images (sample, C, H, W) and labels (sample,).

    Raises:
        ConfigError: for fewer than two samples, or more than there are.
    """
    count = min(4096, data.train_size) if samples is None else samples
    if not 2 <= count <= data.train_size:
        raise ConfigError(f"samples is {count}; expected 2 to {data.train_size}, the training set's size")
    if not test:
        return next(data.train_batches(count, seed=0, epoch=0, augment=False))
    parts = list(_first(data.test_batches(), count))
    x, y = (torch.cat(part) for part in zip(*parts, strict=True))
    return x[:count], y[:count]


def _first(batches: Iterator[tuple[Tensor, Tensor]], count: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches until they hold that many samples, or end."""
    held = 0
    for x, y in batches:
        yield x, y
        held += len(y)
        if held >= count:
            return
