"""Debugging aids: where a failed array was made, and why an update had to copy."""

import copy
import inspect
import pickle
import threading
import warnings

import numpy as np
import pytest

import leaks
import nitinol as nt


@pytest.fixture(autouse=True)
def off_again():
    yield
    nt.set_debug(traceback=False, donations=False)


def here():
    return inspect.currentframe().f_back.f_lineno


def sources(array):
    """The lines in the report of a failed array."""
    report = nt.async_eval(array).exception(30).report
    return [each.source for each in report.arrays]


def singular():
    return nt.linalg.inv(nt.zeros((2, 2)))


def injected(array, code="page_fault"):
    with nt.testing.inject(array.device, code):
        return nt.async_eval(array).exception(30)


# --- the line that made an array ---------------------------------------------------------------


def test_off_there_is_no_line():
    assert sources(singular()) == [None]
    error = injected(nt.ones(3) + 1)
    assert error.report.arrays[0].source is None
    assert "Made at" not in str(error)


def test_the_line_of_the_failed_operation():
    with nt.debug(traceback=True):
        line = here() + 1
        x = nt.linalg.inv(nt.zeros((2, 2)))
    (source,) = sources(x)
    assert source == nt.errors.SourceLine(__file__, line, "test_the_line_of_the_failed_operation")
    error = nt.async_eval(x).exception(30)
    assert str(error).endswith(f". Made at {source}.")
    assert str(source) == f"{__file__}:{line} in test_the_line_of_the_failed_operation"
    # Reports go through pickle and copy as before.
    again = pickle.loads(pickle.dumps(copy.deepcopy(error)))
    assert again.report == error.report


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x + 1,
        lambda x: 2 * x,
        lambda x: x @ x,
        lambda x: x.sum(axis=0),
        lambda x: nt.exp(x),
        lambda x: nt.softmax(x),
        lambda x: x.at[0].set(5),
        lambda x: x[nt.asarray([1, 0])],
        lambda x: nt.concat([x, x]),
        lambda x: nt.astype(x, nt.int32),
        lambda x: nt.host_call(lambda v: v, (2, 2), nt.float32, x),
        lambda x: nt.sort(x),
    ],
)
def test_every_way_to_make_an_array(make):
    x = nt.asarray([[2.0, 1.0], [1.0, 3.0]])
    with nt.debug(traceback=True):
        made = make(x)
    for device in {made.device, nt.Device("cpu")}:
        with nt.testing.inject(device, "page_fault", times=100):
            report = nt.async_eval(made).exception(30)
        if report is not None:
            break
    line = make.__code__.co_firstlineno
    for each in report.report.arrays:
        assert each.source.file == __file__
        assert each.source.line == line
        assert each.source.function.endswith("<lambda>")


def test_a_cast_that_was_made_beside(unfused):
    x, y = nt.ones(3, nt.int32), nt.ones((2, 3))
    with nt.debug(traceback=True):
        line = here() + 1
        z = x * 2 + y
    with nt.testing.inject(nt.default_device(), "page_fault", times=10):
        (source,) = {*sources(z)}
    assert source.line == line


def test_a_fused_program_has_a_line_for_each_output():
    x = nt.ones(3)
    with nt.debug(traceback=True):
        line = here() + 1
        a = x + 1
        b = a * 2
    with nt.testing.inject(nt.default_device(), "page_fault"):
        error = nt.async_eval(a, b).exception(30)
    assert [each.source.line for each in error.report.arrays] == [line, line + 1]
    assert str(error).count(__file__) == 2


def test_only_what_is_made_inside():
    before = singular()
    with nt.debug(traceback=True):
        inside = singular()
        with nt.debug(traceback=False):
            off = singular()
        again = singular()
    after = singular()
    known = [sources(x)[0] is not None for x in (before, inside, off, again, after)]
    assert known == [False, True, False, True, False]


