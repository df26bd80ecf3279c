"""Sweeps as TOML files: recipes × batch sizes × methods × seeds, read and checked into runs.

    out = "runs/digits"                # folder of the stores
    data_root = "data"                 # of the data sets; this is the default
    recipes = ["f1-digits"]            # names, or recipe files
    batch_sizes = [64, 256]            # default: each recipe's own
    seeds = "0-2"                      # or [0, 1, 2]; default 0

    [settings]                         # fields of TrainConfig that hold for all runs
    epochs = 10

    [methods.SB]                       # a name, the fields of TrainConfig that make it, and recipes, batch_sizes
    batch_sizes = [16]                 # or seeds of its own

    [methods."+GBN"]
    lr_scaling = "sqrt"
    ghost_batch_size = 16

    [methods.matched]
    lr_scaling = "sqrt"
    match = "SB"                       # that method's runs of the same recipe, all seeds; or paths of stores

    [methods."LB from"]                # a run for each start: that method's run of the same recipe and seed
    warm_start = ["SB@0epochs", "SB@1epoch", "SB@468"]

A method that runs at several batch sizes is referred to with one of them, `match = "+GBN 64"`; tables and figures
label a run in this way. Paths are relative to the folder that the sweep is started in.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from train.configs.choices import one_of
from train.configs.config import TrainConfig
from train.configs.former_names import current_names
from train.configs.toml import as_config, find_recipe, read_toml
from train.configs.warm_start_source import WarmStartSource, runs_needed
from train.errors import ConfigError

_MOST_SEEDS = 10_000
_AXES = ("recipes", "batch_sizes", "seeds")
_KEYS = ("out", "data_root", *_AXES, "settings", "methods")
# The axes say these, and the method's name with the batch is the label.
_FIELDS = tuple(f.name for f in fields(TrainConfig) if f.name not in ("recipe", "batch_size", "seed", "label"))


@dataclass(frozen=True)
class PlannedRun:
    """One run of a sweep."""

    path: str
    """The run's store, a folder or a URL."""
    config: TrainConfig
    """The run's configuration."""

    @property
    def needs(self) -> tuple[str, ...]:
        """The stores of the runs that have to be there before: what it is matched to, and what it starts from."""
        return runs_needed(self.config.match, self.config.warm_start)


@dataclass(frozen=True)
class Sweep:
    """The runs that a sweep consists of."""

    data_root: str
    """Folder of the data sets."""
    runs: tuple[PlannedRun, ...]
    """The runs in the order they are made: first seeds first, but each behind those that it needs."""

    def references(self, run: PlannedRun) -> list[PlannedRun]:
        """Return the runs of this sweep that a run is matched to, or starts from.

        Args:
            run: a run of this sweep.
        """
        return [other for other in self.runs if other.path in run.needs]


def read_sweep(path: str | Path) -> Sweep:
    """Return the sweep that a TOML file describes.

    Names that settings had in earlier versions are understood.

    Args:
        path: the TOML file.

    Raises:
        ConfigError: if the file cannot be read or describes no sweep; for a misspelt word it names the closest one.
    """
    entries = read_toml(path, "sweep", "in docs/reproduction.toml")
    try:
        return _sweep(entries)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def seed_list(value: Any) -> tuple[int, ...]:
    """Return seeds from a list of them, or from text.

    Args:
        value: whole numbers, or text such as "0-4", "0,2,5" or "0-2,7".

    Raises:
        ConfigError: if the value is neither, names a seed twice, or more seeds than anybody trains.
    """
    seeds = value
    if isinstance(value, str):
        found = [re.fullmatch(r"\s*(\d{1,20})\s*(?:-\s*(\d{1,20})\s*)?", part) for part in value.split(",")]
        spans = [(int(span[1]), int(span[2] or span[1])) for span in found if span]
        if (count := sum(last + 1 - first for first, last in spans)) > _MOST_SEEDS:
            raise ConfigError(f"seeds is {value!r}, which are {count}; expected at most {_MOST_SEEDS}")
        seeds = [n for first, last in spans for n in range(first, last + 1)] if all(found) else []
    if not seeds or len(set(_whole(seeds, "seeds"))) < len(seeds):
        raise ConfigError(f'seeds is {value!r}; expected different whole numbers, as in [0, 1, 2] or "0-2"')
    return tuple(seeds)


@dataclass(frozen=True)
class _Method:
    """A method's table; an axis that it lacks is the sweep's."""

    name: str
    recipes: tuple[str, ...]
    batch_sizes: tuple[int, ...] | None
    seeds: tuple[int, ...]
    fields: Mapping[str, Any]

    def sizes(self, recipe: str) -> tuple[int, ...]:
        return self.batch_sizes or (find_recipe(recipe).batch_size,)


def _sweep(entries: Mapping[str, Any]) -> Sweep:
    for key in entries:
        one_of("key of a sweep", key, _KEYS)
    for key in ("out", "recipes", "methods"):
        if key not in entries:
            raise ConfigError(f"the key {key!r} is missing; a sweep's keys are {', '.join(_KEYS)}")
    out, data_root = (_text(entries.get(key, "data"), key) for key in ("out", "data_root"))
    settings = current_names(_table(entries.get("settings", {}), "settings"))
    for name in settings:
        one_of("field", name, _FIELDS)
    if not entries["methods"]:
        raise ConfigError("it has no method; expected a table for each, such as [methods.SB]")
    methods = [_method(name, table, entries) for name, table in _table(entries["methods"], "methods").items()]
    runs: dict[str, PlannedRun] = {}
    for seed in dict.fromkeys(seed for method in methods for seed in method.seeds):
        for run in _runs_of(seed, methods, settings, out):
            if run.path in runs:
                raise ConfigError(
                    f"two of its runs would be written to {run.path}; expected methods whose names differ in more"
                    " than punctuation, and no recipe or batch size twice"
                )
            runs[run.path] = run
    return Sweep(data_root, tuple(_references_first(runs)))


