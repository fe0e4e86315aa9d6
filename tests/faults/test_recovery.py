"""G9: what a device does about failures by itself, and when it takes no more work."""

import contextlib
import time

import pytest

import nitinol as nt
from failing import fail, fail_for_real, observed

PHASES = ("encode", "commit", "completion")


def counts():
    return nt.default_device().error_counts()


def difference(before):
    return {name: value - before[name] for name, value in counts().items() if value != before[name]}


@contextlib.contextmanager
def policy(**fields):
    before = nt.default_device().recovery
    nt.default_device().recovery = nt.RecoveryPolicy(**fields)
    try:
        yield
    finally:
        nt.default_device().recovery = before


def filled(shape=(4, 2)):
    x = nt.zeros(shape) + 1
    nt.eval(x)
    return x


# --- closed devices ---


def test_refused_while_the_device_is_suspended():
    x = nt.ones(2) + 1
    with nt.testing.inject(nt.default_device(), "not_permitted"):
        report = fail_for_real(x).report
    assert nt.default_device().state == "suspended"
    with pytest.raises(
        nt.RecoveryError, match=f"{nt.default_device()}, which is suspended"
    ) as caught:
        nt.retry(x)
    assert caught.value.reason == "device_suspended"
    assert fail_for_real(x).report is report
    nt.default_device().reset()
    nt.retry(x)
    assert x.tolist() == [2.0] * 2


@pytest.mark.parametrize("code", ["access_revoked", "device_removed", "submissions_ignored"])
def test_a_lost_device_takes_no_work_and_is_not_reset(code):
    ready, x = nt.ones(2) + 2, nt.ones(2) + 1
    nt.eval(ready)
    with nt.testing.inject(nt.default_device(), code):
        fail_for_real(x)
        assert nt.default_device().state == "lost"
        before = nt.default_device().work_counts()
        for _ in range(3):
            error = fail_for_real(nt.ones((40, 40)) @ nt.ones((40, 40)))
            assert isinstance(error, nt.DeviceLostError)
            assert "was lost before" in str(error)
            assert not error.report.injected
        assert nt.default_device().work_counts()["submissions"] == before["submissions"] + 3
        for job in (nt.default_device().reset, lambda: nt.retry(x)):
            with pytest.raises(nt.RecoveryError, match="lost") as caught:
                job()
            assert caught.value.reason == "device_lost"
        assert ready.tolist() == [3.0] * 2
        nt.retry(ready)
    # It was lost on purpose: that ends with the block.
    assert nt.default_device().state != "lost"
    nt.retry(x)
    assert x.tolist() == [2.0] * 2


# --- the policy ---


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    ("code", "most"),
    [("innocent_victim", 3), ("impacting_interactivity", 3), ("internal", 1), ("out_of_memory", 1)],
)
def test_what_is_mended_in_place_shows_only_in_the_counts(code, most, phase):
    a, b = filled(), filled((2, 2))
    device = nt.default_device()
    with policy(victim_backoff=1e-5):
        for times in range(1, most + 1):
            before = counts()
            with nt.testing.inject(device, code, times=times, phase=phase) as injected:
                assert (a @ b).tolist() == [[2.0] * 2] * 4
            assert injected.fired == times
            assert difference(before) == {"struck": times, "recovered": times}
            assert device.state == "ok"
        before = counts()
        with nt.testing.inject(device, code, times=most + 1, phase=phase):
            assert fail_for_real(a @ b).report.code == code
        assert difference(before) == {"struck": 1, "raised": 1, "suppressed": most}
        device.reset()


@pytest.mark.parametrize("phase", PHASES)
def test_what_never_passes_is_told_once(phase):
    device = nt.default_device()
    with policy(victim_backoff=1e-5), nt.testing.inject(device, "internal", phase=phase, times=99):
        x = nt.sum(nt.ones((8, 8)) @ (nt.ones((8, 8)) + 1))
        found = fail_for_real(x).reports
    # Of what depends on each other only the first is to blame.
    assert {report.arrays[0].op for report in found} <= {"full", "add"}
    assert device.error_counts()["unobserved"] == 0


