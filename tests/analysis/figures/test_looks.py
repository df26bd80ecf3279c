"""What every figure keeps to: colours that colour-blind readers tell apart, text that stays text, small files."""

from itertools import combinations, pairwise
from re import findall

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from analysis import Curve, figures
from analysis.errors import FigureError
from analysis.figures.axes import minus, power_of_ten, t_axis
from analysis.figures.colours import COLOURS, DASHES, LAW_COLOURS, OTHER_LAW, REJECTED, shade
from analysis.figures.legends import MOST_ENTRIES
from analysis.figures.lines import by_label
from analysis.figures.thinning import thinned

# Machado, Oliveira & Fernandes 2009, "A Physiologically-based Model for Simulation of Color Vision Deficiency",
# IEEE TVCG 15(6), table 1, severity 1.0; on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
# sRGB (IEC 61966-2-1) to CIE XYZ.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
APART = 15  # in CIELAB, where 2.3 is just noticed side by side; thin lines apart need several times that


def lab(colour, vision):
    """CIE 1976 L*a*b* of a colour as eyes of that kind see it."""
    coded = np.array(to_rgb(colour))
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    x, y, z = XYZ @ np.clip(VISION[vision] @ linear, 0, 1) / XYZ.sum(axis=1)
    f = [np.cbrt(v) if v > (6 / 29) ** 3 else v / (3 * (6 / 29) ** 2) + 4 / 29 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


PALETTES = {
    "labels": [*COLOURS, "#000000"],
    "laws": [*LAW_COLOURS.values(), OTHER_LAW, "#000000"],
    "families": [shade(hue, member) for hue in range(3) for member in range(3)],
}


@pytest.mark.parametrize("vision", VISION)
@pytest.mark.parametrize("name", PALETTES)
def test_colours_of_one_figure_stay_apart_for_all_eyes(name, vision):
    seen = {colour: lab(colour, vision) for colour in PALETTES[name]}
    assert len(seen) == len(PALETTES[name])
    nearest = min(combinations(seen, 2), key=lambda pair: np.linalg.norm(seen[pair[0]] - seen[pair[1]]))
    assert np.linalg.norm(seen[nearest[0]] - seen[nearest[1]]) > APART, nearest


def test_the_simulation_sees_what_dichromats_confuse():
    """A red and a green of one lightness are far apart, and close without the one or the other cone."""
    far = {vision: np.linalg.norm(lab("#C04040", vision) - lab("#587A20", vision)) for vision in VISION}
    assert far["normal"] > 60
    assert far["deuteranopia"] < APART


def run(label, size):
    t = np.arange(1.0, 9)
    return Curve(t, t * size, label, config={"label": label, "batch_size": size})


METHODS = [("SB 128", 128), ("+GBN 1024", 1024), ("LB 1024", 1024), ("LB 4096", 4096), ("+GBN 4096", 4096)]


def test_batch_sizes_are_hues_and_methods_shades_and_dashes():
    styles = {look["label"]: look for look, _ in by_label([run(*method) for method in METHODS])}
    assert list(styles) == ["SB 128", "LB 1024", "+GBN 1024", "LB 4096", "+GBN 4096"]
    assert [styles[label]["color"] for label, _ in METHODS] == [
        *(COLOURS[0], shade(1, 1), COLOURS[1], COLOURS[2], shade(2, 1)),
    ]
    dashes = {label: look["linestyle"] for label, look in styles.items()}
    assert dashes["LB 1024"] == dashes["LB 4096"] == dashes["SB 128"] == "-"
    assert dashes["+GBN 1024"] == dashes["+GBN 4096"] != "-"
    assert REJECTED not in DASHES


def test_more_than_six_entries_become_names_at_the_ends_that_do_not_touch():
    many = [run(f"{method} {size}", size) for size in (8, 9, 10) for method in ("LB", "+LR", "+GBN")]
    drawn = figures.distance(many, log_t=True)
    (ax,) = drawn.axes
    assert drawn.get_figwidth() * 2.54 == pytest.approx(17.4)
    assert not drawn.legends
    drawn.draw_without_rendering()
    boxes = [text.get_window_extent() for text in ax.texts]
    assert {text.get_text() for text in ax.texts} == {curve.label for curve in many}
    assert len(boxes) == 9 > MOST_ENTRIES
    for k, box in enumerate(boxes):
        assert box.x0 > ax.bbox.x1
        assert box.x1 < drawn.bbox.x1
        assert not any(box.overlaps(other) for other in boxes[:k])


@pytest.mark.parametrize("width", [1.5, 2, 3.3])
@pytest.mark.parametrize(("low", "high"), [(150, 9000), (40, 1100), (1010, 9900), (13, 110)])
def test_labels_of_a_short_logarithmic_axis_do_not_touch(width, low, high):
    figure = Figure(figsize=(width, 2), layout="constrained")
    ax = figure.subplots()
    ax.set_xlim(low, high)
    ax.tick_params(labelsize=8)
    t_axis(ax, logarithmic=True)
    figure.canvas.draw()
    labels = [label for label in ax.get_xticklabels() if low <= label.get_position()[0] <= high]
    boxes = [label.get_window_extent() for label in labels]
    assert labels
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_text_of_an_svg_stays_text_and_its_minus_signs_are_true(tmp_path):
    ax = figures.distance((np.arange(1, 9), np.arange(1, 9)), log_t=False).axes[0]
    ax.set_xlim(-4, 4)
    (file,) = figures.save(ax.figure, tmp_path / "x.svg")
    written = findall(r">([^<>]+)</text>", file.read_text(encoding="utf-8"))
    assert {"−2", "curve"} <= set(written)
    assert "-2" not in written


def test_numbers_in_words():
    assert minus(-2.214, ".2f") == "−2.21"
    assert power_of_ten(0.0321) == "0.032"
    assert power_of_ten(7.44e-7) == r"7.4$\times$10$^{-7}$"
    assert power_of_ten(9.97e-7) == r"1.0$\times$10$^{-6}$"
    assert power_of_ten(0.0) == "0"


@pytest.mark.parametrize("suffix", ["svg", "pdf"])
def test_a_million_updates_stay_a_small_file_that_shows_every_spike(tmp_path, suffix):
    t = np.arange(1.0, 1e6 + 1)
    d = t**0.25 * np.exp(0.01 * np.random.default_rng(0).normal(size=len(t)))
    d[[271_828, 314_159]] = 60.0, 0.5
    drawn = figures.distance((t, d))
    for ax in drawn.axes:
        y = ax.lines[0].get_ydata()
        assert (y.max(), y.min()) == (60.0, 0.5)
    (file,) = figures.save(drawn, tmp_path / f"x.{suffix}")
    assert file.stat().st_size < 600_000


def test_a_picture_has_a_palette_that_nobody_sees(tmp_path):
    """Thin lines of many hues beside wide bands: what a palette chosen for the mean error gets wrong."""
    drawn = figures.distance(
        [run(f"{method} {size}", size) for size in (8, 9, 10) for method in ("LB", "+LR", "+GBN")]
    )
    (file,) = figures.save(drawn, tmp_path / "x.png")
    whole = tmp_path / "whole.png"
    drawn.savefig(whole)
    with Image.open(file) as picture, Image.open(whole) as full:
        assert picture.mode == "P"
        assert picture.info["dpi"] == full.info["dpi"]
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)
        apart = np.abs(np.asarray(picture.convert("RGB"), float) - np.asarray(full.convert("RGB"), float))
    assert apart.max() < 25  # of 255
    assert file.stat().st_size < 0.5 * whole.stat().st_size
    assert drawn._repr_png_().startswith(b"\x89PNG")


