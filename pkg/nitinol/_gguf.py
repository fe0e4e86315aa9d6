"""The header of GGUF files: metadata and the table of tensors.

The package ``gguf`` gives the format's numbers (types of values and tensors, sizes of blocks). Its
`GGUFReader` maps the file into memory, where a file that is cut short ends the process by a signal,
so the header is read here.
"""

import struct
from typing import Any

import numpy

from nitinol import dtypes
from nitinol._files import BLOCKS, HeaderReader, QuantizedTensor, TensorFile
from nitinol._text import shown

QUANTIZED = tuple(label for label, _, _ in BLOCKS.values())
PLAIN = {
    "F32": dtypes.float32,
    "F16": dtypes.float16,
    "F64": dtypes.float64,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
}
# By the name of a value's type: struct's letter.
NUMBERS = {
    "UINT8": "B",
    "INT8": "b",
    "UINT16": "H",
    "INT16": "h",
    "UINT32": "I",
    "INT32": "i",
    "UINT64": "Q",
    "INT64": "q",
    "FLOAT32": "f",
    "FLOAT64": "d",
    "BOOL": "B",
}
MOST_DIMENSIONS = 4
DEEPEST_ARRAY = 4
DEFAULT_ALIGNMENT = 32


def load_gguf(reader: HeaderReader) -> TensorFile:
    """The metadata and tensors of a GGUF file, the tensors unread.

    Raises
    ------
    ValueError
        If the header contradicts itself or the file's size, or a tensor has an unknown type.
    ImportError
        If the package ``gguf`` isn't installed.
    """
    return _Header(reader).read()


def _constants() -> Any:
    try:
        from gguf import constants
    except ImportError as error:
        raise ImportError(
            "Reading GGUF files takes the package gguf; install it with 'pip install gguf'."
        ) from error
    return constants


