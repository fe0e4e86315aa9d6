"""G6: every wait ends: after failures, across streams, by its timeout, by Ctrl-C."""

import contextlib
import math
import signal
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from alarm import interrupt_after

WAITS = {
    "eval": lambda x, h, t: nt.eval(x, timeout=t),
    "wait": lambda x, h, t: h.wait(t),
    "result": lambda x, h, t: h.result(t),
    "exception": lambda x, h, t: h.exception(t),
    "synchronize": lambda x, h, t: nt.synchronize(timeout=t),
    "synchronize a device": lambda x, h, t: nt.synchronize("cpu", timeout=t),
    "retry": lambda x, h, t: nt.retry(x, timeout=t),
}


@pytest.mark.parametrize("timeout", [0, 0.05, -1])
@pytest.mark.parametrize("name", WAITS)
def test_a_wait_that_expires(gate, name, timeout):
    x = gate.array(nt.ones(2)) + 1
    started = nt.async_eval(x)
    with pytest.raises(nt.WaitTimeoutError, match=f"not done after {timeout} s; ") as caught:
        WAITS[name](x, started, timeout)
    assert isinstance(caught.value, TimeoutError)
    assert not isinstance(caught.value, nt.DeviceError)
    assert not started.done()
    gate.event.set()
    # The work went on, and the value is the same.
    assert x.tolist() == [2, 2]
    assert started.result(10)[0] is x


@pytest.mark.parametrize("name", WAITS)
def test_waits_with_every_kind_of_timeout(name):
    x = nt.ones(2) + 1
    started = nt.async_eval(x)
    for timeout in (10, 10.5, math.inf, 1e300, None, True):
        WAITS[name](x, started, timeout)


@pytest.mark.parametrize(
    ("timeout", "error"), [(math.nan, ValueError), ("1", TypeError), ([1], TypeError)]
)
@pytest.mark.parametrize("name", WAITS)
def test_timeouts_that_are_none(gate, name, timeout, error):
    """They are refused also where there is nothing to wait for, and before anything is started."""
    ready = nt.ones(2) + 1
    under_way, lazy = gate.array(nt.ones(2)), gate.array(nt.ones(2)) + 1
    for x in (ready, under_way):
        started = nt.async_eval(x)
        if x is ready:
            started.wait(10)
        with pytest.raises(error, match="number of seconds or None, not"):
            WAITS[name](x, started, timeout)
    before = nt.Device("cpu").work_counts()
    with pytest.raises(error, match="number of seconds or None, not"):
        nt.eval(lazy, timeout=timeout)
    assert nt.Device("cpu").work_counts() == before


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3000)), min_size=1, max_size=30),
    st.sampled_from(["streams", "the device", "all"]),
)
def test_what_synchronize_waited_for_is_done(submitted, whom):
    """Evaluations too, at once: not a moment later."""
    streams = [nt.Stream() for _ in range(3)]
    device = streams[0].device
    evaluations, x = [], nt.ones(3000)
    for which, n in submitted:
        with streams[which]:
            x = nt.cumulative_sum(x[:n] + 1) if n < x.shape[0] else x * 2
            evaluations.append(nt.async_eval(x, nt.sort(nt.random.uniform(nt.random.key(n), (n,)))))
    for each in {"streams": streams, "the device": [device], "all": [None]}[whom]:
        nt.synchronize(each, timeout=60)
    assert [each.done() for each in evaluations] == [True] * len(evaluations)


