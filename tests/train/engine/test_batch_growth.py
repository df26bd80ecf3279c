"""Runs whose batch grows at a match, in place of a learning-rate drop."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.reading import curves
from train import plan
from train.configs.recipes import f1_digits
from train.engine.run_training import train
from train.errors import ConfigError
from trajectory import Run

SMALL = replace(f1_digits(), epochs=2, drops=((1, 0.1),), input_noise=0.0, snapshots_per_decade=1)  # 160 updates
GROWING = replace(
    SMALL,
    batch_size=64,
    epochs=20,
    lr_scaling="sqrt",
    match=("small.zarr",),
    at_match="grow",
    warmup_steps=5,
    min_step=10,
    already_above="drop",  # so that it comes for certain
)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return train(SMALL, tmp_path_factory.mktemp("small") / "run.zarr")


def test_the_batch_grows_the_rate_stays_and_the_run_goes_on_from_its_checkpoint(small, tmp_path):
    config = replace(GROWING, match=(str(small),))
    run = Run(train(config, tmp_path / "whole.zarr"))
    growth = next(event for event in run.events if event.name == "batch_growth")
    assert (growth.details["batch_from"], growth.details["batch_to"]) == (64, 640)
    assert run.drops == []
    assert run.metrics["learning_rate"].loc[10:].nunique() == 1
    assert len(run.distance) == growth.step + 8  # a tenth of the reference's last 80 updates
    epochs = run.metrics["epoch"].dropna()
    assert epochs.loc[growth.step] == pytest.approx(growth.step / 20)  # the epoch is cut there
    assert epochs.iloc[-1] == pytest.approx(growth.step / 20 + 8 / 2)
    assert (curves(run)[0].drops, run.config["label"]) == ((growth.step,), "LB 64 +LR +match +growth")
    assert int(run.state_dict(growth.step + 8)["2.num_batches_tracked"]) == growth.step + 8 * 10  # ghosts of 64

    def stop(t, _):
        if t == growth.step + 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "cut.zarr", progress=stop, checkpoint_every=0)
    cut = Run(train(config, tmp_path / "cut.zarr", resume=True))
    np.testing.assert_array_equal(cut.distance, run.distance)
    np.testing.assert_array_equal(cut.metrics["epoch"], run.metrics["epoch"])


def test_what_the_training_set_leaves_over_lowers_the_rate(small, tmp_path):
    run = Run(train(replace(GROWING, match=(str(small),), gamma=0.01), tmp_path / "run.zarr"))
    growth = next(event for event in run.events if event.name == "batch_growth")
    assert growth.details["batch_to"] == 1280
    (drop,) = run.drops
    assert drop.step == growth.step
    assert drop.details["lr_to"] == pytest.approx(0.2 * drop.details["lr_from"])  # 20 × of 100 ×
    assert curves(run)[0].drops == (growth.step,)


def test_a_plan_writes_it_into_the_recipe(small):
    found = plan(small, 64, at_match="grow")
    recipe = found.recipe()
    assert f"at most {recipe.schedule(train_size=1280).updates} if" in found.table()["updates"]
    assert (recipe.at_match, recipe.method) == ("grow", "LB 64 +LR +GBN +RA +match +growth")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"match": ()}, "at_match grow without a match"),
        ({"multiplicative_noise": True}, "at_match grow with multiplicative_noise"),
        ({"protocol": "published"}, "at_match grow with published"),
        ({"at_match": "jump"}, "known are drop, grow"),
    ],
)
def test_what_a_growing_batch_cannot_go_with_is_told_in_a_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(GROWING, **change)
    assert "\n" not in str(caught.value)