class _Header:
    def __init__(self, reader: HeaderReader):
        self.reader = reader
        constants = _constants()
        self.value_types = {int(each): each.name for each in constants.GGUFValueType}
        self.tensor_types = {int(each): each.name for each in constants.GGMLQuantizationType}
        self.order = "<"

    def read(self) -> TensorFile:
        reader = self.reader
        reader.take(4, "the magic")
        (version,) = reader.unpack("<I", "the format version")
        if version & 0xFFFF == 0 and version:  # written on a big-endian machine
            self.order = ">"
            (version,) = struct.unpack(">I", struct.pack("<I", version))
        if version not in (2, 3):
            raise reader.error(f"has the GGUF version {version}; expected 2 or 3")
        tensor_count = self.number("Q", "the number of tensors")
        value_count = self.number("Q", "the number of metadata values")
        # A tensor takes 24 bytes of the header at least, a value 13.
        left = reader.left
        if tensor_count * 24 + value_count * 13 > left:
            raise reader.error(
                f"claims {tensor_count} tensors and {value_count} metadata values; expected no "
                f"more than fit in the {left} bytes that follow"
            )
        metadata = {}
        for _ in range(value_count):
            key = self.string("a metadata key")
            if key in metadata:
                raise reader.error(f"names the metadata key {shown(key)} twice; expected once")
            metadata[key] = self.value(f"the value of {shown(key)}")
        alignment = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
        if type(alignment) is not int or alignment < 1 or alignment & (alignment - 1):
            raise reader.error(f"has general.alignment {shown(alignment)}; expected a power of 2")
        table = [self.tensor_info() for _ in range(tensor_count)]
        start = -(-reader.position // alignment) * alignment
        return TensorFile(self.tensors(table, start, alignment), metadata, reader.path)

    def number(self, letter: str, what: str) -> Any:
        return self.reader.unpack(self.order + letter, what)[0]

    def string(self, what: str) -> str:
        text = self.reader.take(self.number("Q", f"the length of {what}"), what)
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError:
            raise self.reader.error(f"has {what} that is not UTF-8: {text[:40]!r}") from None

    def value(self, what: str) -> Any:
        return self.value_of(self.number("I", f"the type of {what}"), what, 0)

    def value_of(self, number: int, what: str, depth: int) -> Any:
        name = self.value_types.get(number)
        if name == "STRING":
            return self.string(what)
        if name == "ARRAY":
            if depth == DEEPEST_ARRAY:
                raise self.reader.error(
                    f"nests arrays in {what}; expected {DEEPEST_ARRAY} levels at the most"
                )
            return self.values(what, depth + 1)
        if name not in NUMBERS:
            known = ", ".join(f"{each} ({key})" for key, each in self.value_types.items())
            raise self.reader.error(f"gives {what} the type {number}; expected one of {known}")
        found = self.number(NUMBERS[name], what)
        return bool(found) if name == "BOOL" else found

    def values(self, what: str, depth: int) -> Any:
        number = self.number("I", f"the type in {what}")
        count = self.number("Q", f"the length of {what}")
        name = self.value_types.get(number)
        if name in NUMBERS:
            kind = numpy.dtype(self.order + NUMBERS[name])
            data = self.reader.take(count * kind.itemsize, what)
            found = numpy.frombuffer(data, kind).astype(kind.newbyteorder("="), copy=False)
            return found != 0 if name == "BOOL" else found
        if name is None:
            raise self.reader.error(f"gives the elements of {what} the unknown type {number}")
        left = self.reader.left
        if count * 8 > left:  # the least a string takes; a nested array takes more
            raise self.reader.error(
                f"gives {what} {count} elements; expected no more than fit in {left} bytes"
            )
        return [self.value_of(number, what, depth) for _ in range(count)]

    def tensor_info(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string("the name of a tensor")
        dimensions = self.number("I", f"the number of dimensions of tensor {shown(name)}")
        if dimensions > MOST_DIMENSIONS:
            raise self.reader.error(
                f"gives tensor {shown(name)} {dimensions} dimensions; expected "
                f"{MOST_DIMENSIONS} at the most"
            )
        form = f"{self.order}{dimensions}QIQ"
        *sizes, kind, offset = self.reader.unpack(form, f"the entry of tensor {shown(name)}")
        return name, tuple(reversed(sizes)), kind, offset

    def tensors(
        self, table: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int
    ) -> dict[str, Any]:
        reader = self.reader
        tensors: dict[str, Any] = {}
        extents = []
        for name, shape, kind, offset in table:
            if name in tensors:
                raise reader.error(f"names the tensor {shown(name)} twice; expected once")
            if offset % alignment:
                raise reader.error(
                    f"lays tensor {shown(name)} at byte {offset} of its data; expected a "
                    f"multiple of {alignment}"
                )
            tensors[name], size = self.tensor(name, shape, kind, start + offset)
            extents.append((offset, offset + size, name))
        reader.check_extents(extents, "tensor")
        return tensors

    def tensor(self, name: str, shape: tuple[int, ...], kind: int, offset: int) -> tuple[Any, int]:
        """One tensor and how many bytes it has in the file."""
        reader, what = self.reader, f"tensor {shown(name)}"
        label = self.tensor_types.get(kind, "")
        swapped = self.order == ">"
        if label in PLAIN:
            array = reader.array(what, offset, shape, PLAIN[label], swapped=swapped)
            return array, array.size * array.dtype.itemsize
        if label == "BF16":
            array = reader.array(
                what, offset, shape, dtypes.float32, swapped=swapped, bfloat16=True
            )
            return array, array.size * 2
        if label not in QUANTIZED:
            found = f"{label} ({kind})" if label else str(kind)
            raise reader.error(
                f"gives {what} the type {found}; expected one of "
                f"{', '.join([*PLAIN, 'BF16', *QUANTIZED])}"
            )
        if swapped:
            raise reader.error(f"has {what} in big-endian {label} blocks; expected little-endian")
        _, weights, size = BLOCKS[kind]
        reader.check_shape(what, shape)
        if not shape or shape[-1] % weights:
            raise reader.error(
                f"gives {what} of type {label} the shape {shown(shape)}; expected a multiple "
                f"of {weights} columns"
            )
        inside = (*shape[:-1], shape[-1] // weights * size)
        blocks = reader.array(what, offset, inside, dtypes.uint8)
        return QuantizedTensor(blocks, kind, shape), blocks.size
