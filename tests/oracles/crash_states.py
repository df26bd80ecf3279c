"""The states in which a power cut can leave a folder: all that POSIX allows, not what one file system happens to do.

Until its file is synced, what was written to it may be there, cut short, replaced by zeros, or lost. Until its folder
is synced, a name that was made, moved or removed may have changed or not, whatever became of other names. This is how
ALICE finds what a program takes for granted: Pillai et al., "All file systems are not created equal", OSDI 2014.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

Tree = dict[str, bytes | None]  # by path below the folder; None for a folder


@dataclass(frozen=True)
class Change:
    """A call that changed a file's content or a folder's names, or synced it.

    Attributes:
        inode: the file or folder.
        names: which names lead where from then on (None: nowhere).
        data: what was written.
        at: where in the content it was.
        length: what the content was cut to.
        synced: whether it was synced.
    """

    inode: int
    names: dict[str, int | None] = field(default_factory=dict)
    data: bytes = b""
    at: int = 0
    length: int | None = None
    synced: bool = False


class Recording:
    """Notes the calls that change files below a folder, which is empty at the start.

    Args:
        root: the folder.
        monkeypatch: pytest's.
    """

    def __init__(self, root: Path, monkeypatch: Any):
        self.root = root
        self.changes: list[Change] = []
        self._inodes = {str(root): 0}  # by path
        self._descriptors: dict[int, int] = {}  # inodes
        self._folders = {0}
        self._lengths: dict[int, int] = defaultdict(int)
        self._lock = threading.RLock()
        for call in ("open", "close", "write", "fsync", "ftruncate", "replace", "unlink", "mkdir", "rmdir"):
            monkeypatch.setattr(os, call, self._noting(getattr(os, call), getattr(self, f"_{call}")))

    @property
    def now(self) -> int:
        """The number of changes so far."""
        return len(self.changes)

    def fates(self, cut: int, rng: Random, mixtures: int) -> Iterator[dict[int, str]]:
        """Choose what a power cut does to each change that was not synced.

        Args:
            cut: how many changes were made before it.
            rng: draws the mixtures.
            mixtures: how many choices of independent losses to draw, besides those where all or one was lost or kept.

        Yields:
            Whether each change was `kept`, `lost`, or, if it wrote data, wrote a `short` piece or `zeros`.
        """
        unsynced = self._unsynced(cut)
        for kind in ("kept", "short", "zeros", "lost"):
            yield dict.fromkeys(unsynced, kind)
        yield {k: "lost" if self.changes[k].data else "kept" for k in unsynced}
        for k in unsynced:
            yield dict.fromkeys(unsynced, "kept") | {k: "lost"}
            yield dict.fromkeys(unsynced, "lost") | {k: "kept"}
        for _ in range(mixtures):
            yield {k: rng.choice(("kept", "short", "zeros", "lost")) for k in unsynced}

    def _unsynced(self, cut: int) -> list[int]:
        pending: dict[int, list[int]] = defaultdict(list)
        for k, change in enumerate(self.changes[:cut]):
            if change.synced:
                pending[change.inode] = []
            else:
                pending[change.inode].append(k)
        return sorted(k for inode in pending.values() for k in inode)

    def state(self, cut: int, fate: dict[int, str]) -> Tree:
        """Return what a power cut leaves.

        Args:
            cut: how many changes were made before it.
            fate: what became of those that were not synced.

        Returns:
            The content of the folder.
        """
        content: dict[int, bytearray] = defaultdict(bytearray)
        names: dict[int, dict[str, int]] = defaultdict(dict)
        for k, change in enumerate(self.changes[:cut]):
            kind = fate.get(k, "kept")
            if kind == "lost":
                continue
            if change.length is not None:
                del content[change.inode][change.length :]
            if change.data:
                data = {"short": change.data[: len(change.data) // 2], "zeros": bytes(len(change.data))}
                _write_at(content[change.inode], change.at, data.get(kind, change.data))
            for name, inode in change.names.items():
                names[change.inode].pop(name, None)
                if inode is not None:
                    names[change.inode][name] = inode
        tree: Tree = {}

        def walk(folder: int, prefix: str) -> None:
            for name, inode in names[folder].items():
                tree[prefix + name] = None if inode in self._folders else bytes(content[inode])
                if inode in self._folders:
                    walk(inode, f"{prefix}{name}/")

        walk(0, "")
        return tree

    def _noting(self, call: Any, note: Any) -> Any:
        def noted(*arguments: Any, **options: Any) -> Any:
            with self._lock:
                result = call(*arguments, **options)
                note(result, *arguments, **options)
                return result

        return noted

    def _path(self, path: Any, dir_fd: int | None = None) -> str | None:
        """Return a path below the folder; None for others."""
        where = os.fspath(path)
        if dir_fd is not None:
            where = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), where)
        return where if where == str(self.root) or where.startswith(f"{self.root}/") else None

    def _name(self, path: str, inode: int | None) -> None:
        folder, name = os.path.split(path)
        self.changes.append(Change(self._inodes[folder], names={name: inode}))
        if inode is None:
            self._inodes.pop(path)
        else:
            self._inodes[path] = inode

    def _new(self, path: str) -> int:
        inode = len(self.changes) + 1
        self._name(path, inode)
        return inode

    def _open(self, fd: int, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        self._descriptors.pop(fd, None)
        if (where := self._path(path, dir_fd)) is None:
            return
        inode = self._inodes[where] if where in self._inodes else self._new(where)
        self._descriptors[fd] = inode
        if flags & os.O_TRUNC:
            self.changes.append(Change(inode, length=0))
            self._lengths[inode] = 0

    def _close(self, result: None, fd: int) -> None:
        self._descriptors.pop(fd, None)

    def _write(self, written: int, fd: int, data: Any) -> None:
        if fd in self._descriptors:
            inode = self._descriptors[fd]  # always behind what is there
            self.changes.append(Change(inode, data=bytes(data)[:written], at=self._lengths[inode]))
            self._lengths[inode] += written

    def _fsync(self, result: None, fd: int) -> None:
        if fd in self._descriptors:
            self.changes.append(Change(self._descriptors[fd], synced=True))

    def _ftruncate(self, result: None, fd: int, length: int) -> None:
        if fd in self._descriptors:
            self.changes.append(Change(self._descriptors[fd], length=length))
            self._lengths[self._descriptors[fd]] = length

    def _replace(self, result: None, source: Any, target: Any) -> None:
        before, after = self._path(source), self._path(target)
        if before is None or after is None:
            return
        (folder, old), (_, new) = os.path.split(before), os.path.split(after)
        inode = self._inodes.pop(before)
        self._inodes[after] = inode
        self.changes.append(Change(self._inodes[folder], names={old: None, new: inode}))

    def _unlink(self, result: None, path: Any, *, dir_fd: int | None = None) -> None:
        if (where := self._path(path, dir_fd)) is not None:
            self._name(where, None)

    _rmdir = _unlink

    def _mkdir(self, result: None, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        if (where := self._path(path, dir_fd)) is not None:
            self._folders.add(self._new(where))


def _write_at(content: bytearray, at: int, data: bytes) -> None:
    content.extend(bytes(max(at - len(content), 0)))  # what was to be there is lost
    content[at : at + len(data)] = data


def plant(tree: Tree, root: Path) -> None:
    """Make the files of a state.

    Args:
        tree: the state.
        root: where to put it; an empty folder.
    """
    for name, data in tree.items():  # folders come before what is in them
        if data is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(data)
