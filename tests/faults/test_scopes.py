"""G10: a scope collects the failures of the work submitted in it, and of no other."""

import asyncio
import contextlib
import copy
import gc
import pickle
import threading
import time

import pytest

import nitinol as nt
from alarm import interrupt_after
from counts import drain_errors
from gate import Gate
from processes import run, succeed
from scoped import counts, difference, out_of_range, report_of, singular, submit


def test_collects_without_raising():
    before = counts()
    with nt.error_scope("req-7", raise_on_exit=False) as scope:
        kept = [submit(singular()), submit(out_of_range()), submit(nt.ones(3) + 1)]
    assert difference(before) == {"struck": 2, "unobserved": 2}
    errors = scope.errors
    assert [report.code for report in errors] == ["singular_matrix", "index_out_of_range"]
    assert {report.scope for report in errors} == {"req-7"}
    assert difference(before) == {"struck": 2, "collected": 2}
    # Reading again shows the same reports, and so do the arrays.
    assert all(a is b for a, b in zip(scope.errors, errors, strict=True))
    assert report_of(kept[0]) is errors[0]
    assert report_of(kept[1]) is errors[1]
    assert kept[2].tolist() == [2, 2, 2]
    assert difference(before) == {"struck": 2, "collected": 2}


def test_raises_one_failure_plainly():
    before = counts()
    with pytest.raises(nt.LinAlgError) as caught, nt.error_scope("a") as scope:
        x = submit(singular())
    assert caught.value.report.scope == "a"
    assert difference(before) == {"struck": 1, "raised": 1}
    assert scope.errors == [caught.value.report] == [report_of(x)]
    assert difference(before) == {"struck": 1, "raised": 1}


def test_raises_several_as_a_group():
    kept = []
    with pytest.raises(nt.DeviceErrorGroup, match="error scope 'a'") as caught, nt.error_scope("a"):
        kept += [submit(singular()), submit(out_of_range())]
    assert [report.code for report in caught.value.reports] == [
        "singular_matrix",
        "index_out_of_range",
    ]


def test_the_group_works_with_except_star_and_with_except():
    kept, seen = [], []
    try:
        with nt.error_scope("a"):
            kept += [submit(singular()), submit(out_of_range()), submit(singular())]
    except* nt.LinAlgError as group:
        seen.append((type(group), [report.code for report in group.reports]))
    except* nt.DeviceIndexError as group:
        seen.append((type(group), [report.code for report in group.reports]))
    assert seen == [
        (nt.DeviceErrorGroup, ["singular_matrix"] * 2),
        (nt.DeviceErrorGroup, ["index_out_of_range"]),
    ]
    with contextlib.suppress(nt.DeviceError), nt.error_scope("a"):
        kept += [submit(singular()), submit(out_of_range())]


def test_a_scope_without_failures_raises_nothing():
    before = counts()
    with nt.error_scope("a") as scope:
        x = submit(nt.ones(3) + 1)
    assert scope.errors == []
    assert x.tolist() == [2, 2, 2]
    assert difference(before) == {}


def test_what_was_observed_inside_is_not_raised_again():
    with nt.error_scope("a") as scope:
        report = report_of(singular())
    assert scope.errors == [report]


def test_the_innermost_scope_owns_the_work():
    with nt.error_scope("outer", raise_on_exit=False) as outer:
        a = submit(singular())
        with nt.error_scope("inner", raise_on_exit=False) as inner:
            b = submit(out_of_range())
        c = submit(singular())
    assert outer.errors == [report_of(a), report_of(c)]
    assert inner.errors == [report_of(b)]


def test_what_is_submitted_counts_and_not_where_it_was_made():
    made_outside = singular()
    with nt.error_scope("a", raise_on_exit=False) as scope:
        started_inside = submit(made_outside)
        made_inside = singular()
    assert scope.errors == [report_of(started_inside)]
    assert report_of(made_inside).scope is None
    assert len(scope.errors) == 1


def test_waiting_for_the_work_of_another_scope_does_not_own_it():
    gate = Gate()
    with nt.Stream():
        with nt.error_scope("first", raise_on_exit=False) as first:
            held = submit(gate.array())
            x = submit(nt.linalg.inv(nt.zeros((2, 2)) * held))
            assert gate.entered.wait(60)
            with nt.error_scope("second") as second:
                y = submit(x + 1)
                gate.event.set()
        assert second.errors == []
        assert first.errors == [report_of(y)] == [report_of(x)]


