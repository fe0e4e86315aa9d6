"""Files come back as they were saved, read late and whole; broken ones are told apart at once."""

import errno
import gc
import json
import os
import pickle
import struct

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from strategies import COMPLEXES, EVERY, arrays, widest_float

pytestmark = pytest.mark.usefixtures("device")


def npy_bytes(values, version=None, **header):
    """A npy file as NumPy writes it, or with other header entries."""
    if version is None and not header:
        from io import BytesIO

        file = BytesIO()
        np.save(file, values)
        return file.getvalue()
    entries = {
        "descr": np.lib.format.dtype_to_descr(values.dtype),
        "fortran_order": False,
        "shape": values.shape,
    } | header
    text = (repr(entries) + "\n").encode()
    major = (version or (1, 0))[0]
    length = struct.pack("<H" if major == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes(version or (1, 0)) + length + text + values.tobytes()


def safetensors_bytes(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def gguf_bytes(tmp_path, build):
    """The file that the format's own package writes."""
    path = tmp_path / "written.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    build(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


def written(tmp_path, data, name="file"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def assert_equal(array, values):
    assert array.shape == values.shape
    assert str(array.dtype) == str(values.dtype)
    found = np.asarray(array)
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


# npy


@given(arrays(EVERY), st.sampled_from(["C", "F"]), st.booleans(), st.sampled_from([1, 2, 3]))
def test_npy_from_numpy(tmp_path, values, order, swapped, major):
    stored = np.asarray(values, order=order)
    if swapped:
        stored = stored.astype(stored.dtype.newbyteorder())
    with open(tmp_path / "x.npy", "wb") as file:
        if major == 1:
            np.save(file, stored)
        else:
            np.lib.format.write_array(file, stored, version=(major, 0))
    assert_equal(nt.load(tmp_path / "x.npy"), values)


@given(arrays(EVERY))
def test_npy_round_trip(tmp_path, values):
    path = tmp_path / "x.npy"
    nt.save(path, nt.asarray(values))
    assert_equal(nt.load(path), values)
    np.testing.assert_array_equal(np.load(path), values)


def test_npy_of_many_chunks(tmp_path):
    values = np.random.default_rng(1).normal(size=(3000, 1001)).astype(widest_float())
    path = written(tmp_path, npy_bytes(np.asfortranarray(values)))
    assert_equal(nt.load(str(path)), values)
    assert_equal(nt.load(os.fsencode(path))[7:2000:3, ::-1], values[7:2000:3, ::-1])


class Boom:
    def __reduce__(self):
        return os.system, ("echo unpickled",)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "begins with the bytes b''"),
        (b"PK\x03\x04 a zip file", "expected a npy, safetensors or GGUF file"),
        (b"\x93NUMPY", "ends before the format version"),
        (b"\x93NUMPY\x09\x00", "version 9.0; expected 1.0, 2.0 or 3.0"),
        (b"\x93NUMPY\x01\x00\xff\xff{", "header of 65535 bytes; expected 10000"),
        (b"\x93NUMPY\x01\x00\xff\x00{", "ends before the header: 255 bytes"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff{", "header of 4294967295 bytes"),
        (b"\x93NUMPY\x01\x00\x03\x00{{}", "no Python literal"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"(" * 9000, "no Python literal"),
        (b"\x93NUMPY\x01\x00" + struct.pack("<H", 9000) + b"-" * 8999 + b"1", "no Python literal"),
        (b"\x93NUMPY\x01\x00\x02\x00[]", "exactly the keys"),
        (npy_bytes(np.ones(3), descr="<f3"), "dtype '<f3'"),
        (npy_bytes(np.ones(3), descr="<c32"), "dtype '<c32'"),
        (npy_bytes(np.ones(3), descr="<U4"), "dtype '<U4'"),
        (npy_bytes(np.ones(3), descr=[("a", "<f8")]), "dtype [('a', '<f8')]"),
        (npy_bytes(np.ones(3), descr="|O"), "holds Python objects"),
        (npy_bytes(np.ones(3), fortran_order=1), "fortran_order 1"),
        (npy_bytes(np.ones(3), shape=3), "shape 3"),
        (npy_bytes(np.ones(3), shape=(-3,)), "shape (-3,)"),
        (npy_bytes(np.ones(3), shape=(True, 3)), "shape (True, 3)"),
        (npy_bytes(np.ones(3), shape=(1.5,)), "shape (1.5,)"),
        (npy_bytes(np.ones(3), shape=(4,)), "32 bytes at offset"),
        (npy_bytes(np.ones(3), shape=(2**62, 2**62)), "less than 2**63 bytes"),
        (npy_bytes(np.ones(3), shape=(0, 2**62, 2**62)), "less than 2**63 bytes"),
        (npy_bytes(np.ones(3), shape=(2**64, 0)), "integers from 0 to 2**63 - 1"),
        (npy_bytes(np.ones(3), shape=(2**45,)), "the file has"),
        (npy_bytes(np.ones(3), shape=(1,) * 65), "65 dimensions; expected 64"),
    ],
)
def test_broken_npy(tmp_path, data, sentence):
    check_broken(written(tmp_path, data), sentence)


def check_broken(path, sentence):
    with pytest.raises(ValueError) as info:  # noqa: PT011 (the sentence is compared below)
        nt.load(path)
    text = str(info.value)
    assert text.startswith(f"The file {str(path)!r} ")
    assert text.endswith(".")
    assert sentence in text


def test_pickled_objects_are_never_loaded(tmp_path, capfd):
    values = np.array([Boom()], dtype=object)
    np.save(tmp_path / "x.npy", values, allow_pickle=True)
    check_broken(tmp_path / "x.npy", "holds Python objects")
    path = written(tmp_path, pickle.dumps(Boom()), "x.pickle")
    check_broken(path, "expected a npy, safetensors or GGUF file")
    assert "unpickled" not in capfd.readouterr().out


# safetensors


@given(st.dictionaries(st.text(max_size=8).filter("__metadata__".__ne__), arrays(EVERY[:-1])))
def test_safetensors_round_trip(tmp_path, tensors):
    path = tmp_path / "x.safetensors"
    nt.save(
        path, {name: nt.asarray(values) for name, values in tensors.items()}, metadata={"a": "é"}
    )
    found = nt.load(path)
    assert found.keys() == tensors.keys()
    assert found.metadata == {"a": "é"}
    for name, values in tensors.items():
        assert_equal(found[name], values)


def test_safetensors_layout_is_the_format_s(tmp_path):
    path = tmp_path / "x.safetensors"
    nt.save(path, {"b": nt.ones(3, dtype="int8"), "a": nt.ones((2, 2), dtype="int64")})
    data = path.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    assert length % 8 == 0
    header = json.loads(data[8 : 8 + length])
    assert header == {"a": entry("I64", [2, 2], 0, 32), "b": entry("I8", [3], 32, 35)}
    assert len(data) == 8 + length + 35


def test_safetensors_bfloat16(tmp_path):
    wide = np.array([1.0, -2.5, np.inf, 1e-40, 0.0], dtype="float32")
    narrow = (wide.view("uint32") >> 16).astype("uint16")
    data = safetensors_bytes({"x": entry("BF16", [5], 0, 10)}, narrow.tobytes())
    found = nt.load(written(tmp_path, data))["x"]
    assert_equal(found, (narrow.astype("uint32") << 16).view("float32"))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (
            struct.pack("<Q", 2**63) + b"{}",
            "gives its header 9223372036854775808 bytes; expected 2",
        ),
        (struct.pack("<Q", 100) + b"{}", "gives its header 100 bytes"),
        (safetensors_bytes(b"{]"), "not JSON"),
        (safetensors_bytes(b"{\xff}"), "not JSON"),
        (safetensors_bytes(b'{"a":' + b"[" * 100_000), "not JSON"),
        (safetensors_bytes(b'{"a":' + b"1" * 5000 + b"}"), "not JSON"),
        (safetensors_bytes(b'{"a":{},"a":{}}'), "names 'a' twice"),
        (safetensors_bytes({"__metadata__": {"a": 1}}), "not a JSON object of strings"),
        (safetensors_bytes({"a": 1}), "exactly the keys"),
        (
            safetensors_bytes({"a": entry("F8_E4M3", [1], 0, 1)}, b"x"),
            "dtype 'F8_E4M3'; expected one",
        ),
        (safetensors_bytes({"a": entry([], [1], 0, 1)}, b"x"), "dtype []"),
        (safetensors_bytes({"a": entry("I8", 1, 0, 1)}, b"x"), "shape 1"),
        (safetensors_bytes({"a": entry("I8", [-1], 0, 1)}, b"x"), "shape (-1,)"),
        (safetensors_bytes({"a": entry("I8", [1.0], 0, 1)}, b"x"), "shape (1.0,)"),
        (safetensors_bytes({"a": entry("I8", [1], -1, 0)}, b"x"), "data_offsets [-1, 0]"),
        (safetensors_bytes({"a": entry("I8", [1], True, 2)}, b"xx"), "data_offsets [True, 2]"),
        (safetensors_bytes({"a": entry("I8", [2], 0, 1)}, b"xx"), "1 bytes; expected 2"),
        (safetensors_bytes({"a": entry("F32", [2], 0, 8)}, b"xx"), "ends before tensor 'a'"),
        (safetensors_bytes({"a": entry("F32", [2**62], 0, 8)}), "less than 2**63 bytes"),
        (safetensors_bytes({"a": entry("F32", [2**40], 0, 2**42)}), "ends before tensor 'a'"),
        (
            safetensors_bytes({"a": entry("I8", [2], 0, 2), "b": entry("I8", [2], 1, 3)}, b"xxx"),
            "over tensor 'a', which ends at 2",
        ),
        (
            safetensors_bytes({"a": entry("I8", [1], 0, 1)}, b"xyz"),
            "3 bytes of data; expected the 1",
        ),
    ],
)
def test_broken_safetensors(tmp_path, data, sentence):
    check_broken(written(tmp_path, data, "x.safetensors"), sentence)


