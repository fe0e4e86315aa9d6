"""G10 across threads and asyncio tasks: who inherits a scope, who joins it, who stays out."""

import asyncio
import concurrent.futures
import contextlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from gate import Gate
from scoped import counts, difference, out_of_range, report_of, singular, submit


def test_threads_join_with_attach_and_only_so():
    found = {}

    def job(name, joined):
        with joined:
            found[name] = submit(singular())

    with nt.error_scope("a", raise_on_exit=False) as scope:
        threads = [
            threading.Thread(target=job, args=("in", scope.attach())),
            threading.Thread(target=job, args=("out", contextlib.nullcontext())),
        ]
        for thread in threads:
            thread.start()
            thread.join(60)
    assert scope.errors == [report_of(found["in"])]
    assert report_of(found["out"]).scope is None


def test_executors_join_with_attach():
    def job(scope, n):
        with scope.attach():
            x = submit(singular() if n % 2 else nt.ones(2) + n)
        nt.async_eval(x).wait(60)
        return x

    pool = concurrent.futures.ThreadPoolExecutor(4)
    with pool, nt.error_scope("a", raise_on_exit=False) as scope:
        arrays = list(pool.map(job, [scope] * 20, range(20)))
    assert {id(report) for report in scope.errors} == {id(report_of(x)) for x in arrays[1::2]}
    assert [x.tolist() for x in arrays[::2]] == [[n + 1.0] * 2 for n in range(0, 20, 2)]


def test_a_scope_may_be_joined_after_it_was_left():
    with nt.error_scope("a") as scope:
        pass
    with scope.attach():
        x = submit(singular())
    assert report_of(x).scope == "a"
    assert scope.errors == [report_of(x)]


def test_attach_inside_another_scope_is_innermost():
    a, b = (nt.error_scope(name, raise_on_exit=False) for name in "ab")
    with a, b:
        with a.attach():
            x = submit(singular())
        y = submit(out_of_range())
    assert a.errors == [report_of(x)]
    assert b.errors == [report_of(y)]


def test_tasks_inherit_the_scope_they_were_made_in():
    async def work(x):
        await asyncio.sleep(0)
        return submit(x)

    async def main():
        async with nt.error_scope("a", raise_on_exit=False) as a:
            first = asyncio.create_task(work(singular()))
            async with nt.error_scope("b", raise_on_exit=False) as b:
                second = asyncio.create_task(work(out_of_range()))
                third = await asyncio.to_thread(submit, singular())
            return a, b, await first, await second, third

    a, b, first, second, third = asyncio.run(main())
    assert a.errors == [report_of(first)]
    assert {id(report) for report in b.errors} == {id(report_of(second)), id(report_of(third))}


def test_async_with_does_not_block_the_loop():
    gate = Gate()

    async def main():
        ticks = 0

        async def tick():
            nonlocal ticks
            for _ in range(5):
                await asyncio.sleep(0.01)
                ticks += 1
            gate.event.set()

        other = asyncio.create_task(tick())
        async with nt.error_scope("a"):
            x = submit(gate.array())
        assert ticks == 5
        await other
        return x.item()

    with nt.Stream():
        assert asyncio.run(main()) == 1


def test_a_cancelled_task_leaves_its_scope_at_once():
    gate = Gate()

    async def request():
        async with nt.error_scope("a"):
            x = gate.array()
            await nt.async_eval(x)

    async def main():
        task = asyncio.create_task(request())
        while not gate.entered.is_set():
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not gate.event.is_set()

    try:
        asyncio.run(main())
    finally:
        gate.event.set()


def test_async_with_raises_and_notes_as_with_does():
    async def fail():
        async with nt.error_scope("a"):
            submit_all.append(submit(singular()))

    async def note():
        async with nt.error_scope("a"):
            submit_all.append(submit(singular()))
            raise KeyError

    submit_all = []
    with pytest.raises(nt.LinAlgError):
        asyncio.run(fail())
    with pytest.raises(KeyError) as caught:
        asyncio.run(note())
    assert len(caught.value.__notes__) == 1


STEPS = st.recursive(
    st.sampled_from(["singular", "range", "good"]),
    lambda inner: st.tuples(
        st.sampled_from(["with", "async with", "thread", "stranger", "task"]),
        st.lists(inner, max_size=4),
    ),
    max_leaves=12,
)


class Program:
    """Runs generated steps, and remembers which scope each array was submitted in."""

    def __init__(self):
        self.scopes = [None]
        self.arrays = []  # (number of the scope, array)

    async def run(self, steps, current):
        tasks = []
        for step in steps:
            if isinstance(step, str):
                make = {"singular": singular, "range": out_of_range}.get(
                    step, lambda: nt.ones(2) + 1
                )
                self.arrays.append((current, submit(make())))
                continue
            kind, inner = step
            if kind == "task":
                tasks.append(asyncio.create_task(self.run(inner, current)))
            elif kind in ("thread", "stranger"):
                number = current if kind == "thread" else 0
                joined = self.scopes[number].attach() if number else contextlib.nullcontext()
                thread = threading.Thread(target=self.in_thread, args=(inner, number, joined))
                thread.start()
                thread.join(30)
                assert not thread.is_alive()
            else:
                number = len(self.scopes)
                scope = nt.error_scope(f"scope {number}", raise_on_exit=False)
                self.scopes.append(scope)
                if kind == "with":
                    with scope:
                        await self.run(inner, number)
                else:
                    async with scope:
                        await self.run(inner, number)
        for task in tasks:
            await task

    def in_thread(self, steps, number, joined):
        with joined:
            asyncio.run(self.run(steps, number))


@given(
    steps=st.lists(STEPS, max_size=5),
    faults=st.lists(st.tuples(st.integers(1, 20), st.integers(1, 3)), max_size=2),
)
def test_scopes_collect_exactly_their_own(steps, faults):
    before = counts()
    program = Program()
    with contextlib.ExitStack() as injected:
        for at, times in faults:
            injected.enter_context(
                nt.testing.inject(nt.default_device(), "page_fault", at=at, times=times)
            )
        asyncio.run(program.run(steps, 0))
        with contextlib.suppress(nt.WaitTimeoutError):
            for _, x in program.arrays:
                nt.async_eval(x).wait(60)
    collected = [None] + [scope.errors for scope in program.scopes[1:]]
    found = difference(before)
    assert found.get("collected", 0) == sum(len(errors) for errors in collected[1:])
    unscoped = []
    try:
        nt.synchronize(timeout=60)
    except nt.DeviceError as error:
        unscoped = list(error.reports)
    collected[0] = unscoped
    found = difference(before)
    assert found.get("struck", 0) == found.get("collected", 0) + found.get("raised", 0)
    # What the arrays themselves say: each is one failed unit, or none.
    spoilt = [[] for _ in program.scopes]
    for number, x in program.arrays:
        error = nt.async_eval(x).exception(10)
        if error is not None:
            assert error.report.scope == (f"scope {number}" if number else None)
            spoilt[number].append(id(error.report))
    for errors, expected in zip(collected, spoilt, strict=True):
        assert sorted(id(report) for report in errors) == sorted(expected)
