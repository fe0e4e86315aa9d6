"""G11: a device says how it is, and tells those who asked."""

import contextlib
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from nitinol import errors
from threads import in_threads

# As docs/errors.md has it.
SUCCESSES_TO_RECOVER = 8
DEGRADING = (
    "internal",
    "timeout",
    "page_fault",
    "out_of_memory",
    "invalid_resource",
    "memoryless",
    "stack_overflow",
    "innocent_victim",
    "impacting_interactivity",
)
DATA = (
    "singular_matrix",
    "not_positive_definite",
    "index_out_of_range",
    "negative_power",
    "host_callback",
    "io",
)


def strike(code):
    # As often as it may be tried again.
    with nt.testing.inject(nt.default_device(), code, times=1000):
        x = nt.ones(3) + 1
        return nt.async_eval(x).exception(10).report


def succeed(times=1):
    for i in range(times):
        nt.eval(nt.ones(3) + i)


@pytest.fixture(autouse=True)
def healthy(default_device):
    """The device is well before and after."""
    succeed(SUCCESSES_TO_RECOVER)
    assert nt.default_device().state == "ok"
    yield
    succeed(SUCCESSES_TO_RECOVER)
    assert nt.default_device().state == "ok"


def eventually(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


@pytest.mark.parametrize("code", DEGRADING)
def test_a_transient_failure_degrades_until_enough_has_succeeded(code):
    strike(code)
    for _ in range(SUCCESSES_TO_RECOVER):
        assert nt.default_device().state == "degraded"
        succeed()
    assert nt.default_device().state == "ok"


@pytest.mark.parametrize("code", DATA)
def test_what_is_wrong_with_data_is_not_the_devices_health(code):
    strike(code)
    assert nt.default_device().state == "ok"


def test_a_device_that_may_not_be_used_is_suspended_until_it_works():
    strike("not_permitted")
    assert nt.default_device().state == "suspended"
    strike("timeout")
    assert nt.default_device().state == "suspended"
    succeed(SUCCESSES_TO_RECOVER)
    assert nt.default_device().state == "ok"


@given(st.lists(st.sampled_from(["ok", "ok", "ok", "ok", *DEGRADING[:2], *DATA[:1]]), max_size=40))
def test_the_state_is_that_of_the_last_failures_and_successes(events):
    told = []
    succeed(SUCCESSES_TO_RECOVER)
    state, successes = "ok", 0
    expected = []
    with nt.default_device().on_state_change(lambda before, now: told.append((before, now))):
        for event in events:
            before = state
            if event == "ok":
                succeed()
                successes += 1
                if successes >= SUCCESSES_TO_RECOVER:
                    state = "ok"
            else:
                strike(event)
                successes = 0
                if event in DEGRADING:
                    state = "degraded"
            assert nt.default_device().state == state
            if before != state:
                expected.append((before, state))
        eventually(lambda: len(told) >= len(expected))
    assert told == expected


# --- subscriptions -----------------------------------------------------------------------------


def test_on_error_is_told_of_every_failure_and_observes_none():
    found, threads = [], set()

    def call(report):
        found.append(report)
        threads.add(threading.current_thread().name)

    kept = []
    with nt.default_device().on_error(call):
        with nt.error_scope("a", raise_on_exit=False) as scope:
            kept.append(nt.linalg.inv(nt.zeros((2, 2)) + 0))
            nt.async_eval(kept[0])
        kept.append(nt.take(nt.arange(3), nt.asarray([7])))
        nt.async_eval(kept[1]).wait()
        eventually(lambda: len(found) == 2)
    assert threads == {"nitinol-notifier"}
    assert [(report.code, report.scope) for report in found] == [
        ("singular_matrix", "a"),
        ("index_out_of_range", None),
    ]
    assert nt.default_device().error_counts()["unobserved"] == 2
    assert scope.errors == found[:1]
    with pytest.raises(nt.DeviceIndexError) as caught:
        nt.synchronize(timeout=60)
    assert caught.value.report is found[1]


def test_many_failures_of_many_threads_are_each_told_once():
    found = []

    def job():
        with nt.Stream():
            for _ in range(50):
                with contextlib.suppress(nt.DeviceError):
                    nt.eval(nt.linalg.inv(nt.zeros((2, 2)) + 0))

    with nt.default_device().on_error(found.append):
        in_threads(*[job] * 4)
        eventually(lambda: len(found) >= 200)
        time.sleep(0.01)
    assert len(found) == 200
    assert len({id(report) for report in found}) == 200


def test_several_subscribers_and_the_end_of_a_subscription():
    a, b = [], []
    first = nt.default_device().on_error(a.append)
    with nt.default_device().on_error(b.append):
        strike("timeout")
        eventually(lambda: len(a) == len(b) == 1)
    strike("timeout")
    eventually(lambda: len(a) == 2)
    first.cancel()
    first.cancel()
    strike("timeout")
    with nt.default_device().on_error(b.append):
        pass
    time.sleep(0.02)
    assert (len(a), len(b)) == (2, 1)


def test_a_subscriber_that_raises_disturbs_nobody(monkeypatch):
    unraisable, found = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unraisable.append(args.exc_value))

    def bad(report):
        raise KeyError(report.code)

    with nt.default_device().on_error(bad), nt.default_device().on_error(found.append):
        strike("timeout")
        eventually(lambda: found)
    assert [str(error) for error in unraisable] == ["'timeout'"]


