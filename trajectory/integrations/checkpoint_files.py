"""Load weights from the files that torch, safetensors and torch.distributed.checkpoint write, without running code.

A pickle can call any function. What is unpickled here is limited to tensors, plain containers and the classes named
below; anything else is refused by its name.
"""

import argparse
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajectory.errors import first_line
from trajectory.integrations.checkpoint import DISTRIBUTED, Checkpoint, CheckpointError
from trajectory.integrations.shard_files import index_fault

# Where training loops put the weights: Lightning, torch's examples, fairseq and others, in order of precedence.
_KEYS = ("state_dict", "model_state_dict", "model", "module", "weights", "net")
_EXTRA = "_extra_state"  # ends the name of what a module keeps beside its weights
# What scripts save beside the weights: their arguments, a bare container of attributes; paths; numpy's numbers.
_POINTER = b"version https://git-lfs"
_SAFE: list[Any] = [
    argparse.Namespace,
    *(
        (pure, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for pure, names in (
            (PurePosixPath, ("PosixPath", "PurePosixPath")),
            (PureWindowsPath, ("WindowsPath", "PureWindowsPath")),
        )
        for name in names
    ),
    *((np.float64(0).__reduce__()[0], f"{module}.multiarray.scalar") for module in ("numpy._core", "numpy.core")),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "bool")),
]


def load(checkpoint: Checkpoint, key: str | None = None) -> dict[str, Tensor]:
    """Load a checkpoint's tensors.

    They lie in the files until they are read; in memory only for old .pt files and distributed checkpoints.

    Args:
        checkpoint: the checkpoint, from `find`.
        key: where in a nested checkpoint the weights are (`model`, or `trainer.model`); None: look for them.

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: a file is no checkpoint, or holds no weights there, or weights of 8 bits; or the files are
            not all shards of one checkpoint.
    """
    tensors: dict[str, Tensor] = {}
    for file in checkpoint.files:
        if file.is_dir():
            found = load_distributed(file, key)
        elif file.suffix == ".safetensors":
            found = load_safetensors(file)
        else:
            found = load_torch(file, key)
        if twice := tensors.keys() & found.keys():
            raise CheckpointError(
                f"{checkpoint.name}: {min(twice)} is in two files; expected shards of one checkpoint"
            )
        tensors |= found
    if fault := index_fault(checkpoint.files[0], tensors):
        raise CheckpointError(f"{checkpoint.name}: {fault}")
    for name, tensor in tensors.items():
        if fault := _fault(name, tensor):
            raise CheckpointError(f"{checkpoint.name}: {name} {fault}")
    weights = [tensor for tensor in tensors.values() if tensor.is_floating_point()]
    if not any(tensor.numel() for tensor in weights):
        parts = ", but empty tensors, as where each process keeps its part" if weights else ""
        raise CheckpointError(f"{checkpoint.name}: holds no weights{parts}; expected a state dict")
    return tensors


def _fault(name: str, tensor: Tensor) -> str | None:
    """Say why no distance can be measured of a tensor; None where it can."""
    kind = tensor.dtype
    if tensor.is_meta:
        return "is on the device meta, without values; expected the weights themselves"
    if tensor.layout is not torch.strided:
        return f"is {tensor.layout}; expected a dense tensor"
    if tensor.is_complex():
        return f"is {kind}; expected real numbers: save torch.view_as_real of it"
    integers = not tensor.is_floating_point() and kind != torch.bool and name.rpartition(".")[2] == "weight"
    if integers or (tensor.is_floating_point() and kind.itemsize == 1):
        return f"is {kind}; expected 16 bits a weight or more: save the weights it is rounded from"
    return None


def load_torch(file: Path, key: str | None = None) -> dict[str, Tensor]:
    """Load what `torch.save` wrote.

    Args:
        file: the file.
        key: where the weights are, as for `load`.

    Returns:
        The tensors by name, mapped from the file where its kind allows.

    Raises:
        CheckpointError: the file cannot be read as tensors and plain containers, or holds no weights there.
    """
    try:
        with torch.serialization.safe_globals(_SAFE):
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # pickle, zip and torch each raise their own
        if names := _other_classes(file):
            raise CheckpointError(
                f"{file.name}: holds {', '.join(names)} beside tensors, whose code would run as it is read; "
                "save the state dict alone"
            ) from error
        raise CheckpointError(
            f"{file.name}: cannot be read as weights alone ({_beginning(file) or first_line(error)}); expected a"
            " state dict that torch.save wrote"
        ) from error
    return _tensors(_descend(content, file.name, key))


def load_safetensors(file: Path) -> dict[str, Tensor]:
    """Load a safetensors file.

    Args:
        file: the file.

    Returns:
        The tensors by name.

    Raises:
        CheckpointError: the file is none, or the package is not installed.
    """
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"{file.name}: needs the package safetensors; pip install 'ultraslow[safetensors]'"
        ) from error
    try:
        return load_file(file)
    except Exception as error:  # the package raises an exception of its own
        raise CheckpointError(
            f"{file.name}: not a safetensors file ({_beginning(file) or first_line(error)})"
        ) from error


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
    from torch.distributed.checkpoint.metadata import TensorStorageMetadata

    try:
        with (folder / DISTRIBUTED).open("rb") as file:
            metadata = _MetadataUnpickler(file).load()
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
        tensors = _tensors(_descend(content, folder.name, key))
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


def _cause(error: BaseException) -> str:
    """Return the line that says what failed; torch wraps the failures of each rank, and their traces."""
    failures = getattr(error, "failures", None)
    first = next(iter(failures.values()))[0] if failures else error
    return first_line(first)


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


def _beginning(file: Path) -> str | None:
    """Say what a file is that begins as no checkpoint does; None where that does not tell."""
    with file.open("rb") as opened:
        first = opened.read(len(_POINTER))
    if not first:
        return "it is empty"
    return "it is git-lfs's pointer to a file that was not fetched: git lfs pull" if first == _POINTER else None


def _other_classes(file: Path) -> list[str]:
    """Return the names of what a file would have to import to be read; none where it cannot be told."""
    try:
        with torch.serialization.safe_globals(_SAFE):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # no file that torch.save wrote in the last years
        return []


def _descend(content: Any, name: str, key: str | None) -> Any:
    """Return the part of a nested checkpoint that holds the weights."""
    if key is not None:
        for part in key.split("."):
            if not isinstance(content, Mapping) or part not in content:
                held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
                raise CheckpointError(f"{name}: no key {key!r}; it holds {held}")
            content = content[part]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{name}: holds a {type(content).__name__}; expected a state dict")
    found = _weights_in(content)
    if found is None:
        held = ", ".join(map(str, content)) or "nothing"
        raise CheckpointError(f"{name}: no weights found; it holds {held}; say where with --key")
    others = [str(inner) for inner, value in found.items() if isinstance(value, Mapping) and _tensors(value)]
    if others := [inner for inner in others if not inner.endswith(_EXTRA)]:
        raise CheckpointError(
            f"{name}: holds tensors ({next(iter(_tensors(found)))}, ...) beside dicts of tensors"
            f" ({', '.join(others)}); say which dict holds the weights with --key"
        )
    return found


def _weights_in(content: Any) -> Mapping[str, Any] | None:
    """Return the dict of tensors in a checkpoint: one under a usual name before the numbers beside it."""
    if not isinstance(content, Mapping):
        return None
    nested = (_weights_in(content.get(inner)) for inner in _KEYS)
    return next((found for found in nested if found), content if _tensors(content) else None)


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
