"""A sequence on disk, so that an hour of observations is not what a watched process grows by."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import BinaryIO, Generic, TypeVar

T = TypeVar("T")


class Spool(Generic[T]):
    """Holds objects in an empty file; iterating reads them back, equal ones, in order.

    What does not come back from a file, such as an exception with a lock in it, stays in memory.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._kept: dict[int, T] = {}
        self._length = 0

    def append(self, item: T) -> None:
        """Add one object at the end."""
        try:
            data = pickle.dumps(item)
            pickle.loads(data)
        except Exception:  # whatever its own methods raise
            self._kept[self._length] = item
        else:
            self._file.seek(0, 2)
            self._file.write(data)
        self._length += 1

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[T]:
        at = 0
        for number in range(self._length):
            if number in self._kept:
                yield self._kept[number]
                continue
            self._file.seek(at)
            item = pickle.load(self._file)
            at = self._file.tell()
            yield item
