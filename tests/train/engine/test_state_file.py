"""States of trainings as files: what is damaged, foreign or hostile is one line, and no code of it runs."""

import os
from pathlib import Path

import pytest
import torch

from train.engine.state_file import path_beside, read_state, write_state
from train.errors import ConfigError

KINDS = {"t": int, "model": dict, "matched": dict | None}
STATE = {"t": 3, "model": {"w": torch.arange(4.0)}, "matched": None}


@pytest.fixture
def path(tmp_path):
    write_state(tmp_path / "state.pt", STATE)
    return tmp_path / "state.pt"


def refused(path, kinds=KINDS):
    with pytest.raises(ConfigError) as caught:
        read_state(path, kinds, "begin again")
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_state_is_read_as_written(path):
    state = read_state(path, KINDS, "begin again")
    assert (state.keys(), state["t"], state["matched"]) == (STATE.keys(), 3, None)
    assert torch.equal(state["model"]["w"], STATE["model"]["w"])


def test_a_state_is_found_in_the_home_folder(path, monkeypatch):
    monkeypatch.setenv("HOME", str(path.parent))
    assert read_state(Path("~/state.pt"), KINDS, "begin again")["t"] == 3


def test_a_run_in_the_present_folder_has_its_files_beside_that(tmp_path, monkeypatch):
    (tmp_path / "run.zarr" / "inner").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run.zarr")
    assert path_beside(Path("."), ".optimizer") == tmp_path / "run.zarr.optimizer"
    assert path_beside(Path("inner/.."), ".optimizer") == tmp_path / "run.zarr.optimizer"
    assert path_beside(Path("a.zarr"), ".optimizer") == Path("a.zarr.optimizer")
    with pytest.raises(ConfigError, match="/: nothing can lie beside it"):
        path_beside(Path("/"), ".optimizer")


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_file_is_named(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert "cannot be read as a checkpoint" in refused(path)


def holding_itself():
    endless: list[object] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s | {"t": 4}, "its hash is another"),
        (lambda s: s | {"model": {"w": torch.arange(4.0) + 1}}, "its hash is another"),
        (lambda s: s | {"model": holding_itself()}, "its hash is another"),
        (lambda s: s | {"model": torch.empty(2, device="meta")}, "its hash is another"),
        (lambda s: {key: value for key, value in s.items() if key != "blake3"}, "its hash is another"),
        (lambda s: s | {"version": 2}, "written in version 2, this ultraslow reads up to 1"),
        (lambda s: s | {"version": 0}, "written in version 0"),
        (lambda s: s | {"version": True}, "written in version True"),
        (lambda s: {key: value for key, value in s.items() if key != "model"}, "it lacks model"),
        (lambda s: {"model": {}, "t": "3", "matched": None}, "t is a str"),  # without version and hash, as the first
    ],
    ids=[
        *("a number", "a weight", "itself", "no values", "no hash", "a later version", "version 0", "no version"),
        *("an entry less", "another type"),
    ],
)
def test_what_was_changed_is_named(path, change, message):
    torch.save(change(torch.load(path)), path)
    assert message in refused(path)


def test_a_state_of_another_kind_is_named(path):
    torch.save([1], path)
    assert "it lacks matched" in refused(path)


class Payload:
    def __reduce__(self):
        return os.mkdir, (os.environ["PAYLOAD"],)


def test_code_in_a_file_does_not_run(path, monkeypatch):
    monkeypatch.setenv("PAYLOAD", str(path.parent / "ran"))
    torch.save({**torch.load(path), "hook": Payload()}, path)
    assert "cannot be read as a checkpoint" in refused(path)
    assert not (path.parent / "ran").exists()
