"""Runs that Adam and AdamW train."""

from dataclasses import replace

import pytest

from analysis import equilibrium
from analysis.errors import MotionError
from train import plan, train, train_batched
from train.configs.recipes import f1_digits
from trajectory import Run

ADAM = replace(f1_digits(), epochs=1, drops=((0.8, 0.1),), optimizer="adam", lr=1e-3, snapshots_per_decade=1)


def test_adam_is_torchs_and_resumes_bit_for_bit(tmp_path):
    def stop(t, _):
        if t == 30:
            raise KeyboardInterrupt

    whole = Run(train(ADAM, tmp_path / "whole.zarr"))
    with pytest.raises(KeyboardInterrupt):
        train(ADAM, tmp_path / "cut.zarr", progress=stop, checkpoint_every=0)
    cut = Run(train(ADAM, tmp_path / "cut.zarr", resume=True))
    assert (cut.distance == whole.distance).all()
    # Adam's first update is η a weight, whatever its gradient, unless that is 0
    moved = whole.distance.iloc[0] / (1e-3 * whole.weight_count**0.5)
    assert 0.5 < moved <= 1 + 1e-3


def test_seeds_of_adam_train_batched_as_they_do_alone(tmp_path):
    config = replace(ADAM, optimizer="adamw", weight_decay=0.01, network="f1-small", epochs=0.25, drops=())
    train_batched(config, {seed: tmp_path / f"{seed}.zarr" for seed in (0, 1)})
    alone = Run(train(replace(config, seed=1), tmp_path / "alone.zarr"))
    batched = Run(tmp_path / "1.zarr").distance
    assert batched.to_numpy() == pytest.approx(alone.distance.to_numpy(), rel=1e-3)


def test_the_memory_of_adamw_is_that_of_its_decay_and_adam_has_none(tmp_path):
    config = replace(ADAM, weight_decay=0.5, quantities=("distance", "norm", "update_norm"))
    run = train(replace(config, optimizer="adamw"), tmp_path / "adamw.zarr")
    assert equilibrium(run).memory == pytest.approx(1 / (1e-3 * 0.5))
    with pytest.raises(MotionError, match="was trained with adam; expected sgd or adamw"):
        equilibrium(train(config, tmp_path / "adam.zarr"))


def test_a_plan_of_a_run_of_adam_is_a_recipe_that_trains(tmp_path):
    found = plan(train(ADAM, tmp_path / "small.zarr"), 64)
    recipe = found.recipe()
    assert f"at most {recipe.schedule(train_size=1280).updates} if" in found.table()["updates"]
    assert (recipe.lr_scaling, recipe.optimizer, recipe.eps) == ("none", "adam", pytest.approx(5e-9))
    assert recipe.method == "LB 64 Adam +GBN +RA +match"
