"""NumPy's functions over our arrays: what they give for `np.asarray(x)`, as NumPy's own types."""

import inspect
import warnings

import numpy as np
import pytest

import nitinol as nt

MATRIX = np.array([[2, 1, 0], [1, 3, 1], [0, 1, 4]], np.float32)
WIDE = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
VECTOR = np.array([3, 1, 2], np.float32)
INTEGERS = np.array([2, 0, 1])
BOOLEANS = np.array([True, False, True])

# What functions of one to four arguments may take; most of them refuse most of these.
ARGUMENTS = [
    (WIDE,),
    (MATRIX,),
    (VECTOR,),
    (INTEGERS,),
    (BOOLEANS,),
    ([VECTOR, VECTOR],),
    (WIDE, WIDE),
    (MATRIX, MATRIX),
    (MATRIX, VECTOR),
    (VECTOR, VECTOR),
    (INTEGERS, INTEGERS),
    (BOOLEANS, BOOLEANS),
    (VECTOR, INTEGERS),
    (VECTOR, 1),
    (WIDE, 0),
    (INTEGERS, 1),
    (WIDE, (3, 2)),
    (WIDE, (0, 1)),
    (VECTOR, BOOLEANS),
    (2, VECTOR),
    (BOOLEANS, VECTOR, VECTOR),
    (WIDE, 0, 1),
    (VECTOR, 2, 1.0),
]

# They write to their arguments, or to files, or print, or take no values; ours are read-only.
SKIPPED = {
    *("copyto", "place", "put", "putmask", "fill_diagonal", "put_along_axis"),
    *("save", "savez", "savez_compressed", "savetxt", "fromfile", "info", "show_config"),
    *("show_runtime", "test", "printoptions", "set_printoptions", "errstate", "seterr"),
    *("setbufsize", "seterrcall", "frompyfunc", "require", "empty", "empty_like", "byte_bounds"),
    "mintypecode",  # takes letters
    "bmat",  # asks for isinstance(x, numpy.ndarray), and returns None for anything else
    "isfortran",  # reads an attribute of ndarray, without asking for an array
}


def functions():
    for prefix, module in (("", np), ("linalg.", np.linalg), ("fft.", np.fft)):
        for name in sorted(dir(module)):
            found = getattr(module, name)
            if name.startswith("_") or name in SKIPPED or not callable(found):
                continue
            if not inspect.isclass(found):
                yield pytest.param(found, id=prefix + name)


def fresh(item, make):
    if isinstance(item, list):
        return [fresh(value, make) for value in item]
    return make(item) if isinstance(item, np.ndarray) else item


def outcome(function, args):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return function(*args)
    except Exception as error:
        return error


def assert_same(got, wanted):
    assert type(got) is type(wanted), (got, wanted)
    if isinstance(wanted, (tuple, list)):
        assert len(got) == len(wanted)
        for ours, theirs in zip(got, wanted, strict=True):
            assert_same(ours, theirs)
    elif isinstance(wanted, np.ndarray | np.generic):
        assert got.dtype == wanted.dtype
        np.testing.assert_array_equal(got, wanted)
    elif isinstance(wanted, np.dtype | str | int | float | complex | type(None)):
        assert got == wanted or got != got


def takes_output(function, args):
    """Is the last argument where the result is to be written?"""
    return isinstance(function, np.ufunc) and len(args) > function.nin


@pytest.mark.parametrize("function", list(functions()))
def test_a_function_of_numpy(device, function):
    for args in ARGUMENTS:
        if takes_output(function, args):
            continue
        wanted = outcome(function, [fresh(item, np.copy) for item in args])
        got = outcome(function, [fresh(item, nt.asarray) for item in args])
        if not isinstance(wanted, Exception):
            if isinstance(got, Exception) and "read-only" in str(got):
                continue  # an argument that is written to by position
            assert_same(got, wanted)
        else:
            assert isinstance(got, Exception), (args, wanted, got)


def test_keywords(device):
    x = nt.asarray(WIDE)
    assert_same(np.sum(x, axis=0, keepdims=True), np.sum(WIDE, axis=0, keepdims=True))
    assert_same(np.mean(x, dtype=np.float64), np.mean(WIDE, dtype=np.float64))
    assert_same(np.std(x, ddof=1), np.std(WIDE, ddof=1))
    assert_same(np.full_like(x, 7), np.full_like(WIDE, 7))
    assert_same(np.zeros(3, like=x), np.zeros(3))
    out = np.zeros(3, np.float32)
    assert np.sum(x, axis=0, out=out) is out
    np.testing.assert_array_equal(out, WIDE.sum(0))


def test_results_are_not_written_to_our_arrays(device):
    x = nt.asarray(VECTOR)
    with pytest.raises(TypeError):
        np.add(VECTOR, 1, out=x)
    for write in (lambda: np.sum(WIDE, axis=0, out=x), lambda: np.copyto(x, 0)):
        with pytest.raises(ValueError, match="read-only"):
            write()
    assert x.tolist() == VECTOR.tolist()


@pytest.mark.parametrize("each", nt.dtypes.ALL, ids=str)
def test_dtypes_name_those_of_numpy(each):
    wanted = np.dtype(each.name)
    assert np.dtype(each) is wanted
    assert np.zeros(2, dtype=each).dtype is wanted
    assert np.ones(2).astype(each).dtype is wanted
    assert nt.dtypes.as_dtype(np.dtype(each)) is each


@pytest.mark.parametrize("dtype", [each.name for each in nt.dtypes.ALL])
def test_scalars_have_the_usual_type(device, dtype):
    x = nt.asarray([1, 0], dtype=dtype)
    assert type(np.asarray(x)[0]) is np.dtype(dtype).type
    assert type(np.max(x)) is np.dtype(dtype).type


def test_what_a_failure_spoilt_raises(device):
    bad = nt.linalg.inv(nt.zeros((2, 2)))
    for function in (np.sum, np.transpose, np.linalg.det, np.isfinite, np.stack):
        with pytest.raises(nt.LinAlgError):
            function(bad)


@pytest.mark.parametrize("value", ["a", None, (), object(), {}])
def test_what_no_array_holds_is_not_in_it(device, value):
    assert value not in nt.ones(3)
