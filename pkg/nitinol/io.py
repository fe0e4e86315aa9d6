"""Reads and writes npy, safetensors and GGUF files.

Loading reads and checks the header alone; the data of an array is read when the array is
evaluated. A file that became shorter, was written again or vanished meanwhile spoils exactly the
arrays that were still to be read, each with a `DeviceIOError`. Files are never memory-mapped.
"""

import ast
import contextlib
import json
import os
import re
import secrets
import struct
from collections.abc import Iterator, Mapping
from typing import Any

import numpy

from nitinol import dtypes
from nitinol._arguments import array_of, permuted
from nitinol._array import Array
from nitinol._files import LONGEST_HEADER, HeaderReader, QuantizedTensor, TensorFile
from nitinol._text import shown

__all__ = ["QuantizedTensor", "TensorFile", "load", "save"]

NPY_MAGIC = b"\x93NUMPY"
GGUF_MAGIC = b"GGUF"

# NumPy's own bound: literal_eval of a longer text is slow or worse.
NPY_LONGEST_HEADER = 10_000

# Name in a safetensors file: the dtype, and the number of the file's dtype for read_file.
SAFETENSORS_DTYPES = {
    "BOOL": dtypes.bool,
    "I8": dtypes.int8,
    "I16": dtypes.int16,
    "I32": dtypes.int32,
    "I64": dtypes.int64,
    "U8": dtypes.uint8,
    "U16": dtypes.uint16,
    "U32": dtypes.uint32,
    "U64": dtypes.uint64,
    "F16": dtypes.float16,
    "F32": dtypes.float32,
    "F64": dtypes.float64,
    "C64": dtypes.complex64,
}
SAFETENSORS_NAMES = {dtype: name for name, dtype in SAFETENSORS_DTYPES.items()}


def load(path: str | os.PathLike) -> Array | TensorFile:
    """Open a file of arrays; their data is read when they are evaluated.

    Parameters
    ----------
    path : str or path-like
        A ``.npy``, ``.safetensors`` or GGUF file, told apart by what it holds.

    Returns
    -------
    Array or TensorFile
        The array of a ``.npy`` file; for the others a dict of arrays by name, with the file's
        ``metadata``. Tensors of bfloat16 come as ``float32``, blocks of Q4_0, Q4_1 and Q8_0 as
        `QuantizedTensor`, for `nitinol.fast.quantized_matmul`.

    Raises
    ------
    OSError
        If the file can't be opened.
    ValueError
        If it is no such file, or its header contradicts itself or the size of the file.
    ImportError
        If it is a GGUF file and the package ``gguf`` isn't installed.
    """
    with HeaderReader(path) as reader:
        start = reader.peek(9)
        if start.startswith(NPY_MAGIC):
            return _load_npy(reader)
        if start.startswith(GGUF_MAGIC):
            from nitinol._gguf import load_gguf

            return load_gguf(reader)
        if reader.path.endswith(".safetensors") or start[8:] == b"{":
            return _load_safetensors(reader)
        raise reader.error(
            f"begins with the bytes {start!r}; expected a npy, safetensors or GGUF file"
        )


