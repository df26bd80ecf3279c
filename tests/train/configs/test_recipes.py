import pytest

from train.configs.recipes import RECIPES, f1_mnist, get
from train.errors import ConfigError


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_knows_its_name(name):
    config = get(name)
    assert config.recipe == name
    assert config.batch_size == config.base_batch_size
    assert RECIPES[name].__doc__


def test_mnist_follows_the_published_regime():
    config = f1_mnist()  # paper: .1, ÷10 at 10, 20, 30 of 50 epochs; weight decay 1e-4, momentum .9, clip 5
    assert (config.lr, config.epochs, config.weight_decay, config.momentum, config.max_grad_norm) == (
        0.1,
        50,
        1e-4,
        0.9,
        5,
    )
    assert config.drops == ((10, 0.1), (20, 0.1), (30, 0.1))
    assert config.batch_size == 128


def test_alexnet_follows_the_published_regime():
    schedule = get("alexnet-imagenet").schedule(1_281_167)
    epoch = 1_281_167 // 256
    starts = [0, 10, 15, 20, 25]  # published: these rates from these epochs on, no weight decay from the 15th
    assert [schedule.rate(e * epoch) for e in starts] == pytest.approx([1e-2, 5e-3, 1e-3, 5e-4, 1e-4])
    assert [schedule.decay(e * epoch) for e in starts] == [5e-4, 5e-4, 0, 0, 0]
    assert schedule.decay(15 * epoch - 1) == 5e-4
    assert schedule.updates == 30 * epoch


def test_an_unknown_recipe_names_the_closest():
    with pytest.raises(ConfigError, match=r"'f1-minst'; known are f1-digits, .*; did you mean f1-mnist"):
        get("f1-minst")
