"""G4: every failure that struck is observed once, and until then it is kept."""

import contextlib
import gc
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from counts import drain_errors, error_counts

counts = error_counts


def difference(before):
    return {name: value - before[name] for name, value in counts().items() if value != before[name]}


def fail(code="timeout", stream=None):
    """An array that an injected failure spoilt, unobserved."""
    with stream or nt.Stream():
        x = nt.ones(3) + 1
        with nt.testing.inject(nt.default_device(), code):
            nt.async_eval(x).wait(10)
    return x


def observe_by_reading(x):
    with pytest.raises(nt.DeviceError) as caught:
        x.tolist()
    return caught.value.report


def test_a_failure_that_was_dropped_unread_is_raised_by_synchronize_once():
    before = counts()
    x = fail()
    del x
    gc.collect()
    assert difference(before) == {"struck": 1, "unobserved": 1}
    with pytest.raises(nt.DeviceTimeoutError):
        nt.synchronize(timeout=10)
    assert difference(before) == {"struck": 1, "raised": 1}
    nt.synchronize(timeout=10)
    assert drain_errors() == []
    assert difference(before) == {"struck": 1, "raised": 1}


def test_synchronize_raises_all_at_once_in_order():
    kept = [fail(code) for code in ("timeout", "page_fault", "out_of_memory")]
    observe_by_reading(kept[1])
    with pytest.raises(nt.DeviceErrorGroup) as caught:
        nt.synchronize(timeout=10)
    assert [report.code for report in caught.value.reports] == ["timeout", "out_of_memory"]
    # The arrays go on raising the same reports.
    assert observe_by_reading(kept[0]) is caught.value.reports[0]
    assert observe_by_reading(kept[2]) is caught.value.reports[1]


def test_synchronize_with_a_stream_leaves_the_others():
    a, b = nt.Stream(), nt.Stream()
    on_a, on_b = fail("timeout", a), fail("page_fault", b)
    with pytest.raises(nt.DeviceTimeoutError):
        nt.synchronize(a, timeout=10)
    nt.synchronize(a, timeout=10)
    assert counts()["unobserved"] == 1
    with pytest.raises(nt.KernelFaultError):
        nt.synchronize(b, timeout=10)
    observe_by_reading(on_a)
    observe_by_reading(on_b)


def test_a_new_stream_is_not_blamed_for_an_old_one():
    old = nt.Stream()
    x = fail("timeout", old)
    number = old.index
    del old
    for _ in range(3):
        new = nt.Stream()
        assert new.index != number
        nt.synchronize(new, timeout=10)
    assert observe_by_reading(x).stream == number


def test_exception_observes():
    before = counts()
    x = nt.ones(3) + 1
    with nt.testing.inject(nt.default_device(), "timeout"):
        started = nt.async_eval(x)
        error = started.exception(10)
    assert isinstance(error, nt.DeviceTimeoutError)
    assert difference(before) == {"struck": 1, "raised": 1}
    assert started.exception(10).report is error.report
    assert difference(before) == {"struck": 1, "raised": 1}


def test_what_nobody_needs_never_runs_and_never_fails():
    before = counts()
    x = nt.linalg.inv(nt.zeros((2, 2)))
    del x
    y = nt.linalg.inv(nt.zeros((2, 2)))
    z = nt.where(nt.asarray(True), nt.ones(2), nt.ones(2))
    nt.eval(z)
    del y
    nt.synchronize(timeout=10)
    assert difference(before) == {}


def test_work_that_was_dropped_before_it_started_is_skipped():
    if nt.default_device().kind != "cpu":
        pytest.skip("A host call runs on the CPU, and what crosses devices is wanted.")
    event, calls = threading.Event(), []
    before = counts()
    with nt.Stream():
        gate = nt.host_call(lambda: event.wait(10) and 1.0, (), nt.float32)
        first = nt.async_eval(gate)
        x = nt.host_call(lambda: calls.append(1) or 1 / 0, (), nt.float32)
        nt.async_eval(x + 1)
        del x
        event.set()
        first.wait(10)
        nt.synchronize(timeout=10)
    assert not calls
    assert difference(before) == {}


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["fail", "read", "drop", "drain", "synchronize", "exception", "depend"]),
        st.integers(0, 9),
    ),
    max_size=25,
)


@given(actions=ACTIONS)
def test_any_order_of_failing_and_observing(actions):
    before = counts()
    arrays, roots = [], []  # each array, and which failures spoilt it
    struck = 0
    waiting = set()
    raised = drained = 0

    def see(found):
        nonlocal raised
        raised += len(found & waiting)
        waiting.difference_update(found)

    for action, which in actions:
        i = which % len(arrays) if arrays else None
        if action == "fail":
            arrays.append(fail())
            roots.append({struck})
            waiting.add(struck)
            struck += 1
        elif action == "drain":
            assert len(drain_errors()) == len(waiting)
            drained += len(waiting)
            waiting.clear()
        elif action == "synchronize":
            if waiting:
                with pytest.raises(nt.DeviceError) as caught:
                    nt.synchronize(timeout=10)
                assert len(caught.value.reports) == len(waiting)
                see(set(waiting))
            else:
                nt.synchronize(timeout=10)
        elif i is None:
            continue
        elif action == "read":
            with pytest.raises(nt.DeviceError) as caught:
                arrays[i].tolist()
            assert len(caught.value.reports) == len(roots[i])
            see(roots[i])
        elif action == "exception":
            assert nt.async_eval(arrays[i]).exception(10) is not None
            see(roots[i])
        elif action == "depend":
            j = (which // 2) % len(arrays)
            arrays.append(arrays[i] + arrays[j])
            roots.append(roots[i] | roots[j])
        elif action == "drop":
            del arrays[i], roots[i]
    expected = {
        "struck": struck,
        "raised": raised,
        "drained": drained,
        "unobserved": len(waiting),
    }
    assert difference(before) == {name: value for name, value in expected.items() if value}
    assert len(drain_errors()) == len(waiting)


def test_threads_that_observe_the_same_failures_count_them_once():
    before = counts()
    arrays = [fail() for _ in range(40)]
    start = threading.Barrier(6)
    drained = []

    def read():
        start.wait()
        for x in arrays:
            observe_by_reading(x)

    def sweep():
        start.wait()
        for _ in range(20):
            drained.extend(drain_errors())
            with contextlib.suppress(nt.DeviceError):
                nt.synchronize(timeout=10)

    threads = [threading.Thread(target=job) for job in (read, read, read, sweep, sweep, sweep)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    found = difference(before)
    assert found["struck"] == 40
    assert found.get("raised", 0) + found.get("drained", 0) == 40
    assert found.get("drained", 0) == len(drained) == len({id(report) for report in drained})


def test_failures_that_are_raised_and_never_drained_do_not_pile_up():
    seconds = []
    x = nt.zeros((2, 2))
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(300):
            observe_by_reading(nt.linalg.inv(x + 0))
        seconds.append(time.perf_counter() - begin)
    assert counts()["unobserved"] == 0
    assert drain_errors() == []
    assert seconds[-1] < 20 * seconds[0]


def test_unobserved_failures_wait_in_order():
    before = counts()
    for _ in range(100):
        fail()
    reports = drain_errors()
    assert len(reports) == 100
    numbers = [report.submission for report in reports]
    assert numbers == sorted(numbers)
    assert difference(before) == {"struck": 100, "drained": 100}
