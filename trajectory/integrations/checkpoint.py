"""Checkpoint files as they lie about: which step each is of, and the weights in it."""

import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trajectory.errors import UltraslowError, first_line

_TORCH = (".pt", ".pth", ".bin", ".ckpt")
_SUFFIXES = (*_TORCH, ".safetensors")
# Where training loops put the weights: Lightning, torch's examples, fairseq and others, in order of precedence.
_KEYS = ("state_dict", "model_state_dict", "model", "module", "weights", "net")
# Words before a step in a name, those that count updates first: `epoch=3-step=1000` is step 1000.
_UNITS = (r"(?:global_?)?step", r"checkpoint|ckpt|iteration|iter|update", r"epoch")


class CheckpointError(UltraslowError):
    """A checkpoint cannot be read, placed in time, or compared with the others."""


@dataclass(frozen=True)
class Checkpoint:
    """The files that hold the weights after `step` updates."""

    step: int
    name: str
    files: tuple[Path, ...]


def find(paths: Iterable[str | Path], steps: Sequence[int] | None = None) -> list[Checkpoint]:
    """Checkpoints in order of step.

    paths: files (.pt, .pth, .bin, .ckpt, .safetensors), folders that hold one checkpoint (model.safetensors,
        pytorch_model.bin, whole or in shards), or folders of such files and folders.
    steps: one for each checkpoint, in the order of `paths` and, within a folder, of names; default: from the
        names, such as `step=1000`, `checkpoint-1000`, `epoch_3`, or a single number.
    Raises CheckpointError: a missing path, nothing found, no step in a name, steps in different units, or twice.
    """
    found = [entry for path in paths for entry in _entries(Path(path))]
    if len(found) < 2:
        raise CheckpointError(f"got {len(found)} checkpoints, expected 2 or more of {', '.join(_SUFFIXES)}")
    if steps is None:
        read = [_step(name) for name, _ in found]
        units = {unit: name for (unit, _), (name, _) in zip(read, found, strict=True)}
        if len(units) > 1:
            one, other = list(units.values())[:2]
            raise CheckpointError(f"{one} and {other} count different things; give all steps with --steps")
        steps = [step for _, step in read]
    if len(steps) != len(found):
        raise CheckpointError(
            f"got {len(steps)} steps for {len(found)} checkpoints ({', '.join(n for n, _ in found)})"
        )
    twice = [step for step, times in Counter(steps).items() if times > 1]
    if twice:
        names = [name for step, (name, _) in zip(steps, found, strict=True) if step == twice[0]]
        raise CheckpointError(f"step {twice[0]} is that of {' and '.join(names)}; give one checkpoint a step")
    made = [Checkpoint(step, name, files) for step, (name, files) in zip(steps, found, strict=True)]
    return sorted(made, key=lambda checkpoint: checkpoint.step)


def load(checkpoint: Checkpoint, key: str | None = None) -> dict[str, Tensor]:
    """Its tensors by name. They lie in the files until they are read (in memory only for old .pt files).

    key: where in a nested .pt file the weights are (`model`, or `trainer.model`); default: what is found there.
    Raises CheckpointError if a file is no checkpoint, or holds no weights there.
    """
    tensors: dict[str, Tensor] = {}
    for file in checkpoint.files:
        part = _load_safetensors(file) if file.suffix == ".safetensors" else _load_torch(file, key)
        tensors |= part
    if not any(tensor.is_floating_point() for tensor in tensors.values()):
        raise CheckpointError(f"{checkpoint.name}: holds no weights; expected a state dict")
    return tensors


def _entries(path: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """Names and files of the checkpoints a path stands for."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; expected a file or a folder")
    if path.is_file():
        if path.suffix not in _SUFFIXES:
            raise CheckpointError(f"{path}: not a checkpoint; expected {', '.join(_SUFFIXES)}")
        return [(path.name, (path,))]
    if files := _model_files(path):
        return [(path.name, files)]
    entries: list[tuple[str, tuple[Path, ...]]] = []
    for child in sorted(path.iterdir()):
        if child.is_file() and child.suffix in _SUFFIXES:
            entries.append((child.name, (child,)))
        elif child.is_dir() and (files := _model_files(child)):
            entries.append((child.name, files))
    return entries


def _model_files(folder: Path) -> tuple[Path, ...]:
    """The files of a folder that is one checkpoint, as the Hugging Face libraries write it."""
    for name in ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin"):
        if files := tuple(sorted(folder.glob(name))):
            return files
    return ()


def _step(name: str) -> tuple[str, int]:
    """The unit and the number in a checkpoint's name."""
    stem = name.lower()
    for suffix in _SUFFIXES:
        stem = stem.removesuffix(suffix)
    for unit in _UNITS:
        if found := re.findall(rf"(?:{unit})[-_=.]?(\d+)", stem):
            return ("epoch" if unit == "epoch" else "step"), int(found[-1])
    numbers = re.findall(r"\d+", stem)
    if len(numbers) != 1:
        raise CheckpointError(f"{name}: no step in its name (such as step=1000); give all steps with --steps")
    return "step", int(numbers[0])


def _load_torch(file: Path, key: str | None) -> dict[str, Tensor]:
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # pickle, zip and torch each raise their own
        raise CheckpointError(
            f"{file.name}: cannot be read as weights alone ({first_line(error)}); expected a state dict that"
            " torch.save wrote"
        ) from error
    return _tensors(_descend(content, file, key))


def _descend(content: Any, file: Path, key: str | None) -> Any:
    """The part of a nested checkpoint that holds the weights."""
    if key is not None:
        for part in key.split("."):
            if not isinstance(content, Mapping) or part not in content:
                held = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
                raise CheckpointError(f"{file.name}: no key {key!r}; it holds {held}")
            content = content[part]
    while isinstance(content, Mapping) and not _tensors(content):
        nested = [name for name in _KEYS if isinstance(content.get(name), Mapping)]
        if not nested:
            held = ", ".join(map(str, content)) or "nothing"
            raise CheckpointError(f"{file.name}: no weights found; it holds {held}; say where with --key")
        content = content[nested[0]]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{file.name}: holds a {type(content).__name__}; expected a state dict")
    return content


def _tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _load_safetensors(file: Path) -> dict[str, Tensor]:
    try:
        from safetensors.torch import load_file
    except ImportError as error:
        raise CheckpointError(
            f"{file.name}: needs the package safetensors; pip install 'ultraslow[safetensors]'"
        ) from error
    try:
        return load_file(file)
    except Exception as error:  # the package raises an exception of its own
        raise CheckpointError(f"{file.name}: not a safetensors file ({error})") from error
