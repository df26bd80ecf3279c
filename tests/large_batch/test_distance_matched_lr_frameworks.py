"""The scheduler under Lightning, and in two processes of one training, which must decide alike."""

import json
import math
import os
import subprocess
import sys
from dataclasses import asdict

import pytest
import torch

from analysis.matching.reference import Reference
from trajectory import Recorder, Run
from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR


def aim(t):
    """Where the weight is to be after t updates."""
    return 2.0 * t**0.25


CROSSING, SECOND = 250, 350
REFERENCE = Reference(
    targets=(aim(CROSSING), aim(SECOND)),
    target_errors=(0.004, 0.004),
    drop_steps=(200, 240),
    ratios=(0.1, 0.5),
    learning_rate=0.1,
    batch_size=128,
    parameter_specs={"parameters": [["weight", [1, 1], "float64"]]},
    relative=False,
    names=("small batch",),
)


@pytest.mark.filterwarnings("ignore")  # Lightning's own: of loaders, loggers and what else it might have used
def test_under_lightning(tmp_path):
    lightning = pytest.importorskip("lightning")

    class Walk(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1, bias=False, dtype=torch.float64)
            torch.nn.init.zeros_(self.layer.weight)

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            self.recorder = Recorder(tmp_path / "run.zarr", self.layer, optimizer)
            scheduler = DistanceMatchedLR(optimizer, self.recorder, REFERENCE)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

        def training_step(self, batch, index):
            """A loss whose gradient takes the weight to its aim in one update."""
            rate = self.optimizers().param_groups[0]["lr"]
            return ((self.layer.weight - aim(self.recorder.step + 1)) ** 2).sum() / (2 * rate)

        def on_train_end(self):
            self.recorder.close()

    trainer = lightning.Trainer(
        max_steps=350,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(Walk(), torch.utils.data.DataLoader(torch.zeros(350, 1)))
    run = Run(tmp_path / "run.zarr")
    first, second = run.drops
    assert abs(math.log(first.step / CROSSING)) < 0.06
    assert second.step == first.step + 40
    rates = run.metrics["learning_rate"]
    assert (rates[first.step], rates[first.step + 1]) == pytest.approx((0.1, 0.01))
    assert rates[350] == pytest.approx(0.005)


RANKS = """
import gc, json, os, sys
from pathlib import Path
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel
from analysis.matching.reference import Reference
from ultraslow.large_batch.distance_matched_lr import DistanceMatchedLR
from trajectory import Recorder
from trajectory.measure.observables import Observables

torch.set_num_threads(1)
torch.optim.SGD([torch.zeros(1)])  # imports what torch imports late, and
Observables([torch.zeros(1)])  # loads the kernel, once for both
out, fields = Path(sys.argv[1]), sys.argv[2]

def follow(rank):
    distributed.init_process_group("gloo", init_method=f"file://{out}/meeting", rank=rank, world_size=2)
    if rank == 1:  # gets no rows
        Recorder.subscribe = lambda self, receive: None
    net = nn.Linear(1, 1, bias=False, dtype=torch.float64)
    nn.init.zeros_(net.weight)
    model = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(out / f"rank{rank}.zarr", model, optimizer)
    scheduler = DistanceMatchedLR(optimizer, recorder, Reference(**json.loads(fields)), later_phases="distance")
    rates = []
    with recorder:
        for t in range(1, 401):
            rate = optimizer.param_groups[0]["lr"]
            share = 1.5 if rank else 0.5  # DDP takes the mean of the ranks' gradients
            loss = ((model(torch.ones(1, 1, dtype=torch.float64)) - 2.0 * t**0.25) ** 2).sum() / (2 * rate) * share
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            rates.append(optimizer.param_groups[0]["lr"])
    (out / f"rates{rank}.json").write_text(json.dumps(rates))

# A thread does not survive a fork, but what it held stays locked: a pool of a library would hang the child.
tasks = Path("/proc/self/task")
assert not tasks.is_dir() or len(list(tasks.iterdir())) == 1
second = os.fork()
try:
    follow(int(second == 0))
    # The model has to be gone before the group. Its reducer, if it is the group's last owner, joins gloo's thread
    # while it holds the interpreter's lock, and that thread may wait for the lock to free the last all-reduce.
    gc.collect()
    distributed.destroy_process_group()
finally:
    if second == 0:
        os._exit(sys.exc_info()[0] is not None)
assert os.waitpid(second, 0)[1] == 0
"""


def test_two_ranks_decide_alike(tmp_path):
    """Two gloo processes; rank 1 never sees a distance, and drops where rank 0 does."""
    command = [sys.executable, "-c", RANKS, str(tmp_path), json.dumps(asdict(REFERENCE))]
    subprocess.run(command, check=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    rates = [json.loads((tmp_path / f"rates{rank}.json").read_text()) for rank in range(2)]
    assert rates[0] == rates[1]
    drops = Run(tmp_path / "rank0.zarr").drops
    assert [event.details["reason"] for event in drops] == ["distance", "distance"]
    assert [1 + k for k in range(399) if rates[0][k] > rates[0][k + 1]] == [drop.step - 1 for drop in drops]
    gained = aim(drops[0].step) + aim(SECOND) - aim(CROSSING)
    for drop, crossing in zip(drops, (CROSSING, (gained / 2) ** 4), strict=True):
        assert abs(math.log(drop.step / crossing)) < 0.06
