"""Figures fit the page and the user's axes, are saved in each format, and leave matplotlib's settings alone."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from analysis import Curve, figures
from analysis.errors import FigureError
from analysis.figures.style import style
from analysis.matching.match import match
from trajectory import Run

T = np.arange(1, 301)


def test_every_figure_draws_on_given_axes(runs, one_compared, one_fitted):
    run = (T, 1.9 * T**0.25)
    layers = pd.DataFrame({"alpha": [0.5], "low": [0.4], "high": [0.6], "p_value": [0.3]}, ["weight"])
    for draw in (
        one_fitted.plot,
        one_compared.plot,
        Run(runs[0]).plot,
        lambda ax: figures.scan(one_fitted, ax),
        lambda ax: figures.distance(runs, ax),
        lambda ax: figures.error(runs, ax, zoom=20),
        lambda ax: figures.layers(layers, ax),
        lambda ax: figures.match(match(runs[:2], run, min_step=10), runs[:2], run, ax=ax),
    ):
        figure = Figure()
        _, ax = figure.subplots(1, 2)
        assert draw(ax=ax) is figure
        assert ax.lines
        assert ax.get_xlabel()
        assert figure.axes[0].has_data() is False
    with pytest.raises(FigureError, match="training=True needs a panel of its own"):
        figures.error(runs, Figure().subplots(), training=True)


def test_files_of_each_format_and_the_same_bytes_again(runs, tmp_path):
    heads = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    for suffix, head in heads.items():
        contents = []
        for folder in ("a", "b"):
            (file,) = figures.save(figures.distance(runs), tmp_path / folder / f"figure{suffix}")
            contents.append(file.read_bytes())
        assert contents[0].startswith(head)
        assert contents[0] == contents[1]
    assert b"/Type3" not in (tmp_path / "a" / "figure.pdf").read_bytes()  # fonts are TrueType
    both = figures.save(figures.distance(runs), tmp_path / "both")
    assert [path.name for path in both] == ["both.png", "both.pdf"]


@pytest.mark.parametrize(
    ("draw", "options"),
    [
        (figures.distance, {}),
        (figures.distance, {"log_t": True}),
        (figures.error, {}),
        (figures.error, {"against": "epochs"}),
        (figures.error, {"against": "time", "training": True, "zoom": 6}),
        (figures.error, {"training": True, "zoom": 4}),
    ],
)
def test_texts_stay_inside_and_apart(runs, draw, options):
    """Tick labels, axis labels and legend within the page; no two of them overlap."""
    drawn = draw(runs, **options)
    drawn.draw_without_rendering()
    page = drawn.bbox
    with style():  # the number of ticks depends on the size of their labels
        boxes = [legend.get_window_extent() for legend in drawn.legends]
        for axis in (axis for ax in drawn.axes for axis in (ax.xaxis, ax.yaxis)):
            labels = [label for label in axis.get_ticklabels() if label.get_text()]
            low, high = sorted(axis.get_view_interval())
            shown = [label for label, at in zip(labels, axis.get_ticklocs(), strict=False) if low <= at <= high]
            boxes += [text.get_window_extent() for text in [*shown, axis.label]]
    for k, box in enumerate(boxes):
        assert page.x0 <= box.x0 <= box.x1 <= page.x1
        assert page.y0 <= box.y0 <= box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:k])


def one_line(error):
    assert "\n" not in str(error.value)


def test_refuses_unknown_formats_and_unwritable_files(runs, tmp_path):
    figure = figures.distance(runs)
    with pytest.raises(FigureError, match=r"no figure format \.docx") as error:
        figures.save(figure, tmp_path / "x.docx")
    one_line(error)
    (tmp_path / "file").touch()
    with pytest.raises(FigureError, match="cannot be written") as error:
        figures.save(figure, tmp_path / "file" / "x.png")
    one_line(error)


@pytest.mark.parametrize("name", ["$x$", r"$\frac{$", "_a", r"a_1^2 \$"])
def test_a_users_text_is_drawn_letter_by_letter(tmp_path, name):
    """No letter of it is a formula's, and none hides the run from the legend."""
    curve = Curve(np.arange(1.0, 50.0), np.arange(1.0, 50.0) ** 0.25, name)
    drawn = figures.distance(curve)
    figures.save(drawn, tmp_path / "x.png")
    (text,) = drawn.legends[0].texts
    letters = Figure().text(0, 0, name, parse_math=False)
    assert text._preprocess_math(text.get_text())[0].lstrip("\N{WORD JOINER}") == letters.get_text()
    assert text._preprocess_math(text.get_text())[1] is False


def test_settings_and_pyplot_are_left_alone(runs, tmp_path):
    before = mpl.rcParams.copy()
    figures.save(figures.distance(runs), tmp_path / "x.png")
    assert figures.error(runs)._repr_png_().startswith(b"\x89PNG")
    assert mpl.rcParams == before
    code = "import sys; from analysis import figures; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
