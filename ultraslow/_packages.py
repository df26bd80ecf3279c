"""The other packages of this distribution, whose names a user's own script or folder may bear too."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_NEEDED = {  # by the package that a name comes from
    "trajectory": ("trajectory",),
    "analysis": ("trajectory", "analysis"),
    "ultraslow": ("trajectory", "analysis"),
    "train": ("trajectory", "analysis", "train"),
}


class HiddenPackageError(ImportError):
    """Another package or module is found under the name of one of ours."""


def require(*packages: str) -> None:
    """Check that an import would find our packages, those beside this one, without importing them.

    Args:
        *packages: names among trajectory, analysis and train.

    Raises:
        HiddenPackageError: if another package or module comes first on the search path, or is imported already.
    """
    for package in packages:
        found, ours = _location(package), _ROOT / package / "__init__.py"
        if found is not None and os.path.realpath(found) != os.path.realpath(ours):
            raise HiddenPackageError(
                f"the name {package!r} stands for {found} here, which hides ultraslow's own {ours}; rename the"
                " former, or take its folder off Python's search path (PYTHONPATH)"
            )


def _location(package: str) -> str | None:
    if package in sys.modules:
        return getattr(sys.modules[package], "__file__", None)
    spec = find_spec(package)
    return spec.origin if spec else None


def lazy_exports(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the `__getattr__` and the `__dir__` of a package whose names are imported when they are first used.

    As `trajectory.lazy`, but with a check first that no package of ours is hidden by another.

    Args:
        package: the package's `__name__`.
        homes: the names by the module that defines them.

    Returns:
        `__getattr__`, which imports a name's module and keeps the value in the package, and `__dir__`.
    """
    module_of = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = module_of[name]
        require(*_NEEDED[module.partition(".")[0]])
        value = getattr(import_module(module), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, names
