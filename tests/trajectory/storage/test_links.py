"""Symbolic links: a run is reached over one, and nothing is written over one that lies within a store."""

import shutil

import pytest
import torch
from torch import nn

from trajectory import Recorder, Run, RunNotFoundError, StoreError, verify


def record(path, updates, **options):
    torch.manual_seed(0)
    model = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    recorder = Recorder(path, model, optimizer, **options)
    for _ in range(updates):
        model.weight.grad = torch.ones(1, 2)
        optimizer.step()
    recorder.flush()
    return recorder


def steps(path):
    return Run(path).distance.index.tolist()


@pytest.mark.parametrize("kind", ["the store", "a folder above it"])
def test_a_run_is_written_over_a_link_to_it(tmp_path, kind):
    (tmp_path / "elsewhere").mkdir()
    above = kind == "a folder above it"
    link = tmp_path / ("link" if above else "link.zarr")
    target = tmp_path / "elsewhere" if above else tmp_path / "elsewhere" / "run.zarr"
    link.symlink_to(target)
    target.mkdir(exist_ok=True)
    path = link / "run.zarr" if above else link
    record(path, 5).close()
    record(path, 2, resume="must", step=3).close()
    assert steps(path) == steps(tmp_path / "elsewhere" / "run.zarr") == [1, 2, 3, 4, 5]
    record(path, 7, overwrite=True).close()
    assert steps(path) == steps(tmp_path / "elsewhere" / "run.zarr") == [1, 2, 3, 4, 5, 6, 7]
    assert link.is_symlink()
    assert verify(path, repair=True) == []


def test_a_link_that_is_turned_elsewhere_moves_no_run(tmp_path):
    record(tmp_path / "other.zarr", 5).close()
    (tmp_path / "own.zarr").mkdir()
    link = tmp_path / "latest.zarr"
    link.symlink_to("own.zarr")
    recorder = record(link, 3)
    link.unlink()
    link.symlink_to("other.zarr")
    recorder.close()
    assert steps(recorder.path) == steps(tmp_path / "own.zarr") == [1, 2, 3]
    assert steps(link) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("inside", [(), ("run.zarr",)])
def test_a_link_to_nothing_is_named(tmp_path, inside):
    link = tmp_path / "latest.zarr"
    link.symlink_to(tmp_path / "gone" / "a.zarr")
    path = link.joinpath(*inside)
    for act in (Run, verify, lambda path: record(path, 1), lambda path: record(path, 1, resume="allow", step=0)):
        with pytest.raises(RunNotFoundError, match=r"symbolic link to .*gone/a\.zarr, where nothing is") as caught:
            act(path)
        assert str(caught.value).startswith(f"{path}: ")
    assert [file.name for file in tmp_path.iterdir()] == ["latest.zarr"]


def test_what_is_no_run_is_not_replaced_over_a_link(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter").write_text("one")
    (tmp_path / "latest.zarr").symlink_to("thesis")
    with pytest.raises(StoreError, match="not a run"):
        record(tmp_path / "latest.zarr", 1, overwrite=True)
    assert [file.name for file in (tmp_path / "thesis").iterdir()] == ["chapter"]


@pytest.fixture
def aside(tmp_path):
    """A folder that no run's link may lead to."""
    (tmp_path / "aside" / "c").mkdir(parents=True)
    (tmp_path / "aside" / "c" / "0").write_text("mine")
    (tmp_path / "aside" / "notes").write_text("mine")
    yield tmp_path / "aside"
    content = {file.name: file.read_text() for file in (tmp_path / "aside").rglob("*") if file.is_file()}
    assert content == {"0": "mine", "notes": "mine"}


@pytest.mark.parametrize("name", ["distance", "lock", ".zarr.json.partial", "old.partial", "journal.7"])
def test_neither_repair_nor_overwriting_follows_a_link_in_a_store(tmp_path, aside, name):
    path = tmp_path / "run.zarr"
    recorder = record(path, 5)
    shutil.copytree(path, tmp_path / "killed.zarr")
    recorder.close()
    path = tmp_path / "killed.zarr"
    if name == "distance":
        shutil.rmtree(path / name)
    (path / name).unlink(missing_ok=True)
    (path / name).symlink_to(aside if name == "distance" else aside / "notes")
    for act in (lambda: verify(path, repair=True), lambda: record(path, 1, resume="must", step=1)):
        with pytest.raises(StoreError, match=f"{name} is a symbolic link, and nothing is written through one"):
            act()
    if name == "lock":
        with pytest.raises(StoreError, match="cannot write a run there"):
            record(path, 1, overwrite=True)
    else:
        record(path, 1, overwrite=True).close()
        assert steps(path) == [1]
        assert not (path / name).is_symlink()


def test_overwriting_that_is_cut_short_can_begin_again(tmp_path, monkeypatch):
    path = tmp_path / "run.zarr"
    record(path, 5).close()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", interrupted)
        with pytest.raises(KeyboardInterrupt):
            record(path, 1, overwrite=True)
    with pytest.raises(StoreError, match="no run yet"):
        Run(path)
    record(path, 1).close()
    assert steps(path) == [1]
    assert verify(path) == []
