"""The README's Python blocks run, in order, in one namespace, on runs recorded here."""

import re
from pathlib import Path

import numpy as np
import torch
from torch import nn

from trajectory import Recorder

README = (Path(__file__).parents[1] / "README.md").read_text()


def record(path, amplitude, seed):
    """A run of the README's network whose distance is about amplitude · log t, dropping its rate half way."""
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(20, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    weight = model[3].weight
    start = weight.detach().clone()
    with Recorder(path, model, optimizer) as recorder:
        for t in range(1, 2001):
            weight.data = start.clone()
            weight.data[0, 0] += amplitude * np.log(t + 1) * np.exp(1e-3 * rng.normal())
            optimizer.step()  # no gradients: the recorder alone does something
            if t == 1000:
                recorder.event("lr_drop", lr_from=0.1, lr_to=0.01)


def test_the_python_blocks_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for seed in range(3):
        record(f"sb-{seed}.zarr", 1.0, seed)
    record("large.zarr", 0.95, 3)
    namespace = {}
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks[:2]:
        exec(block, namespace)
    assert namespace["result"].n == 3
    # the third block's scheduler is stepped in a loop, so its recorder must still be open
    with Recorder("open.zarr", namespace["model"], namespace["optimizer"]) as recorder:
        exec(blocks[2], namespace | {"recorder": recorder})
    assert "matched" in capsys.readouterr().out


def test_the_commands_that_ci_runs_are_the_readme_s():
    run = (Path(__file__).parents[1] / ".ci" / "run").read_text()
    assert 'pip install -c constraints.txt -e ".[test]" && pytest' in README
    assert 'pip install -q -c constraints.txt -e ".[test]"\npytest\n' in run
