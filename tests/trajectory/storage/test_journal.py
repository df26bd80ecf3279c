"""Which records of a journal are read: a power cut's zeros are told from damage, its own records from another's."""

import json
import shutil

import numpy as np
import pytest
from power_cuts import FIRST, NO_BUFFERS, WEIGHTS, append, make_store

from trajectory import Run, StoreError, verify
from trajectory.schedule import Every
from trajectory.schema.metadata import RunMetadata
from trajectory.storage.journal import FileJournal
from trajectory.storage.journal_records import EVENT, METRICS, ROWS, SYNCED, pack, read
from trajectory.storage.location import open_backend
from trajectory.storage.opening import reopen_store

SMALL = pack(ROWS, np.arange(1.0, 5.0).tobytes())
LARGE = pack(ROWS, np.random.default_rng(0).normal(size=400).tobytes())  # of more than six sectors
STILL = pack(ROWS, np.concatenate([np.ones(100), np.zeros(200), np.ones(100)]).tobytes())  # holds a sector of zeros
MARK = pack(METRICS, SYNCED)


def with_bytes(record, at, data):
    changed = bytearray(record)
    changed[at : at + len(data)] = data
    assert changed != record
    return bytes(changed)


def flipped(record, at):
    return with_bytes(record, at, bytes([record[at] ^ 16]))


@pytest.mark.parametrize(
    "record",
    [
        bytes(len(SMALL)),
        with_bytes(SMALL, 20, bytes(len(SMALL) - 20)),
        with_bytes(LARGE, 1024 - len(SMALL), bytes(512)),
    ],
    ids=["never begun", "cut short", "a sector of the file"],
)
def test_zeros_where_nothing_was_synced_are_a_power_cuts(record):
    found = read(SMALL + record + SMALL)
    assert (len(found.intact), found.damaged, found.end) == (1, [], len(SMALL))
    behind = read(SMALL + record + MARK + SMALL)  # what was synced since was whole
    assert (len(behind.intact), behind.damaged) == (3, [(len(SMALL), len(SMALL + record))])


@pytest.mark.parametrize(
    "record",
    [
        with_bytes(SMALL, 12, bytes(16)),
        with_bytes(SMALL, 1, bytes(8)),
        with_bytes(LARGE, 1024 - len(SMALL) + 1, bytes(512)),
        *(flipped(SMALL, at) for at in (0, 1, 4, 6, 20, len(SMALL) - 1)),
        flipped(STILL, 50),
    ],
    ids=[
        "zeros",
        "a header's zeros",
        "no whole sector",
        *(f"bit of byte {at}" for at in (0, 1, 4, 6, 20, 40)),
        "still",
    ],
)
def test_whatever_else_is_no_record_is_damage(record):
    found = read(MARK + record + MARK)
    assert (len(found.intact), found.damaged) == (2, [(len(MARK), len(MARK + record))])
    if record != flipped(STILL, 50):
        assert read(MARK + record + SMALL).damaged == [(len(MARK), len(MARK + record))]


def test_what_is_mistaken_for_a_power_cut():
    """Not synced yet, a record that holds a sector of zeros, or ends in one, and is damaged elsewhere."""
    still = pack(ROWS, np.array([1.0, 2.0, 3.0, 0.0]).tobytes())
    for record in (flipped(STILL, 50), flipped(still, 20)):
        assert read(SMALL + record + SMALL).damaged == []
        assert read(SMALL + record + SMALL + MARK).damaged == [(len(SMALL), len(SMALL + record))]


def killed(path, rows=FIRST, stop=10):
    store = make_store(path)
    append(store, rows, 0, stop)
    store.sync(durable=True)
    store.release()
    return path


def test_the_journal_of_another_run_is_named_and_set_aside(tmp_path, monkeypatch):
    path, other = killed(tmp_path / "run.zarr"), tmp_path / "other.zarr"
    monkeypatch.setattr("power_cuts.RunMetadata", lambda **known: RunMetadata(**known | {"id": "another"}))
    killed(other, -FIRST)
    shutil.copy(other / "journal.0", path / "journal.0")
    with pytest.raises(StoreError, match=r"journal\.0 is damaged \(it is the journal of another run") as error:
        Run(path).distance  # noqa: B018
    assert "\n" not in str(error.value)
    assert list(Run(path, skip_damaged=True).distance) == []
    assert any("another run" in problem.message for problem in verify(path, repair=True))
    assert verify(path) == []
    assert (path / "journal.0.damaged").read_bytes() == (other / "journal.0").read_bytes()


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (pack(ROWS, bytes(8 * 3)), "rows of"),
        (pack(METRICS, b'[["1",{}]]'), "steps with numbers by name"),
        (pack(METRICS, b'[[1,{"loss":"x"}]]'), "steps with numbers by name"),
        (pack(EVENT, b'[1,"drop"]'), "event of a step, a name and details"),
        (pack(EVENT, b"[1,2,{}]"), "event of a step, a name and details"),
    ],
)
def test_a_record_that_holds_something_else_is_named(tmp_path, record, expected):
    path = killed(tmp_path / "run.zarr")
    journal = path / "journal.0"
    count = len(read(journal.read_bytes()).intact)
    journal.write_bytes(journal.read_bytes() + record)
    with pytest.raises(StoreError, match=rf"journal\.0 is damaged \(record \d+ holds no {expected}") as error:
        Run(path).distance  # noqa: B018
    assert f"record {count + 1} " in str(error.value)