# GGUF


def test_gguf(tmp_path):
    rng = np.random.default_rng(2)
    plain = {
        "f32": rng.normal(size=(2, 3)).astype("float32"),
        "f16": rng.normal(size=(4, 1, 3)).astype("float16"),
        "wide": rng.normal(size=5).astype(widest_float()),
        "i8": rng.integers(-9, 9, 7).astype("int8"),
        "i32": rng.integers(-9, 9, (1, 2)).astype("int32"),
    }
    weights = rng.normal(size=(6, 64)).astype("float32")
    types = {name: gguf.GGMLQuantizationType[name] for name in ("Q4_0", "Q4_1", "Q8_0", "BF16")}
    blocks = {name: gguf.quants.quantize(weights, kind) for name, kind in types.items()}

    def build(writer):
        writer.add_string("a.string", "é")
        writer.add_uint64("a.number", 2**63)
        writer.add_int8("a.small", -3)
        writer.add_float64("a.float", 0.1)
        writer.add_bool("a.bool", True)
        writer.add_array("a.strings", ["x", "", "yz"])
        writer.add_array("a.floats", [1.5, 2.5])
        writer.add_array("a.nested", [[1, 2], [3, 4]])
        for name, values in plain.items():
            writer.add_tensor(name, values)
        for name, values in blocks.items():
            writer.add_tensor(name, values, raw_dtype=types[name])

    path = written(tmp_path, gguf_bytes(tmp_path, build), "x.gguf")
    found = nt.load(path)
    metadata = found.metadata
    assert metadata["general.architecture"] == "llama"
    assert metadata["a.string"] == "é"
    assert metadata["a.number"] == 2**63
    assert metadata["a.small"] == -3
    assert metadata["a.float"] == 0.1
    assert metadata["a.bool"] is True
    assert metadata["a.strings"] == ["x", "", "yz"]
    assert list(metadata["a.floats"]) == [1.5, 2.5]
    assert [list(row) for row in metadata["a.nested"]] == [[1, 2], [3, 4]]
    assert found.keys() == plain.keys() | blocks.keys()
    for name, values in plain.items():
        assert_equal(found[name], values)
    assert_equal(found["BF16"], gguf.quants.dequantize(blocks["BF16"], types["BF16"]))
    for name in ("Q4_0", "Q4_1", "Q8_0"):
        tensor = found[name]
        assert isinstance(tensor, nt.io.QuantizedTensor)
        assert tensor.type == types[name]
        assert tensor.shape == (6, 64)
        assert_equal(tensor.blocks, blocks[name])
        expected = gguf.quants.dequantize(blocks[name], types[name])
        np.testing.assert_allclose(np.asarray(tensor.dequantize()), expected, rtol=1e-6)
        x = nt.ones((2, 64))
        np.testing.assert_allclose(
            np.asarray(nt.fast.quantized_matmul(x, tensor)),
            np.ones((2, 64), "float32") @ expected.T,
            rtol=1e-4,
            atol=1e-4,
        )


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def gguf_header(values=(), tensors=(), version=3, counts=None):
    """A GGUF header of raw entries, padded to where the data begins."""
    counted = counts or (len(tensors), len(values))
    head = b"GGUF" + struct.pack("<IQQ", version, *counted) + b"".join(values) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32)


