"""What a run shows of itself."""

from trajectory import Event, Run
from trajectory.schema.layout import TensorSpec
from trajectory.schema.metadata import RunMetadata
from trajectory.schema.parameter_groups import Groups
from trajectory.storage.location import open_backend
from trajectory.storage.opening import create_store


def test_a_run_shows_its_table_in_few_lines(tmp_path):
    metadata = RunMetadata(
        parameters=(TensorSpec("w", (2,), "float32", 0),),
        groups=Groups.single("w"),
        origin_norm=1.0,
        config={f"setting {k}": "<b>" * 20 for k in range(100)},
        seed=3,
    )
    path = tmp_path / "run.zarr"
    store = create_store(open_backend(path), metadata, weight_dtype="float32", buffer_bytes=0, overwrite=False)
    store.append_event(Event(40, "lr_drop", {"lr_from": 0.1, "lr_to": 0.01}))
    store.close("complete")
    shown = repr(Run(path))
    assert len(shown) < 1500
    for line in ("status        complete", "drops         40 (0.1 → 0.01)", "seed          3", "snapshots     none"):
        assert line in shown.splitlines()
    assert str(Run(path)) == shown
    html = Run(path)._repr_html_()
    assert html.startswith("<table><tr><th>path</th>")
    assert "<b>" not in html
