"""G3: the arrays whose reading raises are exactly those that a failure spoilt.

Random graphs over several streams run on one thread or several, with operations fused or apart,
and with failures; a model says who must raise what, and what every other array must be.
"""

import collections
import contextlib
import functools
import random
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs
import nitinol as nt
from counts import error_counts
from failing import observed
from threads import in_threads

PHASES = st.sampled_from(["encode", "commit", "completion"])


def evaluate(how, arrays, chance):
    """Have arrays computed, all at once or in parts, waiting or not, in any order."""
    arrays = chance.sample(arrays, len(arrays))
    if how == "read":
        return []
    if how == "eval":
        with contextlib.suppress(nt.DeviceError):
            nt.eval(arrays, timeout=60)
        return []
    size = max(1, len(arrays)) if how == "at once" else 2
    return [nt.async_eval(arrays[i : i + size]) for i in range(0, len(arrays), size)]


HOW = st.sampled_from(["read", "eval", "at once", "in parts"])


@given(
    program=graphs.programs(failing=True),
    limit=graphs.FUSION,
    how=HOW,
    seed=st.integers(0, 2**32),
    threads=st.integers(1, 4),
    drop=st.sampled_from([0, 0.5, 0.9]),
    late=st.booleans(),
)
def test_real_failures_spoil_exactly_their_descendants(
    streams, program, limit, how, seed, threads, drop, late
):
    values, roots = program.values(), program.roots()
    chance = random.Random(seed)
    before = error_counts()
    with graphs.fusion(limit):
        arrays = dict(enumerate(program.build(streams)))
        dropped = [i for i in arrays if chance.random() < drop]
        if not late:
            for i in dropped:
                del arrays[i]
        running = evaluate(how, list(arrays.values()), chance)
        if late:
            running = None  # it holds the arrays
            for i in dropped:
                del arrays[i]
        reports = collections.defaultdict(list)

        def read(seed):
            order = random.Random(seed).sample(list(arrays), len(arrays))
            for i in order:
                errors = graphs.errors_of(arrays[i])
                found = {graphs.failing_step(error): error.report for error in errors}
                assert set(found) == roots[i], (i, program)
                assert len(errors) == len(found)
                for step, report in found.items():
                    reports[step].append(report)
                if not errors:
                    graphs.assert_value(arrays[i], values[i])

        in_threads(*[functools.partial(read, seed) for seed in range(threads)])
    del running
    observed()
    for found in reports.values():
        assert all(report is found[0] for report in found)
    after = error_counts()
    struck = after["struck"] - before["struck"]
    assert struck == after["raised"] - before["raised"]
    if not late:
        # What nobody needs never runs; whoever needs a failing step raises its report.
        assert struck == len(reports)


@given(
    program=graphs.programs(),
    rules=st.lists(
        st.tuples(st.integers(1, 20), st.integers(1, 3), PHASES), min_size=1, max_size=3
    ),
)
def test_the_unit_that_an_injection_strikes_is_known(streams, program, rules):
    # One step after the other, each a unit: the n-th healthy one is the n-th to be counted.
    expected, hit, count = [], 0, 0
    for number, step in enumerate(program.steps):
        inherited = frozenset().union(*[expected[i] for i in step.inputs])
        if step.runs and not inherited:
            count += 1
            if any(at <= count < at + times for at, times, _ in rules):
                inherited, hit = frozenset({number}), hit + 1
        expected.append(inherited)
    with contextlib.ExitStack() as stack:
        stack.enter_context(graphs.fusion(1))
        arrays = program.build(streams)
        planned = [
            stack.enter_context(
                nt.testing.inject(nt.default_device(), "page_fault", at, times, phase)
            )
            for at, times, phase in rules
        ]
        for array in arrays:
            nt.async_eval(array).wait(60)
    assert all(each.seen == count for each in planned)
    assert sum(each.fired for each in planned) == hit
    values = program.values()
    found = {}
    for number, array in reversed(list(enumerate(arrays))):
        reports = graphs.reports_of(array)
        assert len(reports) == len(expected[number])
        if not reports:
            graphs.assert_value(array, values[number])
        if number in expected[number]:
            (found[number],) = reports
            assert found[number].op == graphs.unit_of(program.steps[number].kind)
            assert found[number].injected
    for number, array in enumerate(arrays):
        assert {id(r) for r in graphs.reports_of(array)} == {id(found[i]) for i in expected[number]}


