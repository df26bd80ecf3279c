"""Checkpoints made into a run equal the run that was recorded; what is no checkpoint is one line."""

import argparse
import pickle
import warnings

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as distributed
from safetensors.torch import save_file
from torch import nn

from trajectory import Every, Recorder, Run, StoreError, verify
from trajectory.integrations.checkpoint import CheckpointError, find
from trajectory.integrations.importer import import_checkpoints


@pytest.fixture(scope="module")
def training(tmp_path_factory):
    """A recorded run, and its checkpoints every 10 updates in several layouts."""
    folder = tmp_path_factory.mktemp("training")
    for name in ("pt", "tar", "hub", "lightning", "folders", "distributed"):
        (folder / name).mkdir()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2, bias=False).bfloat16())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Recorder(folder / "run.zarr", model, optimizer, snapshots=Every(10), quantities=["distance", "norm"]) as run:
        while True:
            if run.step % 10 == 0:
                state = {name: value.clone() for name, value in model.state_dict().items()}
                torch.save(state, folder / "pt" / f"step={run.step}.pt")
                torch.save({"epoch": 3, "state_dict": state}, folder / "lightning" / f"epoch=0-step={run.step}.ckpt")
                given = argparse.Namespace(lr=0.1)
                torch.save({"model": state, "args": given}, folder / "tar" / f"checkpoint-{run.step}.pth.tar")
                own = folder / "folders" / str(run.step)
                own.mkdir()
                torch.save(state, own / "model_state_dict.pt")
                torch.save(optimizer.state_dict(), own / "optimizer.pt")
                everything = {"model": state, "best": {"loss": torch.ones(3)}, "lr": 0.1}
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # saves in one process
                    distributed.save(everything, checkpoint_id=folder / "distributed" / f"s-{run.step}")
                shard = folder / "hub" / f"checkpoint-{run.step}"
                shard.mkdir()
                names = list(state)
                save_file({name: state[name] for name in names[:3]}, shard / "model-00001-of-00002.safetensors")
                save_file({name: state[name] for name in names[3:]}, shard / "model-00002-of-00002.safetensors")
            if run.step == 50:
                break
            for k, p in enumerate(model.parameters()):
                p.grad = torch.randn_like(p) * (k + 1)
            model[1].running_mean.add_(1)
            model[1].num_batches_tracked.add_(1)
            optimizer.step()
    return folder


@pytest.mark.parametrize("layout", ["pt", "tar", "hub", "lightning", "folders", "distributed"])
def test_imported_equals_recorded(training, tmp_path, layout):
    import_checkpoints([training / layout], tmp_path / "run.zarr", sketch=64)
    run, recorded = Run(tmp_path / "run.zarr"), Run(training / "run.zarr")
    assert list(run.distance.index) == [10, 20, 30, 40, 50]
    for quantity in ("distance", "norm"):
        # float32 sums whose order the files' order of parameters may change
        there = recorded.layers(quantity).loc[run.distance.index]
        np.testing.assert_allclose(run.layers(quantity)[there.columns], there, rtol=2e-6)
    assert run.origin_norm == pytest.approx(recorded.origin_norm, rel=1e-12)
    assert run.snapshots == recorded.snapshots == run.sketches
    for step in run.snapshots:
        there = recorded.state_dict(step)
        assert run.state_dict(step).keys() == there.keys()
        for name, value in run.state_dict(step).items():
            assert value.dtype == there[name].dtype
            assert torch.equal(value, there[name])
    assert verify(tmp_path / "run.zarr") == []


def test_time_counts_from_the_earliest_checkpoint_whatever_the_order(training, tmp_path):
    files = [training / "pt" / f"step={step}.pt" for step in (40, 20, 30)]
    import_checkpoints(files, tmp_path / "run.zarr", snapshots=False)
    run = Run(tmp_path / "run.zarr")
    assert (list(run.distance.index), run.snapshots, run.config["first_step"]) == ([10, 20], [], 20)
    states = {step: torch.load(training / "pt" / f"step={step}.pt") for step in (20, 40)}
    moved = (states[40]["0.weight"].double() - states[20]["0.weight"].double()).norm().item()
    assert run.layers().loc[20, "0.weight"] == pytest.approx(moved, rel=1e-6)


