"""G2, one test a route: whatever asks a failed array for its value raises, every time."""

import array
import contextlib
import copy
import ctypes
import io
import itertools
import json
import logging
import multiprocessing.reduction
import operator
import pickle
import pprint
import reprlib
import statistics
import string
import textwrap

import numpy as np
import pytest

import nitinol as nt
from counts import error_counts
from failing import failed

MANY = 5  # reads of one array


# A scalar, through what wants one number.
SCALAR = {
    "item": lambda x: x.item(),
    "bool": bool,
    "not": operator.not_,
    "if": lambda x: 1 if x else 2,
    "and": lambda x: x and 1,
    "while": lambda x: [None for _ in iter(lambda: bool(x), False)],
    "int": int,
    "float": float,
    "complex": complex,
    "operator.index": operator.index,
    "round of a float": lambda x: round(float(x)),
    "index of a list": lambda x: [1, 2, 3][x],
    "slice of a list": lambda x: [1, 2, 3][:x],
    "range": range,
    "repetition": lambda x: [0] * operator.index(x),
    "hex": hex,
    "chr": chr,
    "bytes of a length": lambda x: bytearray(operator.index(x)),
    "format with %d": lambda x: f"{int(x):d}",
    "percent": lambda x: "%d" % x,  # noqa: UP031 (this very route)
    "percent float": lambda x: "%.2f" % x,  # noqa: UP031 (this very route)
    "f-string with a spec": lambda x: f"{x:.3f}",
    "f-string with an integer spec": lambda x: f"{x:5d}",
    "format method with a spec": lambda x: "{:>8}".format(x),  # noqa: UP032 (this very route)
    "math": lambda x: __import__("math").sqrt(x),
    "min": lambda x: min(x, 3),
    "max": lambda x: max(3, x),
    "sum of a list": lambda x: float(sum([x, x])),
    "statistics": lambda x: statistics.mean([float(x)]),
    "struct": lambda x: __import__("struct").pack("q", x),
    "array.array": lambda x: array.array("q", [x]),
    "ctypes": lambda x: ctypes.c_double(float(x)),
    "numpy scalar": lambda x: np.float64(x),
    "numpy full": lambda x: np.full(3, x),
    "numpy index": lambda x: np.arange(9)[operator.index(x)],
    "shape of numpy zeros": lambda x: np.zeros(x),
    "shape of zeros": lambda x: nt.zeros(x),
    "shape in a tuple": lambda x: nt.ones((2, x)),
    "shape of full": lambda x: nt.full((x,), 1.0),
    "shape of reshape": lambda x: nt.reshape(nt.ones(4), (x, 2)),
    "end of arange": lambda x: nt.arange(x),
    "count of linspace": lambda x: nt.linspace(0, 1, x),
    "size of eye": lambda x: nt.eye(x),
    "axis": lambda x: nt.sum(nt.ones((2, 2)), axis=x),
    "seed": lambda x: nt.random.key(x),
    "timeout": lambda x: nt.synchronize(timeout=x),
    "fill value": lambda x: nt.full(3, x).tolist(),
    "json": lambda x: json.dumps(x.item()),
}

