"""The packages say that they are typed. What a user's type checker sees of them is in users_types.py, for mypy."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ultraslow

ROOT = Path(__file__).parents[1]


def test_every_public_name_is_tried():
    tried = re.findall(r"ultraslow\.(\w+)", Path(__file__).with_name("users_types.py").read_text())
    assert set(ultraslow.__all__) <= set(tried)


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
