"""`ultraslow sweep` as a user starts it: stopped in the middle, and gone on with."""

import json
import signal
import subprocess
import sys
import time

from trajectory import Run, StoreError

SPEC = """
out = "runs"
recipes = ["f1-digits"]
batch_sizes = [64]
seeds = "0-1"
[settings]
epochs = 20
snapshots = 1
[methods.SB]
[methods."+LR"]
lr_rule = "sqrt"
"""


def start(folder, *options):
    command = [sys.executable, "-m", "ultraslow", "sweep", "spec.toml", *options]
    # a shell ignores Ctrl-C in what it runs in the background, and so would the sweep
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    return process


def ended(process):
    out, errors = process.communicate(timeout=300)
    return process.returncode, out, errors.splitlines()


def wait_for_rows(path, process):
    while not (path.exists() and rows(path)):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)


def rows(path):
    try:
        return len(Run(path).distance)
    except StoreError:  # it is just being made
        return 0


def test_a_stopped_sweep_goes_on_and_a_failure_is_told_at_the_end(tmp_path):
    spec = tmp_path / "spec.toml"
    spec.write_text(SPEC)
    names = [f"f1-digits-{method}-64-seed{seed}" for seed in (0, 1) for method in ("sb", "lr")]
    stores = [tmp_path / "runs" / f"{name}.zarr" for name in names]

    process = start(tmp_path)
    wait_for_rows(stores[1], process)  # the first is done
    process.send_signal(signal.SIGINT)
    status, _, lines = ended(process)
    assert status == 130
    assert lines[0] == f"0/4 {names[0]}: running"
    assert lines[1].startswith(f"1/4 {names[0]}: done, 400 updates, ")
    assert lines[-1] == "ultraslow: interrupted; `ultraslow sweep spec.toml` goes on from here"
    took = Run(stores[0]).metrics["wall_time"].iloc[-1]

    process = start(tmp_path)
    wait_for_rows(stores[2], process)
    process.kill()
    assert ended(process)[2][0] == f"1/4 {names[0]}: done"

    status, out, _ = ended(start(tmp_path, "--dry-run", "--json"))
    rows = json.loads(out)
    assert [row["status"] for row in rows] == ["done", "done", "interrupted", "missing"]
    assert {row["updates"] for row in rows} == {400}

    spec.write_text(SPEC + "[methods.wild]\nseeds = [0]\nlr = 1e30\nclip_norm = 0\n")
    status, out, lines = ended(start(tmp_path))
    assert (status, out) == (1, "4 of 5 runs are done\n")
    assert lines[-1].startswith("ultraslow: f1-digits-wild-64-seed0 failed: the loss is")
    assert Run(stores[0]).metrics["wall_time"].iloc[-1] == took
    assert [Run(path).status for path in stores] == ["complete"] * 4

    spec.write_text(SPEC.replace("lr_rule", "lr_rul"))
    status, out, (line,) = ended(start(tmp_path))
    assert (status, out) == (1, "")
    assert line.startswith("ultraslow: spec.toml: no field or axis (methods.+LR) is named 'lr_rul'")
    assert line.endswith("did you mean lr_rule?")
