"""Awaiting evaluations: no cancellation, closed loop or dead thread disturbs anybody else."""

import asyncio
import contextlib
import gc
import random
import threading
import time
import weakref

import pytest

import leaks
import nitinol as nt
from counts import error_counts


async def opened_soon(gate, seconds=0.05):
    await asyncio.sleep(seconds)
    gate.event.set()


def test_an_await_gives_what_was_given(gate):
    async def main():
        opener = asyncio.create_task(opened_soon(gate))
        x = gate.array()
        y, z = x + 1, x + 2
        got = await nt.async_eval(y, {"z": [z]})
        await opener
        assert got[0] is y
        assert got[1]["z"][0] is z
        # At once, once it is done.
        assert (await nt.async_eval(y))[0] is y
        return got[0].item()

    assert asyncio.run(main()) == 2


def test_the_loop_goes_on_during_an_await(gate):
    async def main():
        waiting = asyncio.create_task(wait(nt.async_eval(gate.array())))
        for _ in range(5):
            await asyncio.sleep(0.01)
        assert not waiting.done()
        gate.event.set()
        await waiting

    asyncio.run(main())


async def wait(evaluation):
    return await evaluation


def test_work_that_ends_while_an_await_of_it_begins(gate):
    told = threading.Event()

    class Loop(asyncio.SelectorEventLoop):
        def create_future(self):
            gate.event.set()
            assert told.wait(30)
            return super().create_future()

    async def main():
        y = gate.array() + 1
        h = nt.async_eval(y)
        # Callbacks are called after the loops that wait were woken.
        h.add_done_callback(lambda h: told.set())
        return (await h)[0] is y

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(main())


def test_an_await_raises_the_failure_every_time():
    async def main():
        h = nt.async_eval(nt.linalg.inv(nt.zeros((2, 2))))
        for _ in range(2):
            with pytest.raises(nt.LinAlgError) as caught:
                await h
        return caught.value.report, h.exception().report

    a, b = asyncio.run(main())
    assert a is b


