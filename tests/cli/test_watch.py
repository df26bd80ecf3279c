"""`ultraslow watch`: what it shows of finished and of growing runs, and how it ends."""

import json
import sys

import numpy as np
import pytest
import torch

from analysis import Reference
from trajectory import Recorder, StoreError
from trajectory.integrations import trackio_rows
from ultraslow.cli import watch as module


def test_a_table_shows_every_run_once_where_the_output_is_no_terminal(run, runs):
    done = run("watch", runs / "sb-0.zarr", runs / "empty.zarr")
    assert done.returncode == 0
    head, first, second, *warned = done.stdout.splitlines()
    assert head.split() == ["run", "status", "update", "distance", "loss", "rate", "updates/s"]
    assert first.split()[:3] == ["sb-0", "complete", "2000"]
    assert second.split()[:3] == ["empty", "complete", "0"]
    assert all(line.startswith("! empty: ") for line in warned)


def test_the_forecast_has_its_interval_and_a_match_its_update(run, runs):
    sb = [runs / f"sb-{k}.zarr" for k in range(3)]
    shown = json.loads(run("watch", runs / "lb.zarr", "--reference", *sb, "--json").stdout)["runs"][0]
    assert shown["match"].startswith("matched at ")
    short = json.loads(run("watch", runs / "short.zarr", "--reference", *sb, "--json").stdout)["runs"][0]
    assert short["match"].startswith(("no forecast: ", "never_reached"))


def test_a_doubtful_forecast_gives_its_reason_instead_of_an_update():
    reference = Reference((40.0,), (0.01,), (2500,), (0.1,), 0.1)
    t = np.arange(1, 2001)
    wobble = np.exp(1e-3 * np.random.default_rng(0).normal(size=2000))
    early = module._forecast((t[:25], 0.8 * t[:25] ** 0.5 * wobble[:25]), reference)
    assert early == "too early to say: 25 updates were seen, and the first 100 may be a jump"
    assert module._forecast((t, 0.8 * t**0.5 * wobble), reference).startswith("at 2")


def test_it_follows_a_run_until_it_ends(runs, tmp_path):
    """A run that is still recorded has its distance so far, and the looks end after its last."""
    model = torch.nn.Linear(2, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    recorder = Recorder(tmp_path / "live.zarr", model, optimizer)
    seen = []
    for k, _ in enumerate(module._looks([str(tmp_path)], None, 0.01)):
        seen.append(module._look([str(tmp_path)], None)[0][0])
        if k < 2:
            model.weight.grad = torch.ones(1, 2)
            optimizer.step()
            recorder.log(loss=0.25)
            recorder.flush()
        else:
            recorder.close()
    assert [row["update"] for row in seen][:3] == ["0", "1", "2"]
    assert seen[-1]["status"] == "complete"
    assert (seen[-1]["loss"], seen[-1]["rate"]) == ("0.25", "0.5")


def test_updates_a_second_come_from_the_times_logged(tmp_path, run):
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    with Recorder(tmp_path / "timed.zarr", model, optimizer) as recorder:
        for t in range(1, 5):
            model.weight.grad = torch.ones(1, 2)
            optimizer.step()
            recorder.log(wall_time=t / 8)
    assert json.loads(run("watch", tmp_path, "--json").stdout)["runs"][0]["updates/s"] == "8"


@pytest.mark.parametrize("every", ["0", "nan"])
def test_seconds_that_cannot_pass_are_refused(refused, runs, every):
    assert "expected seconds, above 0" in refused("watch", runs / "sb-0.zarr", "--every", every)


def test_it_sends_every_run_to_trackio_and_says_how_its_page_is_opened(run, runs, monkeypatch):
    sent = []
    monkeypatch.setattr(trackio_rows, "send_to_trackio", lambda run, project: sent.append((run.name, project)))
    done = run("watch", runs / "sb-0.zarr", runs / "lb.zarr", "--to", "trackio", "--project", "my walk")
    assert sent == [("sb-0", "my walk"), ("lb", "my walk")]
    assert done.stdout.splitlines()[-1] == "Live page: trackio show --project 'my walk'"


def test_without_trackio_it_says_how_to_get_it(runs, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio.sqlite_storage", None)
    with pytest.raises(StoreError, match=r"pip install 'ultraslow\[trackio\]'"):
        module.watch(str(runs / "sb-0.zarr"), once=True, to="trackio")
