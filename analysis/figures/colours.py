"""Which colour stands for what, in every figure.

Runs take a hue for their batch size and a shade and dashes for their method; a law keeps its own colour. A plain
dashed line means one thing alone: a law that is rejected or ruled out. The least distance between colours that one
figure can hold is tested, also as readers with deuteranopia and protanopia see them.
"""

from typing import Any

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgb

# Okabe & Ito 2008, "Color Universal Design", without its yellow, which is faint on white, and its black, which is
# the data's.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")

# Beside those: the wine of Tol 2021, "Colour Schemes" (scheme "muted"), for the law that is fitted everywhere; for
# the rest, what keeps the largest distance from all before it, in CIELAB for all eyes.
LAW_COLOURS = {
    "ultraslow": "#882255",
    "power law": "#D55E00",
    "pure log": "#009E73",
    "sinai": "#CC79A7",
    "normal": "#E69F00",
    "saturation": "#56B4E9",
    "stretched saturation": "#0072B2",
    "power times log": "#7F3B08",
    "jump + power": "#1400FF",
    "jump + log": "#70DB81",
    "jump + normal": "#4D69FF",
    "jump + saturation": "#0A0080",
    "jump + sinai": "#3D004C",
    "jump + pure log": "#BDDBC2",
    "jump + stretched saturation": "#3D250F",
}
OTHER_LAW = "#117733"

DASHES: tuple[Any, ...] = (
    "-",
    (0, (1, 1)),
    (0, (5, 1, 1, 1)),
    (0, (5, 1, 1, 1, 1, 1)),
    (0, (1, 3)),
    (0, (8, 2, 2, 2)),
)
"""Dashes for runs; none of them is the plain dashed line of a rejected law."""

REJECTED = "--"

_DARKER, _LIGHTER = 0.5, 0.55  # of the way to black and to white: all nine shades of three hues stay apart


def ink() -> str:
    """Return the colour of data and text in the style that is in force: black on paper."""
    return str(to_hex(mpl.rcParams["text.color"]))


def paper() -> str:
    """Return the colour that lies behind, with which hollow markers are filled."""
    return str(to_hex(mpl.rcParams["axes.facecolor"]))


def law_colour(name: str) -> str:
    """Return a law's colour.

    Args:
        name: of the law.
    """
    return LAW_COLOURS.get(name, OTHER_LAW)


def shade(hue: int, member: int) -> str:
    """Return a member of a colour family: the hue itself, its darker shade, its lighter one, and again.

    Args:
        hue: the family's number.
        member: the number of the member in it.
    """
    share, towards = ((0.0, 0.0), (_DARKER, 0.0), (_LIGHTER, 1.0))[member % 3]
    red, green, blue = ((1 - share) * part + share * towards for part in to_rgb(COLOURS[hue % len(COLOURS)]))
    return str(to_hex((red, green, blue))).upper()
