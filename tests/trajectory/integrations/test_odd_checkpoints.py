"""Checkpoints as programs really leave them: the right weights are found, or one line says what was seen."""

import pytest
import torch

from trajectory import Run
from trajectory.integrations.checkpoint import CheckpointError, find
from trajectory.integrations.importer import import_checkpoints


def save(folder, contents, names=("step=0.pt", "step=5.pt")):
    """Save a content for each name; the weights w of the first are 0, those of the second 1."""
    for k, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        torch.save(contents({"w": torch.full((4,), float(k))}), folder / name)


@pytest.mark.parametrize(
    "contents",
    [
        lambda w: {"epoch": 1, "model_state_dict": w, "loss": torch.tensor(0.3)},  # as torch's tutorial saves it
        lambda w: {"model": {"state_dict": w, "config": {}}, "step": torch.tensor(3)},
        lambda w: {"weights": {}, "net": w, "iteration": torch.tensor(3.0)},
        lambda w: {**w, "fp8._extra_state": {"scale": torch.ones(2)}},
    ],
    ids=["a loss beside", "nested", "an empty one before", "extra state"],
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
    ],
    ids=["two kinds", "integers", "complex", "sparse", "meta", "parts", "a layer more"],
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
