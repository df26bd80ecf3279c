"""What test_replicas.py runs in two processes: DistributedDataParallel by Lightning and by the Hugging Face Trainer.

python -m torch.distributed.run --nproc-per-node 2 replicas.py FOLDER lightning|transformers
"""

import os
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

SAMPLES = torch.randn(32, 6, generator=torch.Generator().manual_seed(0))


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))


def lightning(folder):
    from lightning.pytorch import LightningModule, Trainer

    from trajectory.lightning import RecorderCallback

    class Regression(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            loss = self.net(batch).square().mean()
            self.log("loss", loss)
            return loss

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    Trainer(
        max_epochs=2, accelerator="cpu", devices=2, strategy="ddp", default_root_dir=folder,
        callbacks=[RecorderCallback(folder / "run.zarr", snapshots=4)], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(Regression(), DataLoader(SAMPLES, batch_size=4))  # fmt: skip


def transformers(folder):
    from transformers import Trainer, TrainingArguments

    from trajectory.transformers import RecorderCallback

    class Regression(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = network()

        def forward(self, x):
            return {"loss": self.net(x).square().mean()}

    model = Regression()
    arguments = TrainingArguments(
        folder, use_cpu=True, report_to="none", disable_tqdm=True, num_train_epochs=2, per_device_train_batch_size=4,
        save_strategy="no", max_grad_norm=0.0, dataloader_pin_memory=False,
    )  # fmt: skip
    callback = RecorderCallback(folder / "run.zarr", snapshots=4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    constant = torch.optim.lr_scheduler.ConstantLR(optimizer, 1.0)
    data = [{"x": sample} for sample in SAMPLES]
    Trainer(model, arguments, train_dataset=data, callbacks=[callback], optimizers=(optimizer, constant)).train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    framework, folder = {"lightning": lightning, "transformers": transformers}[sys.argv[2]], Path(sys.argv[1])
    framework(folder)
    (folder / f"done.{os.environ['RANK']}").touch()
