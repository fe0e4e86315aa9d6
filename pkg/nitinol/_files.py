"""What the readers of the file formats share: a checked header, and arrays that lie in the file."""

import os
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from nitinol import dtypes
from nitinol._array import Array
from nitinol._operations import apply
from nitinol._runtime import on_host
from nitinol._text import shown

LARGEST = 2**63 - 1
# Of the part of a file that is parsed: the bound of the safetensors format's description, and some
# ten times what the metadata of a large GGUF file take. A file may have holes, which cost its
# author nothing, so what its header claims is not bounded by the disk.
LONGEST_HEADER = 100_000_000
MOST_DIMENSIONS = 64
# By GGUF's number of the block type: its name, the weights in a block and the bytes of a block.
BLOCKS = {2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 8: ("Q8_0", 32, 34)}
# What read_file takes where the dtype in the file is the array's, and where it is bfloat16.
SAME_DTYPE = -1
BFLOAT16 = -2


class TensorFile(dict[str, Any]):
    """The tensors of a file by name: a dict of Array and `QuantizedTensor`.

    Attributes
    ----------
    metadata : dict
        What else the header says: strings in safetensors files; numbers, strings, lists of strings
        and NumPy arrays in GGUF files.
    path : str
        Where the file lies.
    """

    def __init__(self, tensors: Mapping[str, Any], metadata: Mapping[str, Any], path: str):
        super().__init__(tensors)
        self.metadata = dict(metadata)
        self.path = path

    def __repr__(self) -> str:
        return f"<TensorFile {self.path!r} of {len(self)} tensors>"


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A matrix of quantised weights, in blocks as they lie in a GGUF file.

    Parameters
    ----------
    blocks : Array
        ``uint8``, (rows, bytes of a row).
    type : int
        GGUF's number of the block type: 2 for Q4_0, 3 for Q4_1, 8 for Q8_0.
    shape : tuple of int
        (rows, columns) of the weights.
    """

    blocks: Array
    type: int
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        """Refuse blocks that don't fit the shape: kernels go by the one and read the other."""
        if self.type not in BLOCKS:
            known = ", ".join(f"{label} ({number})" for number, (label, _, _) in BLOCKS.items())
            raise ValueError(f"A block type is one of {known}; {shown(self.type)} was given.")
        label, weights, size = BLOCKS[self.type]
        shape = tuple(self.shape)
        inside = (*shape[:-1], shape[-1] // weights * size) if shape else ()
        blocks = self.blocks
        if not shape or shape[-1] % weights or blocks.shape != inside:
            raise ValueError(
                f"{label} weights of shape {shape} were given in blocks of shape {blocks.shape}; "
                f"expected {inside} and a multiple of {weights} columns."
            )
        if blocks.dtype is not dtypes.uint8:
            raise TypeError(f"Blocks are uint8; {blocks.dtype.name} was given.")

    def dequantize(self) -> Array:
        """All weights as ``float32``, of the shape (rows, columns)."""
        return apply("dequantize", (self.blocks,), self.shape, dtypes.float32, (self.type,))

    def __repr__(self) -> str:
        return f"QuantizedTensor(type={self.type}, shape={self.shape})"


class HeaderReader:
    """The header of an open file, read in order. Whatever it claims is checked against its size.

    Use it in a ``with`` block. Errors are one sentence that names the file: ``raise
    reader.error("has ...")``.
    """

    def __init__(self, path: str | os.PathLike):
        name = os.path.abspath(os.fspath(path))
        self.path = os.fsdecode(name)
        # A pipe would block here and could not be read twice.
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise self.error("is not a regular file")
            self._file = open(descriptor, "rb", buffering=1 << 18)  # noqa: SIM115 (in __exit__)
        except BaseException:
            os.close(descriptor)
            raise
        self.size = status.st_size
        self.mtime = status.st_mtime_ns
        self.position = 0

    def __enter__(self) -> "HeaderReader":
        return self

    def __exit__(self, *details: object) -> None:
        self._file.close()

    def error(self, sentence: str) -> ValueError:
        """An exception to raise: `sentence` is said of the file."""
        return ValueError(f"The file {self.path!r} {sentence}.")

    def peek(self, count: int) -> bytes:
        """The first bytes of the file, fewer if it has fewer; the position stays."""
        start = self._file.read(count)
        self._file.seek(0)
        return start

    @property
    def left(self) -> int:
        """How many bytes may still follow: of the file, and of a header."""
        return min(self.size, LONGEST_HEADER) - self.position

    def take(self, count: int, what: str) -> bytes:
        """The next `count` bytes; nothing is allocated for bytes that aren't there."""
        if count > self.size - self.position:
            raise self.error(
                f"ends before {what}: {count} bytes were expected at offset {self.position}, the "
                f"file has {self.size}"
            )
        if count > LONGEST_HEADER - self.position:
            raise self.error(
                f"has a header that goes on with {count} bytes for {what} at offset "
                f"{self.position}; expected {LONGEST_HEADER} bytes altogether at the most"
            )
        data = self._file.read(count)
        if len(data) != count:
            raise self.error(f"became shorter than {self.size} bytes while it was read")
        self.position += count
        return data

    def unpack(self, form: str, what: str) -> tuple[Any, ...]:
        """The next bytes as `struct.unpack` reads them."""
        return struct.unpack(form, self.take(struct.calcsize(form), what))

    def array(
        self,
        what: str,
        offset: int,
        shape: tuple[Any, ...],
        dtype: dtypes.dtype,
        *,
        swapped: bool = False,
        bfloat16: bool = False,
    ) -> Array:
        """The array that begins at `offset`, row-major; its data is read when it is evaluated."""
        self.check_shape(what, shape)
        count = itemsize = 2 if bfloat16 else dtype.itemsize
        described = dtype.itemsize
        for size in shape:
            count *= size
            described *= max(size, 1)  # strides of an empty array must fit too
        if described > LARGEST:
            raise self.error(
                f"gives {what} the shape {shown(shape)}; expected less than 2**63 bytes"
            )
        if offset + count > self.size:
            raise self.error(
                f"ends before {what}: its {count} bytes at offset {offset} end at "
                f"{offset + count}, the file has {self.size}"
            )
        if itemsize == 1:
            swapped = False
        ints = (
            offset,
            int(swapped),
            BFLOAT16 if bfloat16 else SAME_DTYPE,
            self.size,
            self.mtime,
        )
        return on_host("read_file", (), shape, dtype, ints, self.path)

    def check_shape(self, what: str, shape: tuple[Any, ...]) -> None:
        """Raise unless `shape` is one that an array can have."""
        if len(shape) > MOST_DIMENSIONS:
            raise self.error(
                f"gives {what} {len(shape)} dimensions; expected {MOST_DIMENSIONS} at the most"
            )
        for size in shape:
            if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= LARGEST:
                raise self.error(
                    f"gives {what} the shape {shown(shape)}; expected integers from 0 to 2**63 - 1"
                )

    def check_extents(
        self, extents: Iterable[tuple[int, int, str]], what: str, *, dense: bool = False
    ) -> int:
        """Raise if two of the (begin, end, name) overlap; the end of the last one.

        With `dense`, also if there is room between them.
        """
        last, owner = 0, ""
        for begin, end, name in sorted(extents):
            if begin < last and begin != end:
                raise self.error(
                    f"lays {what} {shown(name)} at bytes {begin} to {end} of its data, over {what} "
                    f"{shown(owner)}, which ends at {last}"
                )
            if dense and begin > last:
                raise self.error(
                    f"leaves the bytes {last} to {begin} of its data to no {what}; expected "
                    f"{what} {shown(name)} to begin at {last}"
                )
            if end > last:
                last, owner = end, name
        return last
