"""Dtypes: their names and limits, promotion, and what can be asked about them."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from nitinol.dtypes import ALL, as_dtype

pytestmark = pytest.mark.usefixtures("device")

every = st.sampled_from(ALL)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_dtype_has_the_facts_of_numpys(dtype):
    of_numpy = np.dtype(dtype.name)
    assert (dtype.itemsize, dtype.kind) == (of_numpy.itemsize, of_numpy.kind)
    assert dtype.numpy == of_numpy
    assert getattr(nt, dtype.name) is dtype
    assert repr(dtype) == f"nitinol.{dtype.name}"


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_dtype_is_one_object(dtype):
    assert pickle.loads(pickle.dumps(dtype)) is dtype
    assert copy.deepcopy(dtype) is dtype
    for name in (dtype, dtype.name, dtype.numpy, dtype.numpy.type, dtype.numpy.newbyteorder()):
        assert as_dtype(name) is dtype
        assert nt.dtype(name) is dtype


def test_dtype_is_immutable():
    with pytest.raises(AttributeError, match="immutable"):
        nt.float32.itemsize = 8


def test_python_types_name_the_defaults():
    assert [as_dtype(t) for t in (bool, int, float, complex)] == [
        nt.bool,
        nt.int64,
        nt.float32,
        nt.complex64,
    ]


@pytest.mark.parametrize("wrong", ["float8", "str", "object", "datetime64", 3, None, [1]])
def test_what_is_no_dtype(wrong):
    with pytest.raises(TypeError, match="not a dtype"):
        as_dtype(wrong)


@given(every, every, every)
def test_promotion_is_commutative_and_absorbs_equal_dtypes(a, b, c):
    assert nt.result_type(a, b) is nt.result_type(b, a)
    assert nt.result_type(a, a) is a
    # uint64 with signed integers falls to float32, which has no place in an integer's order.
    if nt.uint64 not in (a, b, c):
        assert nt.result_type(nt.result_type(a, b), c) is nt.result_type(a, nt.result_type(b, c))


def test_promotion_agrees_with_numpy_inside_a_kind_and_with_complex():
    for a, b in itertools.product(ALL, repeat=2):
        within = a.kind == b.kind or "b" in a.kind + b.kind or {a.kind, b.kind} <= {"f", "c"}
        if within and nt.float16 not in (a, b):
            assert nt.result_type(a, b).numpy == np.result_type(a.numpy, b.numpy)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("int8", "uint8", "int16"),
        ("int64", "uint8", "int64"),
        ("int32", "uint32", "int64"),
        ("uint64", "int8", "float32"),
        ("int64", "float16", "float16"),
        ("int64", "float32", "float32"),
        ("float16", "complex64", "complex64"),
        ("float64", "complex64", "complex128"),
        ("int64", "complex64", "complex64"),
        ("bool", "uint8", "uint8"),
    ],
)
def test_promotion_across_kinds(a, b, expected):
    assert nt.result_type(as_dtype(a), as_dtype(b)) is as_dtype(expected)


def test_operations_promote_by_the_same_table(device):
    for a, b in itertools.product(filter(device.supports, ALL), repeat=2):
        both = nt.where(nt.asarray([True, False]), nt.ones(2, dtype=a), nt.zeros(2, dtype=b))
        assert both.dtype is nt.result_type(a, b)
        assert both.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((nt.int8, 3), nt.int8),
        ((nt.int8, 3.0), nt.float32),
        ((nt.float16, 3), nt.float16),
        ((nt.float64, 1j), nt.complex128),
        ((nt.bool, True), nt.bool),
        ((nt.bool, 3), nt.int64),
        ((1, 2.0), nt.float32),
        ((True,), nt.bool),
        ((nt.int8, np.float64(3)), nt.float64),
    ],
)
def test_result_type_of_scalars(arguments, expected):
    assert nt.result_type(*arguments) is expected


def test_result_type_refuses_what_does_not_fit():
    with pytest.raises(OverflowError, match="300"):
        nt.result_type(nt.uint8, 300)
    with pytest.raises(ValueError, match="at least one"):
        nt.result_type()


@given(every, every)
def test_can_cast_is_promotion_that_changes_nothing(a, b):
    assert nt.can_cast(a, b) == (nt.result_type(a, b) is b)
    if nt.default_device().supports(a):
        assert nt.can_cast(nt.ones(2, dtype=a), b) == nt.can_cast(a, b)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_limits_are_numpys(dtype):
    if dtype.kind in "iu":
        ours, theirs = nt.iinfo(dtype), np.iinfo(dtype.numpy)
        assert (ours.bits, ours.min, ours.max) == (theirs.bits, theirs.min, theirs.max)
        assert ours.dtype is dtype
        with pytest.raises(TypeError, match=dtype.name):
            nt.finfo(dtype)
    elif dtype.kind in "fc":
        ours, theirs = nt.finfo(dtype), np.finfo(dtype.numpy)
        for name in ("bits", "min", "max", "eps", "smallest_normal"):
            assert getattr(ours, name) == getattr(theirs, name)
        with pytest.raises(TypeError, match=dtype.name):
            nt.iinfo(dtype)


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_isdtype_agrees_with_numpy(dtype):
    kinds = ["bool", "signed integer", "unsigned integer", "integral", "real floating"]
    kinds += ["complex floating", "numeric"]
    for kind in kinds:
        assert nt.isdtype(dtype, kind) == np.isdtype(dtype.numpy, kind)
    assert nt.isdtype(dtype, ("bool", dtype))
    with pytest.raises(ValueError, match="'floating'"):
        nt.isdtype(dtype, "floating")


def test_namespace_info(device):
    info = nt.__array_namespace_info__()
    assert info.default_device() in info.devices()
    assert device in info.devices()
    standard = [dtype for dtype in ALL if dtype is not nt.float16]
    assert info.dtypes(device="cpu") == {dtype.name: dtype for dtype in standard}
    assert info.dtypes() == {dtype.name: dtype for dtype in standard if device.supports(dtype)}
    reals = {"float32", "float64"}
    assert set(info.dtypes(device="cpu", kind="real floating")) == reals
    assert info.default_dtypes()["real floating"] is nt.zeros(1).dtype
    assert info.default_dtypes()["integral"] is nt.asarray(1).dtype
    assert info.capabilities()["boolean indexing"]


@pytest.mark.parametrize("dtype", ALL, ids=str)
def test_a_dtype_is_equal_to_its_names(dtype):
    names = [dtype.name, dtype.numpy, dtype.numpy.type]
    for other in ALL:
        for name in names:
            assert (other == name) == (name == other) == (other is dtype)
            assert (other != name) == (other is not dtype)
    assert hash(dtype) == hash(dtype.numpy)
    assert {dtype.numpy: 1}[dtype] == {dtype: 1}[dtype.numpy] == 1
    for value in (None, float, "f4", 3, np.ones(2), nt.ones(2), "complex"):
        assert dtype != value
