"""Nothing stays behind: nodes, memory, and the Python objects that the device held."""

import contextlib
import gc
import threading
import time
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs
import leaks
import nitinol as nt
from failing import observed


def settle():
    """Let go of what is let go of in the end, failures that nobody reads included."""
    gc.collect()
    return leaks.alive()[0]


def no_leak(job, times=3):
    """Run a job a few times, or complain of what it leaves behind."""
    job()  # what is made once and kept
    before = settle()
    for _ in range(times):
        job()
    assert not leaks.left_behind(before)


def failing():
    return nt.linalg.inv(nt.zeros((8, 8)) + 0)


def read_failure():
    with pytest.raises(nt.LinAlgError):
        failing().tolist()


def error_with_a_cause():
    def fail(x):
        raise ValueError(x)

    with pytest.raises(nt.HostCallbackError):
        nt.host_call(fail, (3,), nt.float32, nt.ones(3) + 1).tolist()


def expired():
    event = threading.Event()
    x = nt.host_call(lambda: event.wait(60) and 1.0, (), nt.float32) + nt.ones(500)
    with pytest.raises(nt.WaitTimeoutError):
        nt.eval(x, timeout=0.01)
    event.set()


def dropped_in_flight():
    event = threading.Event()
    x = nt.host_call(lambda: event.wait(60) and 1.0, (), nt.float32) + nt.ones(500)
    nt.async_eval(x * 2, x @ x)
    del x
    event.set()


def cache_that_grows():
    cache = nt.zeros((64, 32)) + 0
    for row in range(20):
        cache = nt.slice_update(cache, nt.ones((1, 32)), row)
        nt.eval(cache)


def cache_that_fails():
    cache = nt.zeros((64, 32)) + 0
    nt.eval(cache)
    with nt.testing.inject(nt.default_device(), "timeout", at=3):
        for row in range(5):
            cache = nt.slice_update(cache, nt.ones((1, 32)), row)
            with contextlib.suppress(nt.DeviceError):
                nt.eval(cache)


def chain():
    x = nt.ones(16)
    for _ in range(20_000):
        x = x + 1
    nt.eval(x)
    del x


def chain_that_fails():
    x = nt.sum(failing()) + nt.ones(16)
    for _ in range(20_000):
        x = x + 1
    with pytest.raises(nt.LinAlgError):
        nt.eval(x)


def chain_that_is_retried():
    first = nt.ones(16) + 1
    x = first
    for _ in range(2_000):
        x = x + 1
    total = nt.sum(x) + x
    with nt.testing.inject(nt.default_device(), "timeout"), pytest.raises(nt.DeviceTimeoutError):
        nt.eval(total, first)
    nt.retry(total)
    nt.retry(first)
    assert total[0].item() == 17 * 2002


def cache_that_is_retried():
    if nt.default_device().kind != "cpu":
        return  # where units don't run in turn, the cache may have been donated
    cache = nt.zeros((64, 32)) + 0
    nt.eval(cache)
    for row in range(5):
        cache = nt.slice_update(cache, nt.ones((1, 32)), row)
        with nt.testing.inject("cpu", "page_fault"), pytest.raises(nt.KernelFaultError):
            nt.eval(cache)
        nt.retry(cache)


def exports():
    x = nt.ones((10, 10)) + 1
    kept = [np.asarray(x), memoryview(x), np.from_dlpack(x), x.T, x[::-1]]
    del x
    assert kept[0].sum() == 200


def borrowed():
    value = np.ones(1000, dtype="float32")
    x = nt.asarray(value, device="cpu", copy=False)
    assert (x + 1).sum().item() == 2000


def refused_for_memory():
    with pytest.raises(nt.OutOfMemoryError):
        nt.eval(nt.zeros((2**45,)) + 1)


JOBS = {
    "values": lambda: nt.eval(nt.ones((10, 10)) @ nt.ones((10, 10)) + 1),
    "never evaluated": lambda: nt.ones((10, 10)) @ nt.ones((10, 10)) + 1,
    "many arrays": lambda: nt.eval([nt.ones(100) + i for i in range(500)]),
    "failures that are read": read_failure,
    "failures that nobody reads": lambda: nt.async_eval(failing(), failing() + 1),
    "errors with a cause": error_with_a_cause,
    "waits that expire": expired,
    "work dropped in flight": dropped_in_flight,
    "a cache that grows": cache_that_grows,
    "a cache that fails": cache_that_fails,
    "a cache that is retried": cache_that_is_retried,
    "a chain that is retried": chain_that_is_retried,
    "a chain": chain,
    "a chain that fails": chain_that_fails,
    "exports": exports,
    "borrowed memory": borrowed,
    "memory that can't be had": refused_for_memory,
    "streams": lambda: [nt.Stream() for _ in range(100)],
}


@pytest.mark.parametrize("name", JOBS)
def test_nothing_stays_behind(name):
    no_leak(JOBS[name])


@given(
    program=graphs.programs(failing=True),
    limit=st.sampled_from([1, 1000]),
    at=st.integers(1, 10),
)
def test_nothing_of_a_random_graph_stays_behind(streams, program, limit, at):
    before = settle()
    with graphs.fusion(limit), nt.testing.inject(nt.default_device(), "timeout", at=at):
        arrays = program.build(streams)
        nt.async_eval(arrays[::2])
        for array in arrays[::3]:
            graphs.errors_of(array)
        del arrays, array
        observed()
    assert not leaks.left_behind(before)


class Thing:
    """Something a weak reference can watch."""


def gone(reference):
    end = time.monotonic() + 5
    while reference() is not None and time.monotonic() < end:
        settle()
        time.sleep(0.01)
    return reference() is None


def test_the_function_of_a_host_call_is_let_go_when_it_is_done():
    thing = Thing()
    x = nt.host_call(lambda kept=thing: 1.0, (), nt.float32)
    reference = weakref.ref(thing)
    del thing
    gc.collect()
    assert reference() is not None
    x.item()
    assert gone(reference)
    assert x.item() == 1.0


def test_the_function_of_a_host_call_that_is_never_needed_is_let_go():
    thing = Thing()
    x = nt.host_call(lambda kept=thing: 1.0, (), nt.float32)
    reference = weakref.ref(thing)
    del thing, x
    assert gone(reference)


def test_the_exception_of_a_host_call_is_let_go_with_its_array():
    things = []

    def fail():
        things.append(Thing())
        error = ValueError()
        error.thing = things[0]
        raise error

    x = nt.host_call(fail, (), nt.float32)
    with pytest.raises(nt.HostCallbackError):
        x.item()
    reference = weakref.ref(things.pop())
    gc.collect()
    assert reference() is not None
    del x
    assert gone(reference)


def test_a_report_keeps_no_array_alive():
    x = failing()
    with pytest.raises(nt.LinAlgError) as caught:
        x.tolist()
    report = caught.value.report
    del caught
    before = settle()
    del x
    assert settle()["nodes"] < before["nodes"]
    assert report.code == "singular_matrix"


def test_a_borrowed_array_is_let_go():
    class Base(np.ndarray):
        pass

    value = np.ones(100).view(Base)
    reference = weakref.ref(value)
    x = nt.asarray(value, device="cpu", copy=False)
    del value
    gc.collect()
    assert reference() is not None
    assert x.sum().item() == 100
    del x
    assert gone(reference)
