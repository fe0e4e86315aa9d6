"""G4: every failure that struck is observed once, and until then it is kept."""

import contextlib
import gc
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from counts import drain_errors, error_counts
from threads import in_threads

counts = error_counts


def difference(before):
    return {name: value - before[name] for name, value in counts().items() if value != before[name]}


def fail(code="timeout", stream=None):
    """An array that an injected failure spoilt, unobserved."""
    with stream or nt.Stream():
        x = nt.ones(3) + 1
        with nt.testing.inject(nt.default_device(), code):
            nt.async_eval(x).wait(60)
    return x


def observe_by_reading(x):
    with pytest.raises(nt.DeviceError) as caught:
        x.tolist()
    return caught.value.report


def test_a_failure_that_was_dropped_unread_is_raised_by_synchronize_once():
    before = counts()
    x = fail()
    del x
    gc.collect()
    assert difference(before) == {"struck": 1, "unobserved": 1}
    with pytest.raises(nt.DeviceTimeoutError):
        nt.synchronize(timeout=60)
    assert difference(before) == {"struck": 1, "raised": 1}
    nt.synchronize(timeout=60)
    assert drain_errors() == []
    assert difference(before) == {"struck": 1, "raised": 1}


def test_synchronize_raises_all_at_once_in_order():
    kept = [fail(code) for code in ("timeout", "page_fault", "out_of_memory")]
    observe_by_reading(kept[1])
    with pytest.raises(nt.DeviceErrorGroup) as caught:
        nt.synchronize(timeout=60)
    assert [report.code for report in caught.value.reports] == ["timeout", "out_of_memory"]
    # The arrays go on raising the same reports.
    assert observe_by_reading(kept[0]) is caught.value.reports[0]
    assert observe_by_reading(kept[2]) is caught.value.reports[1]


def test_synchronize_with_a_stream_leaves_the_others():
    a, b = nt.Stream(), nt.Stream()
    on_a, on_b = fail("timeout", a), fail("page_fault", b)
    with pytest.raises(nt.DeviceTimeoutError):
        nt.synchronize(a, timeout=60)
    nt.synchronize(a, timeout=60)
    assert counts()["unobserved"] == 1
    with pytest.raises(nt.KernelFaultError):
        nt.synchronize(b, timeout=60)
    observe_by_reading(on_a)
    observe_by_reading(on_b)


def test_a_new_stream_is_not_blamed_for_an_old_one():
    old = nt.Stream()
    x = fail("timeout", old)
    number = old.index
    del old
    for _ in range(3):
        new = nt.Stream()
        assert new.index != number
        nt.synchronize(new, timeout=60)
    assert observe_by_reading(x).stream == number


def test_exception_observes():
    before = counts()
    x = nt.ones(3) + 1
    with nt.testing.inject(nt.default_device(), "timeout"):
        started = nt.async_eval(x)
        error = started.exception(10)
    assert isinstance(error, nt.DeviceTimeoutError)
    assert difference(before) == {"struck": 1, "raised": 1}
    assert started.exception(10).report is error.report
    assert difference(before) == {"struck": 1, "raised": 1}


def test_what_nobody_needs_never_runs_and_never_fails():
    before = counts()
    x = nt.linalg.inv(nt.zeros((2, 2)))
    del x
    y = nt.linalg.inv(nt.zeros((2, 2)))
    z = nt.where(nt.asarray(True), nt.ones(2), nt.ones(2))
    nt.eval(z)
    del y
    nt.synchronize(timeout=60)
    assert difference(before) == {}


def test_work_that_was_dropped_before_it_started_is_skipped():
    if nt.default_device().kind != "cpu":
        pytest.skip("A host call runs on the CPU, and what crosses devices is wanted.")
    event, calls = threading.Event(), []
    before = counts()
    with nt.Stream():
        gate = nt.host_call(lambda: event.wait(60) and 1.0, (), nt.float32)
        first = nt.async_eval(gate)
        x = nt.host_call(lambda: calls.append(1) or 1 / 0, (), nt.float32)
        nt.async_eval(x + 1)
        del x
        event.set()
        first.wait(60)
        nt.synchronize(timeout=60)
    assert not calls
    assert difference(before) == {}


