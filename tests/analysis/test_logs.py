"""Curves in other people's files: each kind gives the same numbers, and what says too little is refused in a line."""

import gzip
import json
import sqlite3

import numpy as np
import pandas as pd
import pytest

from analysis import CurveError, curves, fit, read_curves

T = np.arange(1, 401)
D = np.log(T / 0.1) ** 2
TABLE = pd.DataFrame({"step": T, "distance": D})


@pytest.mark.parametrize("name", ["c.csv", "c.tsv", "c.csv.gz"])
def test_a_table_is_a_curve(tmp_path, name):
    path = tmp_path / name
    text = TABLE.to_csv(index=False, sep="\t" if ".tsv" in name else ",").encode()
    path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    (curve,) = curves(path)
    assert np.array_equal(curve.t, T)
    assert np.allclose(curve.d, D, rtol=1e-15)
    assert (curve.name, curve.drops_known) == ("c", False)
    assert fit(str(path)).alpha == pytest.approx(1.0, abs=1e-2)


@pytest.mark.parametrize(
    ("table", "scalar", "names"),
    [
        ({"Step": T, "seed0": D, "seed1": D * 1.01}, None, ["seed0", "seed1"]),
        ({"step": T, "distance": D, "loss": D, "epoch": D}, None, ["c"]),
        ({"step": T, "loss": D, "far": D * 1.01}, "far", ["c"]),
        ({"Wall time": D, "Step": T, "Value": D}, None, ["c"]),  # TensorBoard's download
        (  # W&B's
            {"Step": T, "a - distance": D, "a - distance__MIN": D, "a - distance__MAX": D, "b - distance": D * 1.01},
            None,
            ["a", "b"],
        ),
        (  # W&B's, of what our subscriber logged, against its own axis
            {
                "trajectory/step": T,
                "a - _step": T - 1,
                "a - trajectory/distance": D,
                "a - trajectory/learning_rate": D,
            },
            None,
            ["c"],
        ),
    ],
    ids=["seeds", "distance among others", "by name", "TensorBoard", "W&B", "W&B by update"],
)
def test_columns_are_chosen_by_name(tmp_path, table, scalar, names):
    pd.DataFrame(table).to_csv(tmp_path / "c.csv", index=False)
    found = read_curves(tmp_path / "c.csv", scalar=scalar)
    assert [curve.name for curve in found] == names
    assert np.allclose([curve.d[-1] for curve in found], [D[-1], D[-1] * 1.01][-len(names) :] if scalar else
                       [D[-1], D[-1] * 1.01][: len(names)])  # fmt: skip


@pytest.mark.parametrize("decimal", [".", ","])
def test_semicolons_separate_columns_where_the_comma_may_be_decimal(tmp_path, decimal):
    both = pd.concat([TABLE.assign(run="a,1"), TABLE.assign(run="b")])
    both.to_csv(tmp_path / "c.csv", index=False, sep=";", decimal=decimal)
    found = read_curves(tmp_path / "c.csv")
    assert [curve.name for curve in found] == ["a,1", "b"]
    assert np.allclose([curve.d for curve in found], D, rtol=1e-15)
    assert np.array_equal(found[0].t, T)


