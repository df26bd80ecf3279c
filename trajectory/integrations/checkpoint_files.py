"""Load weights from the files that torch, safetensors and torch.distributed.checkpoint write, without running code.

A pickle can call any function. What is unpickled here is limited to tensors, plain containers and the classes named
below; anything else is refused by its name.
"""

import argparse
import datetime
import types
import warnings
import zipfile
from collections import defaultdict, deque
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trajectory.integrations.checkpoint import Checkpoint, CheckpointError
from trajectory.integrations.distributed_checkpoint import load_distributed
from trajectory.integrations.load_failures import is_archive, reason
from trajectory.integrations.nested_weights import descend, tensors_in
from trajectory.integrations.shard_files import index_fault

# What scripts save beside the weights: their arguments, a bare container of attributes; other plain containers and
# dates; paths; numpy's numbers and arrays, such as its generators' states.
_SAFE: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    *(defaultdict, deque, list, dict, frozenset, range, slice, complex),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(
        (pure, f"{module}.{name}")
        for module in ("pathlib", "pathlib._local")
        for pure, names in (
            (PurePosixPath, ("PosixPath", "PurePosixPath")),
            (PureWindowsPath, ("WindowsPath", "PureWindowsPath")),
        )
        for name in names
    ),
    *(
        (function, f"{module}.multiarray.{name}")
        for module in ("numpy._core", "numpy.core")
        for function, name in (
            (np.float64(0).__reduce__()[0], "scalar"),
            (np.empty(0).__reduce__()[0], "_reconstruct"),
        )
    ),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdgFDGSUMm"),
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
        tensors |= {name: tensor.detach() for name, tensor in found.items()}  # parameters, too, may be saved
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
    if tensor.layout is not torch.strided or tensor.is_nested:
        return f"is {'nested' if tensor.is_nested else tensor.layout}; expected a dense tensor"
    if not tensor.is_quantized and tensor.numel() * kind.itemsize > tensor.untyped_storage().nbytes():
        return f"is expanded from fewer numbers than its {tensor.numel()}; save it after .contiguous()"
    if any("\ud800" <= character <= "\udfff" for character in name):  # halves of characters
        return "has a name that is no text; save it under another"
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
    packed = _packed(file)
    if any(entry.filename.endswith("/constants.pkl") for entry in packed):
        raise CheckpointError(
            f"{file.name}: is a TorchScript program, whose code would run as it is read; save its state dict"
        )
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in packed):  # mapped, they would be read as weights
        raise CheckpointError(
            f"{file.name}: is compressed, as torch.save leaves no file; unpack it, and pack it again without (zip -0)"
        )
    try:
        with torch.serialization.safe_globals(_SAFE), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # says that others write pickles of another protocol
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=bool(packed))
    except Exception as error:  # pickle, zip and torch each raise their own
        torn = not packed and is_archive(file)
        if names := _other_classes(file):
            raise CheckpointError(
                f"{file.name}: holds {', '.join(names)} beside tensors, whose code would run as it is read; "
                "save the state dict alone"
            ) from error
        raise CheckpointError(
            f"{file.name}: cannot be read as weights alone ({reason(error, file, torn=torn)}); expected a state dict"
            " that torch.save wrote"
        ) from error
    return tensors_in(descend(content, file.name, key))


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
            f"{file.name}: not a safetensors file ({reason(error, file)}); expected one as its library writes it"
        ) from error


def _packed(file: Path) -> list[zipfile.ZipInfo]:
    """Return what a zip archive says of its entries; nothing of any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (OSError, ValueError, zipfile.BadZipFile):  # no archive, or a torn one: reading it says so
        return []


def _other_classes(file: Path) -> list[str]:
    """Return the names of what a file would have to import to be read; none where it cannot be told."""
    try:
        with torch.serialization.safe_globals(_SAFE):
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # no file that torch.save wrote in the last years
        return []
