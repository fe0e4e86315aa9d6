"""G7: a failure is a Python class with fields, told by its code; and the real ones of the CPU."""

import copy
import errno
import pickle

import numpy as np
import pytest

import nitinol as nt
from counts import error_counts
from nitinol import errors

CLASSES = {
    "internal": nt.DeviceError,
    "timeout": nt.DeviceTimeoutError,
    "page_fault": nt.KernelFaultError,
    "access_revoked": nt.DeviceLostError,
    "not_permitted": nt.DeviceError,
    "out_of_memory": nt.OutOfMemoryError,
    "invalid_resource": nt.KernelFaultError,
    "memoryless": nt.KernelFaultError,
    "device_removed": nt.DeviceLostError,
    "stack_overflow": nt.KernelFaultError,
    "innocent_victim": nt.InnocentVictimError,
    "impacting_interactivity": nt.DeviceTimeoutError,
    "submissions_ignored": nt.DeviceLostError,
    "singular_matrix": nt.LinAlgError,
    "not_positive_definite": nt.LinAlgError,
    "index_out_of_range": nt.DeviceIndexError,
    "negative_power": nt.KernelFaultError,
    "host_callback": nt.HostCallbackError,
    "io": nt.DeviceIOError,
}
BUILTINS = {
    nt.OutOfMemoryError: MemoryError,
    nt.DeviceTimeoutError: TimeoutError,
    nt.DeviceIndexError: IndexError,
    nt.LinAlgError: np.linalg.LinAlgError,
    nt.DeviceIOError: OSError,
}
# A device that is lost accepts no more work, so these codes are left to subprocesses.
LOSING = ("access_revoked", "device_removed", "submissions_ignored")
PHASES = ("encode", "commit", "completion")


def raised(array, error=nt.DeviceError):
    with pytest.raises(error) as caught:
        np.asarray(array)
    return caught.value


def injected(code, phase="completion", **options):
    x = nt.ones(3) + 1
    with nt.testing.inject(nt.default_device(), code, phase=phase, **options):
        nt.async_eval(x).wait(60)
    return x


def test_every_code_has_a_class():
    assert tuple(CLASSES) == errors.CODES


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("code", [code for code in CLASSES if code not in LOSING])
def test_an_injected_code(code, phase):
    x = injected(code, phase, raw=5)
    error = raised(x)
    assert type(error) is CLASSES[code]
    assert isinstance(error, RuntimeError)
    assert isinstance(error, BUILTINS.get(CLASSES[code], RuntimeError))
    report = error.report
    assert (report.code, report.phase, report.injected, report.raw_code) == (code, phase, True, 5)
    device = nt.default_device().name
    assert (report.op, report.device, report.stream) == ("add", device, 0)
    assert report.arrays == (errors.ReportedArray("add", (3,), "float32"),)
    assert report.submission > 0
    assert error.reports == (report,)
    assert code in str(error)
    assert str(error) == report.message == str(report)
    assert report.message.endswith(f"while running add on {device} (stream 0).")


def test_retryable_and_culprit_follow_the_code():
    retryable = {"internal", "not_permitted", "out_of_memory", "innocent_victim", "io",
                 "impacting_interactivity"}  # fmt: skip
    innocent = {"internal", "not_permitted", "out_of_memory", "innocent_victim", "io"}
    for code in CLASSES:
        if code not in LOSING:
            report = raised(injected(code)).report
            assert report.retryable == (code in retryable)
            assert report.culprit == (code not in innocent)


