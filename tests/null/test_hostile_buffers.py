"""DLPack capsules, buffers, lists and plans of failures that lie: one clear error each."""

import array
import contextlib
import ctypes
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt
from hostile import EDGES
from processes import NEEDS_PROC, succeed

INT64 = [edge for edge in EDGES if -(2**63) <= edge < 2**63]


class Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


class Managed(ctypes.Structure):
    _fields_ = (
        ("tensor", Tensor),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
    )


class Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    )


new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class Exporter:
    """An object whose `__dlpack__` gives a capsule made by hand over three float32."""

    def __init__(self, shape=(3,), strides=None, *, version=None, name=None, **fields):
        self.memory = (ctypes.c_float * 16)(1, 2, 3)
        made = Managed() if version is None else Versioned(major=version[0], minor=version[1])
        tensor = made.tensor
        tensor.data = ctypes.addressof(self.memory)
        tensor.device_type, tensor.ndim = 1, len(shape)
        tensor.code, tensor.bits, tensor.lanes = 2, 32, 1
        self.shape = (ctypes.c_int64 * max(len(shape), 1))(*shape)
        tensor.shape = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))
        if strides is not None:
            self.strides = (ctypes.c_int64 * max(len(strides), 1))(*strides)
            tensor.strides = ctypes.cast(self.strides, ctypes.POINTER(ctypes.c_int64))
        for key, value in fields.items():
            setattr(tensor, key, value)
        self.name = name or (b"dltensor" if version is None else b"dltensor_versioned")
        self.made = made

    def __dlpack__(self, **keywords):
        return new_capsule(ctypes.addressof(self.made), self.name, None)

    def __dlpack_device__(self):
        return 1, 0


class Giving:
    """An object whose `__dlpack__` gives anything."""

    def __init__(self, given):
        self.given = given

    def __dlpack__(self, **keywords):
        if isinstance(self.given, type):
            raise self.given("from __dlpack__")
        return self.given

    def __dlpack_device__(self):
        return 1, 0


def refuse(job, kind):
    """The one-sentence message of the error that a job ends with."""
    with pytest.raises(kind) as caught:
        job()
    assert type(caught.value) is kind
    sentence = str(caught.value)
    assert re.fullmatch(r"[^\n]{15,400}\.", sentence), sentence
    return sentence


@pytest.mark.parametrize("version", [None, (1, 0), (1, 99)])
def test_honest_capsules(version):
    assert nt.from_dlpack(Exporter(version=version)).tolist() == [1, 2, 3]
    assert nt.asarray(Exporter(version=version)).tolist() == [1, 2, 3]
    assert (nt.ones(3) + Exporter(version=version)).tolist() == [2, 3, 4]
    assert nt.from_dlpack(Exporter((2, 2), (1, 1), version=version)).tolist() == [[1, 2], [2, 3]]
    assert nt.from_dlpack(Exporter((0, 5), version=version, data=None)).shape == (0, 5)
    backwards = Exporter((3,), (-1,), version=version, byte_offset=8)
    assert nt.from_dlpack(backwards).tolist() == [3, 2, 1]


LIES = {
    "negative size": ({"shape": (-1,)}, ValueError, "shape (-1,)"),
    "two negative sizes": ({"shape": (-3, -1)}, ValueError, "shape (-3, -1)"),
    "no address": ({"data": None}, ValueError, "at no address"),
    "no address for a terabyte": ({"shape": (2**38,), "data": None}, ValueError, "at no address"),
    "overflow": ({"shape": (2**62, 4)}, ValueError, "less than 2**63"),
    "overflow by wrapping to 3": ({"shape": (2**63 - 1, 3)}, ValueError, "less than 2**63"),
    "empty and overflowing": ({"shape": (0, 2**62, 4)}, ValueError, "less than 2**63"),
    "far strides": ({"shape": (3,), "strides": (2**62,)}, ValueError, "less than 2**63"),
    "farthest stride back": ({"shape": (3,), "strides": (-(2**63),)}, ValueError, "less than"),
    "far offset": ({"byte_offset": 2**64 - 4}, ValueError, "from byte 18446744073709551612"),
    "negative dimensions": ({"ndim": -1}, ValueError, "claims -1 dimensions"),
    "many dimensions": ({"ndim": 2**31 - 1}, ValueError, "claims 2147483647 dimensions"),
    "65 dimensions": ({"shape": (1,) * 65}, ValueError, "claims 65 dimensions"),
    "no shape": ({"shape": (), "ndim": 2, "no_shape": True}, ValueError, "has no shape"),
    "lanes": ({"lanes": 4}, TypeError, "4 lanes"),
    "no lanes": ({"lanes": 0}, TypeError, "0 lanes"),
    "bfloat16": ({"code": 4, "bits": 16}, TypeError, "kind 4, 16 bits"),
    "handle": ({"code": 3, "bits": 64}, TypeError, "kind 3, 64 bits"),
    "no bits": ({"bits": 0}, TypeError, "0 bits"),
    "odd bits": ({"bits": 33}, TypeError, "33 bits"),
    "another device": ({"device_type": 2}, BufferError, "device type 2"),
    "no device": ({"device_type": -7}, BufferError, "device type -7"),
}