# Any array, through what wants all of it.
ANY = {
    "tolist": lambda x: x.tolist(),
    "json by tolist": lambda x: json.dumps(x.tolist()),
    "json with a default": lambda x: json.dumps({"a": x}, default=lambda y: y.tolist()),
    "numpy.asarray": np.asarray,
    "numpy.asarray of a dtype": lambda x: np.asarray(x, np.float32),
    "numpy.asarray without a copy": lambda x: np.asarray(x, copy=False),
    "numpy.ascontiguousarray": np.ascontiguousarray,
    "numpy.array": np.array,
    "numpy.array of a list": lambda x: np.array([x, x]),
    "numpy.array of good and bad": lambda x: np.array([nt.ones(x.shape) + 1, x]),
    "numpy.array of a nested list": lambda x: np.array([[x], [x]]),
    "numpy.array of a dtype of a list": lambda x: np.array([x], dtype=np.float64),
    "numpy.stack": lambda x: np.stack([x, x]),
    "numpy.concatenate": lambda x: np.concatenate([np.atleast_1d(x)]),
    "numpy.copyto": lambda x: np.copyto(np.empty(x.shape), x),
    "numpy.save": lambda x: np.save(io.BytesIO(), x),
    "numpy.array_equal": lambda x: np.array_equal(np.asarray(x), 1),
    "numpy.testing": lambda x: np.testing.assert_array_equal(x, 0),
    "numpy ufunc": np.exp,
    "numpy ufunc of two": lambda x: np.add(1, x),
    "numpy random choice": lambda x: np.random.default_rng(1).permutation(np.atleast_1d(x)),
    "numpy.from_dlpack": np.from_dlpack,
    "numpy array on the left": lambda x: (np.ones(x.shape, "f4") + x).tolist(),
    "numpy mask": lambda x: np.ones(x.shape)[np.asarray(x) > 0],
    "__array__": lambda x: x.__array__(),
    "__dlpack__": lambda x: x.__dlpack__(),
    "__dlpack__ of a version": lambda x: x.__dlpack__(max_version=(1, 0)),
    "__dlpack__ copied": lambda x: x.__dlpack__(max_version=(1, 0), copy=True),
    "memoryview": memoryview,
    "bytes": bytes,
    "bytearray": bytearray,
    "buffer written to a file": lambda x: io.BytesIO().write(x),
    "repr": repr,
    "str": str,
    "print": lambda x: print(x, file=io.StringIO()),
    "format": format,
    "f-string": lambda x: f"{x}",
    "f-string of the repr": lambda x: f"{x!r}",
    "f-string with =": lambda x: f"{x=}",
    "format method": lambda x: "{}".format(x),  # noqa: UP032 (this very route)
    "percent s": lambda x: "%s" % (x,),  # noqa: UP031 (this very route)
    "template": lambda x: string.Template("$x").substitute(x=x),
    "repr in a list": lambda x: repr([x]),
    "repr in a dict": lambda x: str({"a": (x, 1)}),
    "print in a dataclass": lambda x: repr(nt.io.TensorFile({"a": x}, {}, "").get("a")),
    "pprint": lambda x: pprint.pformat({"a": [x]}),
    "pickle": pickle.dumps,
    "pickle of a dict": lambda x: pickle.dumps({"weights": [x]}),
    "pickle, each protocol": lambda x: [pickle.dumps(x, protocol) for protocol in (2, 5)],
    "pickle by buffers": lambda x: pickle.dumps(x, 5, buffer_callback=[].append),
    "multiprocessing": multiprocessing.reduction.ForkingPickler.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a dict": lambda x: copy.deepcopy({"a": [x]}),
    "copy method": lambda x: x.copy().tolist(),
    "asarray copied": lambda x: nt.asarray(x, copy=True).tolist(),
    "asarray of a dtype": lambda x: nt.asarray(x, dtype=nt.float32).tolist(),
    "asarray of lists": lambda x: nt.asarray([x.tolist()]),
    "from_dlpack": lambda x: nt.from_dlpack(x).tolist(),
    "astype": lambda x: x.astype(nt.float32).tolist(),
    "to_device": lambda x: x.to_device("cpu").tolist(),
    "equality": lambda x: bool(nt.all(x == x)),
    "inequality": lambda x: bool(nt.any(x != 0)),
    "assert of equality": lambda x: operator.truth(nt.all(x == 1)),
    "operator": lambda x: (x + 1).tolist(),
    "operator from the left": lambda x: (1 - x).tolist(),
    "sum": lambda x: nt.sum(x).item(),
    "matmul": lambda x: (nt.reshape(x, (-1,)) @ nt.reshape(x, (-1,))).item(),
    "where": lambda x: nt.where(x > 0, 1, 2).tolist(),
    "concat": lambda x: nt.concat([nt.ones(2), nt.reshape(x, (-1,))]).tolist(),
    "argument of host_call": (lambda x: nt.host_call(lambda y: y, x.shape, x.dtype, x).tolist()),
    "update of another": lambda x: nt.zeros(x.shape, dtype=x.dtype).at[...].set(x).tolist(),
    "addition to another": lambda x: nt.zeros(x.shape, dtype=x.dtype).at[...].add(x).tolist(),
    "assignment to another": lambda x: assigned(nt.zeros(x.shape, dtype=x.dtype), ..., x).tolist(),
    "update of it": lambda x: nt.reshape(x, (-1,)).at[0].set(1).tolist(),
    "eval": nt.eval,
    "eval of a tree": lambda x: nt.eval({"a": [x, (nt.ones(2), x)]}),
    "async_eval": lambda x: nt.async_eval(x).result(),
    "async_eval's exception": lambda x: throw(nt.async_eval(x).exception()),
    "logging": lambda x: logged(x),
}

