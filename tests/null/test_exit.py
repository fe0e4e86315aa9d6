"""The interpreter's exit: no signal, no hang, no noise, and failures that nobody saw are told."""

import re
import textwrap

import pytest

from processes import run, succeed

# A machine that is busy starts interpreters slowly: only waits longer than this are hangs.
SLOW = 40


def told(stderr):
    """The failures that a process told at its exit, by code."""
    head = re.search(
        r"^nitinol: (\d+) device failure\(s\) that nobody has observed:$", stderr, re.M
    )
    lines = re.findall(r"^  (\w+): (.*)$", stderr, re.M)
    assert head, stderr
    assert int(head[1]) == len(lines)
    assert all(message.endswith(".") for _, message in lines)
    return [code for code, _ in lines]


QUIET = {
    "import alone": "",
    "lazy work": "x = nt.ones(3) + 1",
    "finished work": "x = nt.ones(3) + 1; nt.eval(x); print(x.tolist())",
    "work in flight": """
        x = nt.ones((300, 300))
        h = nt.async_eval([x @ (x + i) for i in range(50)])
        """,
    "work in flight that nobody holds": "nt.async_eval(nt.ones((500, 500)) @ nt.ones((500, 500)))",
    "a cycle": "class A: pass\na = A(); a.a = a; a.x = nt.ones(3) + 1; nt.eval(a.x)",
    "a host call that is done": "print(nt.host_call(lambda: 1.0, (), nt.float32).item())",
    "a host call that runs": """
        started = threading.Event()
        def slow():
            started.set(); time.sleep(0.5); return 1.0
        h = nt.async_eval(nt.host_call(slow, (), nt.float32)); started.wait()
        """,
    "host calls that wait for their turn": """
        started = threading.Event()
        def slow():
            started.set(); time.sleep(0.3); return 1.0
        arrays = []
        for i in range(8):
            with nt.Stream("cpu"):
                arrays.append(nt.host_call(slow, (), nt.float32) + 1)
        h = nt.async_eval(arrays); started.wait()
        """,
    "a host call that never returns": """
        started = threading.Event()
        def endless():
            started.set(); threading.Event().wait()
        h = nt.async_eval(nt.host_call(endless, (), nt.float32) + 1); started.wait()
        """,
    "a host call that loops": """
        started = threading.Event()
        def endless():
            started.set()
            while True: pass
        h = nt.async_eval(nt.host_call(endless, (), nt.float32) + 1); started.wait()
        """,
    "an export that outlives its array": """
        a = np.asarray(nt.ones(3) + 1)
        m = memoryview(nt.ones(3) + 1)
        """,
    "a failure that was seen": """
        x = nt.linalg.inv(nt.zeros((2, 2)))
        try: nt.eval(x)
        except nt.LinAlgError: pass
        """,
    "failures that were drained": """
        h = nt.async_eval(nt.linalg.inv(nt.zeros((2, 2)))); h.wait()
        assert len(nt.Device("cpu").drain_errors()) == 1
        """,
    "an array in a module that is torn down": """
        import types
        sys.modules["kept"] = types.ModuleType("kept")
        sys.modules["kept"].x = nt.ones(3) + 1
        """,
    "arrays used in an exit handler": """
        import atexit
        atexit.register(lambda: print((nt.ones(3) + 1).tolist()))
        """,
}  # fmt: skip


@pytest.mark.parametrize("name", QUIET)
def test_a_quiet_exit(name):
    done = run(textwrap.dedent(QUIET[name]))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.seconds < SLOW


def test_failures_that_nobody_saw_are_told_once():
    done = run(
        """
        bad = [nt.linalg.inv(nt.zeros((2, 2)) + i * 0) for i in range(3)]
        for x in bad: nt.async_eval(x).wait()
        try: bad[0].tolist()
        except nt.LinAlgError: pass
        del bad                      # also those that were dropped unread
        """
    )
    assert done.returncode == 0
    assert told(done.stderr) == ["singular_matrix", "singular_matrix"]


def test_many_failures_are_counted():
    done = run(
        """
        for i in range(30): nt.async_eval(nt.linalg.inv(nt.zeros((2, 2)) + i * 0)).wait()
        """
    )
    assert "nitinol: 30 device failure(s)" in done.stderr
    assert "... and 10 more." in done.stderr
    assert len(done.stderr.splitlines()) == 22


def test_a_failure_that_strikes_during_the_exit_is_told():
    done = run(
        """
        started = threading.Event()
        def fail():
            started.set(); time.sleep(0.3); raise ValueError("late")
        h = nt.async_eval(nt.host_call(fail, (), nt.float32)); started.wait()
        """
    )
    assert done.returncode == 0
    assert told(done.stderr) == ["host_callback"]