def info(name, shape, kind, offset):
    dims = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dims + struct.pack("<IQ", kind, offset)


DEEP = text("k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 60


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"GGUF", "ends before the format version"),
        (gguf_header(version=1), "GGUF version 1; expected 2 or 3"),
        (gguf_header(counts=(2**60, 0)), "claims 1152921504606846976 tensors"),
        (gguf_header(counts=(0, 2**60)), "1152921504606846976 metadata values"),
        (gguf_header([struct.pack("<Q", 2**60) + b"x" * 20]), "ends before a metadata key"),
        (gguf_header([text(b"\xff") + struct.pack("<IB", 0, 1)]), "not UTF-8"),
        (gguf_header([text("k") + struct.pack("<IB", 99, 1)]), "the type 99; expected one of"),
        (gguf_header([text("k") + struct.pack("<IB", 0, 1)] * 2), "metadata key 'k' twice"),
        (
            gguf_header([text("k") + struct.pack("<IIQ", 9, 4, 2**61)]),
            "ends before the value of 'k'",
        ),
        (
            gguf_header([text("k") + struct.pack("<IIQ", 9, 8, 2**61)]),
            "2305843009213693952 elements",
        ),
        (gguf_header([text("k") + struct.pack("<IIQ", 9, 77, 1)]), "unknown type 77"),
        (gguf_header([DEEP]), "nests arrays"),
        (
            gguf_header([text("general.alignment") + struct.pack("<II", 4, 48)]),
            "general.alignment 48; expected a power of 2",
        ),
        (gguf_header(tensors=[info("t", (1,) * 5, 0, 0)]), "5 dimensions; expected 4"),
        (
            gguf_header(tensors=[info("t", (1,), 12, 0)]) + b"x" * 99,
            "the type Q4_K (12); expected one",
        ),
        (gguf_header(tensors=[info("t", (1,), 255, 0)]) + b"x" * 99, "the type 255"),
        (gguf_header(tensors=[info("t", (8,), 0, 0)]), "ends before tensor 't'"),
        (gguf_header(tensors=[info("t", (8,), 0, 2**63)]), "ends before tensor 't'"),
        (gguf_header(tensors=[info("t", (2**63,), 0, 0)]), "integers from 0 to 2**63 - 1"),
        (gguf_header(tensors=[info("t", (2**40, 2**40), 0, 0)]), "less than 2**63 bytes"),
        (gguf_header(tensors=[info("t", (2,), 0, 8)]) + b"x" * 99, "a multiple of 32"),
        (gguf_header(tensors=[info("t", (33,), 2, 0)]) + b"x" * 99, "a multiple of 32 columns"),
        (
            gguf_header(tensors=[info("t", (2,), 0, 0)] * 2) + b"x" * 99,
            "names the tensor 't' twice",
        ),
        (
            gguf_header(tensors=[info("t", (20,), 0, 0), info("u", (2,), 0, 64)]) + b"x" * 99,
            "over tensor 't', which ends at 80",
        ),
    ],
)
def test_broken_gguf(tmp_path, data, sentence):
    check_broken(written(tmp_path, data, "x.gguf"), sentence)


