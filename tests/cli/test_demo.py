"""`ultraslow demo`: from the start to the figures, and interrupted."""

import json
import signal
import subprocess
import sys
import time

import pytest

from trajectory import Run, StoreError


def has_rows(store):
    """Tell if another process has written rows to the store."""
    try:
        return len(Run(store).distance) > 0
    except StoreError:
        return False


def test_interrupting_leaves_readable_stores(tmp_path):
    """Ctrl-C while the demo trains."""
    command = [sys.executable, "-m", "ultraslow", "demo", "--out", str(tmp_path)]
    # a shell has its background processes ignore Ctrl-C, and the demo would inherit that
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    store = tmp_path / "sb-0.zarr"
    while not has_rows(store):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert str(tmp_path) in errors
    left = Run(store)
    assert left.status == "interrupted (KeyboardInterrupt)"
    assert len(left.distance) > 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory, process):
    out = tmp_path_factory.mktemp("demo")
    done = process("demo", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return out, json.loads(done.stdout)


def test_the_demo_matches_the_large_batch_to_the_small_one(demo):
    _, found = demo
    small, (together, large, matched) = found["runs"][:3], found["runs"][3:]
    assert [row["drop_step"] for row in small] == [1200] * 3
    assert large["updates"] == small[0]["updates"] * 16 / 256
    assert large["distance"] < matched["drop_distance"]
    assert matched["drop_distance"] == pytest.approx(together["drop_distance"], rel=0.02)
    assert 500 < matched["drop_step"] < 2400  # a crossing, not the overshoot of the first updates
    assert together["interval"][0] < together["alpha"] < together["interval"][1]
    assert not together["provisional"]
    assert len(found["reference_fit"]["scan"]) >= 5
    for row in (*small, matched):
        assert row["validation_error"] < 0.05


def test_the_demo_writes_stores_and_figures(demo):
    out, found = demo
    for path in found["paths"]:
        assert path.startswith(str(out))
    for name in ("distance", "error"):
        assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (out / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    left = Run(out / "lb-matched.zarr")
    assert left.status == "complete"
    assert {"loss", "learning_rate", "validation_error", "epoch"} <= set(left.metrics.columns)
    assert len(left.snapshots) > 5
    assert any(name.endswith("running_mean") for name in left.state_dict(left.snapshots[-1]))
