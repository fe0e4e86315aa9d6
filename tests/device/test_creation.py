"""Creation functions give what NumPy gives, in the default dtypes of nitinol."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from strategies import (
    EVERY,
    NUMERIC,
    array_pairs,
    arrays,
    assert_same,
    full_shapes,
    one_of,
    shapes,
    widest_float,
)

pytestmark = pytest.mark.usefixtures("device")

dtypes = one_of(EVERY)


@given(arrays())
def test_asarray_keeps_shape_dtype_and_values(values):
    assert_same(nt.asarray(values), values)


@given(arrays(EVERY, full_shapes))
def test_asarray_of_nested_lists_has_default_dtypes(values):
    kinds = {"b": "bool", "i": "int64", "u": "int64", "f": "float32", "c": "complex64"}
    assert_same(nt.asarray(values.tolist()), values, dtype=kinds[values.dtype.kind])


@given(arrays(special=False, bound=50), dtypes)
def test_asarray_casts(values, dtype):
    if values.dtype.kind == "c" and np.dtype(dtype).kind != "c":
        values = values.real
    if values.dtype.kind in "if" and np.dtype(dtype).kind == "u":
        values = abs(values)
    assert_same(nt.asarray(values, dtype=dtype), values.astype(dtype))


def test_asarray_copies_memory_of_others():
    values = np.zeros(3, dtype="int64")
    x = nt.asarray(values)
    values[:] = 1
    assert x.tolist() == [0, 0, 0]


def test_asarray_without_a_copy(device):
    values = np.arange(3)
    if device.kind == "cpu":
        assert nt.asarray(values, copy=False).tolist() == [0, 1, 2]
    else:
        with pytest.raises(ValueError, match="without a copy"):
            nt.asarray(values, copy=False)
    with pytest.raises(ValueError, match="copy"):
        nt.asarray([1, 2], copy=False)


def test_from_dlpack_takes_what_speaks_it():
    assert nt.from_dlpack(np.arange(3)).tolist() == [0, 1, 2]
    with pytest.raises(TypeError, match="list"):
        nt.from_dlpack([1])


def test_from_dlpack_to_a_device(device):
    for there in nt.devices():
        x = nt.arange(3)
        assert x.device == device
        assert nt.from_dlpack(x, device=there).device == there
        assert nt.from_dlpack(np.arange(3), device=there).device == there


def test_a_dtype_by_position(device):
    x = nt.ones(2)
    for made in (
        nt.zeros(2, nt.int32),
        nt.ones(2, "int32"),
        nt.empty(2, np.int32),
        nt.full(2, 1, nt.int32),
        nt.zeros_like(x, nt.int32),
        nt.ones_like(x, nt.int32),
        nt.empty_like(x, nt.int32),
        nt.full_like(x, 1, nt.int32),
    ):
        assert made.dtype is nt.int32


@given(shapes, dtypes, st.integers(0, 9))
def test_full_and_its_kin(shape, dtype, value):
    assert_same(nt.full(shape, value, dtype=dtype), np.full(shape, value, dtype=dtype))
    assert_same(nt.zeros(shape, dtype=dtype), np.zeros(shape, dtype=dtype))
    assert_same(nt.ones(shape, dtype=dtype), np.ones(shape, dtype=dtype))
    assert_same(nt.empty(shape, dtype=dtype), np.zeros(shape, dtype=dtype))


@given(array_pairs())
def test_full_like_and_its_kin(pair):
    values, array = pair
    assert_same(nt.zeros_like(array), np.zeros_like(values))
    assert_same(nt.ones_like(array), np.ones_like(values))
    assert_same(nt.empty_like(array), np.zeros_like(values))
    assert_same(nt.full_like(array, 1), np.full_like(values, 1))
    assert_same(nt.zeros_like(array, dtype=nt.int8), np.zeros_like(values, dtype="int8"))


def test_full_without_a_dtype():
    wide = widest_float()
    assert [nt.full(2, v).dtype.name for v in (True, 3, 2.5, 1j, np.dtype(wide).type(2))] == [
        "bool",
        "int64",
        "float32",
        "complex64",
        wide,
    ]
    assert nt.full((2, 3), nt.asarray(5, dtype=nt.int8)).tolist() == [[5] * 3] * 2
    assert nt.zeros(3).dtype is nt.float32


def test_full_describes_more_than_memory_holds():
    x = nt.zeros((1 << 30, 1 << 20))
    assert x.shape == (1 << 30, 1 << 20)
    assert x[5, 5].item() == 0


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-7, 7).filter(bool))
def test_arange_of_integers(start, stop, step):
    assert_same(nt.arange(start, stop, step), np.arange(start, stop, step))
    assert_same(nt.arange(stop), np.arange(stop))
    assert_same(
        nt.arange(start, stop, step, dtype=nt.float16),
        np.arange(start, stop, step, dtype="float16"),
    )
    assert_same(nt.arange(start, stop, step, dtype="int8"), np.arange(start, stop, step, "int8"))


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.25, 7))
def test_arange_of_floats(start, stop, step):
    expected = start + step * np.arange(max(0, math.ceil((stop - start) / step)))
    if nt.default_device().supports("float64"):
        assert_same(nt.arange(start, stop, step, dtype="float64"), expected, exact=False)
    assert_same(nt.arange(start, stop, step), expected.astype("float32"), exact=False, scale=2)


def test_arange_of_unsigned_integers_beyond_int64():
    first = 2**64 - 5
    found = nt.arange(first, 2**64, dtype=nt.uint64)
    assert found.tolist() == list(range(first, 2**64))


def test_arange_refuses():
    with pytest.raises(ValueError, match="step 0"):
        nt.arange(0, 5, 0)
    with pytest.raises(ValueError, match="inf"):
        nt.arange(0.0, math.inf)
    with pytest.raises(OverflowError, match="200"):
        nt.arange(0, 201, dtype=nt.int8)
    with pytest.raises(TypeError, match="'5'"):
        nt.arange("5")


@given(
    st.floats(-1e3, 1e3),
    st.floats(-1e3, 1e3),
    st.integers(0, 60),
    st.booleans(),
    one_of(["float32", "float64", "complex64"]),
)
def test_linspace(start, stop, num, endpoint, dtype):
    expected = np.linspace(start, stop, num, endpoint=endpoint).astype(dtype)
    found = nt.linspace(start, stop, num, endpoint=endpoint, dtype=dtype)
    assert_same(found, expected, exact=False, scale=1000)
    if num and endpoint:
        assert found[0].item() == np.dtype(dtype).type(start)
        assert num == 1 or found[-1].item() == np.dtype(dtype).type(stop)


def test_linspace_of_integers_and_complex_numbers():
    assert_same(nt.linspace(0, 10, 5, dtype="int64"), np.linspace(0, 10, 5, dtype="int64"))
    assert nt.linspace(0, 1, 2).dtype is nt.float32
    assert_same(nt.linspace(0, 2j, 3), np.asarray([0, 1j, 2j], dtype="complex64"))
    with pytest.raises(ValueError, match="-1"):
        nt.linspace(0, 1, -1)
    with pytest.raises(TypeError, match="float32"):
        nt.linspace(0, 1j, 3, dtype="float32")


@given(st.integers(0, 6), st.none() | st.integers(0, 6), st.integers(-7, 7), dtypes)
def test_eye(rows, columns, k, dtype):
    assert_same(nt.eye(rows, columns, k=k, dtype=dtype), np.eye(rows, columns, k=k, dtype=dtype))


@given(array_pairs(EVERY, full_shapes.filter(lambda shape: len(shape) >= 2)), st.integers(-6, 6))
def test_triangles(pair, k):
    values, array = pair
    assert_same(nt.tril(array, k=k), np.tril(values, k))
    assert_same(nt.triu(array, k=k), np.triu(values, k))


def test_triangles_need_a_matrix():
    with pytest.raises(ValueError, match=r"\(3,\)"):
        nt.tril(nt.ones(3))


@given(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(["xy", "ij"]), one_of(NUMERIC))
def test_meshgrid(sizes, indexing, dtype):
    values = [np.arange(size).astype(dtype) for size in sizes]
    expected = np.meshgrid(*values, indexing=indexing)
    found = nt.meshgrid(*map(nt.asarray, values), indexing=indexing)
    assert isinstance(found, tuple)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert_same(ours, theirs)


def test_meshgrid_refuses():
    with pytest.raises(ValueError, match="'yx'"):
        nt.meshgrid(nt.ones(2), indexing="yx")
    with pytest.raises(ValueError, match=r"\(2, 2\)"):
        nt.meshgrid(nt.ones((2, 2)))
    with pytest.raises(ValueError, match="int64"):
        nt.meshgrid(nt.ones(2), nt.arange(2))


def test_wrong_shapes_and_dtypes():
    with pytest.raises(ValueError, match="-1"):
        nt.zeros((2, -1))
    with pytest.raises(TypeError, match=r"2\.5"):
        nt.zeros(2.5)
    with pytest.raises(TypeError, match="float8"):
        nt.zeros(2, dtype="float8")
    with pytest.raises(ValueError, match=r"\(2,\)"):
        nt.full(3, nt.ones(2))
    with pytest.raises(TypeError, match="1j"):
        nt.full(3, 1j, dtype="float32")
    with pytest.raises(ValueError, match="less than 2"):
        nt.zeros((2**31, 2**30), dtype="float32")


def test_device_argument(device):
    assert nt.zeros(2, device=device).device == device
    with pytest.raises(ValueError, match="tpu"):
        nt.zeros(2, device="tpu")


@pytest.mark.parametrize("dtype", ["float32", "int8", "bool"])
@pytest.mark.parametrize("value", [1 + 2j, [1 + 2j], np.ones(2, np.complex64)], ids=repr)
def test_complex_numbers_become_no_real_ones(dtype, value):
    with pytest.raises(TypeError, match=f"complex.*{dtype}|{dtype}.*complex"):
        nt.asarray(value, dtype=dtype)


def test_full_takes_integers_as_asarray_does():
    assert nt.full(2, 2**63).tolist() == [2**63] * 2
    assert nt.full(2, 2**63).dtype is nt.uint64
    with pytest.raises(OverflowError, match="18446744073709551616"):
        nt.full(2, 2**64)
    with pytest.raises(OverflowError, match="300 doesn't fit in uint8, which holds 0 to 255"):
        nt.full(2, 300, dtype=nt.uint8)


@pytest.mark.parametrize("stop", [2**63, 2**70, 1e30])
def test_arange_of_more_elements_than_there_can_be(stop):
    with pytest.raises(ValueError, match=r"2\*\*63 elements or more"):
        nt.arange(stop)


@pytest.mark.parametrize(
    "make",
    [
        lambda k: nt.eye(2, k=k),
        lambda k: nt.tril(nt.ones((2, 2)), k=k),
        lambda k: nt.triu(nt.ones((2, 2)), k=k),
    ],
)
def test_diagonals_are_integers(make):
    with pytest.raises(TypeError, match=r"1\.5"):
        make(1.5)