# An array with an axis at least.
ITERABLE = {
    "list": list,
    "tuple": tuple,
    "iter": iter,
    "for": lambda x: [None for _ in x],
    "unpacking": lambda x: (lambda a, b: a)(*x),
    "starred": lambda x: [*x],
    "zip": lambda x: list(zip(x, x, strict=True)),
    "map": lambda x: list(map(int, x)),
    "enumerate": lambda x: list(enumerate(x)),
    "sorted": sorted,
    "any": any,
    "all": all,
    "sum builtin": sum,
    "min builtin": min,
    "reversed": lambda x: [y.item() for y in reversed(x)],
    "itertools": lambda x: list(itertools.chain(x)),
    "join": lambda x: ",".join(map(str, x)),
    "set": lambda x: {y.item() for y in x},
    "dict keys": lambda x: dict.fromkeys(y.item() for y in x),
    "in": lambda x: 1 in x,
    "not in": lambda x: 1 not in x,
    "operator.contains": lambda x: operator.contains(x, 1),
    "element": lambda x: x[0].item(),
    "last element": lambda x: int(x[-1]),
    "slice": lambda x: x[:1].tolist(),
    "reversed slice": lambda x: np.asarray(x[::-1]),
    "fancy element": lambda x: x[nt.asarray([1])].tolist(),
    "mask": lambda x: x[x > 0],
    "mask of another": lambda x: nt.ones(2)[x > 0],
    "index of another": lambda x: nt.ones(9)[x].tolist(),
    "index in a tuple": lambda x: nt.ones((9, 9))[x, 0].tolist(),
    "index of numpy": lambda x: np.arange(9)[x],
    "indices of take": lambda x: nt.take(nt.ones(9), x).tolist(),
    "indices of an update": lambda x: nt.ones(9).at[x].set(1.0).tolist(),
    "indices of an assignment": lambda x: assigned(nt.ones(9), x, 1.0).tolist(),
    "nonzero": nt.nonzero,
    "shape from it": lambda x: nt.zeros(tuple(x)),
    "shape it is": lambda x: nt.zeros(x),
    "repeats": lambda x: nt.repeat(nt.ones(2), x),
    "pad": lambda x: nt.pad(nt.ones(2), x),
    "textwrap": lambda x: textwrap.shorten(str(x), 10),
    "memoryview cast": lambda x: memoryview(x).tolist(),
    "array.array from a buffer": lambda x: array.array("q", bytes(x)),
}


def assigned(x, key, value):
    x[key] = value
    return x


def throw(error):
    if error is not None:
        raise error


def logged(x):
    """Logging keeps what formatting raises for `handleError`."""
    found = []

    class Handler(logging.StreamHandler):
        def handleError(self, record):
            found.append(__import__("sys").exc_info()[1])

    handler = Handler(io.StringIO())
    handler.handle(logging.LogRecord("a", logging.INFO, "", 0, "value %s", (x,), None))
    throw(found[0] if found else None)


def check(route, x):
    """The route raises the array's own report: at its first read and at all that follow."""
    reports = []
    for _ in range(MANY):
        with pytest.raises(nt.KernelFaultError) as caught:
            route(x)
        assert type(caught.value) is nt.KernelFaultError
        reports.append(caught.value.report)
        del caught
    assert all(report is reports[0] for report in reports)
    with pytest.raises(nt.KernelFaultError) as caught:
        x.tolist()
    assert caught.value.report is reports[0]
    # Once, however often it was raised.
    assert error_counts()["unobserved"] == 0


@pytest.mark.parametrize("name", [*SCALAR, *ANY])
def test_a_number(name):
    check({**SCALAR, **ANY}[name], failed(()))


@pytest.mark.parametrize("name", [*ANY, *ITERABLE])
def test_an_array(name):
    check({**ANY, **ITERABLE}[name], failed((2,)))


@pytest.mark.parametrize("name", ANY)
def test_a_matrix_seen_backwards(name):
    """A view of what failed, laid out as no buffer is."""
    check(ANY[name], nt.permute_dims(failed((2, 3)), (1, 0))[::-1])


@pytest.mark.parametrize("name", ["nothing", "numbers"])
def test_arrays_without_elements(name):
    """A failure is one also where there is nothing to read."""
    x = failed((0, 3) if name == "nothing" else (1, 3))
    for route in ("tolist", "numpy.asarray", "memoryview", "repr", "pickle", "copy", "eval"):
        check(ANY[route], x)


