"""The names that results and arguments had in version 0.1: users' scripts hold them."""

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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


def accept_former_keywords(**now: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function also be called by former names of its keyword arguments, with a DeprecationWarning.

    Args:
        **now: the arguments' present names by their former ones.

    Returns:
        A decorator; to a type checker, only the present names exist.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        name = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def call(*arguments: P.args, **options: P.kwargs) -> T:
            for former in now.keys() & options.keys():
                if now[former] in options:
                    raise TypeError(f"{name}() got both {now[former]}= and {former}=, its former name")
                warnings.warn(f"{name}({former}=) is now {name}({now[former]}=)", DeprecationWarning, stacklevel=2)
                options[now[former]] = options.pop(former)
            return function(*arguments, **options)

        return call

    return decorate