def test_a_picture_that_is_transparent_stays_so(tmp_path):
    drawn = figures.distance((np.arange(1, 9), np.arange(1, 9)))
    drawn.patch.set_alpha(0.0)
    (file,) = figures.save(drawn, tmp_path / "x.png")
    with Image.open(file) as picture:
        assert picture.getpixel((0, 0))[3] == 0


def test_thinning_keeps_the_extremes_of_each_column():
    x = np.arange(1.0, 100_001)
    y = np.random.default_rng(1).normal(size=len(x))
    kept, low = thinned(x, y)
    for start in range(0, 100_000, 10_000):
        inside = (kept > start) & (kept <= start + 10_000)
        whole = y[start : start + 10_000]
        assert (low[inside].min(), low[inside].max()) == (whole.min(), whole.max())
    assert kept[[0, -1]].tolist() == [1, 100_000]
    assert np.all(np.diff(kept) > 0)


def test_another_style_is_laid_over_and_taken_off_again(tmp_path):
    (tmp_path / "talk.mplstyle").write_text("font.size: 14\n")
    curve = (np.arange(1, 9), np.arange(1, 9))
    with figures.use_style("dark_background"):
        dark = figures.distance(curve)
    assert dark.get_facecolor()[:3] == (0, 0, 0)
    with figures.use_style(tmp_path / "talk.mplstyle"):
        assert figures.distance(curve).axes[0].title.get_fontsize() == 8
    assert figures.distance(curve).get_facecolor()[:3] == (1, 1, 1)
    with pytest.raises(FigureError, match="no style is named 'nope'; expected"), figures.use_style("nope"):
        pass


def test_smoothing_is_stated_and_can_be_turned_off(long_run):
    (ax,) = figures.error(long_run, against="updates").axes
    assert ax.figure.legends[0].get_title().get_text() == "lines: running mean over 2 % of the axis"
    raw = 100 * long_run.metrics["validation_error"]
    (line,) = [line for line in ax.lines if line.get_label() == "noisy"]
    assert line.get_ydata().std() < raw.std() / 2
    middle = raw[(raw.index >= 490) & (raw.index <= 510)]
    assert line.get_ydata()[499] == pytest.approx(middle.mean())
    plain = figures.error(long_run, against="updates", smooth=0)
    assert not plain.legends[0].get_title().get_text()
    np.testing.assert_allclose(plain.axes[0].lines[0].get_ydata(), raw)
    with pytest.raises(FigureError, match=r"smooth is 1; expected a share"):
        figures.error(long_run, smooth=1)


@pytest.fixture
def long_run(tmp_path):
    import torch

    from trajectory import Recorder, Run

    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    noise = np.random.default_rng(0).uniform(size=1000)
    with Recorder(tmp_path / "noisy.zarr", model, optimizer) as recorder:
        for t in range(1000):
            model.weight.grad = torch.ones(1, 1)
            optimizer.step()
            recorder.log(validation_error=0.1 + 0.1 * noise[t])
    return Run(tmp_path / "noisy.zarr")
