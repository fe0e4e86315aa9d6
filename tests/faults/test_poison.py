"""G2: every route that reads a failed array raises the same report, every time."""

import copy
import functools
import gc
import pickle
import random
import traceback

import numpy as np
import pytest

import nitinol as nt
from counts import error_counts
from failing import failed
from threads import in_threads

SCALAR = {
    "item": lambda x: x.item(),
    "bool": bool,
    "int": int,
    "float": float,
    "complex": complex,
    "index": lambda x: range(9)[x],
}
ANY = {
    "tolist": lambda x: x.tolist(),
    "asarray": np.asarray,
    "asarray with a dtype": lambda x: np.asarray(x, dtype="float64"),
    "array": np.array,
    "array without a copy": lambda x: np.array(x, copy=False),
    "__array__": lambda x: x.__array__(),
    "memoryview": memoryview,
    "bytes": bytes,
    "dlpack": lambda x: x.__dlpack__(),
    "from_dlpack": np.from_dlpack,
    "repr": repr,
    "str": str,
    "format": format,
    "f-string": lambda x: f"{x}",
    "pickle": pickle.dumps,
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "ufunc": np.exp,
    "numpy operator": lambda x: np.add(np.ones(1), x),
    "copyto": lambda x: np.copyto(np.empty(x.shape), x),
    "assignment": lambda x: np.empty(x.shape).__setitem__(..., x),
    "eval": nt.eval,
    "nested eval": lambda x: nt.eval({"a": [x, (x,)]}),
    "evaluation": lambda x: nt.async_eval(x).result(),
    "dependent": lambda x: (x + 1).tolist(),
    "view": lambda x: nt.reshape(x, (-1,)).tolist(),
    "sum": lambda x: x.sum().item(),
    "array in a list": lambda x: nt.asarray([x.tolist()]),
}
ITERABLE = {
    "iteration": list,
    "loop": lambda x: [None for _ in x],
    "iter": iter,
    "unpacking": lambda x: (lambda *parts: None)(*x),
    "in": lambda x: 1 in x,
    "not in": lambda x: 1 not in x,
    "item of it": lambda x: x[0].tolist(),
    "save": None,  # filled in by the test
    "sorted": sorted,
    "boolean mask": lambda x: x[x > 0],
    "nonzero": nt.nonzero,
}


def reads(route, x, times=4):
    """Read several times, and check that each raises afresh from one report."""
    found = []
    for _ in range(times):
        with pytest.raises(nt.KernelFaultError) as caught:
            route(x)
        found.append(caught.value)
    assert len({id(error) for error in found}) == times
    assert all(error.report is found[0].report for error in found)
    return found[0].report


@pytest.mark.parametrize("name", [*SCALAR, *ANY])
def test_scalars(name):
    x = failed(())
    report = reads({**SCALAR, **ANY}[name], x)
    with pytest.raises(nt.KernelFaultError) as caught:
        x.item()
    assert caught.value.report is report


@pytest.mark.parametrize("name", [*ANY, *ITERABLE])
def test_arrays(name, tmp_path):
    routes = {**ANY, **ITERABLE, "save": lambda x: nt.save(tmp_path / "x.npy", x)}
    x = failed((2,))
    report = reads(routes[name], x)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(nt.KernelFaultError) as caught:
        x.tolist()
    assert caught.value.report is report


@pytest.mark.parametrize("dtype", [d.name for d in nt.dtypes.ALL])
def test_every_dtype(dtype):
    x = failed((1,), getattr(nt, dtype))
    for name in ("item", "tolist", "asarray", "memoryview", "repr", "pickle"):
        reads({**SCALAR, **ANY}[name], x, 2)


def test_what_needs_no_value_does_not_raise():
    x = failed((2, 3))
    assert len(x) == 2
    assert (x.shape, x.ndim, x.size, x.dtype, x.nbytes) == ((2, 3), 2, 6, nt.int64, 48)
    assert x.device == nt.default_device()
    assert x.__dlpack_device__() == (1, 0)
    assert (x + 1).shape == (2, 3)
    assert error_counts()["unobserved"] == 1
    with pytest.raises(nt.KernelFaultError):
        x.tolist()


def test_the_report_outlives_the_array_and_is_the_same_for_every_reader():
    x = failed((2,))
    y, z = x + 1, nt.sum(x)
    reports = set()
    for array in (x, y, z, x[0]):
        try:
            array.tolist()
        except nt.DeviceError as error:
            reports.add(id(error.report))
        gc.collect()
    # Nobody held the report in between; the array did.
    assert len(reports) == 1
    with pytest.raises(nt.KernelFaultError) as caught:
        x.tolist()
    del x, y, z, array
    assert caught.value.report.op == "add"
    assert "page_fault" in str(caught.value)


def test_raising_often_grows_nothing():
    x = failed()
    depths = []
    for _ in range(50):
        try:
            x.tolist()
        except nt.DeviceError as error:
            depths.append(len(traceback.extract_tb(error.__traceback__)))
    assert len(set(depths)) == 1
    assert depths[0] < 10


def test_a_report_cannot_be_changed():
    x = failed()
    with pytest.raises(nt.KernelFaultError) as caught:
        x.tolist()
    with pytest.raises(AttributeError):
        caught.value.report.code = "internal"
    with pytest.raises((AttributeError, TypeError)):
        caught.value.report.anything = 1


def test_setting_an_item_of_a_failed_array_gives_a_failed_array():
    x = failed()
    x[0] = 5
    reads(ANY["tolist"], x)
    x += 1
    reads(ANY["tolist"], x)


def test_overwriting_all_of_a_failed_array_is_still_spoilt():
    x = failed()
    x[:] = 5
    reads(ANY["tolist"], x)


def test_a_failed_array_stays_failed_while_others_are_computed():
    x = failed()
    for _ in range(20):
        y = nt.ones(2) + 1
        nt.eval(y)
        assert y.tolist() == [2.0, 2.0]
        reads(ANY["tolist"], x, 1)


def test_reads_from_several_threads_in_any_order():
    arrays = [failed((2,)) for _ in range(8)]
    routes = [ANY[name] for name in ("tolist", "asarray", "memoryview", "repr", "pickle", "eval")]
    reports = [set() for _ in arrays]
    wrong = []

    def read(seed):
        chance = random.Random(seed)
        for _ in range(60):
            i = chance.randrange(len(arrays))
            try:
                chance.choice(routes)(arrays[i])
                wrong.append(i)
            except nt.KernelFaultError as error:
                reports[i].add(id(error.report))

    in_threads(*[functools.partial(read, seed) for seed in range(4)])
    assert not wrong
    for array in arrays:
        with pytest.raises(nt.KernelFaultError):
            array.tolist()
    assert [len(found) for found in reports] == [1] * len(arrays)


def test_an_asarray_that_needs_no_copy_does_not_hide_the_failure():
    x = failed()
    assert nt.asarray(x) is x
    reads(lambda x: nt.asarray(x, copy=True).tolist(), x)
    reads(lambda x: nt.asarray(x, dtype=nt.float32).tolist(), x)
    reads(lambda x: nt.from_dlpack(x).tolist(), x)