@pytest.mark.parametrize("path", [["curve.csv"], b"curve.csv"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(CurveError, match="expected the path of one table or log"):
        read_curves(path)


def test_standard_input_is_refused_with_what_is_read_instead():
    with pytest.raises(CurveError, match="not read from standard input; expected a file"):
        curves("-")


def test_rows_of_several_runs_are_told_apart_and_gaps_left_out(tmp_path):
    one, other = TABLE.assign(run_name="one"), TABLE.iloc[:300].assign(run_name="other")
    both = pd.concat([one, other])
    both.loc[both.step == 7, "distance"] = np.nan  # logged, but not the distance
    both.to_csv(tmp_path / "runs.csv", index=False)
    found = read_curves(tmp_path / "runs.csv")
    assert [(curve.name, len(curve.t)) for curve in found] == [("one", 399), ("other", 299)]


def test_trackios_project_is_read_by_run(tmp_path):
    path = tmp_path / "project.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_name TEXT, step INTEGER, metrics TEXT)")
    rows = [
        (run, int(t), json.dumps({"distance": d, "loss": 1.0})) for run in "ab" for t, d in zip(T, D, strict=True)
    ]
    rows += [("a", 5, json.dumps({"accuracy": 0.5}))]  # under one step, logged apart
    connection.executemany("INSERT INTO metrics (run_name, step, metrics) VALUES (?, ?, ?)", rows)
    connection.commit()
    connection.close()
    found = read_curves(path)
    assert [curve.name for curve in found] == ["a", "b"]
    assert all(np.array_equal(curve.t, T) and np.array_equal(curve.d, D) for curve in found)


def test_event_files_are_read_by_folder_and_a_restart_counts_last(tmp_path):
    tensorboard = pytest.importorskip("torch.utils.tensorboard")
    for seed in range(2):
        for first, factor in ((1, 1.0), (301, 2.0)):  # stopped at 400, resumed from 300
            writer = tensorboard.SummaryWriter(str(tmp_path / f"seed{seed}"))
            for t in range(first, 401):
                writer.add_scalar("weights/distance", factor * D[t - 1], t)
                writer.add_scalar("loss", 1.0, t)
            writer.close()
    found = curves(tmp_path)
    assert [curve.name for curve in found] == ["seed0", "seed1"]
    expected = np.where(T > 300, 2 * D, D)
    assert all(np.array_equal(curve.t, T) and np.allclose(curve.d, expected, rtol=1e-6) for curve in found)
    assert read_curves(tmp_path / "seed0", scalar="loss")[0].d.tolist() == [1.0] * 400
    with pytest.raises(CurveError, match=r"hold loss, weights/distance, not 'far'; name one by scalar"):
        read_curves(tmp_path, scalar="far")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("c.csv", "", "cannot be read"),
        ("c.csv", "step,distance\n", "the column 'distance' is empty"),
        ("c.csv", "a,b\n1,2\n", "holds a, b; expected a column step"),
        ("c.csv", "step,far,loss\n1,2,3\n", "holds far, loss, none of them called distance; name the one"),
        ("c.csv", "step\n1\n", "holds no columns"),
        ("c.csv", "step,distance\n1,1\n2,x\n", "distance is 'x' in row 2; expected a number"),
        ("c.csv", 'step,distance\n"1,000",1\n', "step is '1,000' in row 1; expected a number"),
        ("c.csv", "1,2.5\n2,2.6\n", "holds 1, 2.5 in its first line; .* with their names above them"),
        ("c.csv", "step,distance\n2,1\n1,2\n", "t goes from 2 to 1"),
        ("c.csv", "step,distance,distance\n1,1,2\n", "two columns are called distance"),
        ("c.csv", "step distance\n1 1\n", "commas or semicolons between"),
        ("c.csv", "step,name,x\n1,a,2\n", r"name is 'a' in row 1; expected a number, or .*--scalar"),
        ("c.csv.gz", "no archive", "cannot be read"),
        ("events.out.tfevents.1", "no events", "hold no scalars"),
        ("c.db", "no database", "cannot be read"),
        ("c.xlsx", "", "a file of an unknown kind"),
    ],
)
def test_what_is_no_curve_is_refused_in_a_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(CurveError, match=said) as refused:
        curves(str(tmp_path / name))
    assert "\n" not in str(refused.value)


def test_a_broken_archive_and_other_letters_are_refused_in_a_line(tmp_path):
    whole = gzip.compress(TABLE.to_csv(index=False).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "latin.csv").write_bytes("étape,distance\n1,2\n".encode("latin-1"))
    for name, said in (("cut.csv.gz", "cut.csv.gz: cannot be read"), ("latin.csv", "latin.csv: is no text in UTF-8")):
        with pytest.raises(CurveError, match=said):
            curves(tmp_path / name)


def test_a_spreadsheet_s_unicode_text_is_read(tmp_path):
    (tmp_path / "c.tsv").write_text(TABLE.to_csv(index=False, sep="\t"), encoding="utf-16")
    (curve,) = curves(tmp_path / "c.tsv")
    assert np.allclose(curve.d, D, rtol=1e-15)


def test_a_frame_with_a_column_of_steps_is_read_as_the_table_that_it_is():
    (curve,) = curves(TABLE.assign(loss=1.0))
    assert np.array_equal(curve.t, T)
    assert np.allclose(curve.d, D)
    several = pd.concat([TABLE.assign(run=name) for name in "ab"])
    assert [curve.name for curve in curves([several, TABLE])] == ["a", "b", "distance"]
    with pytest.raises(CurveError, match=r"^the DataFrame: holds far, loss, none of them called distance"):
        curves(pd.DataFrame({"step": T, "far": D, "loss": D}))
    assert list(TABLE.columns) == ["step", "distance"]


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(CurveError, match="no such file"):
        curves(tmp_path / "c.csv")
    TABLE.to_csv(tmp_path / "d.csv", index=False)
    with pytest.raises(CurveError, match="no column 'far'; it holds distance"):
        read_curves(tmp_path / "d.csv", scalar="far")
