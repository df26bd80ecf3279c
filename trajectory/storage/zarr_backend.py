"""The objects of a run's store in whatever Zarr can write to, such as a bucket."""

# ruff: noqa: D102 (`Backend` says what the methods do)

import errno
from asyncio import gather
from collections.abc import Coroutine, Iterable, Sequence
from itertools import takewhile
from typing import Any

from zarr.abc.store import ByteRequest, Store, SuffixByteRequest
from zarr.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import StorePath

from trajectory.errors import first_line
from trajectory.storage.backend import Backend
from trajectory.storage.journal import Journal, ObjectJournal


class ZarrBackend(Backend):
    """Any other Zarr store. Nothing keeps a second recorder off.

    Args:
        store: the Zarr store.
        path: names it to people.
    """

    def __init__(self, store: Store, path: str):
        self.path: str = path
        self.root: Store = store
        self._wait(StorePath.open(store, "", mode=None))  # such as a ZipStore, which is not open when it is made

    @property
    def writable(self) -> Store:
        return self.root

    def exists(self) -> bool:
        return not self.is_free()

    def is_free(self) -> bool:
        return self._wait(self.root.is_empty(""))

    def names(self) -> list[str]:
        return self._list("")

    def holds(self, key: str) -> bool:
        return self._wait(self.root.exists(key))

    def sizes(self, keys: Sequence[str]) -> list[int | None]:
        async def size(key: str) -> int | None:
            try:
                return await self.root.getsize(key)
            except FileNotFoundError:
                return None

        async def all_sizes() -> list[int | None]:
            return list(await gather(*map(size, keys)))

        return self._wait(all_sizes())

    def ends(self, keys: Sequence[str], count: int) -> list[bytes | None]:
        return [end and end.to_bytes() for end in self._get(keys, SuffixByteRequest(count))]

    def stamp(self, key: str) -> None:
        return None

    def read(self, key: str) -> bytes:
        (data,) = self._read([key])
        return data

    def replace(self, key: str, data: bytes, *, durable: bool = True) -> None:
        self._wait(self.root.set(key, cpu.Buffer.from_bytes(data)))

    def sync_names(self) -> None:
        pass

    def sync(self) -> None:
        pass

    def remove(self, keys: Iterable[str]) -> None:
        async def delete() -> None:
            await gather(*map(self.root.delete, keys))

        self._wait(delete())

    def make(self) -> None:
        pass

    def refuse_links(self) -> None:
        pass

    def clear(self) -> None:
        self.remove(self.names())

    def lock(self) -> None:
        return None

    def journal(self, generation: int, *, append: bool = False) -> Journal:
        folder = f"journal.{generation}"
        there = self._list(f"{folder}/")
        if not append:
            self.remove(there)
        return ObjectJournal(folder, len(there) if append else 0, self.replace, self.remove)

    def read_journal(self, generation: int) -> bytes:
        folder = f"journal.{generation}"
        there = set(self._list(f"{folder}/"))
        if not there:
            raise FileNotFoundError(errno.ENOENT, "No such journal", f"{self.path}/{folder}")
        names = (ObjectJournal.key(folder, n) for n in range(len(there)))
        return b"".join(self._read(list(takewhile(there.__contains__, names))))

    def _list(self, prefix: str) -> list[str]:
        async def collect() -> list[str]:
            return [key async for key in self.root.list_prefix(prefix)]

        return sorted(self._wait(collect()))

    def _read(self, keys: list[str]) -> list[bytes]:
        found = self._get(keys)
        if None in found:
            raise FileNotFoundError(errno.ENOENT, "No such object", f"{self.path}/{keys[found.index(None)]}")
        return [buffer.to_bytes() for buffer in found]

    def _get(self, keys: Sequence[str], part: ByteRequest | None = None) -> list[Any]:
        """Return a buffer for each object, None where there is none."""

        async def get() -> list[Any]:
            return await gather(*(self.root.get(key, default_buffer_prototype(), part) for key in keys))

        return list(self._wait(get()))

    def _wait(self, operation: Coroutine[Any, Any, Any]) -> Any:
        """Return its result; whatever a store raises becomes an OSError that says it in one line."""
        try:
            return sync(operation)
        except FileNotFoundError:
            raise
        except Exception as error:
            raise OSError(errno.EIO, first_line(error), self.path) from error
