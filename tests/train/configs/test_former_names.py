"""Stored configurations, recipe files and sweeps of earlier versions are read on."""

from dataclasses import asdict, replace

import pytest

import train
from train.configs.former_names import FORMER_NAMES, current_names
from train.configs.recipes import f1_digits
from train.configs.toml import as_config, read_recipe
from train.errors import ConfigError
from train.sweeps.spec import read_sweep

# As `ultraslow plan` wrote it before the settings were renamed.
RECIPE = """
recipe = "f1-digits"
network = "f1-small"
dataset = "digits"
batch_size = 256
base_batch_size = 16
lr = 0.05
lr_rule = "sqrt"
epochs = 45
regime_adaptation = true
warm_up = 50
ghost_batch_size = 16
weight_decay = 1e-05
clip_norm = 0
input_noise = 0.5
snapshots = 2
rows = 30
"""
SWEEP = """
out = "runs"
recipes = ["f1-digits"]
[settings]
snapshots = 1
clip_norm = 0
[methods."+LR"]
lr_rule = "sqrt"
warm_up = 10
"""


def test_a_recipe_file_of_an_earlier_version_loads(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert read_recipe(tmp_path / "recipe.toml") == replace(
        f1_digits(),
        batch_size=256,
        drops=(),
        epochs=45,
        lr_scaling="sqrt",
        regime_adaptation=True,
        warmup_steps=50,
        ghost_batch_size=16,
        max_grad_norm=None,
        snapshots_per_decade=2,
        rows_per_decade=30,
    )


def test_a_stored_configuration_of_an_earlier_version_is_the_same_configuration():
    config = replace(f1_digits(), batch_size=64, lr_scaling="sqrt", warmup_steps=3, rows_per_decade=4)
    former = {name: old for old, name in FORMER_NAMES.items()}
    record = {**config.record(1280), "batched_seeds": [0, 1]}
    earlier = {former.get(name, name): value for name, value in record.items()}
    earlier["settings"] = {former.get(name, name): value for name, value in asdict(config).items()}
    assert not {"lr_scaling", "rows_per_decade", "batched_seeds"} & earlier.keys()
    assert current_names(earlier) == record
    assert as_config(earlier["settings"], "run.zarr") == config


def test_a_sweep_of_an_earlier_version_is_read(tmp_path):
    (tmp_path / "sweep.toml").write_text(SWEEP)
    (run,) = read_sweep(tmp_path / "sweep.toml").runs
    assert run.config == replace(
        f1_digits(),
        label="+LR 16",
        snapshots_per_decade=1,
        max_grad_norm=None,
        lr_scaling="sqrt",
        warmup_steps=10,
    )


def test_a_setting_under_both_of_its_names_is_refused(tmp_path):
    (tmp_path / "recipe.toml").write_text(RECIPE + 'lr_scaling = "none"\n')
    with pytest.raises(ConfigError, match="got lr_scaling and lr_rule, its former name; leave lr_rule out"):
        read_recipe(tmp_path / "recipe.toml")


def test_former_names_of_the_package_are_read_on_with_a_warning():
    with pytest.warns(DeprecationWarning, match=r"train.Config is called train.TrainConfig"):
        assert train.Config is train.TrainConfig
    with pytest.warns(DeprecationWarning, match=r"train.train_together is called train.train_batched"):
        assert train.train_together is train.train_batched
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        train.nothing  # noqa: B018