@pytest.mark.parametrize("how", ["sys.stderr = None", "sys.stderr.close()", "os.close(2)"])
def test_an_exit_without_standard_error(how):
    done = run(f"nt.async_eval(nt.linalg.inv(nt.zeros((2, 2)))).wait()\n{how}")
    # Python itself answers 120 where it can't flush the closed file.
    assert done.returncode in (0, 120)
    assert done.seconds < SLOW


def test_the_exit_code_is_the_programs():
    done = run("nt.async_eval(nt.linalg.inv(nt.zeros((2, 2)))).wait(); sys.exit(7)")
    assert done.returncode == 7
    assert told(done.stderr) == ["singular_matrix"]


def test_an_uncaught_device_error_is_a_traceback():
    done = run("(nt.take(nt.ones(3), nt.asarray([7]) + 0)).tolist()")
    assert done.returncode == 1
    assert done.stderr.rstrip().endswith(
        "DeviceIndexError: Index 7 is out of range for axis 0 with size 3, while running take on "
        "cpu:0 (stream 0)."
    )


def test_an_uncaught_group_shows_its_members():
    done = run(
        """
        i = nt.asarray([7]) + 0
        nt.eval(nt.take(nt.ones(3), i), nt.take(nt.ones(5), i))
        """
    )
    assert done.returncode == 1
    assert "DeviceErrorGroup: Several device failures (2 sub-exceptions)" in done.stderr
    assert "axis 0 with size 3" in done.stderr
    assert "axis 0 with size 5" in done.stderr


DAEMONS = {
    "eval": "nt.eval(nt.ones((50, 50)) @ nt.ones((50, 50)))",
    "read": "np.asarray(nt.ones(1000) + 1)",
    "async_eval": "nt.async_eval(nt.ones((50, 50)) + 1)",
    "host_call": "nt.host_call(lambda: 1.0, (), nt.float32).item()",
    "failures": "nt.async_eval(nt.linalg.inv(nt.zeros((2, 2)) + 1 - 1)).exception()",
    "build": "x = nt.ones(3); y = [x + i for i in range(100)]",
}


@pytest.mark.parametrize("what", DAEMONS)
def test_daemon_threads_that_compute_while_the_interpreter_exits(what):
    done = run(
        f"""
        threading.excepthook = lambda args: None  # what a daemon thread meets when all is closed
        def work():
            while True:
                {DAEMONS[what]}
        for i in range(3): threading.Thread(target=work, daemon=True).start()
        time.sleep(0.05)
        """
    )
    assert done.returncode == 0, (done.returncode, done.stderr)
    assert "Fatal" not in done.stderr
    assert done.seconds < SLOW


def test_threads_that_are_waited_for_finish_their_work():
    out = succeed(
        """
        def work():
            time.sleep(0.2)
            print((nt.ones(3) + 1).tolist(), flush=True)
        threading.Thread(target=work).start()
        """
    )
    assert out == "[2.0, 2.0, 2.0]\n"


def test_device_work_after_the_exit_began_is_refused():
    # Handlers run last first, so this one runs after the library's own.
    done = run(
        """
        import atexit
        def late():
            print(ready.tolist())
            try: (ready + 1).tolist()
            except RuntimeError as error: print(error)
        atexit.register(late)
        import nitinol as nt
        ready = nt.ones(2) + 1
        nt.eval(ready)
        """,
        header="",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "[2.0, 2.0]",
        "Device work isn't possible any more: the interpreter is shutting down.",
    ]


@pytest.mark.parametrize("how", ["os._exit(3)", "sys.exit(3)", "raise SystemExit(3)"])
def test_other_ways_to_exit(how):
    done = run(
        f"h = nt.async_eval([nt.ones((200, 200)) @ nt.ones((200, 200)) for i in range(20)])\n{how}"
    )
    assert (done.returncode, done.stderr) == (3, "")


def test_an_exit_called_inside_a_host_call_is_the_error_of_its_array():
    out = succeed(
        """
        x = nt.host_call(lambda: sys.exit(5), (), nt.float32)
        try: x.item()
        except nt.HostCallbackError as error: print(repr(error.__cause__))
        """
    )
    assert out == "SystemExit(5)\n"


def test_ctrl_c_while_waiting_ends_the_program_as_usual():
    done = run(
        """
        started = threading.Event()
        def endless():
            started.set(); time.sleep(60)
        h = nt.async_eval(nt.host_call(endless, (), nt.float32)); started.wait()
        try:
            threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            h.result()
        finally: print(h.done(), flush=True)
        """
    )
    assert done.stdout == "False\n"
    assert "KeyboardInterrupt" in done.stderr
    assert done.returncode in (-2, 130)  # Python ends itself by SIGINT
    assert done.seconds < SLOW
