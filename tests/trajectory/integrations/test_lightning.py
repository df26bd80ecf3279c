"""Recording in Lightning, with Lightning's own Trainer.

Going on from a checkpoint makes the updates of one go in the same process: rows are equal to the last bit.
"""

import importlib
import sys

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader

from trajectory import At, Recorder, RecordingError, Run
from trajectory.lightning import RecorderCallback

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning"),
]
BATCHES = 10


class Regression(LightningModule):
    """Logs its loss at every batch and its mean over the epoch, a count now and then, and a validation loss.

    Keeps what a recorder should find: the losses of batches, and ‖w_t − w_0‖ after each optimizer step.
    """

    def __init__(self, width=4):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(6, width), nn.BatchNorm1d(width), nn.Linear(width, 1))
        self.losses, self.twin = [], []
        self.start = [p.detach().double().clone() for p in self.parameters()]

    def training_step(self, batch, index):
        loss = self.net(batch).square().mean()
        self.losses.append(loss.item())
        self.log("loss", loss, on_step=True, on_epoch=True)
        if index == 3:
            self.log("seldom", float(self.current_epoch))
        return loss

    def validation_step(self, batch, index):
        self.log("val_loss", self.net(batch).square().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        optimizer.register_step_post_hook(lambda *_: self.twin.append(self.moved()))
        return optimizer

    def moved(self):
        moves = [(p.detach().double() - w).norm() for p, w in zip(self.parameters(), self.start, strict=True)]
        return torch.stack(moves).norm().item()


class TwoOptimizers(Regression):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        first, second = self.optimizers()
        self.manual_backward(self.net(batch).square().mean())
        second.step()
        if index % 2:
            first.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(layer.parameters(), lr=0.1) for layer in (self.net[0], self.net[2])]


def fit(module, callback, folder, epochs=2, ckpt_path=None, finetune=None, **options):
    torch.manual_seed(0)
    batches = DataLoader(torch.randn(5 * BATCHES, 6), batch_size=5)
    checkpoints = (
        [ModelCheckpoint(folder / "checkpoints", save_last=True)] if options.get("enable_checkpointing") else []
    )
    trainer = Trainer(
        max_epochs=epochs, callbacks=[*filter(None, [finetune]), callback, *checkpoints], accelerator="cpu",
        default_root_dir=folder, logger=False, enable_progress_bar=False, enable_model_summary=False,
        **{"enable_checkpointing": False, **options},
    )  # fmt: skip
    trainer.fit(module, batches, batches, ckpt_path=ckpt_path)


def test_every_optimizer_step_is_one_t_and_metrics_are_filed_as_lightning_names_them(tmp_path):
    module = Regression()
    fit(module, RecorderCallback(tmp_path / "run.zarr", snapshots=At([0, 10])), tmp_path, accumulate_grad_batches=2)
    run = Run(tmp_path / "run.zarr")
    assert run.status == "complete"
    assert list(run.distance.index) == list(range(1, 11))  # 20 batches, two an update
    np.testing.assert_allclose(run.distance, module.twin, rtol=1e-6)
    assert list(run.layers().columns) == [name for name, _ in module.named_parameters()]
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in run.state_dict(10).items())
    assert run.config == {"width": 4}

    metrics = run.metrics.drop(columns="learning_rate")
    np.testing.assert_allclose(metrics["loss_step"].loc[1:], module.losses[1::2], rtol=1e-6)
    means = np.reshape(module.losses, (2, BATCHES)).mean(axis=1)
    np.testing.assert_allclose(metrics["loss_epoch"].dropna(), means, rtol=1e-6)
    assert list(metrics["loss_epoch"].dropna().index) == [5, 10]
    assert metrics["seldom"].dropna().to_dict() == {2: 0.0, 7: 1.0}
    assert list(metrics["val_loss"].dropna().index) == [5, 10]
    assert set(metrics) == {"loss_step", "loss_epoch", "seldom", "val_loss"}


