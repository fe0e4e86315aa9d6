"""Work that is started without end: queues stay short, and nothing waits for itself."""

import contextlib
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from alarm import interrupt_after
from gate import Gate
from nitinol import _runtime
from threads import in_threads


@pytest.fixture(autouse=True)
def limit():
    """Queues are full with sixteen submissions."""
    before = _runtime.set_queue_limit(16)
    yield 16
    _runtime.set_queue_limit(before)


def unfinished(evaluations):
    return sum(not each.done() for each in evaluations)


def seconds(function):
    begin = time.monotonic()
    function()
    return time.monotonic() - begin


def work(n):
    """Something that takes a device some time: more than starting it takes."""
    return nt.sort(nt.random.uniform(nt.random.key(n), (n,)))


def test_an_endless_loop_queues_no_more_than_the_bound(limit):
    with nt.Stream() as stream:
        running, longest = [], 0
        for _ in range(100):
            running.append(nt.async_eval(work(5_000)))
            longest = max(longest, unfinished(running))
        nt.synchronize(stream, timeout=60)
    # An evaluation is done a moment after its place in the queue is free.
    assert longest <= 2 * limit
    assert unfinished(running) == 0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.integers(1, 20))
def test_values_and_order_are_those_without_a_bound(choices, bound):
    before = _runtime.set_queue_limit(bound)
    try:
        streams = [nt.Stream() for _ in range(4)]
        totals = [nt.zeros(2) for _ in streams]
        for step, which in enumerate(choices):
            with streams[which]:
                # Across streams as well.
                totals[which] = nt.cumulative_sum(totals[which - 1]) + step
                nt.async_eval(totals[which])
        expected = [np.zeros(2, np.float32) for _ in streams]
        for step, which in enumerate(choices):
            expected[which] = np.cumsum(expected[which - 1], dtype=np.float32) + np.float32(step)
        for ours, wanted in zip(totals, expected, strict=True):
            np.testing.assert_array_equal(np.asarray(ours), wanted)
    finally:
        _runtime.set_queue_limit(before)


def test_many_threads_share_the_bound(limit):
    with nt.Stream() as stream:
        pass
    found, longest = [], []

    def start():
        with stream:
            for _ in range(30):
                found.append(nt.async_eval(work(2_000)))
                longest.append(unfinished(found[-4 * limit :]))

    in_threads(*[start] * 4)
    nt.synchronize(stream, timeout=60)
    # Each of them may have found the last free place.
    assert max(longest) <= 2 * limit + 4
    assert unfinished(found) == 0


# --- what would wait for the caller ------------------------------------------------------------


def test_a_gate_that_the_caller_opens_afterwards():
    gate = Gate()
    with nt.Stream() as stream:
        x = gate.array()
        running = [nt.async_eval(x + i) for i in range(100)]
        gate.event.set()
        assert [each.result(30)[0].item() for each in running] == [1.0 + i for i in range(100)]
        nt.synchronize(stream, timeout=30)


def test_a_gate_on_another_stream():
    gate = Gate()
    with nt.Stream():
        x = gate.array()
        held = nt.async_eval(x)
    with nt.Stream() as stream:
        running = [nt.async_eval(x * i) for i in range(100)]
        # Others go on meanwhile.
        with nt.Stream():
            assert [nt.async_eval(nt.ones(2) + i).result(30)[0].tolist() for i in range(50)] == [
                [1.0 + i] * 2 for i in range(50)
            ]
        gate.event.set()
        held.wait(30)
        assert [each.result(30)[0].item() for each in running] == [float(i) for i in range(100)]
        nt.synchronize(stream, timeout=30)


def test_a_lock_that_the_caller_holds():
    lock, entered = threading.Lock(), threading.Event()

    def locked():
        entered.set()
        with lock:
            return 2.0

    with nt.Stream() as stream:
        with lock:
            x = nt.host_call(locked, (), nt.float32)
            running = [nt.async_eval(x + i) for i in range(60)]
            assert entered.wait(30)
        assert [each.result(30)[0].item() for each in running] == [2.0 + i for i in range(60)]
        nt.synchronize(stream, timeout=30)