@pytest.mark.parametrize("version", [None, (1, 0)])
@pytest.mark.parametrize("lie", LIES)
def test_a_capsule_that_lies(lie, version):
    fields, kind, words = LIES[lie]
    fields = dict(fields)
    without_shape = fields.pop("no_shape", False)
    exporter = Exporter(version=version, **fields)
    if without_shape:
        exporter.made.tensor.shape = None
    for job in (nt.from_dlpack, nt.asarray, lambda x: nt.ones(3) + x):
        sentence = refuse(lambda job=job: job(exporter), kind)
        assert sentence.startswith("The capsule of a Exporter ")
        assert words in sentence


def test_what_is_no_capsule():
    for junk in (None, 3, "x", object(), b"x" * 10_000, [1] * 10_000):
        assert "expected a capsule" in refuse(
            lambda junk=junk: nt.from_dlpack(Giving(junk)), TypeError
        )
    for name in (b"nonsense", b"DLTENSOR"):
        assert "expected a capsule" in refuse(
            lambda name=name: nt.from_dlpack(Exporter(name=name)), TypeError
        )
    for version in (None, (1, 0)):
        used = b"used_dltensor" if version is None else b"used_dltensor_versioned"
        assert "consumed before" in refuse(
            lambda version=version, used=used: nt.from_dlpack(Exporter(version=version, name=used)),
            ValueError,
        )
    for version in ((0, 8), (2, 0), (2**32 - 1, 0)):
        assert "DLPack version" in refuse(
            lambda version=version: nt.from_dlpack(Exporter(version=version)), BufferError
        )
    once = np.ones(3).__dlpack__()
    assert nt.from_dlpack(Giving(once)).tolist() == [1, 1, 1]
    assert "consumed before" in refuse(lambda: nt.from_dlpack(Giving(once)), ValueError)
    for kind in (BufferError, ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(kind, match="from __dlpack__"):
            nt.from_dlpack(Giving(kind))


integers = st.integers(-2, 5) | st.sampled_from(INT64)


@given(
    shape=st.lists(integers, max_size=4),
    version=st.sampled_from([None, (1, 0), (1, 1), (2, 0)]),
    fields=st.fixed_dictionaries(
        {},
        optional={
            "code": st.integers(0, 9),
            "bits": st.integers(0, 255),
            "lanes": st.integers(0, 3),
            "device_type": st.integers(-1, 17),
            "ndim": st.sampled_from([-(2**31), -1, 65, 2**31 - 1]),
            "data": st.none(),
        },
    ),
)
@example(shape=[2**60, 2**60], version=None, fields={"data": None})
def test_a_capsule_of_anything(shape, version, fields):
    """It says what is inside the 64 bytes that are there, or it is refused."""
    bits = fields.get("bits", 32)
    # That memory is where a capsule says it is nobody can check, so these lie about the rest.
    count = 1
    for n in shape:
        count *= n
    if 0 < count * bits <= 64 * 8 or min(shape, default=1) <= 0 or count * bits // 8 >= 2**63:
        exporter = Exporter(shape, version=version, **fields)
        with contextlib.suppress(ValueError, TypeError, BufferError):
            made = nt.from_dlpack(exporter)
            assert made.shape == tuple(shape)
            assert made.nbytes <= 64
            assert np.asarray(made).nbytes == made.nbytes


@pytest.mark.parametrize("kind", ["list", "tuple"])
def test_lists_that_hold_themselves(kind):
    endless = []
    endless.append(endless if kind == "list" else (endless,))
    with pytest.raises(ValueError, match="dimension"):
        nt.asarray(endless)
    deep = [1]
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ValueError, match="dimension"):
        nt.asarray(deep)


def test_integers_of_any_length():
    for number in (10**30, 10**5000, -(10**5000)):
        assert "doesn't fit in int64" in refuse(lambda n=number: nt.asarray(n), OverflowError)
        with pytest.raises(OverflowError):
            nt.ones(3, dtype=nt.int64) + number


def test_sizes_that_memory_cannot_hold():
    for values in (np.broadcast_to(np.int8(1), (2**40,)), np.broadcast_to(1.0, (2**20, 2**24))):
        assert "bytes were wanted" in refuse(lambda v=values: nt.asarray(v), MemoryError)
    small = np.broadcast_to(np.int8(1), (2**62,))
    assert "2**63 - 1 bytes" in refuse(lambda: nt.asarray(small, dtype=nt.float64), ValueError)
    assert "bytes were wanted" in refuse(lambda: nt.ones(3) + small, MemoryError)


