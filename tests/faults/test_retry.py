"""G8 and G9: failed arrays are computed again with the same bits; what can be mended is mended."""

import contextlib
import functools
import os
import pickle
import random
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs
import nitinol as nt
from failing import fail, fail_for_real, observed
from threads import in_threads

PHASES = ("encode", "commit", "completion")
# What can strike without ending the device, and without being mended by it.
CODES = ("timeout", "page_fault", "not_permitted", "invalid_resource", "internal", "out_of_memory",
         "innocent_victim", "impacting_interactivity", "io")  # fmt: skip
RULES = st.lists(
    st.tuples(
        st.sampled_from(CODES), st.integers(1, 12), st.integers(1, 3), st.sampled_from(PHASES)
    ),
    min_size=1,
    max_size=3,
)


# --- the property --------------------------------------------------------------------------


@given(
    program=graphs.programs(),
    limit=graphs.FUSION,
    rules=RULES,
    seed=st.integers(0, 2**32),
    drop=st.sampled_from([0, 0.5]),
    threads=st.integers(1, 3),
)
def test_retried_arrays_have_the_bits_of_a_run_without_failures(
    streams, program, limit, rules, seed, drop, threads
):
    values = program.values()
    chance = random.Random(seed)
    with graphs.fusion(limit), contextlib.ExitStack() as stack:
        arrays = dict(enumerate(program.build(streams)))
        for code, at, times, phase in rules:
            stack.enter_context(nt.testing.inject(nt.default_device(), code, at, times, phase))
        if drop:
            arrays = {i: x for i, x in arrays.items() if chance.random() > drop}
        for i in chance.sample(list(arrays), len(arrays)):
            nt.async_eval(arrays[i])
        observed()
    nt.default_device().reset()
    reports = {i: graphs.reports_of(x) for i, x in arrays.items()}
    healthy = {i for i, found in reports.items() if not found}
    for i in healthy:
        graphs.assert_value(arrays[i], values[i])
    order = chance.sample(list(arrays), len(arrays))
    refused = set()

    def work(mine):
        while mine:
            some = [mine.pop() for _ in range(min(len(mine), 2))]
            if not retry_or_refuse([arrays[i] for i in some]):
                # An update in place took what one of them needs; then each tells for itself.
                refused.update(i for i in some if not retry_or_refuse([arrays[i]]))
            for i in set(some) - refused:
                graphs.assert_value(arrays[i], values[i])
            for i in set(some) & refused:
                assert graphs.reports_of(arrays[i]) == reports[i]
            if threads == 1:
                for i in mine:  # nobody else's reports have changed
                    assert graphs.reports_of(arrays[i]) == reports[i]

    in_threads(*[functools.partial(work, order[t::threads]) for t in range(threads)])
    assert not refused & healthy
    if not drop:
        # Every array is held: nothing was given away.
        assert not refused


def retry_or_refuse(arrays):
    try:
        nt.retry(arrays, timeout=60)
    except nt.RecoveryError as error:
        if error.reason != "donated":
            raise
        return False
    return True


# --- what is retried, and what is left alone --------------------------------------------------


def test_one_handle_is_retried_and_others_keep_their_report():
    a = nt.ones(4) + 1
    b, c = a * 3, a - 1
    nt.eval(c)
    report = fail(b, code="timeout").report
    alias = b.reshape(2, 2)
    nt.retry(b)
    assert b.tolist() == [6.0] * 4
    with pytest.raises(nt.DeviceTimeoutError) as caught:
        alias.tolist()
    assert caught.value.report is report
    assert c.tolist() == [1.0] * 4
    nt.retry(alias)
    assert alias.tolist() == [[6.0] * 2] * 2


def test_what_was_computed_again_is_shared():
    calls = []

    def count(x):
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return x

    p = nt.host_call(count, (3,), nt.float32, nt.ones(3))
    a, b = p + 1, p * 2
    observed_error = fail_for_real(a, b)
    assert observed_error.report.code == "host_callback"
    nt.retry(a)
    nt.retry(b)
    nt.retry([p, {"a": a}])
    assert (a.tolist(), b.tolist(), p.tolist()) == ([2.0] * 3, [2.0] * 3, [1.0] * 3)
    assert len(calls) == 2


def test_a_retry_that_fails_raises_like_eval_and_can_be_repeated():
    x = nt.linalg.inv(nt.zeros((2, 2)) + 0)
    first = fail_for_real(x).report
    for _ in range(3):
        with pytest.raises(nt.LinAlgError) as caught:
            nt.retry(x)
        assert caught.value.report is not first
        assert fail_for_real(x).report is caught.value.report
        first = caught.value.report


def test_several_failures_are_a_group():
    a, b = nt.linalg.inv(nt.zeros((2, 2))), nt.take(nt.ones(3), nt.asarray([7]))
    fail_for_real(a, b)
    with pytest.raises(nt.DeviceErrorGroup) as caught:
        nt.retry(a, [b])
    assert len(caught.value.reports) == 2


def test_arrays_that_have_not_failed_are_evaluated():
    a, b = nt.ones(2) + 1, nt.ones(2)
    nt.retry(a, b, a)
    nt.retry()
    assert a.tolist() == [2.0] * 2
    with pytest.raises(TypeError, match="not int"):
        nt.retry(3)


