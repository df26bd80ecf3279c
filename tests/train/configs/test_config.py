"""The configuration of a run: what it is made into, and what it refuses."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import get_args

import pytest

from analysis.matching import reference
from analysis.matching.distance_matcher import TRANSIENT
from train.configs import choices
from train.configs import config as module
from train.configs.config import TrainConfig
from train.configs.recipes import f1_digits, f1_mnist
from train.data.readers import IMAGE_FOLDERS, READERS
from train.errors import ConfigError
from train.models import NETWORKS
from trajectory.schema.layout import QUANTITIES
from ultraslow.large_batch import distance_matched_lr


def test_the_choices_are_those_of_the_modules_that_offer_them():
    """They are written out where neither torch nor a data set is loaded."""
    assert get_args(choices.Network) == tuple(NETWORKS)
    assert get_args(choices.DatasetName) == (*READERS, *IMAGE_FOLDERS)
    assert choices.LaterPhases == reference.LaterPhases
    assert choices.OnFailure == distance_matched_lr.OnFailure
    assert module.MATCH_MIN_STEP == TRANSIENT
    assert get_args(choices.Quantity) == QUANTITIES


def test_every_field_has_a_line():
    source = Path(module.__file__).read_text().splitlines()
    for field in fields(TrainConfig):
        line = next(i for i, text in enumerate(source) if text.startswith(f"    {field.name}: "))
        assert source[line + 1].strip().startswith('"""'), field.name


@pytest.mark.parametrize("train_size", [1280, 60_000])
def test_regime_adaptation_gives_the_small_batchs_updates_exactly(train_size):
    small = replace(f1_mnist(), batch_size=128)
    large = replace(small, batch_size=640, regime_adaptation=True)  # 60,000 / 640 is no whole number
    assert large.schedule(train_size).updates == small.schedule(train_size).updates
    assert large.schedule(train_size).drops == small.schedule(train_size).drops
    plain = replace(large, regime_adaptation=False)
    assert plain.schedule(train_size).updates == 50 * (train_size // 640)


def test_the_learning_rate_rule_is_applied_once():
    config = replace(f1_digits(), batch_size=256, lr_scaling="sqrt", warmup_steps=60)
    assert config.regime(1280).lr == pytest.approx(0.05 * 4)
    assert config.schedule(1280).rate(59) == pytest.approx(0.2)
    assert replace(config, lr_scaling="linear").regime(1280).lr == pytest.approx(0.8)


def test_a_match_takes_the_place_of_the_drops(tmp_path):
    config = replace(f1_digits(), match=[tmp_path / "a.zarr", "b.zarr"])
    assert config.match == (str(tmp_path / "a.zarr"), "b.zarr")
    assert replace(config, match="b.zarr").match == ("b.zarr",)
    assert config.schedule(1280).drops == ()
    assert replace(config, match=()).schedule(1280).drops == ((1200, 0.1),)


@pytest.mark.parametrize(
    ("switches", "method"),
    [
        ({}, "SB 16"),
        ({"batch_size": 256}, "LB 256"),
        ({"batch_size": 256, "lr_scaling": "sqrt"}, "LB 256 +LR"),
        ({"batch_size": 256, "ghost_batch_size": 16}, "LB 256 +GBN"),
        (
            {"batch_size": 256, "lr_scaling": "sqrt", "ghost_batch_size": 16, "regime_adaptation": True},
            "LB 256 +LR +GBN +RA",
        ),
        ({"batch_size": 256, "match": ("a.zarr",)}, "LB 256 +match"),
        ({"ghost_batch_size": 16}, "SB 16"),  # a ghost as large as the batch changes nothing
    ],
)
def test_the_method_is_named_as_the_paper_names_it(switches, method):
    assert replace(f1_digits(), **switches).method == method


def test_the_record_holds_what_was_run_and_how_to_run_it_again():
    config = replace(f1_digits(), batch_size=256, lr_scaling="sqrt", regime_adaptation=True, seed=3)
    record = config.record(1280)
    contract = "recipe label network dataset batch_size train_size epochs lr momentum weight_decay max_grad_norm"
    contract += " ghost_batch_size warmup_steps lr_scaling match"
    assert set(contract.split()) <= record.keys()
    assert (record["lr"], record["epochs"], record["updates"]) == (0.2, 480, 2400)
    assert record["label"] == "LB 256 +LR +RA"
    settings = json.loads(json.dumps(record))["settings"]
    as_read = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    as_read["drops"] = tuple(tuple(drop) for drop in as_read["drops"])
    assert TrainConfig(**as_read) == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "f2"}, r"no network is named 'f2'; known are f1, f1-small"),
        ({"dataset": "mnst"}, "did you mean mnist"),
        ({"batch_size": 0}, "batch_size is 0; expected a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"ghost_batch_size": 1}, "ghost_batch_size is 1; expected a whole number of at least 2"),
        ({"seed": -1}, "seed is -1"),
        ({"input_noise": float("nan")}, "input_noise is nan"),
        ({"label_noise": 1.1}, "label_noise is 1.1; expected a fraction from 0 to 1"),
        ({"lr_scaling": "cubic"}, "no lr_scaling is named 'cubic'; known are none, sqrt, linear"),
        ({"later_phases": "epochs"}, "no later_phases is named 'epochs'; known are updates, distance"),
        ({"already_above": "wait"}, "known are keep, drop, raise"),
        ({"match_origin": -1}, "match_origin is -1"),
        ({"momentum": 2}, "momentum is 2"),
        ({"regime_adaptation": "no"}, "regime_adaptation is 'no'; expected true or false"),
    ],
)
def test_nonsense_is_refused_in_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(f1_digits(), **change)
    assert "\n" not in str(caught.value)