def test_a_subscriber_may_cancel_itself_and_subscribe():
    found = []

    def call(report):
        found.append(report)
        subscription.cancel()
        again.append(nt.default_device().on_error(found.append))

    again = []
    subscription = nt.default_device().on_error(call)
    strike("timeout")
    eventually(lambda: again)
    strike("page_fault")
    eventually(lambda: len(found) == 2)
    again[0].cancel()
    assert [report.code for report in found] == ["timeout", "page_fault"]


@pytest.mark.parametrize("subscribe", ["on_error", "on_state_change"])
def test_subscribers_that_are_none(subscribe):
    with pytest.raises(TypeError, match="A callback is a function"):
        getattr(nt.default_device(), subscribe)(None)


# --- numbers -----------------------------------------------------------------------------------


def test_stats_add_up():
    before = nt.default_device().stats()
    strike("timeout")
    strike("timeout")
    x = nt.linalg.inv(nt.zeros((2, 2)) + 0)
    nt.async_eval(x).wait()
    succeed(5)
    after = nt.default_device().stats()
    for code, n in {"timeout": 2, "singular_matrix": 1}.items():
        assert after["failures"][code] - before["failures"].get(code, 0) == n
    assert set(after["failures"]) <= set(errors.CODES)
    # Retries that did not help struck as well, but have no report.
    helpless = after["retries"] - after["recovered"]
    assert (
        sum(after["failures"].values()) == nt.default_device().error_counts()["struck"] + helpless
    )
    assert after["unobserved"] == 1
    assert after["submissions"] - before["submissions"] == 8
    assert after["units"] - before["units"] >= 8
    assert {
        name: after[name] for name in ("submissions", "units")
    } == nt.default_device().work_counts()
    with pytest.raises(nt.LinAlgError):
        x.tolist()
    assert nt.default_device().stats()["unobserved"] == 0


def test_stats_of_memory():
    big = nt.zeros((1000, 1000)) + 1
    nt.eval(big)
    stats = nt.default_device().stats()
    memory = nt.default_device().memory_stats()
    assert stats["bytes_in_use"] == memory["in_use"] >= 4_000_000
    assert stats["bytes_peak"] == memory["peak"] >= stats["bytes_in_use"]
    assert stats["bytes_cached"] == memory["cached"]
    assert stats["bytes_limit"] == nt.default_device().memory_limit
    del big
    nt.synchronize()
    assert nt.default_device().stats()["bytes_in_use"] <= stats["bytes_in_use"] - 4_000_000