@pytest.mark.parametrize("code", ["timeout", "page_fault", "not_permitted", "io"])
def test_what_is_not_mended_in_place(code):
    with policy():
        assert fail(nt.ones(2) + 1, code=code).report.code == code


def test_an_update_in_place_is_mended_where_that_is_right():
    rows = nt.asarray([[7.0, 8.0]], dtype=nt.float32)
    with policy():
        x = filled()
        x = nt.slice_update(x, rows, 1)
        with nt.testing.inject(nt.default_device(), "innocent_victim"):
            assert x.tolist() == [[1.0, 1.0], [7.0, 8.0], [1.0, 1.0], [1.0, 1.0]]
        # Added twice it would be wrong: the failure is told instead.
        y = filled((2,))
        y = y.at[nt.asarray([0, 0])].add(1.0)
        assert fail(y, code="innocent_victim").report.code == "innocent_victim"


def test_a_function_of_the_user_is_not_called_twice_unasked():
    cpu, calls = nt.Device("cpu"), []
    cpu.recovery = nt.RecoveryPolicy()
    x = nt.host_call(lambda: calls.append(1) or 1.0, (), nt.float32)
    with nt.testing.inject(cpu, "innocent_victim"):
        assert fail_for_real(x).report.code == "innocent_victim"
    assert len(calls) == 1


def test_a_pause_holds_up_its_own_stream_alone():
    a, b = nt.Stream(), nt.Stream()
    with (
        policy(victim_retries=3, victim_backoff=0.1),
        nt.testing.inject(nt.default_device(), "innocent_victim", times=2),
    ):
        with a:
            slow = nt.async_eval(nt.ones(3) + 1)
        time.sleep(0.02)
        begin = time.monotonic()
        with b:
            nt.eval(nt.ones((300, 300)) @ nt.ones((300, 300)))
        took = time.monotonic() - begin
        slow.wait(10)
    assert took < 10
    observed()


def test_the_culprit_budget_suspends_the_device():
    with policy(culprit_budget=2, culprit_window=60):
        nt.default_device().reset()
        for _ in range(2):
            with nt.testing.inject(nt.default_device(), "page_fault"):
                fail_for_real(nt.ones(3) + 1)
        assert nt.default_device().state == "suspended"
        failed = nt.ones(3) * 4
        error = fail_for_real(failed)
        assert error.report.code == "not_permitted"
        assert "suspended until it is reset, after 2 failures within 60 s" in str(error)
        with pytest.raises(nt.RecoveryError):
            nt.retry(failed)
        nt.default_device().reset()
        assert nt.default_device().state == "ok"
        nt.retry(failed)
        assert failed.tolist() == [4.0] * 3
        # Mistakes in the data are no reason.
        for _ in range(4):
            fail_for_real(nt.linalg.inv(nt.zeros((2, 2))))
        assert nt.default_device().state == "ok"


def test_a_reset_frees_the_cache():
    nt.eval(nt.ones(300000) + 1)
    nt.default_device().reset()
    assert nt.default_device().memory_stats()["cached"] == 0


def test_policies_are_checked_and_kept():
    default = nt.RecoveryPolicy()
    for fields in (
        {},
        {"victim_retries": 7, "victim_backoff": 0.25},
        {"out_of_memory_retry": False, "internal_retry": False},
        {"impacting_interactivity": "fail", "culprit_budget": 64, "culprit_window": 1.5},
    ):
        with policy(**fields):
            assert nt.default_device().recovery == nt.RecoveryPolicy(**fields)
    assert default.culprit_budget is None
    bad = [
        ("victim_retries", -1), ("victim_retries", 101), ("victim_retries", 1.5),
        ("victim_retries", True), ("victim_backoff", 1.5), ("victim_backoff", float("nan")),
        ("out_of_memory_retry", 1), ("internal_retry", None), ("culprit_budget", 0),
        ("culprit_budget", 65), ("culprit_window", 0), ("impacting_interactivity", "wait"),
    ]  # fmt: skip
    for name, value in bad:
        with pytest.raises(ValueError, match=name):
            nt.RecoveryPolicy(**{name: value})
    with pytest.raises(TypeError, match="RecoveryPolicy"):
        nt.default_device().recovery = {}
