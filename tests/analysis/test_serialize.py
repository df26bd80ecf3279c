"""Values as JSON, and tables as text and HTML."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from analysis import Status
from analysis.serialize import Table, html, jsonable, records, text


def test_what_json_cannot_hold_becomes_none_and_everything_else_stays():
    value = {
        1: (np.float64("nan"), -np.inf, 2.5),
        "array": np.array([[1, 2]]),
        "status": Status.MATCHED,
        "path": Path("a/b"),
        "plain": [True, None, np.int64(3), np.bool_(False)],
    }
    again = json.loads(json.dumps(jsonable(value), allow_nan=False))
    assert again == {
        "1": [None, None, 2.5],
        "array": [[1, 2]],
        "status": "matched",
        "path": "a/b",
        "plain": [True, None, 3, False],
    }
    assert type(jsonable(Status.MATCHED)) is str


def test_a_tables_rows_are_records_without_nan():
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "note": ["", "short"]})
    found = records(frame)
    assert found == [{"n": 1, "x": 0.5, "note": ""}, {"n": 2, "x": None, "note": "short"}]
    assert type(found[0]["n"]) is int


def test_facts_are_aligned_to_the_left_and_numbers_to_the_right():
    assert Table([("α", "1.0"), ("method", "one run")]).text() == "α       1.0\nmethod  one run"
    assert Table([("1", "10.5"), ("100", "2")], ("t", "d")).text() == "  t    d\n  1 10.5\n100    2"


def test_html_escapes_what_a_user_named():
    shown = html([Table([("<b>", "1 & 2")], ("name", "x<y")), "1 < 2"])
    assert "<td>&lt;b&gt;</td><td>1 &amp; 2</td>" in shown
    assert "<th>x&lt;y</th>" in shown
    assert "<p>1 &lt; 2</p>" in shown
    assert text([Table([("a", "b")]), "then"]) == "a  b\nthen"
