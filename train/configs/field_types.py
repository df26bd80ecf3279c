"""The types of a configuration's values, which its fields say: files hold whatever was typed into them."""

from dataclasses import fields
from math import isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from train.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", NoneType: "none"}
_SEVERAL: dict[Any, str] = {
    int: "whole numbers",
    float: "numbers",
    str: "texts",
    int | str: "whole numbers or texts",
    tuple[float, float]: "pairs of numbers",
}


def frozen(value: Any) -> Any:
    """Return lists as tuples, inner ones too, and paths as text.

    Args:
        value: a field's value.
    """
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return str(value) if isinstance(value, Path) else value


def check_types(config: "DataclassInstance") -> None:
    """Check the type of every field but those with a choice of names; no number may be infinite or NaN.

    Args:
        config: the configuration.

    Raises:
        ConfigError: a value is of another type than its field.
    """
    for field in fields(config):
        value = getattr(config, field.name)
        if not _is_of(value, field.type):
            raise ConfigError(f"{field.name} is {value!r}; expected {_in_words(field.type)}")


def _is_of(value: object, kind: Any) -> bool:
    inner = get_args(kind)
    if get_origin(kind) is Literal:
        return True
    if isinstance(kind, UnionType):
        return any(_is_of(value, each) for each in inner)
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = inner[:1] * len(value) if inner[-1] is ... else inner
        return len(value) == len(kinds) and all(map(_is_of, value, kinds))
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float) and isfinite(value) if kind is float else isinstance(value, kind)


def _in_words(kind: Any) -> str:
    inner = get_args(kind)
    if get_origin(kind) is tuple and inner[-1] is not ...:
        return f"{len(inner)} {_SEVERAL[inner[0]]}"
    if get_origin(kind) is tuple:
        return f"a list of {_SEVERAL.get(inner[0], 'names')}"
    return " or ".join(map(_in_words, inner)) if isinstance(kind, UnionType) else _WORDS[kind]
