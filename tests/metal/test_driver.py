"""What the Metal device makes of a driver's failures, which the emulator fakes.

Each program runs in a process of its own, since the emulator takes its orders from the environment.
"""

import textwrap

import pytest

import nitinol as nt
from processes import succeed

pytestmark = pytest.mark.skipif(
    not any(device.hardware.startswith("Emulated") for device in nt.devices()),
    reason="Only the emulator fails on demand.",
)

START = """
import time

d = nt.Device("metal")
nt.set_default_device(d)
d.recovery = nt.RecoveryPolicy.none()
x = nt.ones(4) + 0

def step():
    a = x + 1
    b = nt.sum(a)
    return a, b, nt.sort(x * 3)

def outcome(array):
    try:
        return array.tolist()
    except nt.DeviceError as error:
        r = error.report
        return type(error).__name__, r.code, r.domain, r.native_code, r.raw_code, r.phase

GOOD = [[2.0] * 4, 8.0, [3.0] * 4]

def good(times=1):
    for i in range(times):
        found = [outcome(each) for each in step()]
        assert found == GOOD, found
"""


def on_metal(program, seams, **options):
    """Run a program whose default device is Metal, under some of the emulator's seams."""
    program = START + textwrap.dedent(program)
    return succeed(program, METAL_EMULATOR=seams, NITINOL_TEST_DEVICE="metal", **options)


METAL = "MTLCommandBufferErrorDomain"


@pytest.mark.parametrize(
    ("seam", "error", "code", "state"),
    [
        ("code=1", "DeviceError", "internal", "degraded"),
        ("code=1,raw=5", "InnocentVictimError", "innocent_victim", "degraded"),
        ("code=1,raw=14", "DeviceTimeoutError", "impacting_interactivity", "degraded"),
        ("code=2,raw=3", "DeviceTimeoutError", "timeout", "degraded"),
        ("code=3,raw=11", "KernelFaultError", "page_fault", "degraded"),
        ("code=7,raw=6", "DeviceError", "not_permitted", "suspended"),
        ("code=8,raw=8", "OutOfMemoryError", "out_of_memory", "degraded"),
        ("code=9", "KernelFaultError", "invalid_resource", "degraded"),
        ("code=10", "KernelFaultError", "memoryless", "degraded"),
        ("code=12", "KernelFaultError", "stack_overflow", "degraded"),
        ("code=13", "DeviceError", "internal", "degraded"),
        ("code=1,raw=99", "DeviceError", "internal", "degraded"),
        ("code=2,raw=2,execute=1", "DeviceTimeoutError", "timeout", "degraded"),
    ],
)
def test_a_command_buffer_that_fails(seam, error, code, state):
    numbers = dict(pair.split("=") for pair in seam.split(","))
    on_metal(
        f"""
        good()
        a, b, c = step()
        nt.async_eval(a, b, c).wait(30)
        expected = ({error!r}, {code!r}, {METAL!r}, {numbers["code"]}, {numbers.get("raw", 0)},
                    "completion")
        for each in a, b, c, a + 1:
            for n in range(2):
                assert outcome(each) == expected, outcome(each)
        assert d.state == {state!r}
        counts = d.error_counts()
        assert (counts["struck"], counts["raised"], counts["unobserved"]) == (1, 1, 0), counts
        good(9)
        assert d.state == "ok"
        """,
        f"fail_command_buffer@4:{seam}",
    )


@pytest.mark.parametrize("handlers", ["", ";disorder:seed=5,delay_us=20000", ";drop_handlers@6*2"])
@pytest.mark.parametrize(
    ("seam", "times"),
    [
        ("code=1", 1),
        ("code=1,raw=5", 3),
        ("code=1,raw=14", 3),
        ("code=8,raw=8,execute=1", 1),
        ("code=2,raw=2", 1),
    ],
)
def test_a_command_buffer_that_fails_for_a_while(seam, times, handlers):
    on_metal(
        f"""
        d.recovery = nt.RecoveryPolicy(timeout="split", victim_backoff=1e-4)
        good()
        cache = nt.zeros((3, 2)) + 1
        rows = nt.asarray([[7.0, 8.0]])
        nt.eval(cache, rows)
        for i in range(3):
            cache = nt.slice_update(cache, rows, i)
            total = nt.sum(cache)
            nt.async_eval(cache, total, *step()).wait(30)
            assert total.item() == 6 + 13 * (i + 1)
            good(2)
        assert cache.tolist() == [[7.0, 8.0]] * 3
        counts = d.error_counts()
        assert counts["struck"] == counts["recovered"] == {times}, counts
        assert d.state == "ok"
        """,
        f"fail_command_buffer@5*{times}:{seam}" + handlers,
    )