@given(
    program=graphs.programs(min_steps=6, max_steps=24),
    limit=graphs.FUSION,
    how=HOW,
    seed=st.integers(0, 2**32),
    threads=st.integers(1, 4),
    rules=st.lists(
        st.tuples(st.integers(1, 12), st.integers(1, 3), PHASES), min_size=1, max_size=2
    ),
)
def test_injected_failures_spoil_a_unit_and_its_descendants(
    streams, program, limit, how, seed, threads, rules
):
    values = program.values()
    chance = random.Random(seed)
    before = error_counts()
    with contextlib.ExitStack() as stack:
        stack.enter_context(graphs.fusion(limit))
        arrays = program.build(streams)
        planned = [
            stack.enter_context(nt.testing.inject(nt.default_device(), "timeout", at, times, phase))
            for at, times, phase in rules
        ]
        spoilt = collections.defaultdict(set)
        reports = {}

        def work(seed):
            running = evaluate(how, arrays, random.Random(seed))
            order = random.Random(seed).sample(range(len(arrays)), len(arrays))
            for i in order:
                found = graphs.reports_of(arrays[i])
                for report in found:
                    key = (report.submission, report.unit)
                    assert reports.setdefault(key, report) is report
                    spoilt[key].add(i)
                if not found:
                    graphs.assert_value(arrays[i], values[i])
            del running

        in_threads(*[functools.partial(work, seed) for seed in chance.sample(range(999), threads)])
    fired = sum(each.fired for each in planned)
    after = error_counts()
    assert fired == len(reports) == after["struck"] - before["struck"]
    assert after["raised"] - before["raised"] == fired

    for key, members in spoilt.items():
        report = reports[key]
        closure = set().union(*[program.descendants(i) for i in members])
        assert members == closure, "a descendant of a spoilt array is healthy"
        origins = [i for i in members if not members & set(program.steps[i].inputs)]
        written = collections.Counter(
            (array.op, array.shape, array.dtype) for array in report.arrays
        )
        struck = collections.Counter(
            (graphs.unit_of(program.steps[i].kind), arrays[i].shape, arrays[i].dtype.name)
            for i in origins
        )
        if len(report.arrays) < 4:
            assert struck <= written, "an array is blamed that the failed unit did not write"
        if limit == 1:
            assert len(origins) == 1
            assert report.instructions == 1
        assert report.instructions <= max(limit, 1)


def failing_later(x):
    """An array that will fail, but not before the event is set."""
    event = threading.Event()

    def fail(x):
        event.wait(60)
        raise graphs.Boom(0)

    return nt.host_call(fail, x.shape, x.dtype, x), event


def test_an_array_fused_with_a_spoilt_one_is_healthy():
    # The additions are one program, one of whose inputs is spoilt while it waits: only what
    # depends on that input may raise.
    x = nt.asarray([1.0, 2.0])
    bad, event = failing_later(x)
    first = nt.async_eval(bad)
    healthy = x + 1
    spoilt = healthy + bad
    total = nt.sum(healthy)
    mixed = total + nt.sum(spoilt)
    second = nt.async_eval(healthy, spoilt, total, mixed)
    event.set()
    assert isinstance(first.exception(10), nt.HostCallbackError)
    for array in (spoilt, mixed):
        with pytest.raises(nt.HostCallbackError):
            array.tolist()
    assert healthy.tolist() == [2.0, 3.0]
    assert total.item() == 5.0
    assert isinstance(second.exception(10), nt.HostCallbackError)


def test_an_evaluation_gives_what_was_fused_with_a_spoilt_array():
    x = nt.asarray([1.0, 2.0])
    bad, event = failing_later(x)
    first = nt.async_eval(bad)
    healthy = x + 1
    spoilt = healthy + bad
    second = nt.async_eval(spoilt)
    third, fourth = nt.async_eval(healthy), nt.async_eval(nt.sum(healthy))
    event.set()
    assert third.exception(10) is None
    assert fourth.result(10)[0].item() == 5.0
    assert isinstance(second.exception(10), nt.HostCallbackError)
    assert isinstance(first.exception(10), nt.HostCallbackError)


@pytest.mark.parametrize("other", [0, 1])
@pytest.mark.parametrize("limit", [1, 1000])
def test_an_array_dropped_in_flight_still_feeds_its_readers(streams, other, limit):
    # The first stream is busy, so nothing has started when the handles go.
    event = threading.Event()

    def hold(x):
        event.wait(60)
        return x

    x = nt.asarray([1.0, 2.0])
    with graphs.fusion(limit):
        with streams[0]:
            gate = nt.host_call(hold, (2,), nt.float32, x)
            y = x + 1
            middle = nt.sum(y)
        with streams[other]:
            z = nt.sum(y) + middle
        running = nt.async_eval(gate)
        nt.async_eval(y, middle, z)
        del y, middle
        event.set()
        assert z.item() == 10.0
        running.result(10)
