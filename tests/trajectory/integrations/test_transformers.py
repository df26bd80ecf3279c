"""Recording in the Hugging Face Trainer and in a loop with Accelerate, with the real libraries.

Runs that are compared bit for bit make the same updates in the same process.
"""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn
from torch.utils.data import DataLoader, Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments

from trajectory import At, Recorder, RecordingError, Run
from trajectory.transformers import RecorderCallback


class Sentences(Dataset):
    """Random tokens; reading the item `poison` fails."""

    def __init__(self, poison=None):
        self.tokens = torch.randint(50, (24, 8), generator=torch.Generator().manual_seed(0))
        self.poison = poison

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        if index == self.poison:
            raise ArithmeticError("out of numbers")
        return {"input_ids": self.tokens[index], "labels": self.tokens[index]}


def language_model():
    torch.manual_seed(0)
    size = {"vocab_size": 50, "n_positions": 8, "n_embd": 16, "n_layer": 1, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**size, bos_token_id=0, eos_token_id=0))


def trainer(model, callback, folder, *, optimizer=None, data=None, **options):
    arguments = TrainingArguments(
        folder, use_cpu=True, report_to="none", disable_tqdm=True, num_train_epochs=2,
        per_device_train_batch_size=4, gradient_accumulation_steps=2, logging_steps=2, eval_strategy="epoch",
        learning_rate=0.01, seed=7, dataloader_pin_memory=False,
        **{"save_strategy": "no", **options},
    )  # fmt: skip
    return Trainer(
        model, arguments, train_dataset=data or Sentences(), eval_dataset=Sentences(), callbacks=[callback],
        optimizers=(optimizer, None),
    )  # fmt: skip


class UnderAnEarlierTrainer(RecorderCallback):
    """Up to some version the Trainer logged the next update's rate, of which this is a caricature."""

    def on_log(self, *about, logs, **more):
        super().on_log(*about, logs={**logs, "learning_rate": 5.0}, **more)


def test_every_global_step_of_the_trainer_is_one_t(tmp_path):
    model = language_model()
    start, twin = [p.detach().double().clone() for p in model.parameters()], []

    def move(*_):
        moves = [(p.detach().double() - w).norm() for p, w in zip(model.parameters(), start, strict=True)]
        twin.append(torch.stack(moves).norm().item())

    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    optimizer.register_step_post_hook(move)
    callback = UnderAnEarlierTrainer(tmp_path / "run.zarr", snapshots=At([6]))
    trained = trainer(model, callback, tmp_path, optimizer=optimizer)
    trained.train()
    trained.evaluate()  # after training: no concern of the run's
    run = Run(tmp_path / "run.zarr")
    assert run.status == "complete"
    assert trained.state.global_step == 6  # 24 sentences, 4 a batch, 2 batches an update, 2 epochs
    assert list(run.distance.index) == [1, 2, 3, 4, 5, 6]
    np.testing.assert_allclose(run.distance, twin, rtol=1e-6)
    weights = run.state_dict(6)
    assert torch.equal(weights["lm_head.weight"], model.lm_head.weight)  # tied
    assert run.seed == 7

    logged = {entry["step"]: entry["loss"] for entry in trained.state.log_history if "loss" in entry}
    assert run.metrics["loss"].dropna().to_dict() == logged
    assert list(run.metrics["eval_loss"].dropna().index) == [3, 6]
    # the rate each update was made with: the Trainer's linear decay from 0.01 to 0 over six updates
    np.testing.assert_allclose(run.metrics["learning_rate"].dropna(), 0.01 * np.arange(6, 0, -1) / 6)
    with pytest.raises(RecordingError, match="no recorder here"):
        callback.recorder.log(too_late=1)


def test_an_exception_inside_the_context_leaves_an_interrupted_run(tmp_path):
    with pytest.raises(ArithmeticError), RecorderCallback(tmp_path / "run.zarr") as callback:
        trainer(language_model(), callback, tmp_path, data=Sentences(poison=11)).train()
    assert Run(tmp_path / "run.zarr").status == "interrupted (ArithmeticError)"


