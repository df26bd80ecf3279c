"""Choose which parameters are measured, and under which names their measurements are filed.

A group's norm is that of its parameters flattened one after the other: ‖w_g‖² = Σ_{i ∈ g} ‖w_i‖².
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np

from trajectory.errors import RecordingError
from trajectory.schema.entries import text, texts

GroupBy = Literal["parameter", "module"] | Callable[[str], str]
ROOT_MODULE = "(root)"  # the group of parameters that the model itself holds: its own name is empty


@dataclass(frozen=True)
class Groups:
    """Disjoint groups of parameters, in order of their first one.

    Attributes:
        names: the groups' names.
        members: the names of each group's parameters.
    """

    names: tuple[str, ...]
    members: tuple[tuple[str, ...], ...]

    @property
    def parameters(self) -> list[str]:
        """The parameters in a group, group after group."""
        return [name for members in self.members for name in members]

    def sum(self, values: np.ndarray, parameters: Sequence[str]) -> np.ndarray:
        """Add values up over each group.

        Args:
            values: (..., parameter).
            parameters: the names of the entries of the last axis.

        Returns:
            The sums, (..., group).
        """
        if self.members == tuple((name,) for name in parameters):
            return values
        at = {name: i for i, name in enumerate(parameters)}
        return np.stack([values[..., [at[name] for name in members]].sum(axis=-1) for members in self.members], -1)

    def to_json(self) -> list[Any]:
        """Return the entry `layers` of the root's attributes."""
        return [[name, list(members)] for name, members in zip(self.names, self.members, strict=True)]

    @staticmethod
    def from_json(entry: Sequence[Any]) -> "Groups":
        """Parse the entry `layers`.

        Args:
            entry: `[name, [parameter, ...]]` for each group.

        Returns:
            The groups.
        """
        return Groups(tuple(text(name) for name, _ in entry), tuple(texts(members) for _, members in entry))

    @staticmethod
    def single(parameters: Iterable[str]) -> "Groups":
        """Return groups of one parameter each.

        Args:
            parameters: their names, which become the groups' names.

        Returns:
            The groups, in the same order.
        """
        names = tuple(parameters)
        return Groups(names, tuple((name,) for name in names))


def group(
    parameters: Iterable[str],
    by: GroupBy = "parameter",
    include: str | Iterable[str] | None = None,
    exclude: str | Iterable[str] = (),
    frozen: Iterable[str] = (),
) -> Groups:
    """Sort the names of parameters into groups.

    Args:
        parameters: the names.
        by: "parameter", each alone; "module", those of one module together, under its name; or a function from a
            parameter's name to its group's.
        include: patterns of the names to measure, as a shell's (`*`, `?`, `[...]`; `*` spans dots); None: all.
        exclude: likewise of the names to leave out.
        frozen: names of frozen parameters, which are in no group; a pattern may be about them alone.

    Returns:
        The groups.

    Raises:
        RecordingError: a pattern matches no parameter, nothing is left, or `by` gives no name.
    """
    names = list(parameters)
    known = [*names, *frozen]
    for pattern in [*_patterns(include), *_patterns(exclude)]:
        if not any(fnmatchcase(name, pattern) for name in known):
            raise RecordingError(
                f"pattern {pattern!r} matches no parameter; expected one of names such as {names[0]!r}"
            )
    measured = chosen(names, include, exclude)
    if not measured:
        raise RecordingError(f"include={include!r}, exclude={exclude!r} leave no parameter to measure; widen them")
    groups: dict[str, list[str]] = {}
    for name in measured:
        groups.setdefault(_label(name, by), []).append(name)
    return Groups(tuple(groups), tuple(map(tuple, groups.values())))


def chosen(
    names: Iterable[str], include: str | Iterable[str] | None = None, exclude: str | Iterable[str] = ()
) -> list[str]:
    """Choose names by patterns.

    Args:
        names: the names.
        include: patterns of the names to take; None: all.
        exclude: patterns of the names to leave out.

    Returns:
        The names taken, in order.
    """
    wanted, unwanted = _patterns(include), _patterns(exclude)
    included = names if include is None else [name for name in names if _matches(name, wanted)]
    return [name for name in included if not _matches(name, unwanted)]


def _patterns(patterns: str | Iterable[str] | None) -> list[str]:
    return [patterns] if isinstance(patterns, str) else list(patterns or ())


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _label(name: str, by: GroupBy) -> str:
    if by == "parameter":
        return name
    if by == "module":
        return name.rpartition(".")[0] or ROOT_MODULE
    if not callable(by):
        raise RecordingError(f"group_by={by!r}; expected 'parameter', 'module' or a function of a parameter's name")
    label = by(name)
    if not isinstance(label, str):
        raise RecordingError(f"group_by({name!r}) gave {label!r}; expected the name of its group")
    return label
