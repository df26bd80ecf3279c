"""Warnings that are given once each."""

import warnings


class Warned:
    """Gives each warning once: an interrupt may have it given again, and never lets it be lost."""

    def __init__(self) -> None:
        self._given: list[object] = []

    def __contains__(self, kind: object) -> bool:
        return kind in self._given

    def warn(self, kind: object, sentence: str, stacklevel: int) -> None:
        """Give a warning, unless one of its kind was given.

        Args:
            kind: What it is of.
            sentence: What is wrong, and what to do.
            stacklevel: The frame to name, counted from this function's caller, as in `warnings.warn`.
        """
        if kind in self._given:
            return
        try:
            warnings.warn(sentence, RuntimeWarning, stacklevel=stacklevel + 1)
        except RuntimeWarning:  # where warnings are errors
            self._given.append(kind)
            raise
        self._given.append(kind)
