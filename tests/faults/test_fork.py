"""A forked child: device work is refused, what was computed is readable, nothing hangs."""

import re

import pytest

from processes import run, succeed

FORK = """
def in_child(job, seconds=10):
    '''Run a job in a forked child; give its exit code, or None if it hung.'''
    sys.stdout.flush()
    pid = os.fork()
    if pid == 0:
        try:
            job()
            code = 0
        except BaseException as error:
            print(type(error).__name__, error, flush=True)
            code = 1
        sys.stdout.flush()
        os._exit(code)
    return wait(pid, seconds)

def wait(pid, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None

def refused(job):
    try:
        job()
    except RuntimeError as error:
        assert "forked" in str(error), error
        assert not isinstance(error, nt.DeviceError)
    else:
        raise AssertionError("not refused")
"""


def test_what_a_child_can_do():
    out = succeed(
        FORK
        + """
ready = nt.ones((2, 2)) + 1
view = ready[0]
lazy = ready * 2
failed = nt.linalg.inv(nt.zeros((2, 2)))
started = nt.async_eval(ready, failed)
started.wait()
stream = nt.Stream()
injection = nt.testing.inject(nt.default_device(), "timeout", at=1000)
injection.__enter__()

def child():
    # What is there can be read, by every route.
    assert ready.tolist() == [[2, 2], [2, 2]]
    assert view.tolist() == [2, 2]
    assert np.asarray(ready).sum() == 8
    assert memoryview(view).tolist() == [2, 2]
    nt.eval(ready)
    assert nt.async_eval(ready, view).result()[0].tolist() == [[2, 2], [2, 2]]
    assert started.done()
    for n in range(2):
        try:
            failed.tolist()
            raise SystemExit("read")
        except nt.LinAlgError as error:
            assert error.report.code == "singular_matrix"
    try:
        started.result()
        raise SystemExit("read")
    except nt.LinAlgError:
        pass
    # Whatever needs the device is refused.
    for job in (
        lambda: nt.eval(lazy),
        lambda: nt.async_eval(lazy),
        lambda: lazy.tolist(),
        lambda: np.asarray(lazy),
        lambda: nt.synchronize(),
        lambda: nt.asarray([1, 2]),
        lambda: nt.eval(ready + ready),
        lambda: nt.eval(ready + 1),
        lambda: nt.host_call(lambda: 1.0, (), nt.float32),
        lambda: nt.Stream(),
        lambda: nt.default_device().drain_errors(),
        lambda: nt.testing.inject(nt.default_device(), "timeout").__enter__(),
    ):
        refused(job)
    injection.__exit__()
    # Nothing else hangs or dies.
    nt.default_device().trim()
    nt.default_device().memory_stats()
    nt.default_device().error_counts()
    with stream:
        graph = [ready + ready for i in range(2000)]
    del graph

assert in_child(child) == 0
# The parent goes on.
assert lazy.tolist() == [[4, 4], [4, 4]]
try: failed.tolist()
except nt.LinAlgError: pass
print("well")
"""
    )
    assert out == "well\n"


def test_children_forked_while_other_threads_compute():
    out = succeed(
        FORK
        + """
ready = [nt.ones(64) + i for i in range(200)]
nt.eval(ready)
stop = False
def work():
    with nt.Stream():
        while not stop:
            nt.eval(nt.ones((30, 30)) @ nt.ones((30, 30)) + 1)
            [nt.ones(3) + i for i in range(300)]
            nt.async_eval(nt.linalg.inv(nt.zeros((2, 2)))).exception()
threads = [threading.Thread(target=work) for i in range(2)]
for thread in threads: thread.start()

def child():
    assert ready[5].tolist() == [6] * 64
    refused(lambda: nt.eval(ready[0] + ready[1]))
    refused(lambda: nt.asarray([1, 2]))
    ready.clear()
    [nt.reshape(x, (8, 8)) for x in ready]

codes = [in_child(child) for i in range(40)]
stop = True
for thread in threads: thread.join()
print(set(codes))
""",
        timeout=120,
    )
    assert out == "{0}\n"


def test_a_child_that_exits_tells_nothing_of_its_parents_failures():
    done = run(
        FORK
        + """
h = nt.async_eval(nt.linalg.inv(nt.zeros((2, 2))))
h.wait()
kept = [nt.ones(3) + i for i in range(1000)]
pid = os.fork()
if pid == 0:
    sys.exit(0)          # with everything that an interpreter does at its exit
assert wait(pid) == 0
"""
    )
    assert done.returncode == 0
    assert len(re.findall("singular_matrix", done.stderr)) == 1


def test_multiprocessing_by_fork():
    out = succeed(
        """
        import multiprocessing
        x = nt.ones(3) + 1
        nt.eval(x)
        def read(results): results.put(x.tolist())
        def compute(results):
            try: (x + x).tolist()
            except RuntimeError as error: results.put(str(error))
        context = multiprocessing.get_context("fork")
        results = context.Queue()
        for target in (read, compute):
            process = context.Process(target=target, args=(results,))
            process.start()
            print(results.get(timeout=60))
            process.join(60)
            assert process.exitcode == 0
        """
    )
    values, message = out.splitlines()
    assert values == "[2.0, 2.0, 2.0]"
    assert "'spawn' or 'forkserver'" in message


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_multiprocessing_by_other_methods_computes(method, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import multiprocessing
import nitinol as nt

def compute(x):
    return (x + 1).tolist()

if __name__ == "__main__":
    with multiprocessing.get_context("{method}").Pool(1) as pool:
        print(pool.apply(compute, (nt.ones(3) + 1,)))
"""
    )
    out = succeed("import runpy, sys; runpy.run_path(sys.argv[1], run_name='__main__')", program,
                  header="")  # fmt: skip
    assert out == "[3.0, 3.0, 3.0]\n"
