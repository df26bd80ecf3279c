"""Find checkpoints as training loops leave them: which step each is of, and which files hold its weights."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from numbers import Integral
from pathlib import Path

from trajectory.errors import UltraslowError, first_line, printable
from trajectory.integrations.shard_files import files_fault

SUFFIXES = (".pth.tar", ".pt.tar", ".pt", ".pth", ".bin", ".ckpt", ".safetensors")
DISTRIBUTED = ".metadata"  # what torch.distributed.checkpoint calls the table of contents in a checkpoint's folder
# The files of one checkpoint as the Hugging Face libraries write it, in order of precedence.
_HUB = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin", "pytorch_model-*-of-*.bin")
# Words before a step in a name, those that count updates first: `epoch=3-step=1000` is step 1000.
_UNITS = (r"(?:global_?)?step", r"checkpoint|ckpt|iteration|iter|update", r"epoch")
_NUMBER = r"(\d+)(e\d|[km](?![a-z])|[.,]\d+)?"  # the second group: of one that is no plain number: 1e4, 10k, 0.5
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d[-_.][01]\d[-_.][0-3]\d(?!\d)")
_SHARD = re.compile(r"(?:rank|shard|part|consolidated)[-_.=]?\d+")
_SHOWN = 5  # names in a message
_LARGEST = 2**53  # a row holds its step as a float64
_NOT_WEIGHTS = re.compile(r"optim|sched|rng|random|scaler|args", re.IGNORECASE)


class CheckpointError(UltraslowError):
    """A checkpoint cannot be read, placed in time, or compared with the others.

    Args:
        message: why, in one line; names in it are those of others' files and tensors.
    """

    def __init__(self, message: str):
        super().__init__(printable(message).replace("\n", "\\n"))


@dataclass(frozen=True)
class Checkpoint:
    """Where the weights after a number of updates lie.

    Attributes:
        step: the number of updates.
        name: the file's name, or the folder's.
        files: the files that together hold the weights; the folder of a distributed checkpoint.
    """

    step: int
    name: str
    files: tuple[Path, ...]


def find(paths: str | Path | Iterable[str | Path], steps: Sequence[int] | None = None) -> list[Checkpoint]:
    """Find checkpoints.

    Args:
        paths: one or several: files (.pt, .pth, .pth.tar, .bin, .ckpt, .safetensors); folders that are one checkpoint
            (model.safetensors or pytorch_model.bin, in one file or in shards; what torch.distributed.checkpoint
            saves; a single file of weights); or folders of such files and folders. Folders of steps take precedence
            over a model beside them, and links to what lies beside them are left out.
        steps: the step of each checkpoint, in the order of `paths` and, within a folder, of names; None: take them
            from the names, such as `step=1000`, `checkpoint-1000`, `epoch_3`, or a single number.

    Returns:
        The checkpoints in order of step.

    Raises:
        CheckpointError: a path is missing, fewer than two are found, a shard is missing, a name has no step, two
            count in different units, two are of one step, or a step is no number of updates.
    """
    several = [paths] if isinstance(paths, str | Path) else paths
    given = [Path(os.path.expanduser(path)) for path in several]
    found = [entry for path in given for entry in _listed(path)]
    if len(found) < 2:
        raise CheckpointError(
            f"got {len(found)} checkpoints, expected 2 or more of {', '.join(SUFFIXES)}, or folders of them"
            f"{_seen(given)}"
        )
    for name, files in found:
        _refuse_links_to_nothing(files)
        if fault := files_fault(files):
            raise CheckpointError(f"{name}: {fault}")
    if steps is None:
        read = [_step(name) for name, _ in found]
        units = {unit: name for (unit, _), (name, _) in zip(read, found, strict=True)}
        if len(units) > 1:
            one, other = list(units.values())[:2]
            raise CheckpointError(f"{one} and {other} count different things; give all steps with --steps")
        steps = [step for _, step in read]
    steps = [_whole(step) for step in steps]
    if len(steps) != len(found):
        raise CheckpointError(
            f"got {len(steps)} steps for {len(found)} checkpoints ({', '.join(n for n, _ in found)})"
        )
    twice = [step for step, times in Counter(steps).items() if times > 1]
    if twice:
        names = [name for step, (name, _) in zip(steps, found, strict=True) if step == twice[0]]
        raise CheckpointError(f"step {twice[0]} is that of {' and '.join(names)}; give one checkpoint a step")
    if wrong := [step for step in steps if not 0 <= step <= _LARGEST]:
        raise CheckpointError(f"step {wrong[0]}: expected a number of updates, from 0 to 2^53")
    made = [Checkpoint(step, name, files) for step, (name, files) in zip(steps, found, strict=True)]
    return sorted(made, key=lambda checkpoint: checkpoint.step)


def _whole(step: object) -> int:
    """Return a step that a caller gave, which may be one of numpy's integers."""
    if isinstance(step, bool) or not isinstance(step, Integral):
        raise CheckpointError(f"step {step!r}: expected a whole number of updates")
    return int(step)


