"""Numbers that a loop logs."""

import numpy as np
from torch import Tensor

from trajectory.errors import RecordingError


def read_if_on_host(name: str, value: float | Tensor) -> float | Tensor:
    """Read a logged number, unless that would wait for a device.

    Args:
        name: The metric's name, for the message.
        value: A number, or a tensor of one element.

    Returns:
        The number; the tensor if it is on a device.

    Raises:
        RecordingError: The value is no real number, or several.
    """
    if not isinstance(value, Tensor):
        return _number(name, value)
    if value.numel() != 1:
        raise RecordingError(f"log({name}=...): got shape {tuple(value.shape)}, expected a single number")
    if value.is_complex():
        raise RecordingError(f"log({name}=...): got a complex number, expected a real one; log its abs()")
    if value.is_meta:
        raise RecordingError(f"log({name}=...): got a tensor on the meta device, expected one that has a value")
    return value.item() if value.device.type == "cpu" else value


def _number(name: str, value: object) -> float:
    try:
        return float(value.item() if isinstance(value, np.ndarray) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError) as error:
        got = "an int beyond all of these" if isinstance(error, OverflowError) else f"a {type(value).__name__}"
        got = f"the text {value[:40]!r}" if isinstance(value, str) else got
        raise RecordingError(
            f"log({name}=...): got {got}, expected a number that float64 can hold; file anything else by event()"
        ) from error
