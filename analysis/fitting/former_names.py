"""The names that results had in version 0.1: users' scripts read them."""

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar


class FormerNames:
    """Mixin that lets an attribute be read by its former name, with a DeprecationWarning.

    Attributes:
        former_names: the attributes' present names by their former ones.
    """

    former_names: ClassVar[Mapping[str, str]] = {}

    if not TYPE_CHECKING:  # to a type checker, only the present names exist

        def __getattr__(self, name: str) -> Any:
            kind = type(self).__name__
            if name not in self.former_names:
                raise AttributeError(f"{kind!r} object has no attribute {name!r}")
            now = self.former_names[name]
            warnings.warn(f"{kind}.{name} is now {kind}.{now}", DeprecationWarning, stacklevel=2)
            return getattr(self, now)