def test_many_tasks_and_loops_await_one_evaluation(gate):
    h = nt.async_eval(gate.array() + 1)
    found = []

    async def main():
        found.extend(await asyncio.gather(*[wait(h) for _ in range(20)]))

    threads = [threading.Thread(target=asyncio.run, args=(main(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    assert not found
    gate.event.set()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert [x.item() for (x,) in found] == [2] * 80


def test_the_tools_of_asyncio(gate):
    async def main():
        h = nt.async_eval(gate.array())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(h, 0.02)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await h
        done, pending = await asyncio.wait([asyncio.ensure_future(h)], timeout=0.02)
        assert (len(done), len(pending)) == (0, 1)
        gate.event.set()
        assert await asyncio.gather(h, *pending) == [h.result(), h.result()]
        async with asyncio.TaskGroup() as group:
            task = group.create_task(wait(h))
        assert task.result() == h.result()

    asyncio.run(main())


def test_a_cancelled_await_leaves_the_others(gate):
    async def main():
        h = nt.async_eval(gate.array() + 1)
        tasks = [asyncio.create_task(wait(h)) for _ in range(10)]
        await asyncio.sleep(0.01)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.sleep(0.01)
        assert [task.cancelled() for task in tasks] == [True, False] * 5
        gate.event.set()
        assert [(await task)[0].item() for task in tasks[1::2]] == [2] * 5
        return (await h)[0].item()

    assert asyncio.run(main()) == 2


def test_what_was_cancelled_and_dropped_is_skipped(gate):
    if nt.default_device().kind != "cpu":
        pytest.skip("A host call runs on the CPU, and what crosses devices is wanted.")
    calls = []

    def request():
        held.append(nt.async_eval(gate.array()))
        x = nt.host_call(lambda: calls.append(1) or 1.0, (), nt.float32)
        return asyncio.create_task(wait(nt.async_eval(x)))

    async def main():
        task = request()
        await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        del task
        gc.collect()
        gate.event.set()
        await held[0]

    held = []
    asyncio.run(main())
    nt.synchronize(timeout=60)
    assert not calls


def test_a_loop_that_was_closed_disturbs_nobody(gate):
    h = nt.async_eval(gate.array() + 1)
    complaints = []

    async def main(forgotten):
        forgotten.append(asyncio.ensure_future(wait(h)))
        await asyncio.sleep(0)

    forgotten = []
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    loop.run_until_complete(main(forgotten))
    loop.close()

    async def other():
        opener = asyncio.create_task(opened_soon(gate))
        result = await h
        await opener
        return result[0].item()

    assert asyncio.run(other()) == 2
    assert not forgotten[0].done()
    del forgotten[:]
    # The notifier may be on its way to the closed loop still, holding the future.
    for _ in range(200):
        gc.collect()
        if complaints:
            break
        time.sleep(0.05)
    assert complaints == ["Task was destroyed but it is pending!"]


def test_a_thread_that_dies_with_its_loop_disturbs_nobody(gate):
    evaluations = []

    def short_life():
        evaluations.append(nt.async_eval(gate.array() + 1))
        coroutine = wait(evaluations[0])
        with contextlib.suppress(TimeoutError):
            asyncio.run(asyncio.wait_for(coroutine, 0.02))

    thread = threading.Thread(target=short_life)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    gate.event.set()
    assert asyncio.run(wait(evaluations[0]))[0].item() == 2


def test_an_await_outside_a_loop(gate):
    with pytest.raises(RuntimeError, match="no running event loop"):
        wait(nt.async_eval(gate.array())).send(None)


def test_an_evaluation_is_let_go_of(gate):
    async def main():
        h = nt.async_eval(gate.array())
        seen = weakref.ref(h)
        task = asyncio.create_task(wait(h))
        del h
        await asyncio.sleep(0.01)
        assert seen() is not None
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        del task
        # asyncio itself keeps the last exception, and the frames in its traceback, for a moment.
        await asyncio.sleep(0.01)
        gc.collect()
        assert seen() is None

    asyncio.run(main())


# --- thousands of requests, cancelled at random --------------------------------------------------


def slowly(x):
    """Have whoever came later to this stream wait, and the wake-ups of all streams."""
    time.sleep(0.0005)
    return x


class Server:
    """Requests of several kinds against one device; remembers what each is to give."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.weights = nt.asarray([[1.0, 2.0], [3.0, 4.0]])
        self.streams = [nt.Stream() for _ in range(3)]
        self.right = self.failed = self.cancelled = 0

    async def request(self, number):
        kind = number % 5
        with self.streams[number % 3]:
            scope = nt.error_scope(f"req-{number}", raise_on_exit=False)
            async with scope:
                x = nt.ones((2, 2)) * number
                if kind == 1:
                    x = nt.host_call(slowly, (2, 2), nt.float32, x)
                elif kind == 2:
                    x = nt.linalg.inv(x - number)
                for _ in range(kind):
                    (x,) = await nt.async_eval(x)
                    await asyncio.sleep(0)
                (y,) = await nt.async_eval(nt.sum(x @ self.weights))
            return y.item()

    async def caller(self, number):
        task = asyncio.create_task(self.request(number))
        if self.random.random() < 0.4:
            for _ in range(self.random.randrange(6)):
                await asyncio.sleep(0)
            if self.random.random() < 0.3:
                await asyncio.sleep(self.random.random() * 0.002)
            task.cancel()
        try:
            got = await task
        except asyncio.CancelledError:
            self.cancelled += 1
            return
        except nt.LinAlgError as error:
            got = error.report.scope
        if number % 5 == 2:
            assert got == f"req-{number}"
            self.failed += 1
        else:
            assert got == 20 * number
            self.right += 1

    async def serve(self, first, count):
        limit = asyncio.Semaphore(50)

        async def one(number):
            async with limit:
                await self.caller(number)

        await asyncio.gather(*[one(first + i) for i in range(count)])


def state():
    gc.collect()
    core, _ = leaks.alive()
    kept = [type(x).__name__ for x in gc.get_objects()]
    names = ("Evaluation", "Waiters", "error_scope", "ErrorReport")
    return core | {name: kept.count(name) for name in names}


def grown(before):
    return {name: n for name, n in state().items() if n > before[name]}


@pytest.mark.parametrize("loops", [1, 3])
def test_cancelling_at_random(loops):
    """Every request that was not cancelled is right, in each of several loops; nothing leaks."""
    total = 3000
    before_counts = error_counts()
    servers = [Server(seed) for seed in range(loops)]
    for server in servers:
        asyncio.run(server.serve(1, 5))
        server.right = server.failed = server.cancelled = 0
    before = state()
    threads = [
        threading.Thread(target=asyncio.run, args=(server.serve(1 + i * 100_000, total // loops),))
        for i, server in enumerate(servers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    nt.synchronize(timeout=30)  # what was cancelled may still run
    for server in servers:
        assert server.right + server.failed + server.cancelled == total // loops
        assert server.right > total // loops // 4
        assert server.failed > total // loops // 20
        assert server.cancelled > total // loops // 20
    end = time.monotonic() + 10
    while grown(before) and time.monotonic() < end:
        time.sleep(0.01)
    assert not grown(before)
    found = error_counts()
    found = {name: value - before_counts[name] for name, value in found.items()}
    # The failures of cancelled requests were drained, once nobody could ask their scopes.
    assert found["struck"] == found["raised"] + found["drained"] + found["collected"]
    assert found["unobserved"] == 0
    assert found["raised"] >= sum(server.failed for server in servers)