def test_a_host_call_that_starts_work_itself(limit):
    started = []

    def start():
        begin = time.monotonic()
        started.extend(nt.async_eval(work(2_000)) for _ in range(5 * limit))
        return time.monotonic() - begin

    with nt.Stream() as stream:
        x = nt.host_call(start, (), nt.float32)
        nt.eval(x, timeout=60)
        nt.synchronize(stream, timeout=60)
    nt.synchronize(timeout=60)
    assert len(started) == 5 * limit
    assert unfinished(started) == 0


def test_a_callback_that_starts_work_itself(limit):
    over = threading.Event()

    def start(_):
        for _ in range(5 * limit):
            nt.async_eval(work(2_000))
        over.set()

    gate = Gate()
    with nt.Stream() as stream:
        evaluation = nt.async_eval(gate.array())
        evaluation.add_done_callback(start)
        gate.event.set()
        assert over.wait(60)
        nt.synchronize(stream, timeout=60)
    nt.synchronize(timeout=60)


def test_slow_host_calls_are_queued_no_further_than_they_are_slow(limit):
    def slow():
        time.sleep(0.005)
        return 1.0

    with nt.Stream() as stream:
        running, longest = [], 0
        for _ in range(300):
            running.append(nt.async_eval(nt.host_call(slow, (), nt.float32)))
            longest = max(longest, unfinished(running))
        nt.synchronize(stream, timeout=60)
    # Each ends within the patience of 0.1 s, but for a machine that is busy with others: waits
    # that are given up double what may be queued, the third after 0.4 s, a fourth after 0.8 s.
    assert longest <= 2**3 * (limit + 2)


# --- the wait itself ---------------------------------------------------------------------------


def test_failures_are_not_lost_in_a_full_queue(limit):
    with nt.Stream() as stream:
        bad = [nt.linalg.inv(nt.zeros((2, 2)) + i * 0) for i in range(4 * limit)]
        running = [nt.async_eval(each) for each in bad]
        assert all(isinstance(each.exception(30), nt.LinAlgError) for each in running)
        with contextlib.suppress(nt.DeviceError):
            nt.synchronize(stream, timeout=30)


def test_ctrl_c_ends_the_wait():
    gate = Gate()
    waited = []
    with nt.Stream() as stream:
        x = gate.array()

        def forever():
            while True:
                waited.append(nt.async_eval(x + 1))

        try:
            with pytest.raises(KeyboardInterrupt), interrupt_after(0.3):
                forever()
        finally:
            gate.event.set()
        assert all(each.result(30)[0].item() == 2.0 for each in waited)
        nt.synchronize(stream, timeout=30)


def test_other_threads_run_during_the_wait():
    gate = Gate()
    with nt.Stream() as stream:
        x = gate.array()

        def open_it():
            # Python code, which needs the interpreter.
            assert gate.entered.wait(30)
            gate.event.set()

        opener = threading.Thread(target=open_it)
        opener.start()
        assert seconds(lambda: [nt.async_eval(x + i) for i in range(200)]) < 30
        opener.join(30)
        assert not opener.is_alive()
        nt.synchronize(stream, timeout=30)


def test_memory_bounds_the_queue_before_its_number_does(default_device):
    n = 200_000
    # What takes the device longer than making the leaf does.
    run = nt.sort if default_device.kind == "cpu" else nt.cumulative_sum
    limit = default_device.memory_limit
    with nt.Stream() as stream:
        nt.eval(nt.ones(n) + 1)
        nt.synchronize(stream, timeout=60)
        default_device.trim()
        default_device.memory_limit = default_device.memory_stats()["in_use"] + 12 * 4 * n
        try:
            running = []
            for i in range(40):
                # The leaf is there from now on: without a bound these would not fit.
                x = nt.asarray(np.full(n, i, np.float32))
                running.append(nt.async_eval(nt.sum(run(x))))
                del x
            nt.synchronize(stream, timeout=60)
        finally:
            default_device.memory_limit = limit
    assert all(each.exception(30) is None for each in running)
