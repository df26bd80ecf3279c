"""The Python blocks of the README, docs/recording.md and docs/fitting.md run, in order, in one namespace each."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from trajectory import Recorder, Run
from ultraslow.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


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


def test_every_command_is_named():
    named = re.findall(r"`(?:ultraslow )?([\w-]+)`", README[README.index("## Command line") :].splitlines()[2])
    assert list(app._COMMANDS) == named[: len(app._COMMANDS)]


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


@pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")
@pytest.mark.filterwarnings("ignore:.isinstance.treespec, LeafSpec.. is deprecated:FutureWarning")
def test_the_page_on_recording_records_in_every_place_it_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "recording"}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "recording.md").read_text(), flags=re.DOTALL):
        exec(block, namespace)
    updates = {path.stem: len(Run(path).distance) for path in tmp_path.glob("*.zarr")}
    expected = {
        "plain": 200,
        "two": 10,
        "by_hand": 10,
        "rebuilt": 15,
        "accelerate": 5,
        "lightning": 20,
        "trainer": 6,
        "amp": 2,
        "resumed": 150,
        "watched": 100,
    }
    assert updates == expected
    assert len(Run(namespace["store"]).distance) == 10
    events = EventAccumulator("tensorboard")
    events.Reload()
    seen = events.Scalars("trajectory/distance")
    assert [event.step for event in seen] == list(range(1, 101))
    np.testing.assert_allclose([event.value for event in seen], Run("watched.zarr").distance, rtol=1e-6)


def test_the_page_on_fitting_fits_what_it_says(capsys):
    namespace = {"__name__": "fitting"}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "fitting.md").read_text(), flags=re.DOTALL):
        exec(block, namespace)
    result = namespace["result"]
    assert result.interval[0] < 1 < result.interval[1]
    assert (namespace["alone"].provisional, result.provisional) == (True, False)
    assert "sinai" in namespace["laws"].verdict
    attributes = re.findall(r"`result\.(\w+)", (ROOT / "docs" / "fitting.md").read_text())
    assert len(attributes) > 8
    assert all(hasattr(result, name) for name in attributes)


def test_the_commands_that_ci_runs_are_the_readme_s():
    run = (ROOT / ".ci" / "run").read_text()
    assert 'pip install -c constraints.txt -e ".[test]" && pytest' in README
    assert 'pip install -q -c constraints.txt -e ".[test]"\npytest\n' in run


def test_the_files_that_ci_names_are_there():
    files = re.findall(r"tests/[\w/]+\.py", (ROOT / ".ci" / "run").read_text())
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []
