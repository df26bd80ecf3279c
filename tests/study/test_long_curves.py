"""The command that trains the study: it goes on where it stopped, and packs what is there."""

from long_curves import export, train
from study.curve_files import LongCurves
from study.settings import Setting

SHORT = Setting(name="short", data="digits", label_noise=0.0, weight_decay=0.1, updates=30, seeds=4)


def test_a_run_that_is_there_is_kept_and_three_are_packed(tmp_path, capsys):
    runs = tmp_path / "runs"
    train([SHORT], runs, "no data root is needed for the digits")
    assert len(capsys.readouterr().out.splitlines()) == 4
    (runs / "short-3.npz").unlink()
    before = {path: path.stat().st_mtime_ns for path in runs.iterdir()}
    export([SHORT], runs, tmp_path / "packed")
    assert "3 of 4 seeds" in capsys.readouterr().out
    assert LongCurves.read(SHORT, tmp_path / "packed").seeds == 3
    train([SHORT], runs, "no data root is needed for the digits")
    assert [line.split(":")[0] for line in capsys.readouterr().out.splitlines()] == [str(runs / "short-3.npz")]
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_two_seeds_are_not_packed(tmp_path):
    runs = tmp_path / "runs"
    train([SHORT], runs, "")
    for seed in (2, 3):
        (runs / f"short-{seed}.npz").unlink()
    export([SHORT], runs, tmp_path / "packed")
    assert not (tmp_path / "packed").exists()