def save(
    path: str | os.PathLike,
    arrays: Any,
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Evaluate arrays and write them to a file, which appears whole or not at all.

    Parameters
    ----------
    path : str or path-like
        Ends in ``.npy`` or ``.safetensors``. A file that is there is replaced once the new one is
        complete and on the disk.
    arrays : Array or mapping of str to Array
        One array for ``.npy``, arrays by name for ``.safetensors``.
    metadata : mapping of str to str, optional
        Kept in a ``.safetensors`` file.

    Raises
    ------
    ValueError
        If the name has another ending, or the format can't hold the arrays.
    TypeError
        If `arrays` or `metadata` is not what the format takes.
    DeviceError
        If an array failed; no file is written then.
    """
    name = os.fspath(path)
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    if name.endswith(".npy"):
        if metadata is not None:
            raise ValueError("A npy file holds no metadata; expected metadata=None.")
        if isinstance(arrays, Mapping):
            raise TypeError("A npy file holds one array; a mapping was given.")
        host = numpy.asarray(array_of(arrays), order="C")
        _replace(name, lambda file: numpy.lib.format.write_array(file, host, allow_pickle=False))
    elif name.endswith(".safetensors"):
        _replace(name, _safetensors_writer(arrays, metadata))
    else:
        raise ValueError(
            f"{name!r} can't be saved: expected a name that ends in .npy or .safetensors."
        )


# npy


def _load_npy(reader: HeaderReader) -> Array:
    reader.take(len(NPY_MAGIC), "the magic")
    major, minor = reader.take(2, "the format version")
    if major not in (1, 2, 3) or minor != 0:
        raise reader.error(f"has the npy format version {major}.{minor}; expected 1.0, 2.0 or 3.0")
    (length,) = reader.unpack("<H" if major == 1 else "<I", "the length of the header")
    if length > NPY_LONGEST_HEADER:
        raise reader.error(
            f"has a header of {length} bytes; expected {NPY_LONGEST_HEADER} at the most"
        )
    text = reader.take(length, "the header")
    try:
        header = ast.literal_eval(text.decode("utf-8" if major == 3 else "latin1").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise reader.error("has a header that is no Python literal; expected a dict") from None
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise reader.error(
            "has a header without exactly the keys 'descr', 'fortran_order' and 'shape'"
        )
    dtype, swapped = _npy_dtype(reader, header["descr"])
    fortran_order, shape = header["fortran_order"], header["shape"]
    if not isinstance(fortran_order, bool):
        raise reader.error(f"has fortran_order {shown(fortran_order)}; expected True or False")
    if not isinstance(shape, tuple):
        raise reader.error(f"has the shape {shown(shape)}; expected a tuple of integers")
    in_memory = shape[::-1] if fortran_order else shape
    array = reader.array("the array", reader.position, in_memory, dtype, swapped=swapped)
    return permuted(array, range(len(shape) - 1, -1, -1)) if fortran_order else array


def _npy_dtype(reader: HeaderReader, descr: Any) -> tuple[dtypes.dtype, bool]:
    """The dtype and whether its bytes are the other way round. Nothing is ever unpickled."""
    if isinstance(descr, str) and re.fullmatch(r"[<>|=]?O8?", descr):
        raise reader.error("holds Python objects (dtype 'O'); they are pickled, expected numbers")
    if isinstance(descr, str) and re.fullmatch(r"[<>|=]?[biufc]\d{1,2}", descr):
        found = numpy.dtype(descr) if _known_to_numpy(descr) else None
        for each in dtypes.ALL:
            if found is not None and each.numpy == found.newbyteorder("="):
                return each, not found.isnative
    raise reader.error(
        f"has the dtype {shown(descr)}; expected a number type of at most 16 bytes, such as '<f4'"
    )


def _known_to_numpy(descr: str) -> bool:
    try:
        numpy.dtype(descr)
    except TypeError:
        return False
    return True


# safetensors


def _load_safetensors(reader: HeaderReader) -> TensorFile:
    (length,) = reader.unpack("<Q", "the length of the header")
    longest = min(LONGEST_HEADER - 8, reader.size - 8)
    if length > longest:
        raise reader.error(
            f"gives its header {length} bytes; expected {longest} at the most in a file of "
            f"{reader.size} bytes"
        )
    header = _parse_json(reader, reader.take(length, "the header"))
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise reader.error("has __metadata__ that is not a JSON object of strings")
    start = reader.position
    tensors: dict[str, Any] = {}
    extents = []
    for name, entry in header.items():
        begin, end, array = _safetensors_tensor(reader, name, entry, start)
        tensors[name] = array
        extents.append((begin, end, name))
    end = reader.check_extents(extents, "tensor", dense=True)
    if end != reader.size - start:
        raise reader.error(
            f"has {reader.size - start} bytes of data; expected the {end} bytes that its header "
            f"describes"
        )
    return TensorFile(tensors, metadata, reader.path)


def _parse_json(reader: HeaderReader, text: bytes) -> dict[str, Any]:
    twice: list[str] = []

    def note_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                twice.append(key)
            result[key] = value
        return result

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=note_duplicates)
    except (ValueError, RecursionError):
        raise reader.error("has a header that is not JSON; expected a JSON object") from None
    if twice:
        raise reader.error(f"names {shown(twice[0])} twice in its header; expected once")
    if not isinstance(header, dict):
        raise reader.error("has a header that is not a JSON object")
    return header


def _safetensors_tensor(
    reader: HeaderReader, name: str, entry: Any, start: int
) -> tuple[int, int, Array]:
    what = f"tensor {shown(name)}"
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise reader.error(
            f"describes {what} without exactly the keys 'dtype', 'shape' and 'data_offsets'"
        )
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in {*SAFETENSORS_DTYPES, "BF16"}:
        raise reader.error(
            f"gives {what} the dtype {shown(kind)}; expected one of "
            f"{', '.join([*SAFETENSORS_DTYPES, 'BF16'])}"
        )
    if not isinstance(shape, list):
        raise reader.error(f"gives {what} the shape {shown(shape)}; expected a list of integers")
    if (
        not isinstance(offsets, list)
        or len(offsets) != 2
        or not all(isinstance(o, int) and not isinstance(o, bool) and o >= 0 for o in offsets)
    ):
        raise reader.error(
            f"gives {what} the data_offsets {shown(offsets)}; expected two integers of 0 or more"
        )
    begin, end = offsets
    if begin > reader.size - start:
        raise reader.error(
            f"ends before {what}: it gives it the data_offsets {shown(offsets)}, the file has "
            f"{reader.size - start} bytes of data"
        )
    bfloat16 = kind == "BF16"
    dtype = dtypes.float32 if bfloat16 else SAFETENSORS_DTYPES[kind]
    array = reader.array(what, start + begin, tuple(shape), dtype, bfloat16=bfloat16)
    expected = array.size * (2 if bfloat16 else dtype.itemsize)
    if end - begin != expected:
        raise reader.error(
            f"gives {what} the data_offsets {shown(offsets)}, {shown(end - begin)} bytes; "
            f"expected {expected} for {kind} of shape {shown(tuple(shape))}"
        )
    return begin, end, array


def _safetensors_writer(arrays: Any, metadata: Mapping[str, str] | None):
    if not isinstance(arrays, Mapping):
        raise TypeError(
            f"A safetensors file takes a mapping of names to arrays; {type(arrays).__name__} was "
            f"given."
        )
    header: dict[str, Any] = {}
    if metadata is not None:
        if not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
            raise TypeError("The metadata of a safetensors file are strings by string.")
        header["__metadata__"] = dict(metadata)
    hosts = {}
    for name, array in arrays.items():
        if not isinstance(name, str) or name == "__metadata__":
            raise ValueError(
                f"{name!r} can't name a tensor: expected a string other than '__metadata__'."
            )
        if isinstance(array, QuantizedTensor):
            raise TypeError(f"{name!r} is quantised; expected arrays, such as its blocks.")
        made = array_of(array)
        if made.dtype not in SAFETENSORS_NAMES:
            raise ValueError(
                f"{name!r} is {made.dtype.name}, which the safetensors format doesn't have."
            )
        hosts[name] = numpy.asarray(made, order="C")
    # Wide elements first keeps every tensor aligned to its own elements.
    order = sorted(hosts, key=lambda name: (-hosts[name].dtype.itemsize, name))
    offset = 0
    for name in order:
        host = hosts[name]
        header[name] = {
            "dtype": SAFETENSORS_NAMES[dtypes.as_dtype(host.dtype)],
            "shape": list(host.shape),
            "data_offsets": [offset, offset + host.nbytes],
        }
        offset += host.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)

    def write(file: Any) -> None:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            file.write(hosts[name].reshape(-1).view(numpy.uint8).data)

    return write


# Writing


@contextlib.contextmanager
def _temporary(target: str) -> Iterator[tuple[Any, str]]:
    """A new file beside `target`, removed on an error. Its mode is the process's usual one."""
    path = os.path.join(os.path.dirname(target), f".nitinol-{secrets.token_hex(8)}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o666)
    except OSError as error:
        # The user knows the name that was asked for, not ours.
        raise OSError(error.errno, error.strerror, target) from None
    try:
        with open(descriptor, "wb") as file:
            yield file, path
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        raise


def _replace(name: str, write: Any) -> None:
    """Write a file beside `name` and move it there when it is on the disk."""
    target = os.path.realpath(name)  # a link stays a link
    folder = os.path.dirname(target)
    with _temporary(target) as (file, path):
        write(file)
        file.flush()
        with contextlib.suppress(FileNotFoundError):
            os.fchmod(file.fileno(), os.stat(target).st_mode & 0o7777)
        os.fsync(file.fileno())
        os.replace(path, target)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # Some file systems can't sync a folder; the file is complete either way.
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