LIMITED = """
import resource, tracemalloc
sys.path[:0] = sys.argv[1:]
import test_hostile_buffers as liars
from processes import limit_memory

limit_memory()
def refused(job):
    tracemalloc.start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        job()
    except (ValueError, TypeError, BufferError, OverflowError, MemoryError) as error:
        assert str(error).endswith("."), error
    else:
        raise SystemExit("was taken")
    assert tracemalloc.get_traced_memory()[1] < 4_000_000
    tracemalloc.stop()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024  # KiB

for version in (None, (1, 0)):
    for fields, _, _ in liars.LIES.values():
        fields = dict(fields)
        without_shape = fields.pop("no_shape", False)
        exporter = liars.Exporter(version=version, **fields)
        if without_shape:
            exporter.made.tensor.shape = None
        refused(lambda: nt.from_dlpack(exporter))
        refused(lambda: nt.asarray(exporter))
for values in (
    np.broadcast_to(np.int8(1), (2**36,)),
    np.broadcast_to(1.0, (2**20, 2**20)),
    np.broadcast_to(np.float32(1), (2**62 // 4,)),
    memoryview(np.broadcast_to(np.int8(1), (2**36,))),
):
    refused(lambda: nt.asarray(values))
refused(lambda: nt.testing.inject_from("cpu:io@1x" + "9" * 100_000))
refused(lambda: nt.testing.inject_from("cpu:" + "io" * 50_000 + "@1"))
assert (nt.ones(3) + 1).tolist() == [2, 2, 2]
print("well")
"""


@NEEDS_PROC
def test_no_liar_is_given_the_memory_it_asks_for():
    here = Path(__file__).parent
    assert succeed(LIMITED, here, here.parent) == "well\n"


@given(st.binary(min_size=1, max_size=40))
def test_booleans_of_any_bytes(data):
    values = np.frombuffer(data, bool)
    expected = [byte != 0 for byte in data]
    for given_ in (values, memoryview(data).cast("?"), values[::-1][::-1], Giving(None)):
        if isinstance(given_, Giving):
            given_.given = values.copy().__dlpack__()
        made = nt.asarray(given_)
        assert made.tolist() == expected
        assert nt.sum(made).item() == sum(expected)
        assert bytes(made) == bytes(expected)
        assert np.asarray(nt.astype(made, nt.uint8)).tolist() == expected
    made = nt.host_call(lambda: values, values.shape, nt.bool)
    assert bytes(made) == bytes(expected)
    if max(data) > 1:
        assert "neither 0 nor 1" in refuse(lambda: nt.asarray(values, copy=False), ValueError)
    else:
        assert nt.asarray(values, copy=False).tolist() == expected


