"""Load weights from what torch.distributed.checkpoint writes, without running code."""

import pickle
import warnings
from collections.abc import Sequence
from math import prod
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajectory.integrations.checkpoint import DISTRIBUTED, CheckpointError
from trajectory.integrations.load_failures import reason
from trajectory.integrations.nested_weights import descend, tensors_in


def load_distributed(folder: Path, key: str | None = None) -> dict[str, Tensor]:
    """Load what `torch.distributed.checkpoint.save` wrote, however many ranks did so.

    Args:
        folder: the checkpoint's folder.
        key: where the weights are, as for `load`.

    Returns:
        The tensors by name, in memory; others, such as an optimizer's, are not read.

    Raises:
        CheckpointError: the checkpoint cannot be read, or holds no weights there.
    """
    import torch.distributed.checkpoint as distributed
    from torch.distributed.checkpoint.api import CheckpointException
    from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

    try:
        with (folder / DISTRIBUTED).open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
        if not isinstance(metadata, Metadata):
            raise CheckpointError(f"{folder.name}: its {DISTRIBUTED} is no table of contents; leave it out")
        _check(folder, metadata)
        stored: dict[int, str] = {}  # the name that a tensor is stored under
        content: dict[str, Any] = {}
        for name, entry in metadata.state_dict_metadata.items():
            if not isinstance(entry, TensorStorageMetadata):
                continue
            *parents, last = (metadata.planner_data or {}).get(name, (name,))
            inner = content
            for parent in parents:
                inner = inner.setdefault(parent, {})
            inner[last] = torch.empty(entry.size, dtype=entry.properties.dtype)  # takes memory when it is written to
            stored[id(inner[last])] = name
        tensors = tensors_in(descend(content, folder.name, key))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # says that it loads in one process
            distributed.load({stored[id(tensor)]: tensor for tensor in tensors.values()}, checkpoint_id=folder)
    except CheckpointError:
        raise
    except (Exception, CheckpointException) as error:  # pickle's, torch's and the operating system's
        raise CheckpointError(
            f"{folder.name}: cannot be read ({_cause(error)}); expected what torch.distributed.checkpoint saved"
        ) from error
    return tensors


def _check(folder: Path, metadata: Any) -> None:
    """Check that what the table of contents lists is in the folder's files, and is all of each tensor.

    Raises:
        CheckpointError: it is not; what is not listed would be read as whatever is in memory.
    """
    for stored in metadata.storage_data.values():
        file = folder / stored.relative_path
        if not (file.is_file() and file.resolve().is_relative_to(folder.resolve())):
            raise CheckpointError(
                f"{folder.name}: lacks {stored.relative_path}, which its {DISTRIBUTED} lists; leave it out"
            )
        if stored.offset + stored.length > file.stat().st_size:
            raise CheckpointError(
                f"{folder.name}: {stored.relative_path} is shorter than its {DISTRIBUTED} says; leave it out"
            )
    for name, entry in metadata.state_dict_metadata.items():
        if hasattr(entry, "chunks") and not _is_whole(entry.size, entry.chunks):
            raise CheckpointError(f"{folder.name}: its {DISTRIBUTED} lists {name} in part; leave it out")


def _is_whole(size: Sequence[int], chunks: Sequence[Any]) -> bool:
    """Return whether boxes hold each element of a tensor once."""
    volumes = [prod(chunk.sizes) for chunk in chunks]
    start = np.array([chunk.offsets for chunk in chunks]).reshape(len(chunks), len(size))
    stop = start + np.array([chunk.sizes for chunk in chunks]).reshape(len(chunks), len(size))
    shared = np.all(
        (start[:, None] < stop) & (start < stop[:, None]), axis=-1
    )  # by each box with itself, if not empty
    within = bool(np.all((start >= 0) & (stop <= np.array(size))))
    return within and sum(volumes) == prod(size) and int(shared.sum()) == np.count_nonzero(volumes)


def _cause(error: BaseException) -> str:
    """Return the line that says what failed; torch wraps the failures of each rank, and their traces."""
    failures = getattr(error, "failures", None)
    first = next(iter(failures.values()))[0] if failures else error
    return reason(first)


class _MetadataUnpickler(pickle.Unpickler):
    """Reads the table of contents of a distributed checkpoint."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch.distributed.checkpoint.metadata" and "." not in name:
            found = super().find_class(module, name)
            if isinstance(found, type) and found.__module__ == module:
                return found
        if module == "torch.distributed.checkpoint.filesystem" and name in ("_StorageInfo", "_StoragePrefix"):
            return super().find_class(module, name)
        if module == "torch" and (name == "Size" or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        if (module, name) == ("torch.serialization", "_get_layout"):
            return super().find_class(module, name)
        if module.partition(".")[0] == "pathlib" and name in ("PosixPath", "WindowsPath"):
            return PurePath  # where it was written; a path of the other system could not be made
        raise pickle.UnpicklingError(f"{module}.{name} in {DISTRIBUTED}, whose code would run as it is read")
