"""Checkpoints as programs really leave them: the right weights are found, or one line says what was seen."""

import os
import pickle
import warnings

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as distributed
from torch import nn

from trajectory import Run
from trajectory.integrations.checkpoint import CheckpointError, find
from trajectory.integrations.importer import import_checkpoints


def save(folder, contents, names=("step=0.pt", "step=5.pt")):
    """Save a content for each name; the weights w of the first are 0, those of the second 1."""
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(contents({"w": torch.full((4,), float(k))}), folder / name)


def holding_itself(weights):
    content = {"state_dict": dict(weights)}
    content["state_dict"]["model"] = content
    return content


def tied_at_first(weights):
    w = weights["w"]
    return {"w": w, "head": w + 1 if w.any() else w}


@pytest.mark.parametrize(
    "contents",
    [
        lambda w: {"epoch": 1, "model_state_dict": w, "loss": torch.tensor(0.3)},  # as torch's tutorial saves it
        lambda w: {"model": {"state_dict": w, "config": {}}, "step": torch.tensor(3)},
        lambda w: {"weights": {}, "net": w, "iteration": torch.tensor(3.0)},
        lambda w: {**w, "fp8._extra_state": {"scale": torch.ones(2)}},
        lambda w: {"model": w, "history": np.arange(3.0)},
        lambda w: holding_itself(w),
    ],
    ids=["a loss beside", "nested", "an empty one before", "extra state", "an array beside", "itself"],
)
def test_weights_are_told_from_what_lies_beside(tmp_path, contents):
    save(tmp_path / "all", contents)
    import_checkpoints([tmp_path / "all"], tmp_path / "run.zarr")
    run = Run(tmp_path / "run.zarr")
    assert (run.distance.to_dict(), list(run.layers())) == ({5: 2.0}, ["w"])


@pytest.mark.parametrize(
    ("contents", "sentence"),
    [
        (lambda w: {"actor": w, "loss": torch.ones(())}, r"tensors \(loss, ...\) beside dicts of tensors \(actor\)"),
        (lambda w: {"layer.weight": torch.ones(4, dtype=torch.int8), **w}, "layer.weight is torch.int8; expected 16"),
        (lambda w: {"w": torch.ones(2, dtype=torch.complex64)}, "w is torch.complex64; expected real numbers"),
        (lambda w: {"w": torch.ones(2, 2).to_sparse()}, "w is torch.sparse_coo; expected a dense tensor"),
        (lambda w: {"w": torch.ones(2, device="meta")}, "w is on the device meta, without values"),
        (lambda w: {"w": torch.ones(0)}, "holds no weights, but empty tensors, as where each process keeps its part"),
        (lambda w: w | ({"head": torch.ones(2)} if w["w"].any() else {}), "step=5.pt: head is not in the first"),
        (lambda w: {"w": w["w"].int() if w["w"].any() else w["w"]}, "holds no weights"),
        (
            lambda w: w | {"b": w["w"].int() if w["w"].any() else w["w"] + 1},
            "b is torch.int32, expected torch.float32",
        ),
        (lambda w: w | {"n": torch.tensor(2.7 if w["w"].any() else 3)}, "n is torch.float32, expected torch.int64"),
        (tied_at_first, "step=5.pt: head differs from w, with which it is tied in the first"),
        (lambda w: {0: w["w"], "0": w["w"]}, "step=0.pt: two tensors are called 0"),
        (lambda w: {"\x1b[2J\nw": torch.ones(2, dtype=torch.complex64)}, r"\\x1b\[2J\\nw is torch.complex64"),
    ],
    ids=[
        *("two kinds", "integers", "complex", "sparse", "meta", "parts", "a layer more", "all integers later"),
        *("integers later", "a fraction later", "tied at first", "one name", "escapes in a name"),
    ],
)
def test_what_no_distance_can_be_measured_of_is_named(tmp_path, contents, sentence):
    save(tmp_path / "all", contents)
    with pytest.raises(CheckpointError, match=sentence) as caught:
        import_checkpoints([tmp_path / "all"], tmp_path / "run.zarr")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs's pointer to a file that was not"),
    ],
)
@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_file_that_is_none_is_named(tmp_path, content, sentence, suffix):
    for step in range(2):
        (tmp_path / f"step={step}.{suffix}").write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        import_checkpoints([tmp_path], tmp_path / "run.zarr")


