"""What a user's type checker sees: mypy --strict on a script that imports every public name from `ultraslow`."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ultraslow

ROOT = Path(__file__).parents[1]
TYPES = {  # what mypy reveals, the modules left out
    "At([1, 10])": "At",
    "Every(10)": "Every",
    "LogSpaced(12)": "LogSpaced",
    "Recorder('run.zarr', model, optimizer)": "Recorder",
    "Run('run.zarr')": "Run",
    "Run('run.zarr').snapshots": "list[int]",
    "Run('run.zarr').distance": "Series[Any]",
    "verify('run.zarr')": "list[Problem]",
    "fit('run.zarr')": "Fit",
    "fit('run.zarr').alpha": "float",
    "fit('run.zarr').interval": "tuple[float, float]",
    "fit_layers('run.zarr')": "DataFrame",
    "scan('run.zarr')": "DataFrame",
    "compare('run.zarr')": "Comparison",
    "match('small.zarr', 'run.zarr')": "Matching",
    "predict_match('run.zarr', 'small.zarr')": "Forecast",
    "plan('small.zarr', 4096)": "Plan",
    "DistanceMatcher(12.5).match": "Match",
    "DistanceMatchedLR(optimizer, Recorder('run.zarr', model, optimizer), 'small.zarr')": "DistanceMatchedLR",
    "convert_ghost_batch_norm(model, 128)": "Module",
    "GhostBatchNorm1d(8, 128)": "GhostBatchNorm1d",
    "GhostBatchNorm2d(8, 128)": "GhostBatchNorm2d",
    "sqrt_lr(0.1, 512, 128)": "float",
    "__version__": "str",
}
REFUSED = {  # what mypy objects to: under --strict an ignored error that is none is an error
    "fit(3.0)": "arg-type",
    "compare([None])": "list-item",
    "fit('run.zarr').goodness": "attr-defined",
}


@pytest.fixture(scope="module")
def revealed(tmp_path_factory):
    """Line number and text of each note of mypy, which takes a quarter of a minute at first and then a second."""
    script = tmp_path_factory.mktemp("user") / "script.py"
    setting = "import torch\nmodel = torch.nn.Linear(1, 1)\noptimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
    reveals = "".join(f"reveal_type({expression})\n" for expression in TYPES)
    refused = "".join(f"{expression}  # type: ignore[{code}]\n" for expression, code in REFUSED.items())
    script.write_text(f"from ultraslow import {', '.join(ultraslow.__all__)}\n{setting}{reveals}{refused}")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ROOT / ".mypy_cache" / "script", script.name],
        cwd=script.parent, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    notes = re.findall(r"note: Revealed type is \"(.*)\"", done.stdout)
    return dict(zip(TYPES, notes, strict=True))


def test_every_public_name_is_tried():
    used = set(re.findall(r"\w+", " ".join(TYPES)))
    assert set(ultraslow.__all__) <= used


@pytest.mark.parametrize("expression", TYPES)
def test_a_users_script_gets_real_types(revealed, expression):
    assert re.sub(r"\b(\w+\.)+", "", revealed[expression]) == TYPES[expression]


@pytest.mark.parametrize("package", ["trajectory", "analysis", "train", "ultraslow"])
def test_the_packages_say_that_they_are_typed(package):
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.slow
def test_the_wheel_holds_the_packages_and_their_markers(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    packages = ("trajectory", "analysis", "train", "ultraslow")
    assert {f"{package}/py.typed" for package in packages} <= names
    tops = {name.partition("/")[0] for name in names if not name.startswith("ultraslow-")}
    assert tops == set(packages)
