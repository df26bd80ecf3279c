"""Recipe files: what is written is read back, and every mistake is one line."""

from dataclasses import replace

import pytest

from train.configs.recipes import RECIPES, f1_digits, get
from train.configs.toml import read_recipe, write_recipe
from train.errors import ConfigError

CHANGED = replace(
    f1_digits(),
    batch_size=256,
    lr=1e-5,
    max_grad_norm=None,
    regime_adaptation=True,
    match=('runs/größe "1".zarr', "b.zarr"),
    match_origin=100,
    already_above="drop",
    origins=(10, 20),
    label="α = 1",
)


@pytest.mark.parametrize("config", [*map(get, RECIPES), CHANGED], ids=[*RECIPES, "changed"])
def test_a_recipe_read_back_is_the_one_written(tmp_path, config):
    write_recipe(config, tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "recipe.toml") == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = fast", "not a recipe"),
        ("speed = 1", "no field is named 'speed'; a recipe's fields are recipe, network"),
        ("lr = 0.1", "the field 'recipe' is missing"),
        ("{recipe}lr_scaling = 'cubic'", "no lr_scaling is named 'cubic'"),
        ("{recipe}warmup_steps = 'long'", "wrong kind"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "recipe.toml"
    write_recipe(f1_digits(), path)
    path.write_text(text.replace("{recipe}", path.read_text()))
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match="expected a TOML file"):
        read_recipe(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_recipe(f1_digits(), tmp_path / "none" / "x.toml")
