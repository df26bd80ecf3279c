"""Public names of a package that are imported when they are first used (PEP 562)."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_exports(
    package: str, homes: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the `__getattr__` and the `__dir__` of a package whose names live in its modules.

    torch, pandas and zarr take seconds to import: a user of one name should not wait for those of another, and
    `ultraslow --help` for none. A type checker reads the same names below `if TYPE_CHECKING:`.

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
        value = getattr(import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of})

    return get, names