def test_every_kind_of_submission():
    routes = {
        "async_eval": lambda x: nt.async_eval(x).wait(),
        "eval": nt.eval,
        "tolist": lambda x: x.tolist(),
        "repr": repr,
        "float": lambda x: float(x[0, 0]),
    }
    for name, route in routes.items():
        x = singular()
        with (
            nt.error_scope(name, raise_on_exit=False) as scope,
            contextlib.suppress(nt.DeviceError),
        ):
            route(x)
        assert [report.scope for report in scope.errors] == [name]


def test_leaving_waits_for_the_work():
    gate = Gate()
    timer = threading.Timer(0.1, gate.event.set)
    timer.start()
    with nt.Stream(), nt.error_scope("a"):
        x = submit(gate.array())
        started = nt.async_eval(x)
        assert not started.done()
    assert started.done()
    timer.join()


def test_ctrl_c_ends_the_wait_on_leaving():
    gate, kept = Gate(), []

    def body(alarm):
        with nt.Stream(), nt.error_scope("a"):
            kept.append(submit(gate.array()))
            assert gate.entered.wait(60)
            alarm.enter_context(interrupt_after(0.1))

    begin = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), contextlib.ExitStack() as alarm:
            body(alarm)
    finally:
        gate.event.set()
    assert time.monotonic() - begin < 100  # the gate would have opened by itself after 120 s
    assert kept[0].item() == 1


def test_an_exception_of_the_body_wins_and_gets_notes():
    before = counts()
    kept = []

    def body():
        with nt.error_scope("a"):
            kept.extend([submit(singular()), submit(out_of_range())])
            raise KeyError("x")

    with pytest.raises(KeyError) as caught:
        body()
    notes = caught.value.__notes__
    assert len(notes) == 2
    assert notes[0] == f"In the error scope 'a': {report_of(kept[0]).message}"
    assert notes[1] == f"In the error scope 'a': {report_of(kept[1]).message}"
    assert difference(before) == {"struck": 2, "collected": 2}


def test_an_exception_of_the_body_that_is_the_failure_gets_no_note():
    with pytest.raises(nt.LinAlgError) as caught, nt.error_scope("a"):
        singular().tolist()
    assert not hasattr(caught.value, "__notes__")


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leaving_in_a_hurry_does_not_wait(kind):
    gate, kept = Gate(), []

    def body():
        with nt.Stream(), nt.error_scope("a") as scope:
            held = submit(gate.array())
            kept.extend([submit(nt.linalg.inv(nt.zeros((2, 2)) * held)), scope])
            raise kind

    try:
        with pytest.raises(kind):
            body()
        x, scope = kept
        assert not nt.async_eval(x).done()
    finally:
        gate.event.set()
    assert report_of(x).scope == "a"
    assert scope.errors == [report_of(x)]


def test_a_wait_that_ran_out_of_time_is_not_followed_by_one_without_limit():
    gate, kept = Gate(), []

    def body():
        with nt.Stream(), nt.error_scope("a") as scope:
            kept.extend([submit(gate.array()), scope])
            nt.eval(nt.linalg.inv(nt.zeros((2, 2)) * kept[0]), timeout=0.01)

    async def task():
        async with nt.error_scope("b"), asyncio.timeout(0.01):
            await nt.async_eval(kept[0])

    try:
        with pytest.raises(nt.WaitTimeoutError):
            body()
        with pytest.raises(TimeoutError):
            asyncio.run(task())
        assert not nt.async_eval(kept[0]).done()
    finally:
        gate.event.set()
    nt.eval(kept[0], timeout=10)


def test_after_what_a_watchdog_ended_the_scope_is_waited_for():
    """DeviceTimeoutError is a TimeoutError, but a failure as any other."""
    gate, kept = Gate(), []
    opener = threading.Timer(0.2, gate.event.set)

    def body():
        with nt.error_scope("a"):
            with nt.Stream():
                kept.append(submit(gate.array()))
                assert gate.entered.wait(10)
            opener.start()
            with nt.testing.inject(nt.default_device(), "timeout"):
                nt.eval(nt.ones(3) + 1)

    with pytest.raises(nt.DeviceTimeoutError):
        body()
    assert nt.async_eval(kept[0]).done()
    opener.join()