def test_waits_of_many_threads_end_together(gate):
    x = gate.array(nt.ones(2))
    started = nt.async_eval(x)
    found = []
    threads = [
        threading.Thread(target=lambda read=read: found.append(read()))
        for read in (x.tolist, lambda: started.result()[0].tolist(), lambda: np.asarray(x).tolist())
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert not found
    gate.event.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert found == [[1, 1]] * len(threads)


def test_a_wait_lets_other_threads_run(gate):
    x = gate.array(nt.ones(2))
    waiter = threading.Thread(target=x.tolist)
    waiter.start()
    assert gate.entered.wait(60)
    # The interpreter is free, and so is the device.
    with nt.Stream():
        assert (nt.ones(3) + 1).tolist() == [2, 2, 2]
    gate.event.set()
    waiter.join(60)
    assert not waiter.is_alive()


def test_streams_that_wait_for_each_other_end_after_a_failure():
    a, b = nt.Stream(), nt.Stream()
    x = nt.ones(4)
    for at in range(1, 12):
        arrays = [x]
        for step in range(10):
            with (a, b)[step % 2]:
                arrays.append(nt.cumulative_sum(arrays[-1]) if step % 3 else arrays[-1] + 1)
        with nt.testing.inject(nt.default_device(), "timeout", at=at) as injected:
            started = nt.async_eval(arrays)
            started.wait(60)
        error = started.exception()
        assert (error is not None) == (injected.fired == 1)
        with contextlib.suppress(nt.DeviceError):
            nt.synchronize(a, timeout=60)
        with contextlib.suppress(nt.DeviceError):
            nt.synchronize(b, timeout=60)


def test_a_stream_goes_on_after_a_failure():
    stream = nt.Stream()
    with stream:
        bad = nt.linalg.inv(nt.zeros((2, 2)))
        good = nt.ones(3) + 1
        nt.async_eval(bad)
        started = nt.async_eval(good)
    assert started.result(10)[0].tolist() == [2, 2, 2]
    with pytest.raises(nt.LinAlgError):
        nt.synchronize(stream, timeout=60)
    nt.synchronize(stream, timeout=60)


def test_work_that_cannot_have_memory_waits_for_nobody(gate):
    # A callback that never returns holds the little memory that it needs.
    held = nt.async_eval(gate.array(nt.ones(2)))
    assert gate.entered.wait(60)
    with nt.Stream():
        with pytest.raises(nt.OutOfMemoryError):
            nt.eval(nt.zeros((2**45,)) + 1, timeout=60)
        assert nt.sum(nt.ones(100_000) + 1).item() == 200_000
        nt.eval(nt.zeros((300, 300)) @ nt.zeros((300, 300)), timeout=60)
    assert not held.done()


# --- inside a host call ------------------------------------------------------------------------


def inside(read, x):
    """What a read of x raises inside a host call, or gives."""

    def call():
        read(x)
        return 1.0

    try:
        return nt.host_call(call, (), nt.float32).item()
    except nt.HostCallbackError as error:
        return error.__cause__


INSIDE = {
    "read": lambda x: x.tolist(),
    "asarray": np.asarray,
    "eval": lambda x: nt.eval(x, timeout=5),
    "wait": lambda x: nt.async_eval(x).wait(5),
    "result": lambda x: nt.async_eval(x).result(5),
    "synchronize": lambda x: nt.synchronize(timeout=5),
}


@pytest.mark.parametrize("name", INSIDE)
def test_a_wait_inside_a_host_call_is_refused(name):
    x = nt.sum(nt.ones(100_000) + 1)
    error = inside(INSIDE[name], x)
    assert type(error) is RuntimeError
    assert "host callback can't wait" in str(error)
    assert x.item() == 200_000


def test_what_is_there_may_be_read_inside_a_host_call():
    x = nt.ones(3) + 1
    nt.eval(x)
    for name in ("read", "asarray", "eval", "wait", "result"):
        assert inside(INSIDE[name], x) == 1.0


def test_work_may_be_started_inside_a_host_call():
    kept = []
    x = nt.host_call(lambda: kept.append(nt.async_eval(nt.ones(3) + 1)) or 1.0, (), nt.float32)
    assert x.item() == 1.0
    assert kept[0].result(10)[0].tolist() == [2, 2, 2]


def test_a_failed_array_inside_a_host_call_raises_its_own_error():
    x = nt.ones(3) + 1
    with nt.testing.inject(nt.default_device(), "timeout"):
        nt.async_eval(x).wait(60)
    error = inside(INSIDE["read"], x)
    assert isinstance(error, nt.DeviceTimeoutError)
    with pytest.raises(nt.DeviceTimeoutError) as caught:
        x.tolist()
    assert caught.value.report is error.report


def test_other_threads_wait_while_a_host_call_runs(gate):
    held = nt.async_eval(gate.array(nt.ones(2)))
    assert gate.entered.wait(60)
    with nt.Stream():
        assert nt.sum(nt.ones(100_000) + 1).item() == 200_000
    gate.event.set()
    held.result(10)


def test_the_arguments_of_a_host_call_are_read_only_copies():
    kept = []

    def call(x, y):
        for argument in (x, y):
            assert isinstance(argument, np.ndarray)
            with pytest.raises(ValueError, match="read-only"):
                argument[...] = 0
            with pytest.raises(ValueError, match="read-only"):
                argument += 1
        kept.extend([x, y])
        return x + y

    base = nt.asarray(np.arange(6, dtype="float32").reshape(2, 3))
    x = nt.host_call(call, (3,), nt.float32, base[1, ::-1], base[0])
    assert x.tolist() == [5, 5, 5]
    del base
    nt.eval([nt.ones(3) * i for i in range(50)])
    assert kept[0].tolist() == [5, 4, 3]
    assert kept[1].tolist() == [0, 1, 2]


# --- Ctrl-C ------------------------------------------------------------------------------------

INTERRUPTIBLE = {
    **WAITS,
    "tolist": lambda x, h, t: x.tolist(),
    "asarray": lambda x, h, t: np.asarray(x),
    "array": lambda x, h, t: np.array(x),
    "memoryview": lambda x, h, t: memoryview(x),
    "numpy operator": lambda x, h, t: np.ones(2) + np.asarray(x),
    "ufunc": lambda x, h, t: np.exp(x),
    "repr": lambda x, h, t: repr(x),
    "iteration": lambda x, h, t: list(x),
}


@pytest.mark.parametrize("name", INTERRUPTIBLE)
def test_ctrl_c_ends_a_wait_at_once(gate, name):
    x = gate.array(nt.ones(2))
    started = nt.async_eval(x)
    assert gate.entered.wait(60)

    with pytest.raises(KeyboardInterrupt), interrupt_after(0.1):
        INTERRUPTIBLE[name](x, started, None)
    assert not started.done()
    gate.event.set()
    assert x.tolist() == [1, 1]


def test_a_signal_whose_handler_raises_nothing_does_not_end_a_wait(gate):
    x = gate.array(nt.ones(2))
    calls = []

    def handler(*args):
        calls.append(args)
        if len(calls) == 6:
            gate.event.set()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
    try:
        nt.eval(x, timeout=60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(calls) > 5
