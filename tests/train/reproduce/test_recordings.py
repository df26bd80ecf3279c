"""Recorded files are found in a clone and in an installed wheel, from any folder."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from train.errors import DataError
from train.reproduce import recordings
from train.reproduce.recordings import recording

ROOT = Path(__file__).parents[3]


def test_recordings_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in recordings._HOMES:
        assert recording(name).is_file()


def test_an_installed_package_has_them_beside_the_module(tmp_path):
    """Of a wheel, unpacked where there is no docs/."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path / "site")
    script = "from train.reproduce import recordings as r; print(*map(r.recording, r._HOMES), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path / "site",
        env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    for line in done.stdout.splitlines():
        assert Path(line).parent == tmp_path / "site" / "train" / "reproduce" / "recorded"


def test_an_unknown_recording_and_a_missing_one_are_named(monkeypatch, tmp_path):
    with pytest.raises(DataError, match=r"'mnist'; expected one of mnist-wd\.tar\.xz"):
        recording("mnist")
    monkeypatch.setattr(recordings, "_DOCS", tmp_path)
    with pytest.raises(DataError, match=r"mnist-wd\.tar\.xz is neither .* nor "):
        recording("mnist-wd.tar.xz")
