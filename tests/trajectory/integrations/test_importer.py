"""Checkpoints made into a run equal the run that was recorded; what is no checkpoint is one line."""

import argparse
import pickle
import warnings
from pathlib import Path, PureWindowsPath

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


FAULTS = {
    "a shard is missing": (
        "1/model-00002-of-00002.safetensors",
        None,
        "1: has 1 of 2 shards, without model-00002-of-",
    ),
    "another checkpoint's": (
        "1/model-00001-of-00001.safetensors",
        "w",
        "1: holds shards of 00001 and of 00002 files",
    ),
    "twice": ("1/model-00002-of-00002.safetensors", "a", "1: a is in two files; expected shards of one"),
    "the index lists more": (
        "1/model.safetensors.index.json",
        '{"weight_map": {"a": "", "c": ""}}',
        "1: lacks c, which",
    ),
    "no index": ("1/model.safetensors.index.json", '{"weight', "1: has an index that cannot be read"),
    "too short": ("1/model-00002-of-00002.safetensors", "", "not a safetensors file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_sharded_checkpoint_is_imported_whole_or_not_at_all(tmp_path, fault):
    for step in range(2):
        (tmp_path / str(step)).mkdir()
        for k, name in enumerate("ab", 1):
            save_file({name: torch.full((2,), float(step))}, tmp_path / f"{step}/model-0000{k}-of-00002.safetensors")
        (tmp_path / f"{step}/model.safetensors.index.json").write_text('{"weight_map": {"a": "", "b": ""}}')
    import_checkpoints([tmp_path / "0", tmp_path / "1"], tmp_path / "run.zarr")
    assert Run(tmp_path / "run.zarr").distance.loc[1] == 2
    file, content, sentence = FAULTS[fault]
    if content is None:
        (tmp_path / file).unlink()
    elif file.endswith("json") or not content:
        (tmp_path / file).write_text(content)
    else:
        save_file({content: torch.ones(2)}, tmp_path / file)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        import_checkpoints([tmp_path / "0", tmp_path / "1"], tmp_path / "run.zarr", overwrite=True)
    assert "\n" not in str(caught.value)


def test_paths_and_numbers_beside_the_weights_are_no_obstacle(tmp_path):
    for step in range(2):
        arguments = argparse.Namespace(lr=0.1, data=Path("data"), resume=PureWindowsPath("C:/runs"))
        best = {"accuracy": np.float64(0.5), "loss": np.float32(1), "epoch": np.int64(3)}
        torch.save({"args": arguments, **best, "model": {"w": torch.ones(4) * step}}, tmp_path / f"{step}.pth.tar")
    import_checkpoints([tmp_path], tmp_path / "run.zarr")
    assert Run(tmp_path / "run.zarr").distance.loc[1] == 2


def test_a_torn_distributed_checkpoint_is_one_line(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(2):
            distributed.save({"w": torch.ones(2)}, checkpoint_id=str(tmp_path / str(step)))
    next((tmp_path / "1").glob("*.distcp")).write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"^1: __0_0.distcp is shorter than its .metadata says; leave it out\."):
        import_checkpoints([tmp_path / "0", tmp_path / "1"], tmp_path / "run.zarr")
    torn = tmp_path / "1" / "__0_0.distcp"
    torn.write_bytes(bytes((tmp_path / "0" / "__0_0.distcp").stat().st_size))
    with pytest.raises(
        CheckpointError, match=r"^1: cannot be read \(.*\); expected what torch.distributed"
    ) as caught:
        import_checkpoints([tmp_path / "0", tmp_path / "1"], tmp_path / "other.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "options", "sentence"),
    [
        (torch.tensor([torch.nan, 1.0]), {}, "w has the norm nan; expected finite weights"),
        (torch.ones(2).to(torch.float8_e4m3fn), {}, "w is torch.float8_e4m3fn; expected 16 bits"),
        (torch.ones(2), {"steps": [0, 2**64]}, "step 18446744073709551616: expected a number of updates"),
        (torch.ones(2), {"steps": [-3, 1]}, "step -3: expected a number of updates"),
    ],
)
def test_weights_and_steps_that_mean_nothing_are_refused(tmp_path, weights, options, sentence):
    for step in range(2):
        torch.save({"w": weights}, tmp_path / f"{step}.pt")
    with pytest.raises(CheckpointError, match=sentence):
        import_checkpoints([tmp_path / "0.pt", tmp_path / "1.pt"], tmp_path / "run.zarr", **options)