def good_files(tmp_path):
    values = np.arange(60, dtype="float32").reshape(6, 10)

    def build(writer):
        writer.add_array("tokens", ["a", "b"])
        writer.add_tensor("x", values)
        blocks = gguf.quants.quantize(np.ones((2, 32), "float32"), gguf.GGMLQuantizationType.Q8_0)
        writer.add_tensor("q", blocks, raw_dtype=gguf.GGMLQuantizationType.Q8_0)

    header = {"x": entry("F32", [6, 10], 0, 240), "y": entry("BF16", [3], 240, 246)}
    return [
        npy_bytes(values),
        npy_bytes(np.asfortranarray(values).astype(">f8")),
        safetensors_bytes(header, values.tobytes() + b"123456"),
        gguf_bytes(tmp_path, build),
    ]


@given(st.integers(0, 3), st.data())
def test_a_spoilt_file_is_one_clear_error(tmp_path, which, data):
    """Whatever bytes change or are lost: it can be read, or a ValueError says why not."""
    whole = bytearray(good_files(tmp_path)[which])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.sampled_from([0, 1, 255, 0x7F, 0x80, 0x28]) | st.integers(0, 255))
    if data.draw(st.booleans()):
        del whole[data.draw(st.integers(0, len(whole))) :]
    path = written(tmp_path, bytes(whole), data.draw(st.sampled_from(["x", "x.safetensors"])))
    device = nt.default_device()
    try:
        found = nt.load(path)
    except ValueError as error:
        assert str(error).startswith(f"The file {str(path)!r} ")  # noqa: PT017 (raising is optional)
        return
    except TypeError as error:  # the bytes say float64, which is no lie
        assert str(error).startswith(f"{device.name} has no ")  # noqa: PT017 (raising is optional)
        assert not (device.supports(nt.float64) and device.supports(nt.complex128))
        return
    for each in found.values() if isinstance(found, dict) else [found]:
        np.asarray(each.blocks if isinstance(each, nt.io.QuantizedTensor) else each)


