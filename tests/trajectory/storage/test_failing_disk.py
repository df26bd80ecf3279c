"""Whatever call of the disk fails, what was taken stays readable, and no wrong row stands beside it."""

from random import Random

import pytest
from failing_disk import KINDS, draw, fail
from power_cuts import use_small_chunks


@pytest.fixture
def small_chunks(monkeypatch):
    use_small_chunks(monkeypatch)


def list_calls(tmp_path, monkeypatch):
    (tmp_path / "whole").mkdir()
    return fail(tmp_path / "whole", monkeypatch).calls


def check_all(failures, tmp_path, monkeypatch):
    for k, failure in enumerate(failures):
        (tmp_path / f"{k}").mkdir()
        fail(tmp_path / f"{k}", monkeypatch, *failure)


def test_a_call_that_fails_costs_nothing_that_was_taken(small_chunks, tmp_path, monkeypatch):
    calls, chance = list_calls(tmp_path, monkeypatch), Random(0)
    check_all([draw(len(calls), chance) for _ in range(12)], tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_each_call_that_fails_costs_nothing_that_was_taken(small_chunks, tmp_path, monkeypatch, kind):
    calls = list_calls(tmp_path, monkeypatch)
    check_all([(at, kind) for at in range(1, len(calls) + 1)], tmp_path, monkeypatch)


def test_rows_behind_a_commit_whose_folder_was_not_synced_are_read(small_chunks, tmp_path, monkeypatch):
    """The root that readers see names the new journal, though the commit has failed."""
    calls = list_calls(tmp_path, monkeypatch)
    commits = [k for k, call in enumerate(calls, 1) if call == "replace run.zarr/.zarr.json.partial"]
    assert calls[commits[3]] == "fsync run.zarr"
    check_all([(commit + 1, "late", commit + 5) for commit in commits[3:6]], tmp_path, monkeypatch)
