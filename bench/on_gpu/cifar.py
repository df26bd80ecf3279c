"""ResNet44 on CIFAR-10 by the paper's methods, one seed, as many epochs as the time allows."""

import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from training import Clock

from on_gpu.measured import Measured
from train import RECIPES, table, train
from train.data.images import load
from train.errors import DataError

SMALL, LARGE = 128, 4096
TIMED = {SMALL: 120, LARGE: 20}  # updates
METHODS = f"""
[methods.SB]
batch_sizes = [{SMALL}]
[methods.LB]
[methods."+LR"]
lr_scaling = "sqrt"
[methods."+GBN"]
lr_scaling = "sqrt"
ghost_batch_size = {SMALL}
[methods."+RA"]
lr_scaling = "sqrt"
ghost_batch_size = {SMALL}
regime_adaptation = true
"""


def measure(report: Measured) -> None:
    """The rows of the reproduction's table, and what share of the regime they are."""
    if report.trial:
        report.say("Hours on a CPU: not tried out.")
        return
    try:
        images = load("cifar10", report.data_root).train_size
    except DataError as error:
        report.say(f"Left out: {error}")
        return
    config = RECIPES["resnet44-cifar10"]()
    seconds = {size: seconds_an_update(report, size) for size in TIMED}
    small, large = images // SMALL, images // LARGE
    # SB; LB, +LR and +GBN; +RA, which makes as many updates as SB does
    epoch = small * seconds[SMALL] + 3 * large * seconds[LARGE] + small * seconds[LARGE]
    epochs = int(0.8 * (report.seconds - 60) / epoch)
    report.say(
        f"An update takes {1e3 * seconds[SMALL]:.1f} ms at batch {SMALL} and {1e3 * seconds[LARGE]:.1f} at {LARGE};"
        f" all five methods, {epoch:.0f} s an epoch."
    )
    if epochs < 1:
        report.say("Left out: no time for an epoch of all five.")
        return
    drops = [[max(1, round(at * epochs / config.epochs)), factor] for at, factor in config.drops]
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "sweep.toml"
        spec.write_text(
            f'out = "{folder}/runs"\ndata_root = "{report.data_root}"\nrecipes = ["resnet44-cifar10"]\n'
            f"batch_sizes = [{LARGE}]\n[settings]\nepochs = {epochs}\ndrops = {drops}\n{METHODS}"
        )
        command = [sys.executable, "-m", "ultraslow", "sweep", str(spec), "--device", report.device]
        subprocess.run(command, check=True)
        found = table(f"{folder}/runs")
    rows = [
        [row.method, f"{row.accuracy:.2f}", f"{row.paper:.2f}", f"{row.updates:.0f}", f"{row.wall_time / 60:.1f}"]
        for row in found.itertuples()
    ]
    title = f"ResNet44 on CIFAR-10, {epochs} of {config.epochs:g} epochs, drops after {[at for at, _ in drops]}"
    report.table(title, ["", "accuracy, %", "paper, 200 epochs", "updates", "min"], rows)


def seconds_an_update(report: Measured, size: int) -> float:
    """Of the trainer's, recorded."""
    config = replace(RECIPES["resnet44-cifar10"](), batch_size=size, drops=(), snapshots_per_decade=0)
    schedule = config.schedule(50_000)
    config = replace(config, epochs=config.epochs * TIMED[size] / schedule.updates)
    clock = Clock(TIMED[size])
    with tempfile.TemporaryDirectory() as folder:
        train(config, Path(folder) / "run", data_root=report.data_root, device=report.device, progress=clock)
    return 1 / clock.rate