def test_what_fails_for_good_is_told_after_the_retries():
    on_metal(
        """
        d.recovery = nt.RecoveryPolicy(victim_backoff=1e-4, victim_retries=2)
        good()
        assert outcome(step()[0])[:2] == ("InnocentVictimError", "innocent_victim")
        counts = d.error_counts()
        assert (counts["struck"], counts["suppressed"], counts["recovered"]) == (1, 2, 0), counts
        good()
        """,
        "fail_command_buffer@4*3:code=1,raw=5",
    )


def test_a_device_that_is_lost_while_work_is_to_be_tried_again():
    on_metal(
        """
        d.recovery = nt.RecoveryPolicy(victim_backoff=1)
        good()
        victim = step()[0]
        started = nt.async_eval(victim)
        while d.stats()["failures"].get("innocent_victim", 0) == 0:
            time.sleep(0.001)
        with nt.Stream(d):
            assert outcome(step()[1])[1] == "access_revoked"
        started.wait(30)
        assert outcome(victim)[1] == "submissions_ignored"
        assert d.state == "lost"
        """,
        "fail_command_buffer@4:code=1,raw=5;fail_command_buffer@5:code=4",
    )


def test_a_real_loss_outlives_an_injected_one():
    on_metal(
        """
        with nt.testing.inject(d, "device_removed", at=2):
            assert outcome(step()[0])[1] == "access_revoked"
        assert d.state == "lost"
        try: d.reset()
        except nt.RecoveryError as error: assert error.reason == "device_lost"
        else: raise AssertionError
        """,
        "fail_command_buffer@1:code=4",
    )


@pytest.mark.parametrize(
    ("seam", "first", "later"),
    [
        ("code=4", "access_revoked", "submissions_ignored"),
        ("code=4,raw=4", "submissions_ignored", "submissions_ignored"),
        ("code=11", "device_removed", "device_removed"),
    ],
)
def test_a_device_that_is_lost_takes_no_more_work(seam, first, later):
    on_metal(
        f"""
        before = step()[0]
        nt.eval(before)
        assert outcome(step()[0])[:2] == ("DeviceLostError", {first!r})
        assert d.state == "lost"
        for i in range(3):
            found = outcome(step()[1])
            assert found[:3] + found[5:] == ("DeviceLostError", {later!r}, "nitinol", "commit")
        # What was computed is readable, and the CPU goes on.
        assert before.tolist() == [2.0] * 4
        assert before.to_device("cpu").tolist() == [2.0] * 4
        """,
        f"fail_command_buffer@2:{seam}",
    )


def test_an_unknown_domain():
    on_metal(
        """
        good()
        assert outcome(step()[0]) == ("DeviceError", "internal", "unknown", 8, 0, "completion")
        """,
        "fail_command_buffer@4:domain=Elsewhere,code=8",
    )


def test_the_states_of_encoders_are_reported():
    out = on_metal(
        """
        y = x
        for i in range(20):
            y = nt.sort(y)
        try: y.tolist()
        except nt.DeviceError as error:
            report = error.report
        assert [each.state for each in report.encoders] == ["faulted", "affected", "completed"]
        assert all("sort" in each.label for each in report.encoders)
        print(len(report.encoders))
        """,
        "fail_command_buffer@1:code=3,states=1+2+4",
    )
    assert out == "3\n"


@pytest.mark.parametrize("seam", ["drop_handlers@2*3", "disorder:seed=3,delay_us=100000"])
def test_handlers_that_come_late_or_never_hang_nobody(seam):
    on_metal("good(4)", seam)


@pytest.mark.parametrize("seam", ["fail_pipeline@2", "fail_library@2"])
def test_a_kernel_that_does_not_compile_spoils_its_unit_alone(seam):
    on_metal(
        """
        a, b, c = step()
        nt.async_eval(a, b, c).wait(30)
        found = [outcome(each) for each in (a, b, c)]
        failed = [each for each in found if each not in GOOD]
        assert len(failed) == 1 and failed[0][1] == "internal" and failed[0][5] == "encode", found
        (report,) = [r for each in (a, b, c) for r in reports(each)]
        assert "emulated" in report.detail and "emulated" in report.message
        good()  # compilers fail for a while
        """.replace("reports(each)", "getattr(nt.async_eval(each).exception(), 'reports', ())"),
        seam,
    )


def test_memory_that_metal_does_not_give():
    on_metal(
        """
        big = nt.ones((512, 1024))
        nt.eval(x)
        found = outcome(nt.sum(big + 1))
        assert found[1] == "out_of_memory", found
        assert outcome(nt.sum(big + 1)) == 2 * 512 * 1024
        """,
        "fail_allocation@2*2",
    )


def test_the_working_set_is_the_memory_limit():
    on_metal("assert d.memory_limit == 1 << 24, d.memory_limit", f"working_set:bytes={1 << 24}")
