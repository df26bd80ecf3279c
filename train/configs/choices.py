"""What the fields of a configuration may be chosen from.

Neither torch nor a data set is loaded here, so that `ultraslow train RECIPE --help` is quick. The choices that other
modules offer are therefore written out; tests hold them equal to those modules' own.
"""

from collections.abc import Collection
from difflib import get_close_matches
from typing import Literal

from train.errors import ConfigError
from trajectory.schedule import Every, LogSpaced

Network = Literal["f1", "f1-small", "c1", "vgg", "resnet44", "wrn16-4", "alexnet"]  # train.models.NETWORKS
DatasetName = Literal["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "imagenet"]  # train.data.readers
LaterPhases = Literal["updates", "distance"]  # analysis.matching.reference
OnFailure = Literal["keep", "drop", "raise"]  # ultraslow.large_batch.distance_matched_lr
OptimizerName = Literal["sgd", "adam", "adamw"]
Precision = Literal["float32", "bfloat16"]
Protocol = Literal["default", "published"]
AtMatch = Literal["drop", "grow"]
WarmStartOptimizer = Literal["if-kept", "restore", "fresh"]
Quantity = Literal["distance", "norm", "update_norm", "grad_norm", "momentum_norm"]  # trajectory.schema.layout

_SCHEDULES = {"log": LogSpaced, "every": Every}


def one_of(what: str, name: str, known: Collection[str]) -> None:
    """Check that a name is among the known ones.

    Args:
        what: what the name is of, for the message.
        name: the name.
        known: the names that there are.

    Raises:
        ConfigError: if it is not; the message names the known ones, and the closest.
    """
    if name not in known:
        close = get_close_matches(str(name), known, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"no {what} is named {name!r}; known are {', '.join(known)}{hint}")


def steps_of(name: str, text: str) -> LogSpaced | Every:
    """Return the steps that log:N or every:N names.

    Args:
        name: the field, for the message.
        text: its value.

    Raises:
        ConfigError: for text that names none.
    """
    kind, _, number = text.partition(":")
    if kind not in _SCHEDULES or not number.isdecimal() or int(number) < 1:
        raise ConfigError(f"{name} is {text!r}; expected log:N or every:N, such as every:100")
    return _SCHEDULES[kind](int(number))
