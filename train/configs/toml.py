"""Recipes as TOML files: the fields of a `TrainConfig`; those that keep their default are left out."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from train.configs.config import TrainConfig
from train.configs.former_names import current_names
from train.configs.recipes import get
from train.errors import ConfigError
from trajectory.errors import first_line

_FIELDS = {field.name: field for field in fields(TrainConfig)}


def read_recipe(path: str | Path) -> TrainConfig:
    """Return the configuration that a recipe file holds; `max_grad_norm = 0` stands for no clipping.

    Names that settings had in earlier versions are understood.

    Args:
        path: a TOML file.

    Raises:
        ConfigError: if the file is missing or no TOML, if a field is unknown or missing, or as `TrainConfig` does.

    Examples:
        >>> from train import RECIPES, read_recipe, write_recipe
        >>> write_recipe(RECIPES["f1-digits"](), "digits.toml")
        >>> read_recipe("digits.toml") == RECIPES["f1-digits"]()
        True
    """
    return as_config(read_toml(path, "recipe", "`ultraslow plan` writes it"), path)


def find_recipe(name: str) -> TrainConfig:
    """Return the recipe of a name, or the one that a recipe file holds.

    Args:
        name: one of `RECIPES`, or the path of a file that ends in .toml.

    Raises:
        ConfigError: as `read_recipe` and `recipes.get` do.
    """
    return read_recipe(name) if name.endswith(".toml") else get(name)


def read_toml(path: str | Path, what: str, source: str) -> dict[str, Any]:
    """Return a TOML file's entries.

    Args:
        path: the file.
        what: what the file holds, for the message.
        source: where an example of it comes from, for the message.

    Raises:
        ConfigError: if the file cannot be read, or is no TOML.
    """
    try:
        # utf-8-sig: editors on Windows begin a file with a byte order mark, which TOML does not know
        return tomllib.loads(Path(os.path.expanduser(path)).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: no {what} can be read there ({error.strerror}); expected a TOML file") from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a {what}: {first_line(error)}; expected TOML as {source}") from error


def as_config(entries: Mapping[str, Any], source: str | Path) -> TrainConfig:
    """Return the configuration of these fields, as a recipe file or a run's store holds them.

    Lists stand for tuples. Names that settings had in earlier versions are understood.

    Args:
        entries: values by the field's name.
        source: where they come from; errors name it.

    Raises:
        ConfigError: if a field is unknown or missing, or has a value that cannot be run.
    """
    entries = current_names(entries)
    unknown = [name for name in entries if name not in _FIELDS]
    missing = [name for name, field in _FIELDS.items() if field.default is MISSING and name not in entries]
    if unknown or missing:
        wrong = f"no field is named {unknown[0]!r}" if unknown else f"the field {missing[0]!r} is missing"
        raise ConfigError(f"{source}: {wrong}; a recipe's fields are {', '.join(_FIELDS)}")
    try:
        return TrainConfig(**entries)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def write_recipe(config: TrainConfig, path: str | Path, *, comments: Mapping[str, str] | None = None) -> None:
    """Write a configuration as a recipe file, so that `read_recipe` gives it back.

    Args:
        config: the configuration.
        path: the TOML file to write.
        comments: a comment for the line of a field, by the field's name; one line each.

    Raises:
        ConfigError: if the file cannot be written.

    Examples:
        >>> from dataclasses import replace
        >>> from train import RECIPES, read_recipe, write_recipe
        >>> write_recipe(replace(RECIPES["f1-digits"](), batch_size=256), "large.toml")
        >>> read_recipe("large.toml").batch_size
        256
    """
    lines = []
    for name, field in _FIELDS.items():
        value = getattr(config, name)
        if field.default is MISSING or value != field.default:
            # numbers, texts and arrays of them are written alike in JSON and TOML
            comment = f"  # {comments[name]}" if comments and name in comments else ""
            lines.append(f"{name} = {json.dumps(0 if value is None else value, ensure_ascii=False)}{comment}\n")
    try:
        Path(os.path.expanduser(path)).write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: the recipe cannot be written ({error.strerror}); choose another file") from error
