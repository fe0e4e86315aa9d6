"""G5: threads that read, evaluate, fail, drop and rebind the same arrays see no race."""

import contextlib
import functools
import random
import sys
import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import graphs
import nitinol as nt
from counts import drain_errors, error_counts
from threads import in_threads

SECONDS = 1.5


def together(*jobs, seconds=SECONDS):
    """Repeat jobs on a thread each for a while; raise the first thing that goes wrong."""
    end = time.monotonic() + seconds
    rounds = [0] * len(jobs)

    def run(number, job):
        chance = random.Random(number)
        while time.monotonic() < end:
            job(chance)
            rounds[number] += 1

    in_threads(*[functools.partial(run, *each) for each in enumerate(jobs)])
    assert all(rounds)


def test_many_threads_want_the_same_array_first():
    def job(chance):
        with nt.Stream():
            x = nt.ones((20, 20)) @ nt.ones((20, 20)) + 1
            parts = [nt.sum(x), nt.max(x), x[3, 4], nt.sum(x * x)]
        expected = [21 * 400, 21, 21, 21 * 21 * 400]
        order = chance.sample(range(4), 4)
        found = {}
        threads = [
            threading.Thread(target=lambda i=i: found.__setitem__(i, parts[i].item()))
            for i in order
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert [found[i] for i in range(4)] == expected

    together(job, job)


def test_a_handle_that_is_rebound_while_others_read_it():
    shared = [nt.zeros(64)]

    def write(chance):
        value = float(chance.randrange(1000))
        shared[0][:] = value
        if chance.random() < 0.2:
            shared[0] = shared[0] + 0

    def read(chance):
        x = shared[0]
        route = chance.choice(["asarray", "tolist", "item", "memoryview", "pass", "sum", "eval"])
        if route == "asarray":
            found = np.array(x)
        elif route == "tolist":
            found = np.array(x.tolist())
        elif route == "memoryview":
            found = np.array(memoryview(x))
        elif route == "item":
            found = np.array([x[0].item()])
        elif route == "sum":
            found = np.array([(x - x[0]).sum().item()])
            return
        elif route == "eval":
            nt.eval(x)
            return
        else:
            x + 1
            return
        assert (found == found[0]).all()

    together(write, write, read, read)


def test_a_failure_that_numpy_swallows_amid_a_retry_is_not_observed(monkeypatch):
    """NumPy swallows what the buffer protocol raises, asks again and finds the new value."""
    before = error_counts()
    x = nt.ones(3) + 1
    with nt.testing.inject(nt.default_device(), "timeout"):
        nt.async_eval(x).wait(60)
    usual = nt.errors.exception_class

    def meanwhile(code):
        monkeypatch.setattr(nt.errors, "exception_class", usual)
        other = threading.Thread(target=nt.retry, args=(x,))
        other.start()
        other.join(60)
        return usual(code)

    monkeypatch.setattr(nt.errors, "exception_class", meanwhile)
    assert np.asarray(x).tolist() == [2, 2, 2]
    assert nt.errors.exception_class is usual
    after = error_counts()
    assert after["unobserved"] == 1
    assert after["raised"] == before["raised"]
    with pytest.raises(nt.DeviceTimeoutError):
        nt.synchronize(timeout=60)


def test_no_failure_is_swallowed_while_others_retry():
    """What counts as raised was caught by somebody, whoever bound the array anew meanwhile."""
    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(100):
            check_that_raised_is_caught()
    finally:
        sys.setswitchinterval(switch)


def check_that_raised_is_caught():
    before = error_counts()["raised"]
    x = nt.linalg.inv(nt.zeros((2, 2)) + 0) + nt.linalg.inv(nt.ones((2, 2)) + 0)
    nt.async_eval(x).wait(60)
    caught = set()

    def repeat(job):
        for _ in range(4):
            with pytest.raises(nt.DeviceError) as error:
                job(x)
            caught.update((r.device, r.submission, r.unit) for r in error.value.reports)

    in_threads(*(functools.partial(repeat, job) for job in (np.asarray, np.asarray, nt.retry)))
    assert error_counts()["raised"] - before == len(caught)
    drain_errors()  # those that were retried before anybody read them


def test_failures_while_others_compute_on_the_same_streams():
    streams = [nt.Stream() for _ in range(3)]
    ones = nt.ones((8, 8))

    def healthy(chance):
        with chance.choice(streams):
            x = ones + chance.randrange(5)
        with chance.choice(streams):
            y = x @ ones
        value = np.asarray(x)[0, 0]
        assert (np.asarray(y) == 8 * value).all()

    def failing(chance):
        with chance.choice(streams):
            bad = nt.linalg.inv(ones * 0)
        with chance.choice(streams):
            worse = bad + ones
        with pytest.raises(nt.LinAlgError) as caught:
            chance.choice([bad, worse]).tolist()
        with pytest.raises(nt.LinAlgError) as again:
            worse.tolist()
        assert again.value.report is caught.value.report

    together(healthy, healthy, failing, failing)


def test_arrays_that_are_dropped_at_any_moment():
    def job(chance):
        with nt.Stream():
            x = nt.ones((30, 30))
            arrays = [x]
            for _ in range(10):
                a, b = chance.choice(arrays), chance.choice(arrays)
                arrays.append(chance.choice([nt.add, nt.maximum])(a, b) * 0.5)
            nt.async_eval(chance.sample(arrays, 4))
            while len(arrays) > 1:
                del arrays[chance.randrange(len(arrays))]
            assert np.isfinite(np.asarray(arrays[0])).all()

    together(job, job, job)


def test_host_calls_from_many_threads():
    def job(chance):
        with nt.Stream():
            n = chance.randrange(1000)
            x = nt.host_call(lambda a: a + n, (4,), nt.float32, nt.ones(4) * 2)
            assert (x + 1).tolist() == [n + 3.0] * 4
            bad = nt.host_call(lambda: 1 / 0, (), nt.float32)
            with pytest.raises(nt.HostCallbackError):
                (bad + x).tolist()

    together(job, job, job)


def test_updates_in_place_never_change_what_others_hold():
    def job(chance):
        with nt.Stream():
            cache = nt.zeros((16, 4)) + 0
            kept = []
            for row in range(8):
                if chance.random() < 0.3:
                    kept.append((cache, row))
                cache = nt.slice_update(cache, nt.ones((1, 4)) * (row + 1), row)
                if chance.random() < 0.3:
                    nt.async_eval(cache)
            for array, rows in kept:
                expected = np.zeros((16, 4))
                expected[:rows] = np.arange(1, rows + 1)[:, None]
                np.testing.assert_array_equal(np.asarray(array), expected)
            assert np.asarray(cache)[:8].sum() == 4 * 36

    together(job, job, job)


def test_injections_while_others_compute():
    before = error_counts()
    fired = []

    def inject(chance):
        with nt.testing.inject(
            nt.default_device(), "timeout", chance.randrange(1, 20), 2
        ) as injected:
            time.sleep(0.002)
        fired.append(injected.fired)

    def compute(chance):
        with nt.Stream():
            x = nt.ones(16) + 1
            y = nt.sum(x)
            with contextlib.suppress(nt.DeviceError):
                assert y.item() == 32
            with contextlib.suppress(nt.DeviceError):
                assert (x * 2).tolist() == [4] * 16

    together(inject, compute, compute, compute)
    after = error_counts()
    with contextlib.suppress(nt.DeviceError):
        nt.synchronize(timeout=60)
    assert after["struck"] - before["struck"] == sum(fired)


@settings(max_examples=15)
@given(program=graphs.programs(failing=True, min_steps=10), seed=st.integers(0, 2**32))
def test_threads_that_build_on_what_others_build(streams, program, seed):
    # Every thread builds the whole graph over the same leaves, and reads parts of the others'.
    values, roots = program.values(), program.roots()
    built = [None] * 3
    start = threading.Barrier(3)

    def job(number):
        built[number] = program.build(streams)
        start.wait(60)
        chance = random.Random(seed + number)
        for _ in range(15):
            i = chance.randrange(len(program.steps))
            x = chance.choice(built)[i]
            y = chance.choice(built)[i]
            expected = roots[i]
            for array in (x, x + y):
                errors = graphs.errors_of(array)
                assert {graphs.failing_step(error) for error in errors} == expected
            if not expected and x.dtype is not nt.bool:
                graphs.assert_value(x + y, values[i] + values[i])

    in_threads(*[functools.partial(job, number) for number in range(3)])
    with contextlib.suppress(nt.DeviceError):
        nt.synchronize(timeout=60)
