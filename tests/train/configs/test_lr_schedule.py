from dataclasses import FrozenInstanceError, replace

import pytest
import torch

from train.configs.lr_schedule import Regime, Schedule, updates_per_epoch
from train.errors import ConfigError

MNIST = Regime(lr=0.1, drops=((10, 0.1), (20, 0.1), (30, 0.1)), epochs=50)


def test_epochs_become_updates():
    schedule = MNIST.schedule(60_000, 128)
    assert schedule.updates == 50 * 468  # 60,000 / 128 = 468.75: the short batch is dropped
    assert [at for at, _ in schedule.drops] == [4680, 9360, 14040]


def test_the_rate_changes_at_the_update_after_the_drop():
    schedule = MNIST.schedule(60_000, 128)
    rates = [schedule.rate(t) for t in (0, 4679, 4680, 9360, 14040, 23399)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 1e-3, 1e-4, 1e-4], rel=1e-12)


def test_the_rate_equals_torchs_multi_step_schedule():
    regime = Regime(lr=0.3, drops=((1, 0.1), (2.5, 0.5), (4, 10.0)), epochs=5)
    schedule = regime.schedule(100, 10)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    torch_schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: 0.1 ** (t >= 10) * 0.5 ** (t >= 25) * 10.0 ** (t >= 40)
    )
    for t in range(schedule.updates):
        assert schedule.rate(t) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        torch_schedule.step()


def test_warm_up_is_linear_and_ends_at_the_rate():
    schedule = Schedule(lr=0.4, drops=((6, 0.5),), warmup_steps=4, updates=8)
    assert [schedule.rate(t) for t in range(8)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4, 0.2, 0.2])


@pytest.mark.parametrize("large", [256, 1024, 4096])
def test_regime_adaptation_makes_as_many_updates(large):
    n = 65_536  # divisible by every batch: the counts are equal to the update
    small = MNIST.schedule(n, 128)
    assert MNIST.adapted(large / 128).schedule(n, large) == small


def test_weight_decay_ends_after_its_epochs_which_adapt():
    regime = Regime(lr=0.1, epochs=4, weight_decay=5e-4, weight_decay_until=1.5)
    schedule = regime.schedule(100, 10)
    assert [schedule.decay(t) for t in (0, 14, 15, 39)] == [5e-4, 5e-4, 0, 0]
    assert regime.adapted(2).schedule(100, 20).weight_decay_until == 15
    assert Regime(lr=0.1, epochs=4, weight_decay=5e-4).schedule(100, 10).decay(39) == 5e-4
    with pytest.raises(ConfigError, match="weight_decay_until is -1; expected a number of 0 or more epochs"):
        replace(regime, weight_decay_until=-1)


def test_adaptation_keeps_what_is_not_counted_in_epochs():
    adapted = MNIST.adapted(32)
    assert (adapted.epochs, adapted.drops[0], adapted.lr, adapted.momentum) == (1600, (320, 0.1), 0.1, 0.9)


def test_a_drop_beyond_the_end_is_left_out():
    assert Regime(lr=0.1, drops=((10, 0.1), (50, 0.1)), epochs=20).schedule(100, 10).drops == ((100, 0.1),)
    far = Regime(lr=0.1, drops=((1e308, 0.1),), epochs=20, weight_decay=0.1, weight_decay_until=1e308)
    schedule = far.schedule(100, 10)
    assert (schedule.drops, schedule.decay(schedule.updates - 1)) == ((), 0.1)


def test_more_epochs_than_updates_can_be_counted_are_refused():
    with pytest.raises(ConfigError, match=r"epochs is 1e\+308; expected at most 9.01e\+14"):
        Regime(lr=0.1, epochs=1e308).schedule(100, 10)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": 0}, "lr is 0"),
        ({"lr": float("nan")}, "lr is nan"),
        ({"epochs": -1}, "epochs is -1"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"momentum": 1}, "momentum is 1"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001"),
        ({"max_grad_norm": 0}, "max_grad_norm is 0"),
        ({"drops": ((20, 0.1), (10, 0.1))}, "epochs ascending"),
        ({"drops": ((10, 0.0),)}, "above 0"),
    ],
)
def test_nonsense_is_refused_in_one_line(change, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Regime(**{"lr": 0.1, "epochs": 1, **change})
    assert "\n" not in str(caught.value)


def test_a_batch_beyond_the_training_set_is_refused():
    assert updates_per_epoch(1280, 1280) == 1
    with pytest.raises(ConfigError, match="batch_size is 1281; expected 1 to 1280"):
        updates_per_epoch(1280, 1281)


def test_a_regime_is_frozen():
    with pytest.raises(FrozenInstanceError):
        MNIST.lr = 1.0