def test_going_on_from_a_checkpoint_records_what_one_go_would_have(tmp_path):
    path = tmp_path / "two.zarr"

    class StopsAtStep4(RecorderCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 4:
                raise ArithmeticError("out of numbers")

        def on_save(self, args, state, control, **kwargs):
            super().on_save(args, state, control, **kwargs)
            assert len(Run(path).distance) == state.global_step  # a kill would leave what the checkpoint needs

    trainer(language_model(), RecorderCallback(tmp_path / "one.zarr"), tmp_path / "one").train()
    with pytest.raises(ArithmeticError), StopsAtStep4(path, resume="allow") as callback:
        trainer(language_model(), callback, tmp_path / "two", save_strategy="epoch").train()
    assert list(Run(path).distance.index) == [1, 2, 3, 4]
    callback = RecorderCallback(path, resume="must")
    trainer(language_model(), callback, tmp_path / "two").train(resume_from_checkpoint=True)  # from step 3
    one, two = Run(tmp_path / "one.zarr"), Run(path)
    assert two.layers().equals(one.layers())
    assert two.metrics["learning_rate"].equals(one.metrics["learning_rate"])
    assert two.status == "complete"


def record(path, prepare, accumulate):
    """A loop over 12 batches, one update for two of them, recorded; `prepare` is Accelerate's or does nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = DataLoader(torch.randn(60, 6), batch_size=5)
    model, optimizer, batches = prepare(model, optimizer, batches)
    with Recorder(path, model, optimizer) as recorder:
        for k, x in enumerate(batches, 1):
            accumulate(model, optimizer, model(x).square().mean(), k)
            recorder.log(batch=k)
    return Run(path)


def test_a_loop_with_accelerate_records_the_same_as_without(tmp_path):
    def plain(model, optimizer, loss, k):
        (loss / 2).backward()
        if k % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)

    def accelerated(model, optimizer, loss, k):
        with accelerator.accumulate(model):
            accelerator.backward(loss)
            optimizer.step()
            optimizer.zero_grad()

    expected = record(tmp_path / "plain.zarr", lambda *things: things, plain)
    run = record(tmp_path / "accelerated.zarr", accelerator.prepare, accelerated)
    assert len(run.distance) == 6
    assert run.layers().equals(expected.layers())
    assert run.metrics.equals(expected.metrics)


def test_what_is_no_optimizer_is_refused_before_a_store_is_made(tmp_path):
    model = nn.Linear(2, 1)
    with pytest.raises(RecordingError, match=r"got a Linear; expected a torch\.optim\.Optimizer"):
        Recorder(tmp_path / "run.zarr", model, model)
    assert not (tmp_path / "run.zarr").exists()


def test_without_transformers_the_module_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    for module in ("trajectory.transformers", "trajectory.integrations.transformers"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=r"pip install 'ultraslow\[transformers\]'"):
        importlib.import_module("trajectory.transformers")


def test_recording_loads_none_of_the_libraries_it_can_sit_in():
    code = (
        "import sys, trajectory; trajectory.Recorder; "
        "assert not {'lightning', 'transformers', 'accelerate'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class OutOfMemoryOnce(RecorderCallback):
    """Fails in the middle of the first attempt as a GPU does."""

    def __init__(self, path):
        super().__init__(path)
        self.failed = False

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 2 and not self.failed:
            self.failed = True
            raise RuntimeError("CUDA out of memory.")


def test_a_retry_with_a_smaller_batch_and_a_further_train_go_on_with_the_run(tmp_path):
    model, callback = language_model(), OutOfMemoryOnce(tmp_path / "run.zarr")
    start = [p.detach().double().clone() for p in model.parameters()]
    trained = trainer(model, callback, tmp_path, auto_find_batch_size=True)
    trained.train()
    retried = trained.state.global_step
    trained.train()
    run = Run(tmp_path / "run.zarr")
    assert len(run.distance) == 2 + retried + trained.state.global_step
    assert [(event.step, event.name) for event in run.events if event.name != "lr_drop"] == [
        (2, "training_restarted"),
        (2 + retried, "training_restarted"),
    ]
    moves = [(p.detach().double() - w).norm() for p, w in zip(model.parameters(), start, strict=True)]
    assert run.distance.iloc[-1] == pytest.approx(torch.stack(moves).norm().item(), rel=1e-6)
