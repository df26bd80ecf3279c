"""Copies from the device to the host that nobody waits for until they are read."""

from typing import ClassVar

import torch
from torch import Tensor


def has_graphs(device: torch.device) -> bool:
    """Return whether a device can capture what is queued in a graph.

    Args:
        device: The device.
    """
    return device.type == "cuda"


def is_capturing(device: torch.device) -> bool:
    """Return whether a CUDA graph is being captured, so that what is queued now only runs in its replays.

    Args:
        device: The device whose current stream is asked.
    """
    return has_graphs(device) and torch.cuda.is_current_stream_capturing()


class HostCopy:
    """A copy of a tensor on its way to the host.

    On CUDA the bytes travel to pinned memory on a side stream, behind the work queued so far, and an event marks
    their arrival; elsewhere the copy is made at once.

    Args:
        source: The tensor, which must not be written to again.
    """

    _streams: ClassVar[dict[torch.device, torch.cuda.Stream]] = {}

    def __init__(self, source: Tensor):
        self._arrived = None
        if source.device.type != "cuda":
            self._host = source.cpu()
            return
        if source.device not in self._streams:
            self._streams[source.device] = torch.cuda.Stream(source.device)
        stream = self._streams[source.device]
        stream.wait_stream(torch.cuda.current_stream(source.device))
        self._host = torch.empty(source.shape, dtype=source.dtype, pin_memory=True)
        with torch.cuda.stream(stream):
            self._host.copy_(source, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(stream)
        source.record_stream(stream)

    def ready(self) -> bool:
        """Return whether `wait` would return at once."""
        return self._arrived is None or self._arrived.query()

    def wait(self) -> Tensor:
        """Return the tensor on the host, once it is there."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._host
