"""A training that starts with another's weights and optimizer is that training, gone on with."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from train import train_batched
from train.configs.recipes import f1_digits
from train.engine.run_training import train
from train.errors import ConfigError
from trajectory import Run

SHORT = replace(f1_digits(), batch_size=64, epochs=2, drops=(), input_noise=0.0, keep_optimizer=True)  # 40 updates
OPTIMIZERS = {"sgd": {}, "adamw": {"optimizer": "adamw", "lr": 1e-3}}


@pytest.fixture(scope="module")
def trunks(tmp_path_factory):
    """Runs of both optimizers, and one that keeps weights alone."""
    folder = tmp_path_factory.mktemp("trunks")
    configs = {name: replace(SHORT, **changes) for name, changes in OPTIMIZERS.items()}
    configs["bare"] = replace(SHORT, epochs=0.1, keep_optimizer=False)
    return {name: Run(train(config, folder / f"{name}.zarr")) for name, config in configs.items()}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_branch_with_the_optimizers_state_makes_the_trunks_next_update(name, trunks, tmp_path):
    """The branch's first batch is that of its own first update, so that both train on one batch again and again."""
    trunk = trunks[name]
    config = replace(SHORT, **OPTIMIZERS[name], keep_optimizer=False, epochs=0.05, warm_start=f"{trunk.path}@18")
    moved = {}
    for how in ("if-kept", "restore", "fresh"):
        run = Run(train(replace(config, warm_start_optimizer=how), tmp_path / f"{how}.zarr"))
        moved[how] = _moved(run.state_dict(0), run.state_dict(1))
        event = run.events[0]
        assert (event.name, event.details["from_step"]) == ("warm_start", 18)
        assert event.details["optimizer"] == ("fresh" if how == "fresh" else "restored")
    torch.testing.assert_close(moved["if-kept"], moved["restore"], rtol=0, atol=0)
    if name == "sgd":  # the difference is momentum times the trunk's last update over its rate: μ v
        last = torch.load(f"{trunk.path}.optimizer/18.pt")["optimizer"]["state"]
        carried = torch.cat([state["momentum_buffer"].flatten() for state in last.values()])
        torch.testing.assert_close(
            moved["restore"] - moved["fresh"], -config.lr * config.momentum * carried, rtol=1e-3, atol=1e-6
        )
    else:  # a fresh Adam makes a step of η in each weight that has a gradient
        assert moved["restore"].norm() < moved["fresh"].norm()


def _moved(before, after):
    return torch.cat([(after[name] - w).flatten() for name, w in before.items() if name.endswith(("weight", "bias"))])


def test_states_are_kept_with_snapshots_and_replaced_with_their_run(trunks, tmp_path):
    folder = trunks["sgd"].path
    kept = sorted(int(path.stem) for path in folder.with_name(f"{folder.name}.optimizer").iterdir())
    assert kept == [step for step in trunks["sgd"].snapshots if step]
    path = train(replace(SHORT, epochs=0.5), tmp_path / "run.zarr")
    train(replace(SHORT, epochs=0.1), path, overwrite=True)
    assert sorted(file.name for file in (tmp_path / "run.zarr.optimizer").iterdir()) == ["1.pt", "2.pt"]
    plain = Run(train(replace(SHORT, keep_optimizer=False), tmp_path / "plain.zarr"))
    np.testing.assert_array_equal(plain.distance, trunks["sgd"].distance)


def test_an_interrupted_runs_checkpoint_is_a_start(tmp_path):
    def stop(t, _):
        if t == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(SHORT, tmp_path / "cut.zarr", progress=stop, checkpoint_every=0)
    config = replace(SHORT, warm_start=str(tmp_path / "cut.zarr.checkpoint.pt"), epochs=0.05)
    run = Run(train(config, tmp_path / "branch.zarr"))
    assert run.events[0].details["from_step"] == 7
    assert run.events[0].details["optimizer"] == "restored"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"warm_start": "{bare}@2", "warm_start_optimizer": "restore"}, "kept no state of its optimizer at step 2"),
        ({"warm_start": "{sgd}@0", "warm_start_optimizer": "restore"}, "kept no state of its optimizer at step 0"),
        (
            {"warm_start": "{adamw}@18"},
            "holds exp_avg, exp_avg_sq, step, sgd has momentum_buffer; start with the same",
        ),
        ({"warm_start": "nowhere.checkpoint.pt"}, "nowhere.checkpoint.pt: cannot be read as a checkpoint"),
        ({"warm_start_optimizer": "restore"}, "without a warm_start"),
        (
            {"warm_start": "a", "warm_start_optimizer": "restore", "protocol": "published"},
            "momentum is lost each epoch",
        ),
        ({"snapshots_per_decade": 0}, "got keep_optimizer without snapshots"),
        ({"warm_start_optimizer": "always"}, "known are if-kept, restore, fresh"),
    ],
)
def test_what_cannot_be_restored_is_told_in_a_line(change, message, trunks, tmp_path):
    paths = {name: str(run.path) for name, run in trunks.items()}
    start = {key: value.format(**paths) for key, value in change.items() if key == "warm_start"}
    with pytest.raises(ConfigError, match=message) as caught:
        train(replace(SHORT, **{**change, **start}), tmp_path / "run.zarr")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run.zarr").exists()


def test_seeds_trained_batched_keep_no_optimizer(tmp_path):
    with pytest.raises(ConfigError, match="keep_optimizer is True, for a run by itself"):
        train_batched(SHORT, {0: tmp_path / "run.zarr"})


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ({"warm_start": "{path}"}, "starts from"),
        ({"warm_start": "{path}@2"}, "starts from"),
        ({"warm_start": "{path}.checkpoint.pt"}, "starts from"),
        ({"match": ("{path}",)}, "is matched to"),
    ],
)
def test_a_run_that_is_read_is_not_replaced(change, how, tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    before = Run(train(replace(SHORT, epochs=0.1, keep_optimizer=False), path)).id
    monkeypatch.chdir(tmp_path)
    own = {
        key: value.format(path="run.zarr") if isinstance(value, str) else (str(path),)
        for key, value in change.items()
    }
    with pytest.raises(ConfigError, match=f"holds the run that this one {how}; train to another path"):
        train(replace(SHORT, **own), path, overwrite=True)
    assert Run(path).id == before
