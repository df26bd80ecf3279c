"""Recipes as TOML files: the fields of a `Config`, those with a default left out where they keep it."""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from train.configs.recipes import Config, get
from train.errors import ConfigError

_FIELDS = {field.name: field for field in fields(Config)}


def read_recipe(path: str | Path) -> Config:
    """The configuration that a recipe file holds; `clip_norm = 0` stands for no clipping, as TOML knows no none.

    Raises ConfigError for a file that is missing or no TOML, for unknown or missing fields, and as `Config`.
    """
    entries = read_toml(path, "recipe", "`ultraslow plan` writes it")
    return as_config(entries, path)


def find_recipe(name: str) -> Config:
    """The recipe of that name, or what a recipe file holds; raises ConfigError as `read_recipe` and `get`."""
    return read_recipe(name) if name.endswith(".toml") else get(name)


def read_toml(path: str | Path, what: str, written: str) -> dict[str, Any]:
    """A TOML file's entries. Raises ConfigError if it cannot be read; `what` and `written` say what is expected."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: no {what} can be read there ({error.strerror}); expected a TOML file") from error
    except ValueError as error:
        told = str(error).splitlines()[0]
        raise ConfigError(f"{path}: not a {what}: {told}; expected TOML as {written}") from error


def as_config(entries: Mapping[str, Any], source: str | Path) -> Config:
    """The Config of these fields, lists standing for tuples and `clip_norm = 0` for no clipping.

    Errors (ConfigError) name the source.
    """
    unknown = [name for name in entries if name not in _FIELDS]
    missing = [name for name, field in _FIELDS.items() if field.default is MISSING and name not in entries]
    if unknown or missing:
        wrong = f"no field is named {unknown[0]!r}" if unknown else f"the field {missing[0]!r} is missing"
        raise ConfigError(f"{source}: {wrong}; a recipe's fields are {', '.join(_FIELDS)}")
    try:
        if entries.get("clip_norm") == 0:
            entries = {**entries, "clip_norm": None}
        return Config(**{name: _frozen(value) for name, value in entries.items()})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{source}: a field has a value of the wrong kind ({error})") from error


def write_recipe(config: Config, path: str | Path) -> None:
    """Writes a configuration so that `read_recipe` gives it back. Raises ConfigError where no file can be written."""
    lines = []
    for name, field in _FIELDS.items():
        value = getattr(config, name)
        if field.default is MISSING or value != field.default:
            # numbers, texts and arrays of them are written alike in JSON and TOML
            lines.append(f"{name} = {json.dumps(0 if value is None else value, ensure_ascii=False)}\n")
    try:
        Path(path).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the recipe cannot be written ({error.strerror}); choose another file") from error


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
