"""Recorded curves and results that come with ultraslow: under docs/ in a clone, beside this module in a wheel."""

from pathlib import Path

from train.errors import DataError

_INSTALLED = Path(__file__).with_name("recorded")  # pyproject.toml puts them there in a wheel
_DOCS = Path(__file__).parents[2] / "docs"
_HOMES = {
    "mnist-wd.tar.xz": "curves",
    "long-decay-5e-4.npz": "curves",
    "reproduction.tar.xz": "results",
    "reproduction.toml": "",
}


def recording(name: str) -> Path:
    """Return the path of a recorded file, wherever ultraslow was installed and whatever the working folder is.

    Args:
        name: mnist-wd.tar.xz, five runs of F1 on MNIST; long-decay-5e-4.npz, five long curves of a small network;
            reproduction.tar.xz, the runs of the reproduction; or reproduction.toml, its sweep.

    Raises:
        DataError: for another name, or a file that is not there.

    Examples:
        >>> from train.reproduce.recordings import recording
        >>> recording("mnist-wd.tar.xz").name
        'mnist-wd.tar.xz'
    """
    if name not in _HOMES:
        raise DataError(f"no recording is named {name!r}; expected one of {', '.join(_HOMES)}")
    places = (_INSTALLED / name, _DOCS / _HOMES[name] / name)
    for path in places:
        if path.is_file():
            return path
    raise DataError(f"{name} is neither {places[0]} nor {places[1]}; install ultraslow again, or put it there")