# What becomes of a file behind a lazy array.


def reading(tmp_path, count=1000):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(count, dtype="int64"))
    return path, nt.load(path)


def assert_unreadable(array, number, code="io"):
    for read in (np.asarray, nt.eval, lambda x: x.tolist()):
        with pytest.raises(nt.DeviceIOError) as info:
            read(array)
        assert info.value.report.code == code
        assert info.value.report.native_code == number
        assert isinstance(info.value, OSError)
    return info.value


def test_a_short_file(tmp_path):
    path, array = reading(tmp_path)
    innocent = nt.ones(3) + 1
    doubled = array * 2
    os.truncate(path, 1128)
    error = assert_unreadable(doubled, 0)
    assert error.report.args[:3] == (128, 8000, 1000)
    assert "x.npy" in str(error)
    assert_unreadable(array, 0)
    assert innocent.tolist() == [2, 2, 2]


def test_a_vanished_file(tmp_path):
    path, array = reading(tmp_path)
    path.unlink()
    error = assert_unreadable(array, errno.ENOENT)
    assert "No such file" in str(error)


def test_a_file_written_again(tmp_path):
    path, array = reading(tmp_path)
    os.utime(path, ns=(1, 1))
    assert "was written again" in str(assert_unreadable(array, errno.ESTALE))


def test_a_file_that_became_a_pipe_does_not_block(tmp_path):
    path, array = reading(tmp_path)
    path.unlink()
    os.mkfifo(path)
    assert_unreadable(array, errno.ESTALE)
    with pytest.raises(ValueError, match="not a regular file"):
        nt.load(path)


