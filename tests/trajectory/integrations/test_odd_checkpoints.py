"""Checkpoints as programs really leave them: the right weights are found, or one line says what was seen."""

import copy
import os
import pickle
import warnings
import zipfile
from collections import defaultdict
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as distributed
from safetensors.torch import save_file
from torch import nn

from trajectory import Run, verify
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
        lambda w: {name: nn.Parameter(value) for name, value in w.items()},
        lambda w: {
            "model": w,
            "args": SimpleNamespace(at=datetime(2026, 1, 1), seen=defaultdict(list), one=range(3)),
        },
        lambda w: {"model": w, "random": np.random.RandomState(0).get_state(), "names": np.array(["a"])},
    ],
    ids=[
        *("a loss beside", "nested", "an empty one before", "extra state", "an array beside", "itself"),
        *("parameters", "plain containers", "a generator's state"),
    ],
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
        (lambda w: {"w": torch.ones(1).expand(10**13)}, "w is expanded from fewer numbers than its 10000000000000"),
        (lambda w: {**w, "n": torch.ones(1).int().expand(9)}, "n is expanded from fewer numbers than its 9; save it"),
        pytest.param(
            lambda w: {"w": torch.nested.nested_tensor([w["w"], w["w"]])},
            "w is nested; expected a dense tensor",
            marks=pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning"),
        ),
        (lambda w: {"w\ud800": w["w"]}, "has a name that is no text"),
        (lambda w: {f"k{n}": n for n in range(50)}, "it holds k0, .*, k19 and 30 more; say where"),
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
        *("two kinds", "integers", "complex", "sparse", "meta", "expanded", "an expanded buffer", "nested"),
        *("no text", "many names", "parts", "a layer more", "all integers later"),
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


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda whole: whole[:50], "its end is missing"),
        (lambda whole: whole[: len(whole) // 2], "its end is missing"),
        (lambda whole: b"<html>404</html>", "it is of another kind"),
        (lambda whole: pickle.dumps({"w": 1.0}), "it is of another kind"),
        (lambda whole: b"", "it is empty"),
    ],
)
def test_why_a_file_cannot_be_read_is_said_without_advice_to_run_it(tmp_path, recwarn, content, sentence):
    save(tmp_path, lambda w: w)
    (tmp_path / "step=5.pt").write_bytes(content((tmp_path / "step=5.pt").read_bytes()))
    with pytest.raises(
        CheckpointError, match=rf"step=5.pt: cannot be read as weights alone \({sentence}\); expected a"
    ):
        import_checkpoints(tmp_path, tmp_path / "run.zarr")
    assert not recwarn


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


@pytest.mark.parametrize("target", ["/not/there/step=3.pt", "../elsewhere/step=3.pt"])
def test_a_link_to_nothing_is_named(tmp_path, target):
    names = [f"pytorch_model-{k}-of-2.bin" for k in (1, 2)]
    put(tmp_path / "folders", [f"1/{names[0]}", f"1/{names[1]}", f"2/{names[0]}"])
    (tmp_path / "folders/2" / names[1]).symlink_to(target)
    with pytest.raises(CheckpointError, match=r"model-2-of-2.bin: is a symbolic link to .*, where nothing is"):
        find(tmp_path / "folders")
    put(tmp_path / "all", ["step=1.pt", "step=2.pt"])
    (tmp_path / "all" / "step=3.pt").symlink_to(target)
    with pytest.raises(CheckpointError, match=f"step=3.pt: is a symbolic link to {target}, where nothing is"):
        find([tmp_path / "all"])


def test_links_in_a_circle_and_names_without_end_are_named(tmp_path):
    put(tmp_path, ["step=1.pt", "step=2.pt"])
    (tmp_path / "last").symlink_to("last")  # a name of what lies beside it, if anything
    assert [found.step for found in find([tmp_path])] == [1, 2]
    with pytest.raises(CheckpointError, match=r"cannot be looked into \(File name too long\)"):
        find([tmp_path / ("x" * 300)])