def put(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["step_1e4.pt", "step_2e4.pt"], "1e4 in its name is no plain number; give all steps"),
        (["model_900k.pt", "model_1m.pt"], "in its name is no plain number"),
        (["mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt"], "rank_00 in its name is that of a shard"),
        (["consolidated.00.pth", "consolidated.01.pth"], "consolidated.00 in its name is that of a shard"),
        (["step-1/.metadata", "step-2/__0_0.distcp"], "step-2: holds __0_0.distcp and no .metadata"),
        (["checkpoints/a=1.ckpt", "checkpoints/a=2.ckpt", "hparams.yaml"], "seen: checkpoints/, hparams.yaml: give"),
        (["step=-1.pt", "step=2.pt"], "-1 in its name is no plain number"),
        (["epoch_0.5.pt", "epoch_1.0.pt"], "0.5 in its name is no plain number"),
        (["step_1,000.pt", "step_2,000.pt"], "1,000 in its name is no plain number"),
        (["ckpt-2024-01-01.pt", "ckpt-2025-01-02.pt"], "ckpt-2024-01-01.pt: no step in its name"),
        (["best.pt", "epoch_1.pt"], "best.pt: no step in its name .*, or the others alone"),
    ],
)
def test_names_that_mean_no_step_are_named(tmp_path, names, sentence):
    put(tmp_path, names)
    with pytest.raises(CheckpointError, match=sentence):
        find([tmp_path])


def test_folders_of_steps_come_before_the_model_beside_them(tmp_path):
    steps = [f"checkpoint-{step}/{name}" for step in (10, 20) for name in ("model.safetensors", "optimizer.pt")]
    put(tmp_path, [*steps, "model.safetensors", "training_args.bin", "tokenizer.json"])
    assert [(found.step, found.files[0].parent.name) for found in find([tmp_path])] == [
        (10, "checkpoint-10"),
        (20, "checkpoint-20"),
    ]


def test_a_second_name_of_a_checkpoint_is_left_out(tmp_path):
    put(tmp_path, ["epoch=0-step=10.ckpt", "epoch=1-step=20.ckpt"])
    (tmp_path / "last.ckpt").symlink_to("epoch=1-step=20.ckpt")
    assert [found.step for found in find([tmp_path])] == [10, 20]


def test_a_date_in_a_name_is_no_step(tmp_path):
    put(tmp_path, ["2024-01-01-step=10.pt", "2024-01-02-step=20.pt"])
    assert [found.step for found in find([tmp_path])] == [10, 20]


@pytest.mark.parametrize("steps", [[0, 1.5], ["0", "1"], [False, True]])
def test_steps_that_are_no_whole_numbers_are_refused(tmp_path, steps):
    put(tmp_path, ["a.pt", "b.pt"])
    with pytest.raises(CheckpointError, match="expected a whole number of updates"):
        find([tmp_path], steps)
    assert [found.step for found in find([tmp_path], np.array([3, 4]))] == [3, 4]


def test_a_checkpoint_that_is_not_finite_is_an_event(tmp_path):
    (tmp_path / "all").mkdir()
    for step, value in enumerate([0.0, 1.0, torch.nan, torch.inf]):
        torch.save({"w": torch.full((4,), value)}, tmp_path / "all" / f"{step}.pt")
    import_checkpoints([tmp_path / "all"], tmp_path / "run.zarr")
    assert [(event.step, event.name) for event in Run(tmp_path / "run.zarr").events] == [(2, "non_finite_weights")]


def test_a_program_is_refused_without_running(tmp_path, recwarn):
    for step in range(2):
        torch.jit.script(nn.Linear(2, 2)).save(str(tmp_path / f"{step}.pt"))
    recwarn.clear()
    with pytest.raises(CheckpointError, match="is a TorchScript program"):
        import_checkpoints([tmp_path], tmp_path / "run.zarr")
    assert not recwarn


@pytest.fixture
def folders(tmp_path):
    """As Accelerate lays the checkpoints of a model in shards: the weights beside the optimizer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for step in range(2):
            for name in ("pytorch_model_fsdp_0", "optimizer_0"):
                content = {"model": {"w": torch.full((4,), float(step))}}
                distributed.save(content, checkpoint_id=str(tmp_path / "all" / f"checkpoint_{step}" / name))
    return tmp_path / "all"


def test_weights_in_a_folder_of_a_steps_folder_are_found(folders, tmp_path):
    import_checkpoints([folders], tmp_path / "run.zarr")
    assert Run(tmp_path / "run.zarr").distance.to_dict() == {1: 2.0}


def elsewhere(metadata, folder):
    next(iter(metadata.storage_data.values())).relative_path = "../optimizer_0/__0_0.distcp"


def a_pipe(metadata, folder):
    os.mkfifo(folder / "pipe")
    next(iter(metadata.storage_data.values())).relative_path = "pipe"


def too_long(metadata, folder):
    next(iter(metadata.storage_data.values())).length = 10**15


def in_part(metadata, folder):
    """What is not listed would be what is in memory."""
    metadata.state_dict_metadata["model.w"].chunks.clear()


LIES = [(elsewhere, "lacks ../optimizer_0"), (a_pipe, "lacks pipe"), (too_long, "is shorter"), (in_part, "in part")]


@pytest.mark.parametrize(("lie", "sentence"), LIES)
def test_a_table_of_contents_that_lies_is_named(folders, tmp_path, lie, sentence):
    table = folders / "checkpoint_1" / "pytorch_model_fsdp_0" / ".metadata"
    metadata = pickle.loads(table.read_bytes())
    lie(metadata, table.parent)
    table.write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=sentence):
        import_checkpoints([folders], tmp_path / "run.zarr")