def test_an_array_that_is_only_handed_on_keeps_its_line():
    x = singular()
    with nt.debug(traceback=True):
        nt.async_eval([x, {"x": x}]).wait(30)
        with pytest.raises(nt.LinAlgError):
            np.asarray(x)
    assert sources(x) == [None]


def test_each_thread_for_itself_and_the_process_for_all():
    found = {}

    def other(name):
        found[name] = sources(singular())[0]

    def run(name):
        thread = threading.Thread(target=other, args=(name,))
        thread.start()
        thread.join(30)

    with nt.debug(traceback=True):
        run("beside a block")
    nt.set_debug(traceback=True)
    run("in the process")
    with nt.debug(traceback=False):
        run("beside a block that turns it off")
        other("in a block that turns it off")
    nt.set_debug(traceback=False)
    run("afterwards")
    assert [name for name, source in found.items() if source] == [
        "in the process",
        "beside a block that turns it off",
    ]


def test_set_debug_leaves_what_is_not_given():
    nt.set_debug(traceback=True)
    nt.set_debug(donations=True)
    assert sources(singular())[0] is not None
    nt.set_debug(donations=False)
    assert sources(singular())[0] is not None
    nt.set_debug(traceback=False)
    assert sources(singular()) == [None]


def test_a_retry_keeps_the_line():
    with nt.debug(traceback=True):
        line = here() + 1
        x = nt.ones(3) + 1
    injected(x)
    again = nt.testing.inject(nt.default_device(), "timeout")
    with again, pytest.raises(nt.DeviceTimeoutError) as caught:
        nt.retry(x)
    assert caught.value.report.arrays[0].source.line == line
    nt.retry(x)
    assert x.tolist() == [2, 2, 2]


def test_a_block_that_is_never_entered_says_so():
    with pytest.warns(RuntimeWarning, match="set_debug"):
        nt.debug(traceback=True)
    assert sources(singular()) == [None]


@pytest.mark.parametrize("value", [1, "yes", np.True_])
@pytest.mark.parametrize("name", ["traceback", "donations"])
def test_options_are_booleans(name, value):
    with pytest.raises(TypeError, match=name):
        nt.set_debug(**{name: value})
    with pytest.raises(TypeError, match=name):
        nt.debug(**{name: value})


@pytest.mark.filterwarnings("ignore::nitinol.DonationWarning")
def test_nothing_is_left_behind():
    before, _ = leaks.alive()
    with nt.debug(traceback=True, donations=True):
        x = nt.ones(4) + 1
        views = [x[i:] for i in range(4)]
        y = x.at[0].set(3)
        z = views[1] + y[1:]
        del x, y, views
        assert z.tolist() == [4, 4, 4]
        del z
    assert not leaks.left_behind(before)


# --- updates that had to copy ------------------------------------------------------------------


