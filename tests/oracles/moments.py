"""Interrupts at chosen moments: the n-th of all at which CPython would let a signal's handler run in this package."""

import dis
import os
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path

import trajectory

PACKAGE = str(Path(trajectory.__file__).parent) + os.sep
_LOOKS_AFTER = {"RESUME", "CALL", "CALL_FUNCTION_EX", "JUMP_BACKWARD"}  # as ceval.c of CPython 3.11 and later


@cache
def _moments(code):
    """Offsets of the instructions before which CPython looks for signals."""
    instructions = [one for one in dis.get_instructions(code) if one.opname != "CACHE"]
    found = {after.offset for before, after in pairwise(instructions) if before.opname in _LOOKS_AFTER}
    return found | {one.argval for one in instructions if one.opname == "JUMP_BACKWARD"}


class Interrupt:
    """Raises KeyboardInterrupt at the n-th moment of what runs within it; `where` says where that was."""

    def __init__(self, n):
        self.n, self.seen, self.where = n, 0, None

    def __enter__(self):
        self._before = sys.gettrace()
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_):
        sys.settrace(self._before)

    def _enter(self, frame, event, _):
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return self._look

    def _look(self, frame, event, _):
        if event == "opcode" and frame.f_lasti in _moments(frame.f_code) and self.where is None:
            self.seen += 1
            if self.seen == self.n:
                self.where = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_qualname}"
                raise KeyboardInterrupt
        return self._look
