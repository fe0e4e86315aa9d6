"""G1: no failure, in any phase and whatever the threads do, ends the process by a signal."""

import itertools

import pytest

from nitinol import errors
from processes import run, succeed

PHASES = ("encode", "commit", "completion")
COMMON = """
for device in nt.devices(): device.recovery = nt.RecoveryPolicy.none()

def array(code):
    return nt.sum(nt.ones((4, 4)) @ nt.ones((4, 4)) + 1)

def check(x, code):
    for _ in range(2):
        try:
            x.item()
        except nt.DeviceError as error:
            assert error.report.code == code
        else:
            raise AssertionError(code)

def each(job):
    count = 0
    for code in nt.errors.CODES:
        for phase in ("encode", "commit", "completion"):
            for at in (1, 3):
                with nt.testing.inject(nt.default_device(), code, at=at, phase=phase) as injected:
                    job(code)
                assert injected.fired == 1, (code, phase)
                count += 1
    counts = nt.default_device().error_counts()
    assert counts["struck"] == count and counts["unobserved"] == 0, counts
    print(count)
"""
SITUATIONS = {
    "it is read": """
def job(code):
    check(array(code), code)
""",
    "it was started before": """
def job(code):
    x = array(code)
    h = nt.async_eval(x)
    h.wait(60)
    check(x, code)
    assert h.exception().report.code == code
""",
    "the thread that started it has ended": """
def job(code):
    x = []
    def start():
        x.append(array(code))
        nt.async_eval(x[0])
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    nt_wait = nt.async_eval(x[0]).wait(60)
    check(x[0], code)
""",
    "other threads wait for it": """
def job(code):
    x = array(code)
    wrong = []
    def read():
        try: check(x, code)
        except BaseException as error: wrong.append(error)
    threads = [threading.Thread(target=read) for i in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join(60)
    assert not wrong, wrong
""",
    "it was dropped": """
def job(code):
    h = nt.async_eval(array(code))
    h.wait(60)
    del h
    try: nt.synchronize(timeout=60)
    except nt.DeviceError as error: assert error.report.code == code
    else: raise AssertionError
""",
    "it crosses streams": """
a, b = nt.Stream(), nt.Stream()
def job(code):
    with a: x = nt.ones((4, 4)) @ nt.ones((4, 4))
    with b: y = nt.sum(x)
    with a: z = y + x
    try: nt.eval(z, timeout=60)
    except nt.DeviceError as error: assert error.report.code == code
    else: raise AssertionError
""",
    "a wait for it expired": """
def job(code):
    x = nt.host_call(lambda: time.sleep(0.005) or 1.0, (), nt.float32)
    x = x * nt.ones(4) @ nt.ones(4)
    try: nt.eval(x, timeout=0)
    except nt.WaitTimeoutError: pass
    except nt.DeviceError: pass
    check(x, code)
""",
}


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_code_in_every_phase_while(situation):
    out = succeed(COMMON + SITUATIONS[situation] + "\neach(job)\n", timeout=120)
    assert int(out) == len(errors.CODES) * len(PHASES) * 2


AT_EXIT = {
    "held": "h = nt.async_eval(x)",
    "dropped": "nt.async_eval(x).wait(60); del x",
    "of a daemon thread": (
        "threading.Thread(target=lambda: nt.async_eval(x), daemon=True).start(); time.sleep(0.1)"
    ),
}


@pytest.mark.parametrize(
    ("situation", "phase", "code"),
    [
        (*each, code)
        for each, code in zip(
            itertools.product(AT_EXIT, PHASES), itertools.cycle(errors.CODES[::2]), strict=False
        )
    ],
)
def test_at_the_interpreters_exit(situation, phase, code):
    done = run(
        f"""
        for device in nt.devices(): device.recovery = nt.RecoveryPolicy.none()
        x = nt.sum(nt.ones((300, 300)) @ nt.ones((300, 300)))
        injection = nt.testing.inject(nt.default_device(), {code!r}, phase={phase!r})
        injection.__enter__()
        {AT_EXIT[situation]}
        """
    )
    assert done.returncode == 0
    # It was told, or the exit came first and nothing ran.
    lines = done.stderr.splitlines()
    assert lines == [] or (len(lines) == 2 and f"  {code}: " in lines[1])
    if situation == "dropped":
        assert len(lines) == 2


def test_failures_in_destructors_and_callbacks_of_the_interpreter():
    out = succeed(
        COMMON
        + """
import gc, weakref, atexit
class Reader:
    def __init__(self, x): self.x = x
    def __del__(self):
        try: self.x.item()
        except nt.DeviceError as error: seen.append(error.report.code)
seen = []
with nt.testing.inject(nt.default_device(), "timeout", times=10**6):
    for i in range(20):
        a = Reader(array(0)); a.self = a
        del a
        gc.collect()
    sys.settrace(lambda *args: None)
    check(array(0), "timeout")
    sys.settrace(None)
print(len(seen))
"""
    )
    assert out == "20\n"


def test_an_exception_hook_and_a_profiler_that_read_failed_arrays():
    done = run(
        """
        bad = nt.linalg.inv(nt.zeros((2, 2)))
        def hook(*args):
            try: bad.tolist()
            except nt.LinAlgError as error: print("seen", file=sys.stderr)
        sys.excepthook = hook
        bad.tolist()
        """
    )
    assert (done.returncode, done.stderr) == (1, "seen\n")