def test_what_is_neither_a_file_nor_a_folder_is_named(tmp_path):
    os.mkfifo(tmp_path / "step=1.pt")
    with pytest.raises(CheckpointError, match=r"step=1.pt: cannot be looked into \(Not a directory\)"):
        find([tmp_path / "step=1.pt"])


@pytest.mark.parametrize(
    "name", ["model-00001-of-00002.safetensors", "consolidated_1_of_2.pth", "diffusion-1-of-2.pt.tar", "1-of-2.bin"]
)
def test_a_shard_alone_is_no_checkpoint(tmp_path, name):
    put(tmp_path, [f"{step}/{name}" for step in (1, 2)])
    other = name.replace("1", "2", 1)
    sentence = f"has 1 of 2 shards, without {other}; expected all of them in one folder"
    for given in ([tmp_path], [tmp_path / "1" / name, tmp_path / "2" / name]):
        with pytest.raises(CheckpointError, match=sentence):
            find(given, steps=[1, 2])


@pytest.mark.parametrize("index", ["[]", '"weight_map"', "{}", '{"weight_map": ["w"]}', "[" * 100_000])
def test_an_index_that_is_none_is_named(tmp_path, index):
    for step in range(2):
        (tmp_path / str(step)).mkdir()
        save_file({"w": torch.full((4,), float(step))}, tmp_path / f"{step}/model-00001-of-00001.safetensors")
    (tmp_path / "1/model.safetensors.index.json").write_text(index)
    with pytest.raises(
        CheckpointError, match=r"^1: has an index (without a weight_map|that cannot be read), model.saf"
    ):
        import_checkpoints([tmp_path], tmp_path / "run.zarr")


def test_a_compressed_file_is_not_taken_for_weights(tmp_path):
    """Mapped from the file, its packed bytes would be the weights."""
    save(tmp_path, lambda w: {"w": w["w"].repeat(1000)})
    whole = tmp_path / "step=5.pt"
    with zipfile.ZipFile(whole) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match=r"step=5.pt: is compressed, as torch.save leaves no file"):
        import_checkpoints([tmp_path], tmp_path / "run.zarr")


def test_an_import_that_breaks_off_says_what_it_has_left(tmp_path):
    save(tmp_path / "all", lambda w: w, [f"step={step}.pt" for step in range(3)])
    (tmp_path / "all" / "step=3.pt").write_bytes(b"torn")
    out = tmp_path / "run.zarr"
    with pytest.raises(CheckpointError, match=rf"^step=3.pt: .*\. {out} holds those before it: import all") as caught:
        import_checkpoints([tmp_path / "all"], out)
    assert "\n" not in str(caught.value)
    run = Run(out)
    assert (run.status, run.distance.to_dict()) == ("interrupted (import failed)", {1: 2.0, 2: 4.0})
    assert verify(out) == []
    (tmp_path / "all" / "step=3.pt").unlink()
    import_checkpoints([tmp_path / "all"], out, overwrite=True)
    assert Run(out).status == "complete"


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


def twice(metadata, folder):
    """The other half would be what is in memory."""
    (chunk,) = metadata.state_dict_metadata["model.w"].chunks
    chunk.sizes = torch.Size([2])
    metadata.state_dict_metadata["model.w"].chunks.append(copy.copy(chunk))


def beyond(metadata, folder):
    (chunk,) = metadata.state_dict_metadata["model.w"].chunks
    chunk.offsets = torch.Size([2])


LIES = [(elsewhere, "lacks ../optimizer_0"), (a_pipe, "lacks pipe"), (too_long, "is shorter"), (in_part, "in part")]
LIES += [(twice, "lists model.w in part"), (beyond, "lists model.w in part")]


@pytest.mark.parametrize(("lie", "sentence"), LIES)
def test_a_table_of_contents_that_lies_is_named(folders, tmp_path, lie, sentence):
    table = folders / "checkpoint_1" / "pytorch_model_fsdp_0" / ".metadata"
    metadata = pickle.loads(table.read_bytes())
    lie(metadata, table.parent)
    table.write_bytes(pickle.dumps(metadata))
    with pytest.raises(CheckpointError, match=sentence):
        import_checkpoints([folders], tmp_path / "run.zarr")
