"""Evaluations have the habits of concurrent.futures.Future."""

import collections
import gc
import sys
import threading
import time
import weakref

import pytest

import nitinol as nt
from counts import error_counts
from gate import Gate
from processes import run, succeed

Pair = collections.namedtuple("Pair", "left right")


@pytest.fixture
def unraisable(monkeypatch):
    """What was given to sys.unraisablehook."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: found.append(args.exc_value))
    yield found
    found.clear()


def eventually(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.001)
    assert condition()


def test_the_result_has_the_structure_that_was_given():
    x, y = nt.ones(2) + 1, nt.ones(3) + 1
    mine = [y, {"a": x}]
    got = nt.async_eval(x, mine, (x, y), Pair(x, y), []).result()
    assert got[0] is x
    assert got[1][0] is y
    assert got[1][1]["a"] is x
    assert type(got[2]) is tuple
    assert type(got[3]) is Pair
    assert got[3].right is y
    assert got[4] == []
    assert nt.async_eval().result() == ()
    # What becomes of the caller's lists makes no difference.
    started = nt.async_eval(mine)
    mine.clear()
    assert started.result()[0][0] is y
    with pytest.raises(TypeError, match="not int"):
        nt.async_eval([x, 1])


def test_a_result_after_the_handle_was_given_another_value():
    x = nt.ones(2) + 1
    started = nt.async_eval(x)
    x[0] = 5.0
    assert started.result()[0] is x
    assert x.tolist() == [5, 2]


def test_callbacks_are_called_once_on_a_thread_of_nitinols(gate):
    started = nt.async_eval(gate.array())
    calls = []
    for name in "abc":
        started.add_done_callback(
            lambda h, name=name: calls.append((name, h, h.done(), threading.current_thread().name))
        )
    time.sleep(0.02)
    assert not calls
    gate.event.set()
    eventually(lambda: len(calls) == 3)
    assert calls == [(name, started, True, "nitinol-notifier") for name in "abc"]


def test_a_callback_of_work_that_is_done_is_called_at_once():
    started = nt.async_eval(nt.ones(2) + 1)
    started.wait()
    calls = []
    started.add_done_callback(lambda h: calls.append((h, threading.get_ident())))
    assert calls == [(started, threading.get_ident())]
    settled = nt.async_eval(nt.ones(2))
    settled.add_done_callback(lambda h: calls.append((h, threading.get_ident())))
    assert calls[1:] == [(settled, threading.get_ident())]


def test_a_callback_of_work_that_failed_observes_nothing():
    calls = []
    x = nt.linalg.inv(nt.zeros((2, 2)) + 0)
    started = nt.async_eval(x)
    started.add_done_callback(calls.append)
    eventually(lambda: calls)
    assert error_counts()["unobserved"] == 1
    assert isinstance(calls[0].exception(), nt.LinAlgError)


def test_a_callback_may_read_the_result_and_start_work(gate):
    found = []

    def call(h):
        found.append(h.result()[0].item())
        found.append(nt.async_eval(nt.ones(3) + 1))

    nt.async_eval(gate.array() + 1).add_done_callback(call)
    gate.event.set()
    eventually(lambda: len(found) == 2)
    assert found[0] == 2
    assert found[1].result(10)[0].tolist() == [2, 2, 2]


def test_a_callback_that_waits_for_work_is_refused(gate, unraisable):
    x = nt.sum(nt.ones(100_000) + 1)
    calls = []
    started = nt.async_eval(gate.array())
    started.add_done_callback(lambda h: x.item())
    started.add_done_callback(calls.append)
    gate.event.set()
    eventually(lambda: calls)
    [error] = unraisable
    assert type(error) is RuntimeError
    assert "can't wait for device work" in str(error)
    assert x.item() == 200_000


def test_what_callbacks_raise_goes_to_the_unraisable_hook(gate, unraisable):
    calls = []

    def bad(h):
        raise KeyError(1)

    def worse(h):
        raise SystemExit

    started = nt.async_eval(gate.array())
    for fn in (bad, worse, calls.append):
        started.add_done_callback(fn)
    gate.event.set()
    eventually(lambda: calls)
    assert [type(error) for error in unraisable] == [KeyError, SystemExit]
    # At once, on the caller: only an Exception is kept from it.
    started.add_done_callback(bad)
    assert [type(error) for error in unraisable] == [KeyError, SystemExit, KeyError]
    with pytest.raises(SystemExit):
        started.add_done_callback(worse)
    # The notifier lives.
    again = nt.async_eval(nt.host_call(lambda: 1.0, (), nt.float32))
    assert again.result(10)[0].item() == 1


@pytest.mark.parametrize("fn", [None, 1, "x"])
def test_callbacks_that_are_none(fn):
    started = nt.async_eval(nt.ones(2) + 1)
    with pytest.raises(TypeError, match="A callback is a function"):
        started.add_done_callback(fn)


def test_callbacks_of_many_threads_are_called_once_each():
    calls = []
    for _ in range(20):
        with nt.Stream():
            started = nt.async_eval([nt.sum(nt.ones(1000) + i) for i in range(20)])
        barrier = threading.Barrier(5)

        def add(started=started, barrier=barrier):
            barrier.wait(60)
            for _ in range(20):
                started.add_done_callback(calls.append)

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait(60)
        for thread in threads:
            thread.join(60)
    eventually(lambda: len(calls) == 20 * 4 * 20)
    assert all(h.done() for h in calls)
    time.sleep(0.02)
    assert len(calls) == 20 * 4 * 20


def test_work_on_several_streams_is_told_once_all_of_it_is_done(gate):
    other = Gate()
    arrays, calls = [], []
    for _ in range(3):
        with nt.Stream():
            arrays += [nt.sum(nt.ones(100) * i) for i in range(3)]
    with nt.Stream():
        arrays.append(nt.host_call(other, (), nt.float32))
    started = nt.async_eval(arrays, gate.array())
    started.add_done_callback(lambda h: calls.append(h.done()))
    (gate if gate.entered.wait(0.2) else other).event.set()
    time.sleep(0.02)
    assert not calls
    gate.event.set()
    other.event.set()
    eventually(lambda: calls)
    assert calls == [True]


def test_a_callback_keeps_its_evaluation_alive_until_it_was_called(gate):
    started = nt.async_eval(gate.array() + 1)
    seen = weakref.ref(started)
    values = []
    started.add_done_callback(lambda h: values.append(h.result()[0].item()))
    del started
    gc.collect()
    assert seen() is not None
    gate.event.set()
    eventually(lambda: values == [2])
    eventually(lambda: gc.collect() is not None and seen() is None)


def test_callbacks_at_exit():
    """What was done before is told; what was not is dropped, without a word."""
    out = succeed("""
        x = nt.ones(3) + 1
        h = nt.async_eval(x)
        event, told = threading.Event(), threading.Event()
        h.add_done_callback(lambda h: print("done", flush=True) or told.set())
        h.wait()
        told.wait(30)  # who waits for the work may wake before its callbacks are called
        y = nt.host_call(lambda: event.wait(60) and 1.0, (), nt.float32)
        g = nt.async_eval(y + 1)
        """)
    assert out == "done\n"
    done = run("""
        event, entered = threading.Event(), threading.Event()
        y = nt.host_call(lambda: entered.set() or event.wait(60) and 1.0, (), nt.float32)
        g = nt.async_eval(y)
        g.add_done_callback(lambda h: print("never"))
        entered.wait()
        """)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.seconds < 30


def test_a_forked_child_can_not_wait_for_its_parents_work():
    out = succeed("""
        import asyncio
        event = threading.Event()
        h = nt.async_eval(nt.host_call(lambda: event.wait(60) and 1.0, (), nt.float32))
        async def wait(): await h
        child = os.fork()
        if child == 0:
            for job in (h.wait, lambda: asyncio.run(wait()), lambda: h.add_done_callback(print)):
                try: job()
                except RuntimeError as error: print("forked" in str(error), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        event.set()
        h.wait()
        """)
    assert out == "True\nTrue\nTrue\n"


@pytest.mark.parametrize("of", [nt.eval, nt.async_eval, nt.retry], ids=lambda f: f.__name__)
@pytest.mark.parametrize("kind", ["itself", "deep"])
def test_lists_that_are_too_deep_are_a_recursion_error(of, kind):
    nested = [nt.ones(2)]
    if kind == "itself":
        nested.append({"again": nested})
    else:
        for _ in range(2 * sys.getrecursionlimit()):
            nested = [nested]
    with pytest.raises(RecursionError, match="maximum recursion depth"):
        of(nested)
    if kind == "itself":
        nested.clear()  # it would be garbage that holds an array
