"""A store that is cut back to an earlier step and written further."""

import tempfile
from pathlib import Path

import numpy as np
import xarray
from hypothesis import given, settings
from hypothesis import strategies as st

from trajectory import Event, Run, verify
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store, reopen_store


def make_store(path):
    parameters = tuple(TensorSpec(name, (2,), "float32", 2 * k) for k, name in enumerate("ab"))
    metadata = RunMetadata(parameters=parameters, groups=Groups.single("ab"), origin_norm=1.0)
    return create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)


@settings(max_examples=12)
@given(data=st.data(), lengths=st.lists(st.integers(1, 900), min_size=1, max_size=4))
def test_cut_and_recorded_again_is_as_if_never_cut(data, lengths):
    """Wherever the chunks and the journal end."""
    rng = np.random.default_rng(0)
    table = np.column_stack([np.arange(1, sum(lengths) + 1), rng.normal(size=(sum(lengths), 3))])
    entries = [(int(step), {"loss": float(step)} | ({"late": 1.0} if step > 300 else {})) for step in table[:, 0]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.zarr"
        store, at = make_store(path), 0
        for length in lengths:
            store.append_rows(table[at : at + length])
            store.append_metrics(entries[at : at + length])
            store.append_event(Event(at, "block", {}))
            at += length
            if data.draw(st.booleans(), "cut"):
                if data.draw(st.booleans(), "reopened"):
                    store.close("complete") if data.draw(st.booleans(), "closed") else store.release()
                    store = reopen_store(open_backend(path))
                at = data.draw(st.integers(0, at), "step")
                store.cut(at)
                run = Run(path)
                np.testing.assert_array_equal(run.distance, table[:at, 1])
                np.testing.assert_array_equal(run.layers(), table[:at, 2:])
                np.testing.assert_array_equal(run.metrics.get("loss", []), table[:at, 0])
                assert all(event.step <= at for event in run.events)
                seen = xarray.open_zarr(path)["distance"].to_numpy()
                np.testing.assert_array_equal(seen, table[: min(len(seen), at), 1])
        store.append_rows(table[at:])
        store.append_metrics(entries[at:])
        store.close("complete")
        run = Run(path)
        np.testing.assert_array_equal(run.layers(), table[:, 2:])
        np.testing.assert_array_equal(run.metrics["loss"], table[:, 0])
        if len(table) > 300:
            np.testing.assert_array_equal(run.metrics["late"].dropna().index, table[300:, 0])
        assert verify(path) == []
