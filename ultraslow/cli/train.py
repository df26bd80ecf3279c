"""`ultraslow train`: recorded runs of a recipe."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING

from ultraslow.cli.console import ProgressBars, interruptible, progress_bar
from ultraslow.cli.info import info

if TYPE_CHECKING:
    from train.configs.config import TrainConfig
    from trajectory.recording.rows import Rows
    from ultraslow.cli.train_arguments import Options


def train(*arguments: str) -> None:
    """Train and record a run of a recipe, or of a TOML file that `ultraslow plan` wrote.

    $ ultraslow train f1-mnist --data-root data --batch-size 4096 --lr-scaling sqrt --ghost-batch-size 128

    Several processes share every batch of a run: torchrun --nproc-per-node 2 -m ultraslow train RECIPE ...

    Args:
        arguments: RECIPE, then options. `ultraslow train --list` shows the recipes, and
            `ultraslow train RECIPE --help` the settings of one.
    """
    from train.configs.recipes import RECIPES
    from train.errors import ConfigError
    from ultraslow.cli.train_arguments import parse

    config, options = parse(arguments, cleandoc(train.__doc__ or "").partition("Args:")[0].strip())
    if options.list:
        lines = {name: (make.__doc__ or "").splitlines()[0].removeprefix("Return ") for name, make in RECIPES.items()}
        print(*(f"{name:<18}{line}" for name, line in lines.items()), sep="\n")
        return
    if config is None:
        raise ConfigError(f"no recipe is given; expected a TOML file, or one of {', '.join(RECIPES)}")
    seeds = _seeds(options)
    if seeds and any(word.partition("=")[0] == "--seed" for word in arguments):
        raise ConfigError("got --seed with --seeds; leave one out")
    if options.batched:
        _train_batched(config, seeds, options)
    elif options.seeds is None:
        _train_one(config, options.out or _store("runs", config), options)
    else:
        for one in (replace(config, seed=seed) for seed in seeds):
            _train_one(one, _store(options.out or "runs", one), options)


def _seeds(options: "Options") -> tuple[int, ...]:
    from train.errors import ConfigError
    from train.sweeps.spec import seed_list

    if options.batched and (options.seeds is None or options.resume):
        got = "resume" if options.resume else "no seeds"
        raise ConfigError(f"got batched with {got}; expected --seeds, such as 0-4, and runs that begin anew")
    return () if options.seeds is None else seed_list(options.seeds)


def _train_one(config: "TrainConfig", path: str, options: "Options") -> None:
    from train.engine.checkpoint import is_complete
    from train.engine.data_parallel import is_first
    from train.engine.run_training import train as run_training

    done = options.resume and is_complete(path)
    name = Path(path).name
    with progress_bar() as bar, interruptible(path, resumable=True):
        run_training(
            config,
            path,
            data_root=options.data_root,
            device=options.device,
            progress=lambda t, updates: bar(name, t, updates),
            receive=_shown(bar, name),
            overwrite=options.overwrite,
            resume=options.resume,
        )
    if is_first():
        if done:
            print(f"{path}: complete; nothing was left to train")
        info(path)


def _train_batched(config: "TrainConfig", seeds: Iterable[int], options: "Options") -> None:
    from train.engine.seed_ensemble import train_batched

    folder = options.out or "runs"
    stores = {seed: _store(folder, replace(config, seed=seed)) for seed in seeds}
    name = f"{len(stores)} seeds"
    with progress_bar() as bar, interruptible(folder):
        train_batched(
            config,
            stores,
            data_root=options.data_root,
            device=options.device,
            progress=lambda t, updates: bar(name, t, updates),
            receive=_shown(bar, name),
            overwrite=options.overwrite,
        )
    for path in stores.values():
        info(path)


def _shown(bar: ProgressBars, name: str) -> "Callable[[Rows], None]":
    """Return what shows the newest distance, loss and rate behind the bar, as they reach the host."""
    loss = ""

    def receive(rows: "Rows") -> None:
        nonlocal loss
        logged = [values["loss"] for values in rows.metrics.values() if "loss" in values]
        loss = f"  loss {logged[-1]:.3g}" if logged else loss
        bar.show(name, f"distance {rows.distance[-1]:.4g}{loss}  rate {rows.learning_rate[-1]:.3g}")

    return receive


def _store(folder: str, config: "TrainConfig") -> str:
    """Return FOLDER/RECIPE-METHOD-seedN.zarr in characters that every file system takes."""
    name = f"{config.recipe}-{config.method}-seed{config.seed}".lower().replace(" ", "-").replace("+", "")
    return f"{folder.rstrip('/')}/{name}.zarr"