KINDS = (
    "fail",
    "read",
    "drop",
    "drain",
    "synchronize",
    "exception",
    "depend",
    "collect",
    "forget",
)
ACTIONS = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 9)), max_size=30)


class Model:
    """Which failures struck, whose they are, and who has seen them."""

    def __init__(self):
        self.before = counts()
        self.arrays, self.roots = [], []  # each array, and the failures that spoilt it
        self.owner = []  # of each failure: a scope's number, or None
        self.waiting = set()
        self.seen = {"raised": 0, "drained": 0, "collected": 0}
        self.scopes = {}
        for number in (0, 1):
            self.scopes[number] = nt.error_scope(f"scope {number}")

    def see(self, found, how):
        self.seen[how] += len(found & self.waiting)
        self.waiting -= found

    def of(self, *owners):
        return {i for i, owner in enumerate(self.owner) if owner in owners}

    def act(self, action, which):
        i = which % len(self.arrays) if self.arrays else None
        if action == "fail":
            number = [None, *self.scopes][which % 3]
            with self.scopes[number].attach() if number is not None else contextlib.nullcontext():
                self.arrays.append(fail())
            self.roots.append({len(self.owner)})
            self.waiting.add(len(self.owner))
            self.owner.append(number)
        elif action == "drain":
            gone = {owner for owner in self.owner if owner not in self.scopes}
            expected = self.of(None, *gone) & self.waiting
            assert len(drain_errors()) == len(expected)
            self.see(expected, "drained")
        elif action == "synchronize":
            expected = self.of(None) & self.waiting
            if expected:
                with pytest.raises(nt.DeviceError) as caught:
                    nt.synchronize(timeout=60)
                assert len(caught.value.reports) == len(expected)
            else:
                nt.synchronize(timeout=60)
            self.see(expected, "raised")
        elif action == "collect":
            number = list(self.scopes)[which % 2]
            expected = self.of(number)
            assert len(self.scopes[number].errors) == len(expected)
            self.see(expected, "collected")
        elif action == "forget":
            # The scope goes, and what nobody has seen of it is the device's.
            del self.scopes[list(self.scopes)[which % 2]]
            number = max([1, *self.scopes, *(o for o in self.owner if o is not None)]) + 1
            self.scopes[number] = nt.error_scope(f"scope {number}")
        elif i is None:
            return
        elif action == "read":
            with pytest.raises(nt.DeviceError) as caught:
                self.arrays[i].tolist()
            assert len(caught.value.reports) == len(self.roots[i])
            self.see(self.roots[i], "raised")
        elif action == "exception":
            assert nt.async_eval(self.arrays[i]).exception(10) is not None
            self.see(self.roots[i], "raised")
        elif action == "depend":
            j = (which // 2) % len(self.arrays)
            self.arrays.append(self.arrays[i] + self.arrays[j])
            self.roots.append(self.roots[i] | self.roots[j])
        elif action == "drop":
            del self.arrays[i], self.roots[i]

    def check(self):
        expected = {
            "struck": len(self.owner),
            **self.seen,
            "unobserved": len(self.waiting),
        }
        found = difference(self.before)
        assert found == {name: value for name, value in expected.items() if value}


@given(actions=ACTIONS)
def test_any_order_of_failing_and_observing(actions):
    model = Model()
    for action, which in actions:
        model.act(action, which)
        model.check()
    left = len(model.waiting)
    model.scopes.clear()
    assert len(drain_errors()) == left


def singular():
    """An array that its own data spoilt, whatever other threads inject; unobserved."""
    x = nt.linalg.inv(nt.zeros((2, 2)) + 0)
    nt.async_eval(x).wait(60)
    return x


class Worker(threading.Thread):
    """Carries out actions beside other threads, on its own arrays and on shared scopes."""

    def __init__(self, actions, scopes, start):
        super().__init__()
        self.actions, self.scopes, self.barrier = actions, scopes, start
        self.struck, self.drained, self.error = [0] * (len(scopes) + 1), [], None

    def run(self):
        try:
            self.barrier.wait(60)
            with nt.Stream():
                self.work()
        except BaseException as error:
            self.error = error

    def work(self):
        arrays = []
        for action, which in self.actions:
            number = which % (len(self.scopes) + 1)
            if action in ("fail", "depend", "forget"):
                joined = self.scopes[number - 1].attach() if number else contextlib.nullcontext()
                with joined:
                    arrays.append(singular())
                self.struck[number] += 1
            elif action == "drain":
                self.drained += drain_errors()
            elif action == "synchronize":
                with contextlib.suppress(nt.DeviceError):
                    nt.synchronize(timeout=60)
            elif action == "collect" and number:
                for report in self.scopes[number - 1].errors:
                    assert report.scope == self.scopes[number - 1].name
            elif arrays and action == "drop":
                del arrays[which % len(arrays)]
            elif arrays:
                x = arrays[which % len(arrays)]
                if action == "read":
                    observe_by_reading(x)
                else:
                    assert isinstance(nt.async_eval(x).exception(10), nt.LinAlgError)


@given(programs=st.lists(ACTIONS, min_size=2, max_size=4))
def test_threads_drops_and_scopes(programs):
    before = counts()
    scopes = [nt.error_scope(name, raise_on_exit=False) for name in ("a", "b")]
    start = threading.Barrier(len(programs))
    workers = [Worker(actions, scopes, start) for actions in programs]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert not worker.is_alive()
        assert worker.error is None, worker.error
    struck = [sum(worker.struck[i] for worker in workers) for i in range(3)]
    assert difference(before).get("struck", 0) == sum(struck)
    # Each scope has what was submitted in it, seen or not, and nothing else.
    assert [len(scope.errors) for scope in scopes] == struck[1:]
    drained = [report for worker in workers for report in worker.drained]
    drained += drain_errors()
    assert len({id(report) for report in drained}) == len(drained)
    assert {report.scope for report in drained} <= {None}
    found = difference(before)
    assert found.get("drained", 0) == len(drained)
    seen = sum(found.get(name, 0) for name in ("raised", "drained", "collected"))
    assert seen == sum(struck)
    assert found.get("unobserved", 0) == 0


def test_threads_that_observe_the_same_failures_count_them_once():
    before = counts()
    arrays = [fail() for _ in range(40)]
    drained = []

    def read():
        for x in arrays:
            observe_by_reading(x)

    def sweep():
        for _ in range(20):
            drained.extend(drain_errors())
            with contextlib.suppress(nt.DeviceError):
                nt.synchronize(timeout=60)

    in_threads(read, read, read, sweep, sweep, sweep)
    found = difference(before)
    assert found["struck"] == 40
    assert found.get("raised", 0) + found.get("drained", 0) == 40
    assert found.get("drained", 0) == len(drained) == len({id(report) for report in drained})


def test_failures_that_are_raised_and_never_drained_do_not_pile_up():
    seconds = []
    x = nt.zeros((2, 2))
    for _ in range(3):
        begin = time.perf_counter()
        for _ in range(300):
            observe_by_reading(nt.linalg.inv(x + 0))
        seconds.append(time.perf_counter() - begin)
    assert counts()["unobserved"] == 0
    assert drain_errors() == []
    assert seconds[-1] < 20 * seconds[0]


def test_unobserved_failures_wait_in_order():
    before = counts()
    for _ in range(100):
        fail()
    reports = drain_errors()
    assert len(reports) == 100
    numbers = [report.submission for report in reports]
    assert numbers == sorted(numbers)
    assert difference(before) == {"struck": 100, "drained": 100}


def test_a_stream_that_was_dropped_amid_its_work_is_not_given_to_another(gate):
    dropped = nt.Stream("cpu")
    with dropped:
        x = nt.linalg.inv(nt.zeros((2, 2), device="cpu") * gate.array())
        started = nt.async_eval(x)
    assert gate.entered.wait(60)
    number = dropped.index
    del dropped
    new = nt.Stream("cpu")
    gate.event.set()
    started.wait(60)
    nt.synchronize(new, timeout=60)
    with pytest.raises(nt.LinAlgError) as caught:
        x.tolist()
    assert caught.value.report.stream == number != new.index
