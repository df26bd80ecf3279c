"""`ultraslow train`: recorded runs of a recipe."""

from collections.abc import Iterable
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

from ultraslow.cli.arguments import Count, OnFailure
from ultraslow.cli.console import kept, progress_bar
from ultraslow.cli.info import info

if TYPE_CHECKING:
    from train.configs.config import TrainConfig


def train(
    recipe: Annotated[str, Positional, arg(metavar="RECIPE")] = "",
    *,
    list: bool = False,
    out: Annotated[str | None, arg(metavar="RUN")] = None,
    seed: Count = None,
    seeds: Annotated[str | None, arg(metavar="N-M|N,M")] = None,
    batched: bool = False,
    data_root: Path = Path("data"),
    device: str = "cpu",
    batch_size: Annotated[int | None, arg(metavar="N")] = None,
    epochs: Annotated[float | None, arg(metavar="N")] = None,
    drops: Annotated[tuple[tuple[float, float], ...], arg(metavar="EPOCH FACTOR [EPOCH FACTOR ...]")] = (),
    lr: Annotated[float | None, arg(metavar="RATE")] = None,
    lr_scaling: Annotated[Literal["none", "sqrt", "linear"] | None, arg(metavar="{none,sqrt,linear}")] = None,
    ghost_batch_size: Annotated[int | None, arg(metavar="N")] = None,
    regime_adaptation: bool = False,
    multiplicative_noise: bool = False,
    warmup_steps: Annotated[int | None, arg(metavar="UPDATES")] = None,
    momentum: Annotated[float | None, arg(metavar="M")] = None,
    weight_decay: Annotated[float | None, arg(metavar="L")] = None,
    weight_decay_until: Annotated[float | None, arg(metavar="EPOCHS")] = None,
    max_grad_norm: Annotated[float | None, arg(metavar="NORM")] = None,
    input_noise: Annotated[float | None, arg(metavar="SD")] = None,
    label_noise: Annotated[float | None, arg(metavar="FRACTION")] = None,
    match: Annotated[tuple[str, ...], arg(metavar="REFERENCE [REFERENCE ...]")] = (),
    match_origin: Count = None,
    min_step: Count = None,
    gamma: Annotated[float | None, arg(metavar="FACTOR")] = None,
    later_phases: Annotated[Literal["updates", "distance"] | None, arg(metavar="{updates,distance}")] = None,
    timeout: Count = None,
    on_timeout: OnFailure = None,
    already_above: OnFailure = None,
    precision: Annotated[Literal["float32", "bfloat16"] | None, arg(metavar="{float32,bfloat16}")] = None,
    channels_last: bool = False,
    compile: bool = False,
    cuda_graph: bool = False,
    warm_start: Annotated[str | None, arg(metavar="RUN[@STEP]")] = None,
    snapshots_per_decade: Count = None,
    rows_per_decade: Count = None,
    origins: Annotated[tuple[int, ...], arg(metavar="T [T ...]")] = (),
    label: Annotated[str | None, arg(metavar="TEXT")] = None,
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Trains a recorded run of a recipe, or of a file that `plan` wrote. --list shows the recipes.

    $ ultraslow train f1-mnist --data-root data --batch-size 4096 --lr-scaling sqrt --ghost-batch-size 128

    In several processes: torchrun --nproc-per-node 2 -m ultraslow train ... shares every batch out.

    Args:
        recipe: the experiment, or a TOML file of it; what is not given below is as it says.
        list: list the recipes: network, data and regime.
        out: the run's store, default runs/RECIPE-METHOD-seedN.zarr; with --seeds the folder of such stores.
        seed: fixes the initial weights, the order of the samples and all noise.
        seeds: one run for each of these seeds, one after another: 0-4, or 0,2,5.
        batched: train the seeds at once, as one computation: cheaper for a small network, without checkpoints.
        data_root: folder of the data sets (MNIST/raw/..., FashionMNIST/raw/...); what is missing is downloaded.
        device: cpu, or cuda.
        batch_size: samples in an update.
        epochs: passes through the training set.
        drops: after each EPOCH multiply the learning rate by its FACTOR: 10 0.1 20 0.1.
        lr: learning rate at the recipe's base batch size.
        lr_scaling: learning rate × 1, × √(B/B₀) or × B/B₀ for batch size B and base batch size B₀.
        ghost_batch_size: batch normalization over ghost batches of this size at most, as even as they come; one of
            at least the batch size is the whole batch.
        regime_adaptation: stretch the epochs so that the updates are as many as at the base batch size.
        multiplicative_noise: weight each batch's samples at random, so that it is as noisy as the base batch size.
        warmup_steps: updates over which the learning rate grows linearly; under a match 100 by default.
        momentum: SGD's momentum.
        weight_decay: SGD's weight decay.
        weight_decay_until: epochs after which it is 0.
        max_grad_norm: clip the gradient's norm to this; 0 for no clipping.
        input_noise: standard deviation of the noise added to each normalized training input.
        label_noise: fraction of the training labels that are shuffled, the same ones for every seed.
        match: reference runs; the learning rate drops where they had travelled at their drops.
        match_origin: measure both runs' distances from this update, after the first ones that throw the weights.
        min_step: update before which no distance counts.
        gamma: factor of every drop under a match; default the reference's own.
        later_phases: what drops after the first follow: the reference's updates in the phase, or its distance.
        timeout: updates that a phase may last.
        on_timeout: then keep the rate, drop it, or raise an error.
        already_above: likewise when the run is above the target without having been seen below.
        precision: of the forward and backward pass; bfloat16 by autocast, the weights stay float32.
        channels_last: keep images and convolutions with the channels last in memory.
        compile: compile the network (torch.compile).
        cuda_graph: capture the update in a CUDA graph and replay it.
        warm_start: start from the weights of a recorded run's snapshot, by default its last one.
        snapshots_per_decade: weight snapshots a decade of updates, log-spaced; 0 for none.
        rows_per_decade: recorded updates a decade, log-spaced; 0 records every update.
        origins: further updates that distances are measured from.
        label: what tables and figures call the run; default its method, as in LB 4096 +LR +GBN.
        overwrite: replace the run at `out`.
        resume: go on with the run at `out` from RUN.checkpoint.pt, if it was interrupted.
    """
    arguments = dict(locals())

    from train.configs.config import TrainConfig
    from train.configs.recipes import RECIPES
    from train.configs.toml import find_recipe
    from train.errors import ConfigError
    from train.sweeps.spec import seed_list

    if list:
        print(*(f"{name:<18}{(make.__doc__ or '').splitlines()[0]}" for name, make in RECIPES.items()), sep="\n")
        return
    named = {field.name for field in fields(TrainConfig)} - {"recipe"}
    changes = {
        name: value
        for name, value in arguments.items()
        if name in named and value is not None and value is not False and value != ()  # a 0 was given
    }
    if max_grad_norm == 0:
        changes["max_grad_norm"] = None
    config = replace(find_recipe(recipe), **changes)
    if batched:
        if seeds is None or resume:
            got = "resume" if resume else "no seeds"
            raise ConfigError(f"got batched with {got}; expected --seeds, such as 0-4, and runs that begin anew")
        _train_together(config, seed_list(seeds), out or "runs", data_root, device, overwrite)
        return
    if seeds is None:
        _train_one(config, out or _store("runs", config), data_root, device, overwrite, resume)
        return
    for one in (replace(config, seed=number) for number in seed_list(seeds)):
        _train_one(one, _store(out or "runs", one), data_root, device, overwrite, resume)


def _train_one(config: "TrainConfig", path: str, data_root: Path, device: str, overwrite: bool, resume: bool) -> None:
    from train.engine.checkpoint import is_complete
    from train.engine.data_parallel import is_first
    from train.engine.run_training import train as run_training

    done = resume and is_complete(path)
    with progress_bar() as bar, kept(path, resumable=True):
        run_training(
            config,
            path,
            data_root=data_root,
            device=device,
            progress=lambda t, updates: bar(Path(path).name, t, updates),
            overwrite=overwrite,
            resume=resume,
        )
    if is_first():
        if done:
            print(f"{path}: complete; nothing was left to train")
        info(path)


def _train_together(
    config: "TrainConfig", seeds: Iterable[int], folder: str, data_root: Path, device: str, overwrite: bool
) -> None:
    from train.engine.seed_ensemble import train_batched

    stores = {seed: _store(folder, replace(config, seed=seed)) for seed in seeds}
    name = f"{len(stores)} seeds"
    with progress_bar() as bar, kept(folder):
        train_batched(
            config,
            stores,
            data_root=data_root,
            device=device,
            progress=lambda t, updates: bar(name, t, updates),
            overwrite=overwrite,
        )
    for path in stores.values():
        info(path)


def _store(folder: str, config: "TrainConfig") -> str:
    """FOLDER/RECIPE-METHOD-seedN.zarr in characters every file system takes."""
    name = f"{config.recipe}-{config.method}-seed{config.seed}".lower().replace(" ", "-").replace("+", "")
    return f"{folder.rstrip('/')}/{name}.zarr"
