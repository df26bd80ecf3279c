"""What a configuration refuses: values that cannot be run, and settings that contradict each other."""

from dataclasses import fields
from typing import TYPE_CHECKING, Literal, get_args, get_origin

from train.configs.choices import Quantity, one_of
from train.configs.field_types import check_types
from train.errors import ConfigError
from ultraslow.large_batch.errors import SettingError

if TYPE_CHECKING:
    from train.configs.config import TrainConfig

_WHOLE_NUMBERS = {  # and the least that each may be
    "batch_size": 1,
    "base_batch_size": 1,
    "seed": 0,
    "snapshots_per_decade": 0,
    "rows_per_decade": 0,
    "match_origin": 0,
    "sketch": 0,
    "min_step": 0,
    "noise_scale_batches": 2,
}


def check(config: "TrainConfig") -> None:
    """Check a configuration.

    Args:
        config: the configuration.

    Raises:
        ConfigError: it cannot be run.
    """
    check_types(config)
    _check_choices(config)
    _check_names(config)
    _check_numbers(config)
    _check_graph(config)
    _check_optimizer(config)
    _check_optimizer_state(config)
    _check_growth(config)
    config.origin_steps()
    config.sketch_steps()
    if config.noise_scale:
        config.noise_scale_steps()


def _check_choices(config: "TrainConfig") -> None:
    for field in fields(config):
        value = getattr(config, field.name)
        if get_origin(field.type) is Literal:
            one_of(field.name, value, get_args(field.type))
    for quantity in config.quantities:
        one_of("quantity", quantity, get_args(Quantity))
    if "distance" not in config.quantities:
        raise ConfigError(f"quantities are {', '.join(config.quantities)}; expected distance among them")


def _check_names(config: "TrainConfig") -> None:
    if not config.recipe or set(config.recipe) & set("/\\"):
        raise ConfigError(f"recipe is {config.recipe!r}; expected a name that a file's can begin with")
    if not all(config.match):
        raise ConfigError(f"match is {config.match}; expected paths of runs, or none")


def _check_numbers(config: "TrainConfig") -> None:
    for name, least in _WHOLE_NUMBERS.items():
        _check_at_least(name, getattr(config, name), least)
    for name, least in (("ghost_batch_size", 2), ("ghost_noise", 2), ("timeout", 1)):
        if (number := getattr(config, name)) is not None:
            _check_at_least(name, number, least)
    if config.gamma is not None and not 0 < config.gamma < 1:
        raise ConfigError(f"gamma is {config.gamma}; expected a factor between 0 and 1, or none for the reference's")
    if config.seed >= 2**63:  # torch's generators take no more
        raise ConfigError(f"seed is {config.seed}; expected a whole number below 2^63")
    if config.ghost_noise is not None and config.ghost_batch_size is not None:
        raise ConfigError("got ghost_noise with ghost_batch_size, whose noise it stands for; leave one out")
    for name in ("input_noise", "snapshot_epochs"):
        if getattr(config, name) < 0:
            raise ConfigError(f"{name} is {getattr(config, name)}; expected 0 or more")
    if not 0 <= config.label_noise <= 1:
        raise ConfigError(f"label_noise is {config.label_noise}; expected a fraction from 0 to 1")


def _check_graph(config: "TrainConfig") -> None:
    if not config.cuda_graph:
        return
    if config.rows_per_decade or config.origins or config.match_origin:
        raise ConfigError(
            "got cuda_graph with rows_per_decade, origins or match_origin; leave one out: a graph stays as it is"
        )
    if config.published:
        raise ConfigError("got cuda_graph with the published protocol, whose last batches are short; leave one out")


def _check_optimizer(config: "TrainConfig") -> None:
    """Refuse settings that the optimizer cannot take, or does not know."""
    if config.optimizer == "sgd" and config.beta_scaling != "none":
        raise ConfigError(f"got beta_scaling {config.beta_scaling} with sgd, which has no betas; leave one out")
    if config.optimizer != "sgd" and config.published:
        raise ConfigError(f"got {config.optimizer} with the published protocol, which trains with sgd; leave one out")
    try:
        config.adam  # noqa: B018 (refuses what it cannot scale)
    except SettingError as error:
        raise ConfigError(str(error)) from None


def _check_optimizer_state(config: "TrainConfig") -> None:
    """Refuse an optimizer's state that cannot be kept, or restored."""
    if config.keep_optimizer and not (config.snapshots_per_decade or config.snapshot_epochs):
        raise ConfigError("got keep_optimizer without snapshots, which it is kept with; ask for snapshots too")
    if config.warm_start_optimizer == "restore" and not config.warm_start:
        raise ConfigError("got warm_start_optimizer restore without a warm_start; name the run to start from")
    if config.warm_start_optimizer == "restore" and config.published:
        raise ConfigError(
            "got warm_start_optimizer restore with the published protocol, whose momentum is lost each epoch;"
            " leave one out"
        )


def _check_growth(config: "TrainConfig") -> None:
    """Refuse settings that a batch that grows cannot go with."""
    if config.at_match == "drop":
        return
    if not config.match:
        raise ConfigError("got at_match grow without a match; name the reference runs")
    for name in ("cuda_graph", "multiplicative_noise", "ghost_noise", "published"):
        if getattr(config, name):
            raise ConfigError(f"got at_match grow with {name}, which is for one batch size; leave one out")


def _check_at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{name} is {value!r}; expected a whole number of at least {least}")