def test_an_array_that_nobody_asked_for_yet_may_need_it():
    a = nt.ones(2) + 1
    fail(a)
    b = a * 2
    nt.retry(b)
    assert b.tolist() == [4.0] * 2
    assert fail_for_real(a).report.code == "page_fault"


def test_an_array_that_is_under_way_is_waited_for():
    event, calls = threading.Event(), []

    def late():
        event.wait(10)
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        return 1.0

    x = nt.host_call(late, (), nt.float32)
    started = nt.async_eval(x)
    with pytest.raises(nt.WaitTimeoutError):
        nt.retry(x, timeout=0.01)
    event.set()
    nt.retry(x, timeout=10)
    assert x.item() == 1.0
    assert isinstance(started.exception(), nt.HostCallbackError)


def test_a_retry_has_a_time_limit():
    event = threading.Event()
    x = nt.host_call(lambda: event.wait(10) and 1.0, (), nt.float32) + 1
    with nt.testing.inject("cpu", "page_fault", phase="encode"):
        assert fail_for_real(x).report.code == "page_fault"
    with pytest.raises(nt.WaitTimeoutError):
        nt.retry(x, timeout=0.01)
    event.set()
    assert x.item() == 2.0


def test_what_a_watchdog_ended_runs_one_kernel_a_submission():
    def chain():
        x = nt.ones((50, 50))
        nt.eval(x)
        for _ in range(5):
            x = x * 2 + 1
        return x

    whole = chain()
    before = nt.default_device().work_counts()
    nt.async_eval(whole).wait()
    together = nt.default_device().work_counts()["units"] - before["units"]
    x = chain()
    fail(x, code="timeout")
    before = nt.default_device().work_counts()
    nt.retry(x)
    after = nt.default_device().work_counts()
    submissions, units = (after[name] - before[name] for name in ("submissions", "units"))
    assert submissions == units > together
    assert x.tolist() == whole.tolist()


def test_a_file_that_was_mended(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(100, dtype=np.float32))
    whole = path.read_bytes()
    x = nt.load(path) * 2
    status = path.stat()
    path.write_bytes(whole[:300])
    fail_for_real(x)
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    nt.retry(x)
    np.testing.assert_array_equal(np.asarray(x), np.arange(100, dtype=np.float32) * 2)


# --- updates in place -------------------------------------------------------------------------


def filled(shape=(4, 2)):
    x = nt.zeros(shape) + 1
    nt.eval(x)
    return x


@pytest.mark.parametrize("phase", PHASES)
def test_a_step_of_a_key_value_cache_is_retried_at_the_same_position(phase):
    cache, expected = filled(), np.ones((4, 2), np.float32)
    rows = nt.asarray([[7.0, 8.0]], dtype=nt.float32)
    nt.eval(rows)
    for position in range(3):
        cache = nt.slice_update(cache, rows, position)
        fail(cache, phase=phase)
        nt.retry(cache)
        expected[position] = [7, 8]
        assert np.asarray(cache).tolist() == expected.tolist()


def test_an_update_that_can_not_be_repeated_says_that_its_input_was_donated():
    x = filled((3,))
    index = nt.asarray([0, 0])
    x = x.at[index].add(1.0)
    report = fail(x).report
    with pytest.raises(nt.RecoveryError, match=r"shape \(3,\) and dtype float32.*scatter.*donated"):
        nt.retry(x)
    with pytest.raises(nt.RecoveryError) as caught:
        nt.retry(x + 1)
    assert caught.value.reason == "donated"
    copied = pickle.loads(pickle.dumps(caught.value))
    assert (str(copied), copied.reason) == (str(caught.value), "donated")
    assert fail_for_real(x).report is report


def test_a_failed_update_leaves_the_old_weights_readable():
    weights = filled((3,))
    updated = weights.at[nt.asarray([0, 0])].add(1.0)
    other = weights - 0.5
    fail(updated)
    assert weights.tolist() == [1.0] * 3
    nt.retry(updated)
    assert updated.tolist() == [3.0, 1.0, 1.0]
    assert weights.tolist() == [1.0] * 3
    assert other.tolist() == [0.5] * 3


@pytest.mark.parametrize("update", ["set", "add"])
def test_a_donated_input_after_a_fault_of_the_kernel_itself(update):
    x = filled((3,))
    y = getattr(x.at[nt.asarray([0, 7])], update)(1.0)
    del x
    assert fail_for_real(y).report.code == "index_out_of_range"
    if update == "add" and nt.default_device().kind == "metal":
        # Where the kernel found the wrong index it had added others already.
        with pytest.raises(nt.RecoveryError, match="donated"):
            nt.retry(y)
        return
    for _ in range(2):
        with pytest.raises(nt.DeviceIndexError):
            nt.retry(y)


# --- threads ------------------------------------------------------------


def test_threads_that_retry_the_same_array_compute_it_once():
    calls = []

    def count():
        calls.append(1)
        if len(calls) == 1:
            raise ValueError
        time.sleep(0.01)
        return 1.0

    p = nt.host_call(count, (), nt.float32)
    handles = [p + i for i in range(6)]
    fail_for_real(handles)
    in_threads(*[functools.partial(nt.retry, x, p, timeout=20) for x in handles])
    assert [x.item() for x in handles] == [1.0 + i for i in range(6)]
    assert len(calls) == 2
