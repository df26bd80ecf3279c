"""A run that is recorded, closed, resumed and replaced, and what a power cut at each moment may leave of it."""

from random import Random

import numpy as np
from crash_states import Recording, plant

from trajectory import Event, Run, StoreError, verify
from trajectory.schedule import Every
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.arrays import column_node
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store, reopen_store

WEIGHTS = np.arange(4, dtype="float32")
NO_BUFFERS = np.empty(0, dtype="uint8")
FIRST, SECOND, THIRD = (
    np.column_stack([np.arange(1, 21), np.random.default_rng(seed).normal(size=(20, 3))]) for seed in range(3)
)
SECOND[:5] = FIRST[:5]  # resumed after 5 updates


def use_small_chunks(patch):
    """Four rows, so that few rows make commits, and eight chunks are many.

    Args:
        patch: pytest's MonkeyPatch.
    """
    patch.setitem(column_node.__kwdefaults__, "chunk", 4)
    patch.setattr("trajectory.storage.compaction._FEW", 2)


def make_store(path, overwrite=False):
    parameters = tuple(TensorSpec(name, (2,), "float32", 2 * k) for k, name in enumerate("ab"))
    groups, schedules = Groups.single("ab"), ((0, Every(1)),)
    metadata = RunMetadata(parameters=parameters, groups=groups, origin_norm=1.0, schedules=schedules, id="run")
    return create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=overwrite)


def append(store, table, start, stop):
    for row in table[start:stop]:
        store.append_metrics([(int(row[0]), {"loss": row[1]})])
        store.append_rows(row[None])


class History:
    """What a store may hold after each change, and what it must hold."""

    def __init__(self, recording):
        self.recording = recording
        self.moments = []  # changes before it; tables that may be there in part; rows and snapshots promised

    def note(self, tables, rows=0, snapshots=0):
        self.moments.append((self.recording.now, tables, rows, snapshots))

    def at(self, cut):
        return [moment for moment in self.moments if moment[0] <= cut][-1][1:]


def record_history(root, patch):
    """Record, close, resume and replace a run, and note what every moment promises.

    Args:
        root: an empty folder.
        patch: pytest's MonkeyPatch.

    Returns:
        The history.
    """
    path = root / "run.zarr"
    with patch.context() as noting:
        recording = Recording(root, noting)
        history = History(recording)
        history.note([None, FIRST])
        store = make_store(path)
        history.note([FIRST])
        store.append_origin(0, WEIGHTS)
        append(store, FIRST, 0, 6)
        store.append_event(Event(6, "event", {}))
        history.note([FIRST])
        store.sync(durable=True)
        history.note([FIRST], 6)
        store.append_snapshot(6, WEIGHTS, NO_BUFFERS)
        append(store, FIRST, 6, 10)
        store.sync(durable=True)
        history.note([FIRST], 10, 1)
        append(store, FIRST, 10, 15)
        history.note([FIRST], 10, 1)
        store.close("complete")
        history.note([FIRST], 15, 1)
        store = reopen_store(open_backend(path), Every(1))
        history.note([FIRST, SECOND], 5)
        store.cut(5)
        history.note([SECOND], 5)
        append(store, SECOND, 5, 13)
        store.sync(durable=True)
        history.note([SECOND], 13)
        append(store, SECOND, 13, 20)
        store.close("complete")
        history.note([SECOND], 20)
        history.note([SECOND, None, THIRD])
        store = make_store(path, overwrite=True)
        history.note([THIRD])
        append(store, THIRD, 0, 6)
        store.sync(durable=True)
        history.note([THIRD], 6)
        store.release()
    everything = recording.state(recording.now, {})
    there = {file.relative_to(root).as_posix(): file.read_bytes() for file in root.rglob("*") if file.is_file()}
    assert {name: data for name, data in everything.items() if data is not None} == there, "a change was not noted"
    return history


def open_after(cut, tree, history, folder, *, go_on):
    """Open a state, check what it holds, and record on in it.

    Args:
        cut: how many changes were made before the power failed.
        tree: what it has left.
        history: the run's.
        folder: where to put it; an empty one.
        go_on: whether to record on; a store in the making is begun anew in any case.
    """
    tables, promised, snapshots = history.at(cut)
    plant(tree, folder)
    path = folder / "run.zarr"
    try:
        run = Run(path)
    except StoreError:
        assert any(table is None for table in tables), "a run is gone"
        make_store(path).release()  # can begin there anew
        return
    n = len(run.distance)
    assert n >= promised
    table = next(t for t in tables if t is not None and np.array_equal(run.distance, t[:n, 1]))
    np.testing.assert_array_equal(run.distance.index, table[:n, 0])
    np.testing.assert_array_equal(run.layers(), table[:n, 2:])
    logged = len(run.metrics)
    assert logged >= promised
    if logged:
        np.testing.assert_array_equal(run.metrics["loss"], table[:logged, 1])
    assert run.snapshots in ([], [6])
    if snapshots:
        np.testing.assert_array_equal(run._snapshots._row("snapshots/weights", 0), WEIGHTS)
    if go_on:
        record_on(path, table, promised, snapshots)


def record_on(path, table, promised, snapshots):
    """Resume behind the rows that were promised, up to the end of a table, and check the run.

    Args:
        path: the store.
        table: all rows.
        promised: how many of them have to be there.
        snapshots: how many snapshots have to be.
    """
    store = reopen_store(open_backend(path), Every(1))
    store.check_step(promised)
    store.cut(promised)
    store.append_rows(table[promised:])
    store.append_metrics([(int(row[0]), {"loss": row[1]}) for row in table[promised:]])
    store.close("complete")
    resumed = Run(path)
    np.testing.assert_array_equal(resumed.layers(), table[:, 2:])
    np.testing.assert_array_equal(resumed.metrics["loss"], table[:, 1])
    problems = [problem.message for problem in verify(path) if not problem.repairable]
    assert not [problem for problem in problems if snapshots or "snapshot" not in problem]


def states(history, cuts, each, seed):
    """Draw some of the states that a power cut after each of some changes can leave.

    Args:
        history: the run's.
        cuts: how many changes were made before the cut, for each.
        each: how many states of each to draw.
        seed: draws them.

    Yields:
        The changes before the cut, and what it leaves; no state twice.
    """
    rng, seen = Random(seed), set()
    for cut in cuts:
        fates = list(history.recording.fates(cut, rng, 20))
        for fate in rng.sample(fates, min(each, len(fates))):
            tree = history.recording.state(cut, fate)
            key = hash((history.at(cut)[1:], frozenset(tree.items())))
            if key not in seen:
                seen.add(key)
                yield cut, tree