def _method(name: str, table: Any, sweep: Mapping[str, Any]) -> _Method:
    axes = {key: sweep[key] for key in _AXES if key in sweep}
    own = current_names(_table(table, f"methods.{name}"))
    for key in own:
        one_of(f"field or axis (methods.{name})", key, (*_AXES, *_FIELDS))
    axes |= {key: own[key] for key in _AXES if key in own}
    recipes = axes["recipes"]
    if not isinstance(recipes, list) or not recipes or not all(isinstance(recipe, str) for recipe in recipes):
        raise ConfigError(f"recipes is {recipes!r}; expected a list of names, or of recipe files")
    sizes = axes.get("batch_sizes")
    return _Method(
        name,
        tuple(recipes),
        None if sizes is None else _whole(sizes, "batch_sizes"),
        seed_list(axes.get("seeds", [0])),
        {key: value for key, value in own.items() if key not in _AXES},
    )


def _runs_of(seed: int, methods: list[_Method], settings: Mapping[str, Any], out: str) -> Iterator[PlannedRun]:
    for recipe in dict.fromkeys(recipe for method in methods for recipe in method.recipes):
        for method in (one for one in methods if seed in one.seeds and recipe in one.recipes):
            changes = {**settings, **method.fields}
            if "match" in changes:
                changes["match"] = _stores(changes["match"], recipe, methods, out)
            starts = _starts(changes.pop("warm_start", ""), recipe, seed, methods, out)
            for size in method.sizes(recipe):
                for name, start in starts.items():
                    label = f"{method.name} {size}" + (f" {name}" if len(starts) > 1 else "")
                    axes = {"batch_size": size, "seed": seed, "label": label, "warm_start": start}
                    config = as_config({**asdict(find_recipe(recipe)), **changes, **axes}, f"methods.{method.name}")
                    yield PlannedRun(_store(out, recipe, config.label, seed), config)


def _stores(match: Any, recipe: str, methods: list[_Method], out: str) -> list[str]:
    """The stores that a `match` entry stands for: paths as they are, methods as their runs of this recipe."""
    known = _known(recipe, methods, out)
    found = []
    for name in _names(match, "match"):
        if not _is_path(name):
            one_of("method to match", name, known)
        found += list(known[name].values()) if name in known else [name]
    return found


def _starts(start: Any, recipe: str, seed: int, methods: list[_Method], out: str) -> dict[str, str]:
    """By name, where a `warm_start` entry begins: a method stands for its run of this recipe and seed."""
    if start == "":
        return {"": ""}
    known = _known(recipe, methods, out)
    found = {}
    for text in _names(start, "warm_start"):
        source = WarmStartSource.parse(text)
        if not _is_path(source.run):
            one_of("method to start from", source.run, known)
        stores = known.get(source.run, {})
        if source.run in known and seed not in stores:
            raise ConfigError(f"warm_start is {text!r}: {source.run} has no run of seed {seed}; give both the same")
        found[text] = text.replace(source.run, stores.get(seed, source.run), 1)
    return found


def _known(recipe: str, methods: list[_Method], out: str) -> dict[str, dict[int, str]]:
    """By each name that a method goes by, the stores of its runs of a recipe, by seed."""
    known: dict[str, dict[int, str]] = {}
    for method in (one for one in methods if recipe in one.recipes):
        sizes = method.sizes(recipe)
        for size in sizes:
            label = f"{method.name} {size}"
            known[label] = {seed: _store(out, recipe, label, seed) for seed in method.seeds}
        if len(sizes) == 1:
            known[method.name] = known[f"{method.name} {sizes[0]}"]
    return known


def _names(value: Any, key: str) -> list[str]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ConfigError(f"{key} is {value!r}; expected the name of a method, or paths of stores")
    return names


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith(".zarr")


def _store(out: str, recipe: str, label: str, seed: int) -> str:
    """RECIPE-LABEL-seedN.zarr in the folder or URL `out`, in characters every file system takes."""
    name = "-".join(re.findall(r"[\w.]+", f"{find_recipe(recipe).recipe} {label}".lower()))
    return f"{out.rstrip('/')}/{name}-seed{seed}.zarr"


def _references_first(runs: Mapping[str, PlannedRun]) -> list[PlannedRun]:
    """The runs in their order, but each behind those that it needs."""
    placed: dict[str, PlannedRun] = {}

    def place(run: PlannedRun, behind: tuple[str, ...] = ()) -> None:
        if run.path in behind:
            how = "is matched to" if run.path in run.config.match else "needs"
            raise ConfigError(f"{run.config.label} {how} itself; expected another method")
        for path in run.needs:
            if path in runs and path not in placed:
                place(runs[path], (*behind, run.path))
        placed[run.path] = run

    for run in runs.values():
        place(run)
    return list(placed.values())


def _whole(value: Any, name: str) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not value or not all(type(item) is int for item in value):
        raise ConfigError(f"{name} is {value!r}; expected a list of whole numbers")
    return tuple(value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is {value!r}; expected a folder's path, in quotes")
    return value


def _table(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigError(f"{name} is {value!r}; expected a table, [{name}]")
    return value