class Alternating(Regression):
    """Both optimizers step in every batch, one after the other, and the twin looks when both have."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, index):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.net(batch).square().mean())
            optimizer.step()
        self.twin.append(self.moved())

    def configure_optimizers(self):
        rest = [*self.net[1].parameters(), *self.net[2].parameters()]
        return torch.optim.SGD(self.net[0].parameters(), lr=0.1), torch.optim.AdamW(rest, lr=0.01)


def test_all_optimizers_of_a_module_make_one_update_a_round(tmp_path):
    module, callback = Alternating(), RecorderCallback(tmp_path / "run.zarr")
    fit(module, callback, tmp_path)
    run = Run(callback.path)
    np.testing.assert_allclose(run.distance, module.twin, rtol=1e-6)
    assert not run.events


def test_one_of_several_optimizers_is_chosen_to_count_updates(tmp_path):
    for chosen, updates, uncovered in ((0, BATCHES // 2, "net.1.weight"), (1, BATCHES, "net.0.weight")):
        callback = RecorderCallback(tmp_path / f"{chosen}.zarr", optimizer=chosen)
        with pytest.warns(RuntimeWarning, match=f"4 of 6 measured parameters are in no optimizer.*{uncovered}"):
            fit(TwoOptimizers(), callback, tmp_path, epochs=1)
        run = Run(callback.path)
        assert list(run.distance.index) == list(range(1, updates + 1))
        assert len(run.layers().columns) == 6  # all the module's weights
        with pytest.raises(RecordingError, match="no recorder here"):
            callback.recorder.log(too_late=1)
    with pytest.raises(RecordingError, match=r"TwoOptimizers has 2 optimizers.* optimizer=2 "):
        fit(TwoOptimizers(), RecorderCallback(tmp_path / "refused.zarr", optimizer=2), tmp_path, epochs=1)


def test_an_exception_leaves_an_interrupted_run(tmp_path):
    class Fails(Regression):
        def training_step(self, batch, index):
            if index == 7:
                raise ArithmeticError("out of numbers")
            return super().training_step(batch, index)

    module = Fails()
    with pytest.raises(ArithmeticError):
        fit(module, RecorderCallback(tmp_path / "run.zarr"), tmp_path)
    run = Run(tmp_path / "run.zarr")
    assert run.status == "interrupted (ArithmeticError)"
    np.testing.assert_allclose(run.distance, module.twin, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`")
def test_going_on_from_a_checkpoint_records_what_one_go_would_have(tmp_path):
    class Fails(Regression):
        def training_step(self, batch, index):
            if self.current_epoch == 1 and index == 4:
                raise ArithmeticError("out of numbers")
            return super().training_step(batch, index)

    def begin(kind):
        torch.manual_seed(1)
        return kind()

    fit(begin(Regression), RecorderCallback(tmp_path / "one.zarr", snapshots=At([0, 15])), tmp_path)
    path = tmp_path / "two.zarr"
    callback = RecorderCallback(path, snapshots=At([0, 15]), resume="allow")
    with pytest.raises(ArithmeticError):
        fit(begin(Fails), callback, tmp_path, enable_checkpointing=True)
    assert Run(path).distance.index[-1] == BATCHES + 4  # four updates beyond the checkpoint
    callback = RecorderCallback(path, snapshots=At([0, 15]), resume="must")
    fit(begin(Regression), callback, tmp_path, ckpt_path=tmp_path / "checkpoints" / "last.ckpt")

    one, two = Run(tmp_path / "one.zarr"), Run(path)
    assert two.layers().equals(one.layers())
    assert two.metrics["loss_step"].equals(one.metrics["loss_step"])
    assert all(torch.equal(two.state_dict(15)[name], value) for name, value in one.state_dict(15).items())
    fit(begin(Regression), RecorderCallback(path, resume="allow"), tmp_path, epochs=1)  # no checkpoint: anew
    assert Run(path).distance.equals(one.distance.loc[:BATCHES])


def test_without_lightning_the_module_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    for module in ("trajectory.lightning", "trajectory.integrations.lightning"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.raises(ImportError, match=r"pip install 'ultraslow\[lightning\]'"):
        importlib.import_module("trajectory.lightning")


@pytest.mark.parametrize("options", [{}, {"resume": "allow"}, {"overwrite": True}])
def test_a_further_fit_goes_on_with_the_run(tmp_path, options):
    module, callback = Regression(), RecorderCallback(tmp_path / "run.zarr", **options)
    for _ in range(3):
        fit(module, callback, tmp_path, epochs=1)
    run = Run(tmp_path / "run.zarr")
    np.testing.assert_allclose(run.distance, module.twin, rtol=1e-6)
    assert [(event.step, event.name) for event in run.events] == [
        (BATCHES, "training_restarted"),
        (2 * BATCHES, "training_restarted"),
    ]
    assert run.status == "complete"


def test_another_module_is_recorded_beside_the_first(tmp_path):
    callback = RecorderCallback(tmp_path / "run.zarr", resume="allow")
    modules = [Regression(), Regression(width=5)]
    fit(modules[0], callback, tmp_path, epochs=1)
    with pytest.warns(RuntimeWarning, match=r"recorded another training there.*run-2\.zarr"):
        fit(modules[1], callback, tmp_path, epochs=1)
    for module, name in zip(modules, ("run.zarr", "run-2.zarr"), strict=True):
        np.testing.assert_allclose(Run(tmp_path / name).distance, module.twin, rtol=1e-6)


def test_a_fit_after_a_crash_goes_on_with_the_run(tmp_path):
    module, callback = Regression(), RecorderCallback(tmp_path / "run.zarr")
    step = module.training_step

    def fail(*_):
        raise ArithmeticError("out of numbers")

    fit(module, callback, tmp_path, epochs=1)
    module.training_step = fail
    with pytest.raises(ArithmeticError):
        fit(module, callback, tmp_path, epochs=1)
    module.training_step = step
    fit(module, callback, tmp_path, epochs=1)
    np.testing.assert_allclose(Run(tmp_path / "run.zarr").distance, module.twin, rtol=1e-6)


class Unfreezes(BaseFinetuning):
    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.net[0])

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.net[0], optimizer, lr=0.01)
        elif epoch > 1:  # Lightning has restored the group, but not that it is trainable
            self.make_trainable(pl_module.net[0])


class HeadFirst(Regression):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD([p for p in self.parameters() if p.requires_grad], lr=0.1)
        optimizer.register_step_post_hook(lambda *_: self.twin.append(self.moved()))
        return optimizer


@pytest.mark.filterwarnings("ignore:Checkpoint directory:UserWarning")
def test_what_the_finetuning_callback_unfreezes_counts_also_after_a_resumption(tmp_path):
    module, callback = HeadFirst(), RecorderCallback(tmp_path / "run.zarr", resume="allow")
    with pytest.warns(RuntimeWarning, match="unfroze 2 parameters"):
        fit(module, callback, tmp_path, epochs=3, enable_checkpointing=True, finetune=Unfreezes())
    run = Run(tmp_path / "run.zarr")
    np.testing.assert_allclose(run.distance, module.twin, rtol=1e-6)
    assert [event.step for event in run.events] == [BATCHES]
    again, last = HeadFirst(), tmp_path / "checkpoints" / "last.ckpt"
    callback = RecorderCallback(tmp_path / "run.zarr", resume="allow")
    with pytest.warns(RuntimeWarning, match="unfroze 2 parameters .* from here on"):
        fit(again, callback, tmp_path, epochs=4, ckpt_path=last, enable_checkpointing=True, finetune=Unfreezes())
    assert len(Run(tmp_path / "run.zarr").distance) == 4 * BATCHES


def test_parameters_in_fabric_have_the_model_s_own_names(tmp_path):
    """`fabric.setup` holds the model under two names, neither of which is the model's."""
    fabric = Fabric(accelerator="cpu")
    own = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    model, optimizer = fabric.setup(own, torch.optim.SGD(own.parameters(), lr=0.1))
    with Recorder(tmp_path / "run.zarr", model, optimizer, snapshots=1):
        fabric.backward(model(torch.randn(5, 4)).square().mean())
        optimizer.step()
    run = Run(tmp_path / "run.zarr")
    assert list(run.layers().columns) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    assert run.state_dict(1).keys() == own.state_dict().keys()
    with Recorder(tmp_path / "run.zarr", own, resume="must", step=1):  # as it is recorded without Fabric
        pass