@pytest.mark.parametrize("code", [code for code in CLASSES if code not in LOSING])
def test_errors_are_pickled_and_copied(code):
    error = raised(injected(code))
    copies = [copy.copy(error), copy.deepcopy(error)]
    copies += [pickle.loads(pickle.dumps(error, n)) for n in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    for each in copies:
        assert type(each) is type(error)
        assert each.report == error.report
        assert str(each) == str(error)
        assert each.args == error.args
    if isinstance(error, OSError) and code != "io":
        assert error.errno is None


def two_failures():
    x = nt.ones(3)
    a, b = nt.sum(x), nt.max(x)
    with nt.testing.inject(nt.default_device(), "timeout", times=1):
        nt.async_eval(a).wait(60)
    with nt.testing.inject(nt.default_device(), "out_of_memory", times=1):
        nt.async_eval(b).wait(60)
    return a, b


def test_several_roots_are_a_group():
    a, b = two_failures()
    with pytest.raises(nt.DeviceErrorGroup) as caught:
        nt.eval(b, a)
    group = caught.value
    assert isinstance(group, nt.DeviceError)
    assert [report.code for report in group.reports] == ["timeout", "out_of_memory"]
    assert group.report is group.reports[0]
    assert group.reports == (raised(a).report, raised(b).report)
    for array in (a + b, (b + a).sum()):
        inherited = raised(array, nt.DeviceErrorGroup)
        assert inherited.reports == group.reports
    # The same root through two ways is one root.
    assert raised(a + a * 2).report is group.report
    for each in (copy.copy(group), copy.deepcopy(group), pickle.loads(pickle.dumps(group))):
        assert type(each) is nt.DeviceErrorGroup
        assert each.reports == group.reports
        assert each.report == group.report
        assert str(each) == str(group)


def test_groups_work_with_except_star():
    a, b = two_failures()
    seen = []
    try:
        nt.eval(a, b)
    except* nt.DeviceTimeoutError as part:
        seen.append(("timeout", type(part), [e.report.code for e in part.exceptions]))
    except* MemoryError as part:
        seen.append(("memory", type(part), [e.report.code for e in part.exceptions]))
    assert seen == [
        ("timeout", nt.DeviceErrorGroup, ["timeout"]),
        ("memory", nt.DeviceErrorGroup, ["out_of_memory"]),
    ]
    with pytest.raises(nt.DeviceErrorGroup) as caught:
        nt.eval(a, b)
    kept, rest = caught.value.split(nt.OutOfMemoryError)
    assert [report.code for report in kept.reports] == ["out_of_memory"]
    assert [report.code for report in rest.reports] == ["timeout"]
    assert kept.report.code == "out_of_memory"
    single = raised(a)
    parts = []
    try:
        raise single
    except* nt.DeviceTimeoutError as part:
        parts.append(part.exceptions)
    assert parts == [(single,)]


def test_a_second_failure_of_a_unit_is_secondary():
    before = error_counts()
    bad = nt.linalg.inv(nt.zeros((2, 2)))
    with nt.testing.inject(nt.default_device(), "page_fault", at=2) as injection:
        nt.async_eval(bad).wait(60)  # zeros, then inv
    report = raised(bad).report
    if injection.fired:
        assert report.secondary == "page_fault"
    after = error_counts()
    assert after["struck"] - before["struck"] == 1
    assert after["suppressed"] - before["suppressed"] == injection.fired


# --- what really fails -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_singular_matrices(dtype, n):
    matrices = np.stack([np.eye(n), np.eye(n), np.zeros((n, n))]).astype(dtype)
    for x in (
        nt.linalg.inv(nt.asarray(matrices)),
        nt.linalg.solve(nt.asarray(matrices), nt.ones((3, n, 1), dtype=getattr(nt, dtype))),
    ):
        error = raised(x, nt.LinAlgError)
        assert error.report.code == "singular_matrix"
        assert error.report.args[:2] == (2, 0)
        assert not error.report.injected
        assert str(error).startswith("Matrix 2 of the batch is singular: pivot 0 is zero")


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_not_positive_definite(dtype):
    matrices = np.stack([np.eye(3), np.diag([1, -1, 1])]).astype(dtype)
    error = raised(nt.linalg.cholesky(nt.asarray(matrices)), nt.LinAlgError)
    assert error.report.code == "not_positive_definite"
    assert error.report.args[:2] == (1, 2)
    assert "Matrix 1 of the batch is not positive definite" in str(error)


def later(values):
    """An integer array that is unknown until the device computes it."""
    return nt.asarray(np.asarray(values)) + 0


def test_indices_out_of_range():
    x = nt.asarray(np.arange(12, dtype="float32").reshape(3, 4))
    i = nt.asarray([0, 7, 9]) + 0
    cases = {
        "take": nt.take(x, i, axis=0),
        "gather": x[nt.asarray([0, 1, 2]) + 0, i],
        "scatter": x.at[i].set(0.0),
        "take_along_axis": nt.take_along_axis(x, nt.reshape(i, (3, 1)), axis=1),
    }
    where = {"take": (7, 0, 3), "gather": (7, 1, 4), "scatter": (7, 0, 3),
             "take_along_axis": (7, 1, 4)}  # fmt: skip
    for op, array in cases.items():
        error = raised(array, nt.DeviceIndexError)
        assert error.report.code == "index_out_of_range"
        assert error.report.op == op
        assert error.report.args[:3] == where[op]
        index, axis, size = where[op]
        assert str(error) == (
            f"Index {index} is out of range for axis {axis} with size {size}, while running {op} "
            f"on {nt.default_device().name} (stream 0)."
        )
    # An index error that escapes would end these loops in silence.
    with pytest.raises(nt.DeviceIndexError):
        list(cases["take"])
    with pytest.raises(nt.DeviceIndexError):
        assert 1 in cases["take"]
    assert raised(nt.take(x, nt.asarray([-4]) + 0, axis=0)).report.args[:3] == (-4, 0, 3)


def test_a_failed_update_leaves_the_array_it_was_to_change():
    x = nt.asarray(np.arange(4, dtype="float32"))
    i = nt.asarray([1, 9]) + 0
    y = x.at[i].add(1.0)
    raised(y, nt.DeviceIndexError)
    assert x.tolist() == [0, 1, 2, 3]


def test_negative_powers_of_integers():
    x = nt.asarray([1, 2, 3]) ** nt.asarray([1, -2, 0])
    error = raised(x)
    assert error.report.code == "negative_power"
    assert error.report.args[0] == -2
    assert "negative power -2" in str(error)
    assert (nt.asarray([2.0]) ** nt.asarray([-1.0])).item() == 0.5


def test_a_host_callback_that_raises():
    class Special(Exception):
        pass

    def fail(x):
        raise Special("no")

    x = nt.host_call(fail, (3,), nt.float32, nt.ones(3))
    error = raised(x, nt.HostCallbackError)
    assert isinstance(error.__cause__, Special)
    assert error.report.code == "host_callback"
    again = raised(x)
    assert again is not error
    assert again.__cause__ is error.__cause__
    # The traceback leads to the user's line, and says nothing of ours.
    trace = error.__cause__.__traceback__
    assert trace.tb_frame.f_code.co_name == "fail"
    assert trace.tb_next is None


@pytest.mark.parametrize(
    ("result", "cause", "words"),
    [
        (np.ones(4), ValueError, ["(4,)", "(3,)"]),
        (np.ones((1, 3)), ValueError, ["(1, 3)", "(3,)"]),
        (1.0, ValueError, ["()", "(3,)"]),
        (np.ones(3, np.complex64), TypeError, ["complex64", "float32"]),
        (None, ValueError, ["()", "(3,)"]),
        (["a", "b", "c"], TypeError, ["<U1", "float32"]),
    ],
)
def test_a_host_callback_that_returns_something_else(result, cause, words):
    x = nt.host_call(lambda: result, (3,), nt.float32)
    error = raised(x, nt.HostCallbackError)
    assert type(error.__cause__) is cause
    for word in words:
        assert word in str(error.__cause__)


class Unreadable(Exception):
    def __str__(self):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (KeyError("weights"), "KeyError: 'weights'"),
        (ValueError("two\nlines, 3"), "ValueError: two lines, 3"),
        (OSError(2, "No such file"), "FileNotFoundError: [Errno 2] No such file"),
        (ValueError("x" * 1000), f"ValueError: {'x' * 197}..."),
        (ValueError(10**5000), "ValueError"),
        (RuntimeError(), "RuntimeError"),
        (Unreadable("x"), "Unreadable"),
        (ValueError(np.ones(2)), "ValueError"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_the_report_of_a_host_callback_says_what_was_raised(given, told):
    """The exception itself goes neither into a log nor to another process."""

    def fail():
        raise given

    report = raised(nt.host_call(fail, (), nt.float32), nt.HostCallbackError).report
    assert report.detail == told
    assert f"({told.rstrip('.')})" in report.message
    assert pickle.loads(pickle.dumps(report)) == report


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_a_host_callback_that_raises_what_ends_programs(kind):
    def fail():
        raise kind

    error = raised(nt.host_call(fail, (), nt.float32), nt.HostCallbackError)
    assert type(error.__cause__) is kind
    assert nt.host_call(lambda: 1.0, (), nt.float32).item() == 1.0


def test_a_file_that_changed(tmp_path):
    path = tmp_path / "x.npy"
    values = np.arange(1000, dtype="float32")
    np.save(path, values)
    whole, short, gone = nt.load(path), nt.load(path), nt.load(path)
    np.testing.assert_array_equal(np.asarray(whole), values)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 100)
    error = raised(short, nt.DeviceIOError)
    assert error.report.code == "io"
    assert error.filename == str(path) == error.report.path
    assert error.errno == errno.EIO
    assert str(path) in str(error)
    path.unlink()
    error = raised(gone, nt.DeviceIOError)
    assert error.errno == errno.ENOENT == error.report.native_code
    assert error.report.domain == "errno"
    assert "No such file" in str(error)
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.errno, copied.filename) == (error.errno, error.filename)
    np.testing.assert_array_equal(np.asarray(whole), values)


