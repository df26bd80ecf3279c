"""The arguments of `ultraslow train`: the command's own, and the fields of `TrainConfig` as the recipe has them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, arg

from train.configs.config import TrainConfig
from train.configs.recipes import RECIPES
from train.configs.toml import find_recipe


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command needs beside the run's configuration."""

    list: FlagCreatePairsOff[bool] = False
    """List the recipes: network, data and regime."""
    out: Annotated[str | None, arg(metavar="RUN", help_behavior_hint="")] = None
    """The run's store. Default: runs/RECIPE-METHOD-seedN.zarr. With --seeds, the folder of such stores."""
    seeds: Annotated[str | None, arg(metavar="N-M|N,M", help_behavior_hint="")] = None
    """Train one run for each of these seeds, one after another: 0-4, or 0,2,5."""
    batched: FlagCreatePairsOff[bool] = False
    """Train the seeds at once, as one computation: cheaper for a small network, but without checkpoints."""
    data_root: Annotated[Path, arg(metavar="DIR")] = Path("data")
    """Folder of the data sets, as in MNIST/raw or FashionMNIST/raw; what is missing is downloaded."""
    device: Annotated[str, arg(metavar="DEVICE")] = "cpu"
    """The device to train on: cpu, or cuda."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the run at --out."""
    resume: FlagCreatePairsOff[bool] = False
    """Continue the run at --out from its RUN.checkpoint.pt, if it was interrupted."""


class _Settings(TrainConfig):
    """Settings of the run; the defaults are the recipe's."""

    def __post_init__(self) -> None:
        """Check nothing: tyro would report the error, and as wrong usage. The configuration itself is made below."""


@dataclass(frozen=True, kw_only=True)
class _Arguments:
    command: Options
    config: _Settings


def parse(arguments: Sequence[str], description: str) -> tuple[TrainConfig | None, Options]:
    """Parse a command line: RECIPE, then options.

    Wrong usage and `--help` end the process.

    Args:
        arguments: what follows `ultraslow train`.
        description: what the command does, for its help.

    Returns:
        The run's configuration, None if no recipe is named; and the command's own options.

    Raises:
        ConfigError: if there is no such recipe, or for settings that cannot be run.
    """
    at = _recipe_at(arguments)
    if at is None:
        help_text = f"{description}\n\nultraslow train RECIPE --help shows a recipe's settings and their values."
        return None, tyro.cli(
            Options, prog="ultraslow train RECIPE", description=help_text, args=arguments, return_unknown_args=True
        )[0]
    recipe = find_recipe(arguments[at])
    found = tyro.cli(
        _Arguments,
        prog=f"ultraslow train {arguments[at]}",
        description=description,
        args=[*arguments[:at], *arguments[at + 1 :]],
        default=_Arguments(command=Options(), config=_Settings(**_values(recipe))),
        config=(OmitArgPrefixes,),
    )
    return TrainConfig(**_values(found.config)), found.command


def _recipe_at(arguments: Sequence[str]) -> int | None:
    """Where the recipe is: the first argument, or, behind options, the first that names one."""
    if arguments and not arguments[0].startswith("-"):
        return 0
    known = (k for k, word in enumerate(arguments) if word in RECIPES or word.endswith(".toml"))
    return next(known, None)


def _values(config: TrainConfig) -> dict[str, Any]:
    return {field.name: getattr(config, field.name) for field in fields(config)}