def test_the_journal_of_another_commit_is_named(tmp_path):
    path = killed(tmp_path / "run.zarr", stop=6)
    before = (path / "journal.0").read_bytes()
    store = reopen_store(open_backend(path), Every(1))
    store.cut(4)
    store.release()
    (path / "journal.1").write_bytes(before)
    with pytest.raises(StoreError, match=r"journal\.1 is damaged \(it is the journal of another run"):
        Run(path).distance  # noqa: B018


def test_a_repaired_journal_is_the_runs_own(tmp_path):
    path = killed(tmp_path / "run.zarr")
    journal = path / "journal.0"
    whole = journal.read_bytes()
    at = whole.index(pack(ROWS, FIRST[3].tobytes())) + 20
    journal.write_bytes(flipped(whole, at))
    verify(path, repair=True)
    assert list(Run(path).distance.index) == [1, 2, 3, 5, 6, 7, 8, 9, 10]
    assert (path / "journal.0.damaged").exists()


WRONG = {
    "the whole journal once more": (lambda whole: whole, r"from byte \d+ on it holds another journal"),
    "rows of earlier steps": (lambda _: pack(ROWS, FIRST[3].tobytes()), r"record \d+ holds no rows"),
    "rows of another width": (lambda _: pack(ROWS, np.arange(11.0, 14.0).tobytes()), r"record \d+ holds no rows"),
    "a step that is no number": (lambda _: pack(ROWS, np.full(4, np.nan).tobytes()), r"record \d+ holds no rows"),
    "scalars of another type": (
        lambda _: pack(METRICS, b"[[10, {}], [11, 5]]"),
        r"record \d+ holds no steps",
    ),
    "an event without a name": (lambda _: pack(EVENT, b"[11, null, {}]"), r"record \d+ holds no event"),
    "nested without end": (lambda _: pack(EVENT, b"[" * 100_000), r"record \d+ holds no event"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_intact_records_that_cannot_follow_cost_themselves_alone(tmp_path, wrong):
    path = killed(tmp_path / "run.zarr")
    appended, sentence = WRONG[wrong]
    whole = (path / "journal.0").read_bytes() + pack(EVENT, b'[10, "mark", {}]')
    damaged = whole + appended(whole) + pack(ROWS, np.array([11.0, 1, 1, 1]).tobytes())
    (path / "journal.0").write_bytes(damaged)
    with pytest.raises(StoreError, match=rf"journal\.0 is damaged \({sentence}") as error:
        Run(path).distance  # noqa: B018
    assert "\n" not in str(error.value)
    read_before = Run(path, skip_damaged=True)
    assert any(sentence.split()[-1] in problem.message for problem in verify(path, repair=True))
    assert verify(path) == []
    assert (path / "journal.0.damaged").read_bytes() == damaged
    run, last = Run(path), 10 if wrong == "the whole journal once more" else 11
    for found in (read_before, run):
        assert list(found.distance.index) == list(range(1, last + 1))
        assert found.metrics["loss"].tolist() == FIRST[:10, 1].tolist()
        assert [event.name for event in found.events] == ["mark"]


def test_another_version_of_a_chunk_that_is_not_full_is_named(tmp_path):
    path = tmp_path / "run.zarr"
    store = make_store(path)
    append(store, FIRST, 0, 6)
    chunk = path / "snapshots" / "step" / "c" / "0"
    versions = []
    for step in (2, 4):
        store.append_snapshot(step, WEIGHTS, NO_BUFFERS)
        versions.append(chunk.read_bytes())
    store.sync(durable=True)
    assert Run(path).snapshots == [2, 4]
    chunk.write_bytes(versions[0])
    with pytest.raises(StoreError, match=r"snapshots/step/c/0 is damaged \(it is not the chunk"):
        Run(path).snapshots  # noqa: B018
    assert any("snapshots/step/c/0" in problem.message for problem in verify(path))
    store.release()


def test_rows_that_a_kill_kept_from_being_committed_change_nothing(tmp_path):
    path = killed(tmp_path / "run.zarr")
    reopen_store(open_backend(path)).close("complete")
    store = reopen_store(open_backend(path), Every(1))
    store.cut(7)
    store._tables.arrays.extend("distance", 7, FIRST[7:12, 1])
    store.release()
    assert list(Run(path).distance) == list(FIRST[:7, 1])
    store._tables.arrays.extend("distance", 6, FIRST[8:10, 1])
    with pytest.raises(StoreError, match=r"distance/c/0 is damaged \(it is not the chunk"):
        Run(path).distance  # noqa: B018
    root = json.loads((path / "zarr.json").read_text())
    del root["attributes"]["ultraslow_crc32"]  # as earlier versions write it
    (path / "zarr.json").write_text(json.dumps(root))
    assert len(Run(path).distance) == 7


def test_a_journal_goes_on_behind_its_last_whole_record(tmp_path):
    journal = FileJournal(tmp_path / "journal.0")
    journal.append(EVENT, b"first")
    journal.append(EVENT, b"torn by a kill")
    journal.close()
    torn = (tmp_path / "journal.0").read_bytes()[:-3]
    (tmp_path / "journal.0").write_bytes(torn)
    journal = FileJournal(tmp_path / "journal.0", append=True)
    journal.append(EVENT, b"next")
    journal.sync(durable=True)
    journal.close()
    records = read((tmp_path / "journal.0").read_bytes())
    assert ([payload for _, payload in records.intact], records.damaged) == ([b"first", b"next", b"[ ]"], [])