def test_synchronize_and_drain_errors_leave_scopes_alone():
    before = counts()
    with nt.error_scope("a", raise_on_exit=False) as scope:
        kept = [submit(singular())]
    kept.append(submit(out_of_range()))
    with pytest.raises(nt.DeviceIndexError):
        nt.synchronize(timeout=60)
    nt.synchronize(timeout=60)
    assert drain_errors() == []
    assert difference(before) == {"struck": 2, "raised": 1, "unobserved": 1}
    assert len(scope.errors) == 1


def test_what_a_scope_leaves_unread_is_drained_when_it_has_gone():
    before = counts()
    with nt.error_scope("a", raise_on_exit=False) as scope:
        x = submit(singular())
    assert drain_errors() == []
    del scope
    gc.collect()
    nt.synchronize(timeout=60)
    [report] = drain_errors()
    assert report is report_of(x)
    assert report.scope == "a"
    assert difference(before) == {"struck": 1, "drained": 1}


def test_work_that_fails_after_its_scope_has_gone_is_drained():
    gate = Gate()
    with nt.Stream():
        with contextlib.suppress(KeyboardInterrupt), nt.error_scope("a"):
            held = submit(gate.array())
            x = submit(nt.linalg.inv(nt.zeros((2, 2)) * held))
            raise KeyboardInterrupt
        gc.collect()
        gate.event.set()
        nt.async_eval(x).wait(60)
        [report] = drain_errors()
    assert report.scope == "a"
    assert report is report_of(x)


# --- misuse, and the ends of processes ---------------------------------------------------------


@pytest.mark.parametrize("job", [pickle.dumps, copy.copy, copy.deepcopy])
def test_what_belongs_to_its_process_has_no_copies(job):
    """A copy of a scope would give its failures away when it goes."""
    before = counts()
    with nt.error_scope("a", raise_on_exit=False) as scope:
        started = nt.async_eval(singular())
        for obj in (scope, started, nt.Stream()):
            with pytest.raises(TypeError, match="belongs to its process: it can't be pickled or"):
                job(obj)
    gc.collect()
    assert drain_errors() == []
    assert len(scope.errors) == 1
    assert difference(before) == {"struck": 1, "collected": 1}


def test_a_scope_is_entered_once():
    with (
        nt.error_scope("a") as scope,
        pytest.raises(RuntimeError, match="'a' was entered before"),
    ):
        scope.__enter__()
    with pytest.raises(RuntimeError, match="'a' was entered before"), scope:
        pass


def test_scopes_are_left_in_order():
    a, b = nt.error_scope("a"), nt.error_scope("b")
    a.__enter__()
    b.__enter__()
    with pytest.raises(RuntimeError, match="'a' is left"):
        a.__exit__(None, None, None)
    b.__exit__(None, None, None)
    a.__exit__(None, None, None)


@pytest.mark.parametrize(
    "name", ["", "req-7", "Anfrage \u00e4\u00f6", "a\0b", "x" * 5000, "\ud800"]
)
def test_names(name):
    with nt.error_scope(name, raise_on_exit=False) as scope:
        x = submit(singular())
    assert scope.name == name
    assert report_of(x).scope == name
    assert repr(scope) == f"nitinol.error_scope({name!r}, raise_on_exit=False)"


@pytest.mark.parametrize("name", [None, 7, b"a"])
def test_names_that_are_none(name):
    with pytest.raises(TypeError, match="named by a str"):
        nt.error_scope(name)


def test_what_nobody_read_is_printed_at_exit():
    done = run("""
        with nt.error_scope("req-7", raise_on_exit=False) as scope:
            x = nt.linalg.inv(nt.zeros((2, 2)))
            nt.async_eval(x)
        """)
    assert done.returncode == 0
    assert "1 device failure(s) that nobody has observed" in done.stderr
    assert "singular_matrix: Matrix 0" in done.stderr
    assert "error scope 'req-7'" in done.stderr


def test_a_forked_child_may_leave_the_scope_of_its_parent():
    out = succeed("""
        with nt.error_scope("a", raise_on_exit=False) as scope:
            x = nt.linalg.inv(nt.zeros((2, 2)))
            nt.async_eval(x).wait()
            child = os.fork()
        if child == 0:
            try: scope.errors
            except RuntimeError as error: print("forked" in str(error), flush=True)
            del scope
            os._exit(0)
        print(os.waitpid(child, 0)[1], scope.errors[0].code)
        """)
    assert out.splitlines() == ["True", "0 singular_matrix"]