def _listed(path: Path) -> list[tuple[str, tuple[Path, ...]]]:
    try:
        return _entries(path)
    except OSError as error:
        raise CheckpointError(
            f"{path}: cannot be looked into ({first_line(error)}); expected a file or a folder that can be read"
        ) from error


def _entries(path: Path) -> list[tuple[str, tuple[Path, ...]]]:
    """Return names and files of the checkpoints that a path stands for."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint; expected a file or a folder")
    if path.is_file():
        if not path.name.endswith(SUFFIXES):
            raise CheckpointError(f"{path}: not a checkpoint; expected {', '.join(SUFFIXES)}")
        return [(path.name, (path,))]
    children = [child for child in sorted(path.iterdir()) if not _is_second_name(child)]
    _refuse_links_to_nothing(children)
    folders: list[tuple[str, tuple[Path, ...]]] = [
        (child.name, files)
        for child in children
        if child.is_dir() and (files := _model_files(child) or _file_of_weights(child) or _folder_of_weights(child))
    ]
    if not _have_steps(folders) and (files := _model_files(path)):
        return [(path.name, files)]
    alone: list[tuple[str, tuple[Path, ...]]] = [
        (child.name, (child,)) for child in children if child.is_file() and child.name.endswith(SUFFIXES)
    ]
    if _have_steps(folders) and any(fnmatch(name, model) for name, _ in alone for model in _HUB):
        return folders
    entries = sorted(folders + alone)
    if not _have_steps(entries) and (files := _file_of_weights(path)):  # the folder itself is of one step
        return [(path.name, files)]
    return entries


def _refuse_links_to_nothing(paths: Iterable[Path]) -> None:
    if gone := [path for path in paths if path.is_symlink() and not path.exists()]:
        raise CheckpointError(
            f"{gone[0]}: is a symbolic link to {os.readlink(gone[0])}, where nothing is; remove it, or give the"
            " others alone"
        )


def _have_steps(entries: Iterable[tuple[str, object]]) -> bool:
    return any(re.search(r"\d", name) for name, _ in entries)


def _is_second_name(path: Path) -> bool:
    """Return whether a path is a link to what lies beside it, such as `last.ckpt`."""
    return path.is_symlink() and os.path.dirname(os.path.realpath(path)) == os.path.realpath(path.parent)


def _seen(paths: Iterable[Path]) -> str:
    """Say what is in folders that hold too few checkpoints."""
    names = [f"{child.name}{'/' * child.is_dir()}" for path in paths if path.is_dir() for child in path.iterdir()]
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"; seen: {', '.join(sorted(names)[:_SHOWN])}{more}: give the folder that holds them, or the files"


def _model_files(folder: Path) -> tuple[Path, ...]:
    """Return the files of a folder that is one checkpoint, by names that libraries give."""
    if (folder / DISTRIBUTED).is_file():
        return (folder,)
    if shards := sorted(folder.glob("*.distcp")):
        raise CheckpointError(
            f"{folder.name}: holds {shards[0].name} and no {DISTRIBUTED}, so its saving did not end; leave it out"
        )
    for name in _HUB:
        if files := tuple(sorted(folder.glob(name))):
            return files
    return ()


def _file_of_weights(folder: Path) -> tuple[Path, ...]:
    """Return the one file of a step's folder that can hold its weights; none if there are several."""
    files = [file for file in folder.iterdir() if file.is_file() and file.name.endswith(SUFFIXES)]
    weights = [file for file in files if not _NOT_WEIGHTS.search(file.name)]
    return tuple(weights) if len(weights) == 1 else ()


def _folder_of_weights(folder: Path) -> tuple[Path, ...]:
    """Return the one distributed checkpoint in a step's folder that can hold its weights, as Accelerate writes it."""
    folders = [inner for inner in folder.iterdir() if (inner / DISTRIBUTED).is_file()]
    weights = [inner for inner in folders if not _NOT_WEIGHTS.search(inner.name)]
    return tuple(weights) if len(weights) == 1 else ()


def _step(name: str) -> tuple[str, int]:
    """Return the unit and the number in a checkpoint's name."""
    stem = name.lower()
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    stem = _DATE.sub("", stem)
    for unit in _UNITS:
        if found := re.findall(rf"(?:{unit})[-_=.]?(-?){_NUMBER}", stem):
            return ("epoch" if unit == "epoch" else "step"), _plain(name, *found[-1])
    if shard := _SHARD.search(stem):
        raise CheckpointError(
            f"{name}: {shard[0]} in its name is that of a shard; put a checkpoint's shards together in one file"
        )
    numbers = re.findall(rf"((?<=[-_=.])-|){_NUMBER}", stem)
    if len(numbers) != 1:
        raise CheckpointError(
            f"{name}: no step in its name (such as step=1000); give all steps with --steps, or the others alone"
        )
    return "step", _plain(name, *numbers[0])


def _plain(name: str, sign: str, number: str, rest: str) -> int:
    if sign or rest:
        raise CheckpointError(
            f"{name}: {sign}{number}{rest} in its name is no plain number; give all steps with --steps"
        )
    return int(number)