def test_what_was_read_stays(tmp_path):
    path, array = reading(tmp_path)
    nt.eval(array)
    path.unlink()
    assert array[999] == 999


def test_the_read_is_late_and_frees_its_file(tmp_path):
    descriptors = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else None
    for i in range(50):
        np.save(tmp_path / f"{i}.npy", np.full(10, i))
    loaded = [nt.load(tmp_path / f"{i}.npy") for i in range(50)]
    total = sum(loaded[1:], loaded[0])
    assert total.tolist() == [1225] * 10
    gc.collect()
    if descriptors is not None:
        assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_relative_paths_outlive_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.arange(3))
    array = nt.load("x.npy")
    monkeypatch.chdir("/")
    assert array.tolist() == [0, 1, 2]


def test_strange_names(tmp_path):
    for name in ("é ü.npy", os.fsdecode(b"\xff\xfe.npy")):
        path = os.path.join(tmp_path, name)
        nt.save(path, nt.ones(2))
        assert nt.load(path).tolist() == [1, 1]
    with pytest.raises(ValueError, match="null"):
        nt.load("a\0b")


def test_missing_files():
    with pytest.raises(FileNotFoundError):
        nt.load("/nonexistent/x.npy")
    with pytest.raises(FileNotFoundError):
        nt.save("/nonexistent/x.npy", nt.ones(2))


# Saving


def test_a_failed_array_leaves_the_file_alone(tmp_path):
    path = tmp_path / "x.safetensors"
    nt.save(path, {"x": nt.ones(3)})
    before = path.read_bytes()
    bad = nt.linalg.inv(nt.zeros((2, 2)))
    with pytest.raises(nt.LinAlgError):
        nt.save(path, {"x": nt.ones(3), "y": bad})
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["x.safetensors"]


def test_an_interrupted_save_leaves_the_file_alone(tmp_path, monkeypatch):
    path = tmp_path / "x.npy"
    nt.save(path, nt.ones(3))

    def fail(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(KeyboardInterrupt):
        nt.save(path, nt.zeros(3))
    monkeypatch.undo()
    assert nt.load(path).tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["x.npy"]


def test_a_file_can_be_replaced_by_what_was_loaded_from_it(tmp_path):
    path, array = reading(tmp_path, 3)
    nt.save(path, array + 1)
    assert nt.load(path).tolist() == [1, 2, 3]


def test_modes_and_links(tmp_path):
    path = tmp_path / "x.npy"
    nt.save(path, nt.ones(1))
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
    path.chmod(0o640)
    link = tmp_path / "link.npy"
    link.symlink_to(path)
    nt.save(link, nt.zeros(1))
    assert link.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o640
    assert nt.load(path).tolist() == [0]


def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"\.npy or \.safetensors"):
        nt.save(tmp_path / "x.gguf", nt.ones(1))
    with pytest.raises(TypeError, match="one array"):
        nt.save(tmp_path / "x.npy", {"x": nt.ones(1)})
    with pytest.raises(ValueError, match="no metadata"):
        nt.save(tmp_path / "x.npy", nt.ones(1), metadata={})
    with pytest.raises(TypeError, match="mapping"):
        nt.save(tmp_path / "x.safetensors", nt.ones(1))
    with pytest.raises(TypeError, match="strings by string"):
        nt.save(tmp_path / "x.safetensors", {}, metadata={"a": 1})
    with pytest.raises(ValueError, match="__metadata__"):
        nt.save(tmp_path / "x.safetensors", {"__metadata__": nt.ones(1)})
    with pytest.raises(ValueError, match=COMPLEXES[1]):
        nt.save(tmp_path / "x.safetensors", {"x": nt.ones(1, dtype=COMPLEXES[1], device="cpu")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["a.npy", "a.safetensors"])
def test_a_folder_that_is_not_there_is_told_by_the_name_that_was_given(tmp_path, name):
    path = tmp_path / "missing" / name
    with pytest.raises(FileNotFoundError) as caught:
        nt.save(path, nt.ones(2) if name.endswith("npy") else {"x": nt.ones(2)})
    assert caught.value.filename == str(path.resolve())