def test_files(tmp_path):
    x = failed((2, 2))
    check(lambda x: nt.save(tmp_path / "x.npy", x), x)
    check(lambda x: nt.save(tmp_path / "x.safetensors", {"good": nt.ones(2), "x": x}), x)
    check(lambda x: np.save(tmp_path / "y.npy", x), x)
    check(lambda x: (tmp_path / "x.bin").write_bytes(x), x)
    with contextlib.suppress(FileNotFoundError):
        assert (tmp_path / "x.bin").stat().st_size == 0
    assert not list(tmp_path.glob("x.npy"))
    assert not list(tmp_path.glob("x.safetensors"))


def test_quantised_weights():
    x = failed((4, 20), nt.uint8)
    weights = nt.io.QuantizedTensor(x, 3, (4, 32))
    check(lambda _: weights.dequantize().tolist(), x)
    check(lambda _: nt.fast.quantized_matmul(nt.ones((1, 32)), weights).tolist(), x)
    check(lambda _: nt.fast.quantized_take(weights, nt.asarray([1])).tolist(), x)


@pytest.mark.parametrize("name", ["array_repr", "array2string", "savetxt", "nditer", "einsum"])
def test_more_of_numpy(name):
    routes = {
        "array_repr": np.array2string,
        "array2string": lambda x: np.array2string(np.asarray(x)),
        "savetxt": lambda x: np.savetxt(io.StringIO(), x),
        "nditer": np.nditer,
        "einsum": lambda x: np.einsum("i->", x),
    }
    check(routes[name], failed((2,)))


@pytest.mark.parametrize("name", ["from_dlpack", "as_tensor", "tensor"])
def test_torch(name):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    check(getattr(torch, name), failed((2,)))
    check(getattr(torch, name), failed(()))


def test_where_others_replace_what_was_raised():
    """NumPy chains its own error to ours for an element, CPython says TypeError in a join."""
    x = failed(())
    for _ in range(MANY):
        with pytest.raises(ValueError, match="setting an array element") as caught:
            np.zeros(3)[0] = x
        assert isinstance(caught.value.__cause__, nt.KernelFaultError)
        with pytest.raises(TypeError, match="bytes-like"):
            b"".join([b"x", x])
    check(ANY["tolist"], x)


def test_a_limited_repr_shows_no_value():
    """reprlib swallows what a repr raises: it says that there is no value, and shows none."""
    x = failed((2,))
    for _ in range(MANY):
        assert reprlib.repr([x]).startswith("[<Array instance at 0x")
    check(ANY["tolist"], x)


def test_what_needs_no_value_does_not_raise():
    x = failed((2, 3))
    assert len(x) == operator.length_hint(x) == 2
    assert (x.shape, x.ndim, x.size, x.nbytes, x.itemsize) == ((2, 3), 2, 6, 48, 8)
    assert x.dtype is nt.int64
    assert x.device == nt.default_device()
    assert x.to_device("cpu").shape == (2, 3)
    assert x.T.shape == x.mT.shape == (3, 2)
    assert x.__dlpack_device__() == (1, 0)
    assert isinstance(x, nt.Array)
    assert hasattr(x, "tolist")
    assert not hasattr(x, "nonsense")
    assert x is x.__array_namespace__().asarray(x)
    assert (x == x).shape == (2, 3)
    assert x in [x]  # a list asks for identity first
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)
    assert id(x) == id(x)
    for unread in (x + 1, nt.sum(x), x[0], x[:, 1:], x.at[0].set(1), nt.reshape(x, (6,))):
        assert isinstance(unread, nt.Array)
    assert error_counts()["unobserved"] == 1
    check(ANY["tolist"], x)


def test_the_keys_of_a_dict_and_of_a_set_are_refused_as_ever():
    x = failed((2,))
    for job in (lambda: {x}, lambda: {x: 1}, lambda: x in {1, 2}, lambda: {}.get(x)):
        with pytest.raises(TypeError, match="unhashable"):
            job()
    check(ANY["tolist"], x)


def test_a_list_that_is_searched_for_a_failed_array():
    """Comparing gives an array, whose truth is then asked for."""
    x = failed(())
    check(lambda x: [1, 2].index(x), x)
    check(lambda x: x in [1, 2], x)
    check(lambda x: [1, 2].count(x), x)
    check(lambda x: [nt.ones(()) + 1].remove(x), x)


def test_a_handler_that_looks_at_locals():
    """Debuggers and reporters print what they find; they get the error, not a value."""
    x = failed((2,))

    def fail():
        value = x
        raise ValueError(value.shape)

    with pytest.raises(ValueError, match="2") as caught:
        fail()
    found = caught.value.__traceback__.tb_next.tb_frame.f_locals["value"]
    check(repr, found)