@pytest.mark.parametrize("shape", [(2**40,), (2**30, 2**30), (2**58,)])
def test_absurd_sizes(shape):
    x = nt.zeros(shape) + 1
    error = raised(nt.sum(x), nt.OutOfMemoryError)
    assert error.report.code == "out_of_memory"
    wanted, used, limit, _ = error.report.args
    assert wanted > limit >= used
    assert str(wanted) in str(error)
    assert "are in use" in str(error)
    raised(x, MemoryError)
    assert nt.ones(2).tolist() == [1, 1]


def test_the_memory_limit():
    device = nt.default_device()
    before = device.memory_limit
    x = nt.ones((256, 256))
    nt.eval(x)
    try:
        device.memory_limit = device.memory_stats()["in_use"] + 1_000_000
        assert (x + 1).sum().item() == 2 * 256 * 256
        big = nt.ones((1024, 1024)) + 1
        error = raised(nt.concatenate([big, big]), nt.OutOfMemoryError)
        assert error.report.args[2] == device.memory_limit
        assert device.memory_stats()["in_use"] <= device.memory_limit
        with pytest.raises(MemoryError):
            nt.asarray(np.ones((1024, 1024), dtype="float32"))
    finally:
        device.memory_limit = before
    assert (nt.ones((1024, 1024)) + 1).sum().item() == 2 * 1024 * 1024


def test_what_is_known_when_the_graph_is_built_raises_at_once():
    x = nt.ones((2, 3))
    before = error_counts()["struck"]
    for error, build in (
        (ValueError, lambda: x + nt.ones((4, 5))),
        (ValueError, lambda: x @ x),
        (IndexError, lambda: x[5]),
        (IndexError, lambda: nt.take(x, [9], axis=1)),
        (TypeError, lambda: nt.host_call(None, (), nt.float32)),
        (ValueError, lambda: nt.host_call(int, (-1,), nt.float32)),
        (ValueError, lambda: nt.testing.inject(nt.default_device(), "nonsense")),
        (ValueError, lambda: nt.testing.inject(nt.default_device(), "timeout", phase="later")),
        (ValueError, lambda: nt.testing.inject(nt.default_device(), "timeout", at=0)),
        (ValueError, lambda: nt.testing.inject(nt.default_device(), "timeout", at=2**80)),
        (ValueError, lambda: nt.testing.inject("gpu", "timeout")),
    ):
        with pytest.raises(error) as caught:
            build()
        assert not isinstance(caught.value, nt.DeviceError)
        assert str(caught.value).rstrip().endswith(".")
    assert error_counts()["struck"] == before