def reasons(run):
    """Why updates copied that `run` waits for, and the lines that they come from."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with nt.debug(donations=True):
            run()
    assert all(each.category is nt.DonationWarning for each in caught)
    assert all(each.filename == __file__ for each in caught)
    return [each.message.reason for each in caught], [each.lineno for each in caught]


def fresh(n=8):
    """An array that owns its memory, with nobody else to refer to it."""
    x = nt.ones(n) + 1
    nt.eval(x)
    return x


UPDATES = {
    "set": lambda x: x.at[2:4].set(7),
    "add": lambda x: x.at[nt.asarray([1])].add(1),
    "slice_update": lambda x: nt.slice_update(x, nt.zeros(2), 1, 0),
}


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_a_donation_is_no_news(update):
    def run():
        x = fresh()
        for _ in range(3):
            x = update(x)
            nt.eval(x)

    assert reasons(run) == ([], [])


@pytest.mark.parametrize("update", UPDATES.values(), ids=UPDATES)
def test_another_handle(update):
    def run():
        x = fresh()
        y = update(x)
        nt.eval(y)
        assert x.tolist() == [2] * 8

    assert reasons(run) == (["handle"], [update.__code__.co_firstlineno])


def test_another_handle_of_another_name():
    def run():
        x = fresh()
        other = x
        x = x.at[0].set(1)
        nt.eval(x)
        del other

    assert reasons(run)[0] == ["handle"]


def test_a_view():
    def run():
        x = fresh()
        tail = x[4:]
        x = x.at[0].set(1)
        nt.eval(x)
        assert tail.tolist() == [2] * 4

    assert reasons(run)[0] == ["view"]


def test_a_part():
    def run():
        x = fresh()
        x = x[4:].at[0].set(1)
        nt.eval(x)
        assert x.tolist() == [1, 2, 2, 2]

    assert reasons(run)[0] == ["part"]


def test_an_operation_that_has_not_run():
    def run():
        x = fresh()
        later = nt.sum(x)
        x = x.at[0].set(1)
        nt.eval(x)
        assert later.item() == 16

    assert reasons(run)[0] == ["graph"]


@pytest.mark.parametrize("export", [np.asarray, memoryview, np.from_dlpack])
def test_an_export(export):
    def run():
        x = fresh()
        exported = export(x)
        x = x.at[0].set(1)
        nt.eval(x)
        assert list(np.asarray(exported)) == [2] * 8

    assert reasons(run)[0] == ["exported"]


def test_memory_of_somebody_else(default_device):
    if default_device.kind != "cpu":
        pytest.skip(f"{default_device} takes no memory over.")

    def run():
        x = nt.asarray(np.ones(8, np.float32), copy=False)
        x = x.at[0].set(3)
        nt.eval(x)

    assert reasons(run)[0] == ["borrowed"]


def test_memory_of_another_device(default_device):
    if default_device.kind == "cpu":
        pytest.skip("There is no other device whose arrays the CPU would update.")

    def run():
        with nt.Stream("cpu"):
            x = fresh()
        with nt.Stream(default_device):
            x = x.at[0].set(3)
        nt.eval(x)

    assert reasons(run)[0] == ["elsewhere"]


def test_an_array_older_than_the_debugging():
    old = fresh()

    def run():
        nt.eval(old.at[0].set(1))

    assert reasons(run)[0] == ["unknown"]


def test_what_has_no_memory_to_give():
    def run():
        x = nt.zeros(8)  # one element, broadcast
        nt.eval(x.at[0].set(1))
        nt.eval(nt.zeros((0,)).at[0:0].set(1))

    assert reasons(run)[0] == []


def test_an_assignment_warns_as_well():
    def run():
        x = fresh()
        y = x
        other = y[:]
        x[0] = 5
        nt.eval(x)
        assert other.tolist() == [2] * 8
        assert x.tolist() == [5] + [2] * 7

    assert len(reasons(run)[0]) == 1


WAITS = {
    "eval": lambda x: nt.eval(x),
    "read": lambda x: x.tolist(),
    "wait": lambda x: nt.async_eval(x).wait(30),
    "result": lambda x: nt.async_eval(x).result(30),
    "synchronize": lambda x: (nt.async_eval(x), nt.synchronize(timeout=30)),
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS)
def test_whoever_waits_is_told_once(wait):
    def run():
        x = fresh()
        y = x.at[0].set(1)
        wait(y)
        wait(y)

    assert reasons(run)[0] == ["handle"]


def test_off_nothing_is_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        x = fresh()
        y = x.at[0].set(1)
        nt.eval(y)
        with nt.debug(traceback=True):
            nt.eval(x.at[0].set(1))


def test_a_warning_may_be_an_error():
    x = fresh()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with nt.debug(donations=True):
            y = x.at[0].set(1)
            with pytest.raises(nt.DonationWarning) as caught:
                nt.eval(y)
    assert caught.value.reason == "unknown"
    assert pickle.loads(pickle.dumps(caught.value)).reason == "unknown"
    assert y.tolist() == [1] + [2] * 7