@given(hnp.arrays(np.uint8, st.integers(17, 80)), st.integers(0, 16), st.sampled_from("bhilefdFD"))
def test_memory_that_is_not_aligned(values, start, letter):
    kind = np.dtype(letter)
    part = values[start:]
    part = part[: len(part) // kind.itemsize * kind.itemsize].view(kind)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.asarray(nt.asarray(part)), part)
    if part.flags.aligned:
        np.testing.assert_array_equal(np.asarray(nt.asarray(part, copy=False)), part)
    elif part.size:
        assert "isn't aligned" in refuse(lambda: nt.asarray(part, copy=False), ValueError)


@given(
    st.sampled_from("bBhHiIlLqQfd?"),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
    st.booleans(),
)
def test_buffers_of_every_format(letter, shape, backwards):
    size = int(np.prod(shape))
    item = memoryview(b"").cast("B").itemsize * np.dtype(letter).itemsize
    view = memoryview(bytes(i % 2 for i in range(size * item)))
    if size:
        view = view.cast(letter, shape)
    view = view[::-1] if backwards and view.ndim == 1 else view
    made = nt.asarray(view)
    assert made.shape == view.shape
    np.testing.assert_array_equal(np.asarray(made), np.asarray(view))


@pytest.mark.parametrize(
    "obj",
    [
        memoryview(b"abc").cast("c"),
        array.array("u", "abc"),
        np.array(["x"]),
        np.array([object()]),
        np.array([(1, 2)], "i4,i4"),
        np.array(["2020-01-01"], "M8[D]"),
        np.zeros(2, np.longdouble),
        object(),
        {1: 2},
        "abc",
    ],
    ids=lambda obj: type(obj).__name__,
)
def test_elements_that_are_no_numbers(obj):
    assert "An array holds booleans and numbers" in refuse(lambda: nt.asarray(obj), TypeError)


def test_arrays_that_lie_of_themselves():
    class Lying:
        def __init__(self, given):
            self.given = given

        def __array__(self, dtype=None, copy=None):
            if isinstance(self.given, Exception):
                raise self.given
            return self.given

    for given_ in (None, 3, "x", [1]):
        with pytest.raises(ValueError, match="__array__"):
            nt.asarray(Lying(given_))
    with pytest.raises(ZeroDivisionError):
        nt.asarray(Lying(ZeroDivisionError("x")))
    for interface in (
        {"shape": (-1,), "typestr": "<f8", "data": b"12345678", "version": 3},
        {"shape": (2,), "typestr": "<f8", "data": b"12345678", "version": 3},
        {"shape": (2**62,), "typestr": "<f8", "data": b"12345678", "version": 3},
        {"shape": (1,), "typestr": "|O", "data": b"12345678", "version": 3},
        {"shape": (1,), "typestr": "<f8", "data": b"12345678", "offset": 4, "version": 3},
        {"shape": (1,), "typestr": "<f8", "data": b"12345678", "offset": -4, "version": 3},
        {"shape": (2,), "strides": (-8,), "typestr": "<f8", "data": b"8" * 16, "version": 3},
    ):
        holder = type("Holder", (), {"__array_interface__": interface})()
        with pytest.raises((ValueError, TypeError)):
            nt.asarray(holder)
    good = {"shape": (3, 2), "typestr": "<i2", "data": b"\1\0\2\0\3\0\4\0\5\0\6\0"}
    for extra, expected in [
        ({}, [[1, 2], [3, 4], [5, 6]]),
        ({"shape": (1, 2), "offset": 8}, [[5, 6]]),
        ({"strides": (-4, 2), "offset": 8}, [[5, 6], [3, 4], [1, 2]]),
        ({"shape": (0, 9), "data": b""}, []),
        ({"shape": ()}, 1),
    ]:
        holder = type("Holder", (), {"__array_interface__": {**good, **extra, "version": 3}})()
        assert nt.asarray(holder).tolist() == expected


# NITINOL_FAULTS

ENTRY = st.tuples(
    st.sampled_from(
        ["cpu", "cpu:0", "cpu:1", "cpu:\u0660", "gpu", "", ":", "cpu:-0", "cpu:" + "9" * 5000]
    )
    | st.text(max_size=6),
    st.sampled_from([":", "", "::"]),
    st.sampled_from([*nt.errors.CODES, "none", "", "Timeout"]) | st.text(max_size=6),
    st.sampled_from(["@", "", "@@"]),
    st.sampled_from(
        ["1", "3", "0", "-1", "\uff13", "²", "1e3", " 2", "9" * 30, "9" * 5000, "0x10"]
    ),
    st.sampled_from(["", "", "x2", "x", "x0", "x" + "9" * 20, "xx", "x1x1"]),
    st.sampled_from(["", "", "/encode", "/commit", "/completion", "/", "/wait", "/encode/commit"]),
).map("".join)


@given(st.lists(ENTRY, min_size=1, max_size=3).map(",".join) | st.text())
@example("cpu:" + "\x17" * 150 + "@37")
@example("\x17" * 150 + ":io@37")
@example("cpu:io@1/" + "\x17" * 150)
def test_a_plan_of_failures_that_is_anything(text):
    """It is carried out, or one sentence says which entry isn't understood."""
    unobserved = nt.Device("cpu").error_counts()["unobserved"]
    try:
        planned = nt.testing.inject_from(text)
    except ValueError as error:
        sentence = str(error)
        chained = error.__context__ is not None and not error.__suppress_context__
        assert re.fullmatch(r"[^\n]{20,600}\.", sentence), sentence
        assert "planned failure" in sentence
        assert not chained
    else:
        for each in planned:
            assert each.code in nt.errors.CODES
            assert each.at >= 1
            assert each.times >= 1
            each.__exit__()
        assert len(planned) == (text.count(",") + 1 if text.strip() else 0)
    assert nt.Device("cpu").error_counts()["unobserved"] == unobserved


def test_the_last_units_that_can_be_planned():
    most = 2**63 - 1
    assert succeed(
        "print((nt.ones(3) + 1).tolist())", NITINOL_FAULTS=f"cpu:io@{most}x{most}"
    ) == "[2.0, 2.0, 2.0]\n"  # fmt: skip
    out = succeed(
        """
        for i in range(3):
            try: print((nt.ones(3) + i).tolist())
            except nt.DeviceError as error: print(error.report.code)
        """,
        NITINOL_FAULTS=f"cpu:io@2x{most}",
    )
    assert out == "[1.0, 1.0, 1.0]\nio\nio\n"
