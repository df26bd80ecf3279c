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
    ("line", "message"),
    [
        ("batch_size = true", "batch_size is True; expected a whole number"),
        ("seed = 1.0", "seed is 1.0; expected a whole number"),
        (f"seed = {2**63}", r"expected a whole number below 2\^63"),
        ("lr = '0.1'", "lr is '0.1'; expected a number"),
        ("epochs = nan", "epochs is nan; expected a number"),
        ("drops = [0.5, 0.1]", r"drops is \(0.5, 0.1\); expected a list of pairs of numbers"),
        ("drops = [[nan, 0.1]]", "expected a list of pairs of numbers"),
        ("betas = [0.9]", r"betas is \(0.9,\); expected 2 numbers"),
        ("gamma = 'x'", "gamma is 'x'; expected a number or none"),
        ("gamma = 2", "gamma is 2; expected a factor between 0 and 1"),
        ("timeout = 0", "timeout is 0; expected a whole number of at least 1"),
        ("augment = 1", "augment is 1; expected true or false"),
        ("origins = '5tau'", "origins is '5tau'; expected a list of whole numbers or texts"),
        ("quantities = 'distance'", "quantities is 'distance'; expected a list of names"),
        ("sketches = 5", "sketches is 5; expected text"),
        ("label = ['a']", r"label is \('a',\); expected text"),
        ("match = ['']", "expected paths of runs, or none"),
        ("match = 5", "match is 5; expected a list of texts"),
        ("recipe = '../x'", "recipe is '../x'; expected a name that a file's can begin with"),
    ],
)
def test_a_value_of_another_type_is_refused_as_its_field_says(tmp_path, line, message):
    path = tmp_path / "recipe.toml"
    write_recipe(f1_digits(), path)
    kept = [other for other in path.read_text().splitlines() if other.split()[0] != line.split()[0]]
    path.write_text("\n".join([*kept, line]))
    with pytest.raises(ConfigError, match=message) as error:
        read_recipe(path)
    assert "\n" not in str(error.value)


def test_lists_and_paths_are_what_a_file_makes_of_them(tmp_path):
    config = replace(f1_digits(), drops=[[1, 0.1]], match=[tmp_path / "sb.zarr"], origins=[3])
    assert config == replace(f1_digits(), drops=((1, 0.1),), match=(str(tmp_path / "sb.zarr"),), origins=(3,))


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "recipe.toml"
    write_recipe(f1_digits(), path)
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert read_recipe(path) == f1_digits()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lr = fast", "not a recipe"),
        ("speed = 1", "no field is named 'speed'; a recipe's fields are recipe, network"),
        ("lr = 0.1", "the field 'recipe' is missing"),
        ("{recipe}lr_scaling = 'cubic'", "no lr_scaling is named 'cubic'"),
        ("{recipe}warmup_steps = 'long'", "warmup_steps is 'long'; expected a whole number or none"),
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
