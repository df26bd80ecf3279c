"""`ultraslow verify`: problems of a store, and their repair."""

import json
import shutil


def test_verify(runs, tmp_path, run, refused):
    assert run("verify", runs / "sb-0.zarr").stdout.endswith("intact\n")
    killed = shutil.copytree(runs / "lb.zarr", tmp_path / "killed.zarr")
    (killed / "distance" / "c" / "9.partial").write_bytes(b"torn")
    done = run("verify", killed)
    assert (done.returncode, done.stdout.count("\n")) == (1, 1)
    assert "distance/c/9.partial [--repair repairs it]" in done.stdout
    assert json.loads(run("verify", killed, "--json").stdout)[0]["repairable"]
    assert run("verify", killed, "--repair").returncode == 0
    assert run("verify", killed).returncode == 0
    assert "no such run" in refused("verify", tmp_path / "none.zarr")
