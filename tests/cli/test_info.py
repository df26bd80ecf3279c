"""`ultraslow info`: what is in a store, in a folder or at a URL."""

import gc
import json
import subprocess
import sys

import pytest


def test_info(runs, run):
    text = run("info", runs / "sb-0.zarr").stdout
    assert "complete" in text
    assert "1000 (1 → 0.1)" in text
    printed = json.loads(run("info", runs / "sb-0.zarr", "--json").stdout)
    assert printed["steps"] == [1, 2000]
    assert printed["weights"] == 4
    assert printed["events"] == [{"step": 1000, "name": "lr_drop", "lr_from": 1.0, "lr_to": 0.1}]
    assert json.loads(run("info", runs / "empty.zarr", "--json").stdout)["recorded"] == 0


def test_a_url_stands_for_a_run(run, refused, record, law):
    url = "memory://command-line/run.zarr"
    record(url, law(100))
    assert json.loads(run("info", url, "--json").stdout)["path"] == url
    assert run("verify", url).stdout == f"{url}: intact\n"
    assert "cannot be opened" in refused("info", "nonsense://command-line/run.zarr")


@pytest.mark.parametrize(
    ("command", "without"),
    [("info", {"pandas", "scipy", "torch", "matplotlib"}), ("fit", {"scipy.optimize", "torch", "matplotlib"})],
)
def test_a_command_imports_what_it_needs_alone(runs, command, without):
    code = f"import sys; sys.argv = ['ultraslow', {command!r}, {str(runs / 'sb-0.zarr')!r}]\n"
    code += f"from ultraslow.cli.app import main; main(); print({without} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.endswith("\nset()\n"), done


def test_cycles_are_sought_seldom_but_where_networks_are_trained(runs, run, monkeypatch):
    thresholds = []
    monkeypatch.setattr(gc, "set_threshold", thresholds.append)
    run("train", "--help")
    assert not thresholds
    run("info", runs / "sb-0.zarr")
    assert len(thresholds) == 1