def test_tied_weights_are_counted_once(tmp_path):
    for step in (0, 5):
        weight = torch.full((3,), float(step))
        torch.save({"a": weight, "b": weight}, tmp_path / f"{step}.pt")
    import_checkpoints([tmp_path], tmp_path / "run.zarr")
    run = Run(tmp_path / "run.zarr")
    assert run.distance[5] == pytest.approx(5 * 3**0.5)
    assert run.state_dict(5).keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("names", "steps"),
    [
        (["step=1000.pt", "step=20.pt"], [20, 1000]),
        (["epoch_3.pth", "epoch_12.pth"], [3, 12]),
        (["epoch=1-step=200.ckpt", "epoch=0-step=100-v1.ckpt"], [100, 200]),
        (["resnet44_iter500.pt", "resnet44_iter1000.pt"], [500, 1000]),
        (["global_step7.bin", "global_step8.bin"], [7, 8]),
        (["0001.pt", "model_20.pt"], [1, 20]),
    ],
)
def test_steps_come_from_names(tmp_path, names, steps):
    for name in names:
        (tmp_path / name).touch()
    assert [checkpoint.step for checkpoint in find([tmp_path])] == steps


def test_bad_input_is_one_line_each(training, tmp_path):
    good = training / "pt"
    for name, content in {
        "best.pt": {"w": torch.ones(1)},
        "run2-seed3.pt": {"w": torch.ones(1)},
        "wider/step=20.pt": {"0.weight": torch.ones(5, 5)},
        "optimizer/step=20.pt": {"lr": 0.1, "losses": [1.0]},
        "tuple/step=20.pt": (1, 2),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        torch.save(content, tmp_path / name)
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "step=20.pt").write_text("hello")
    (tmp_path / "text" / "step=20.safetensors").write_text("hello")
    (tmp_path / "notes.txt").write_text("hello")
    first = good / "step=0.pt"
    for paths, options, sentence in (
        ([tmp_path / "none"], {}, "no such checkpoint"),
        ([tmp_path / "notes.txt"], {}, "not a checkpoint; expected .pt"),
        ([first], {}, "got 1 checkpoints, expected 2 or more"),
        ([first, tmp_path / "best.pt"], {}, "best.pt: no step in its name"),
        ([first, tmp_path / "run2-seed3.pt"], {}, "no step in its name"),
        (
            [first, training / "lightning" / "epoch=0-step=0.ckpt"],
            {},
            "step 0 is that of step=0.pt and epoch=0-step=0",
        ),
        ([good], {"steps": [1, 2]}, "got 2 steps for 6 checkpoints"),
        ([first, tmp_path / "wider" / "step=20.pt"], {}, r"0.weight has shape \[5, 5\], expected \[6, 4\]"),
        ([first, tmp_path / "optimizer" / "step=20.pt"], {}, "no weights found; it holds lr, losses; say where"),
        ([first, tmp_path / "tuple" / "step=20.pt"], {}, "holds a tuple; expected a state dict"),
        ([first, tmp_path / "text" / "step=20.pt"], {}, "cannot be read as weights alone"),
        ([first, tmp_path / "text" / "step=20.safetensors"], {}, "not a safetensors file"),
        ([training / "lightning"], {"key": "ema.model"}, "no key 'ema.model'; it holds epoch, state_dict"),
    ):
        with pytest.raises(CheckpointError, match=sentence) as caught:
            import_checkpoints(paths, tmp_path / "out.zarr", overwrite=True, **options)
        assert "\n" not in str(caught.value)
    import_checkpoints([good], tmp_path / "taken.zarr")
    with pytest.raises(StoreError, match="already exists"):
        import_checkpoints([good], tmp_path / "taken.zarr")


class Callback:
    """A class that a checkpoint should not bring along."""


def test_what_would_run_code_is_refused_by_name(training, tmp_path):
    weights = {"w": torch.ones(2)}
    for step in range(2):
        torch.save({"model": weights, "hook": Callback()}, tmp_path / f"step={step}.pt")
    with pytest.raises(CheckpointError, match=r"step=0.pt: holds .*test_importer.Callback beside tensors") as caught:
        import_checkpoints([tmp_path], tmp_path / "out.zarr")
    assert "\n" not in str(caught.value)
    for step in range(2):
        (tmp_path / "distributed" / f"step={step}").mkdir(parents=True)
        (tmp_path / "distributed" / f"step={step}" / ".metadata").write_bytes(pickle.dumps(Callback()))
    with pytest.raises(CheckpointError, match=r"step=0: cannot be read \(.*test_importer.Callback") as caught:
        import_checkpoints([tmp_path / "distributed"], tmp_path / "out.zarr")
    assert "\n" not in str(caught.value)


def test_folders_given_one_by_one(training, tmp_path):
    import_checkpoints([training / "folders" / "20", training / "folders" / "50"], tmp_path / "run.zarr")
    assert list(Run(tmp_path / "run.zarr").distance.index) == [30]