def test_no_clipping_is_none_or_0():
    assert replace(f1_digits(), max_grad_norm=0).max_grad_norm is None
    assert replace(f1_digits(), max_grad_norm=None).max_grad_norm is None


def test_origins_may_be_multiples_of_the_memory_time_of_the_rate_as_run():
    config = replace(f1_digits(), lr=0.05, weight_decay=1e-3, origins=(7, "5tau"))  # τ = (1 − .9)/(.05 · .001)
    assert config.origin_steps() == (7, 10_000)
    assert replace(config, batch_size=64, lr_scaling="sqrt").origin_steps() == (7, 5000)
    assert config.record(1280)["origins"] == [7, 10_000]
    assert config.record(1280)["settings"]["origins"] == (7, "5tau")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"origins": ("5tau",), "weight_decay": 0.0}, "needs SGD or AdamW"),
        ({"origins": ("five",)}, "expected a step, or a multiple"),
        ({"origins": (-3,)}, "expected updates from 1 on"),
        ({"quantities": ("distance", "angle")}, "no quantity is named 'angle'"),
        ({"quantities": ("norm",)}, "expected distance among them"),
        ({"sketches": "every"}, "expected log:N or every:N"),
        ({"sketches": "at:0"}, "expected log:N or every:N"),
    ],
)
def test_origins_and_quantities_that_cannot_be_recorded_are_refused(values, said):
    with pytest.raises(ConfigError, match=said):
        replace(f1_digits(), **values)


def test_adam_is_noted_as_it_is_run():
    config = replace(f1_digits(), batch_size=64, lr=1e-3, optimizer="adamw", weight_decay=0.1, lr_scaling="sqrt")
    config = replace(config, beta_scaling="sde", origins=("1tau",))
    record = config.record(1280)
    assert record["lr"] == pytest.approx(2e-3)
    assert record["betas"] == pytest.approx((0.6, 0.996))
    assert (record["momentum"], record["eps"]) == pytest.approx((0.6, 5e-9))
    assert record["origins"] == [5000]  # 1/(ηλ), whatever β₁
    assert record["settings"]["betas"] == (0.9, 0.999)
    assert record["label"] == "LB 64 AdamW +LR +β"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optimizer": "lion"}, "no optimizer is named 'lion'; known are sgd, adam, adamw"),
        ({"optimizer": "adam", "betas": (0.9, 1.0)}, "betas are"),
        ({"optimizer": "adam", "beta_scaling": "sde", "batch_size": 1024}, "a batch of 160 or less"),
        ({"beta_scaling": "half-life"}, "with sgd, which has no betas"),
        ({"optimizer": "adam", "protocol": "published"}, "trains with sgd"),
        ({"optimizer": "adam", "weight_decay": 0.1, "origins": ("5tau",)}, "needs SGD or AdamW"),
    ],
)
def test_settings_that_an_optimizer_cannot_take_are_refused_in_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        replace(f1_digits(), **change)
    assert "\n" not in str(caught.value)
