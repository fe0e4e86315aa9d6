"""A small inference server: worker threads, each with a stream and a cache, answer requests."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import nitinol as nt
from faults import Strike
from generation import Sampler, generate
from llama import Cache, Llama

# 768 TiB of keys and values a layer for the smallest model: more than can be addressed.
HUGE_CAPACITY = 1 << 40
# A worker whose device was lost does not ask for more at once.
PAUSE = 0.05


@dataclass(frozen=True)
class Client:
    """What becomes of a request in a storm besides its answer.

    Its work is done in an error scope of its own. A step that an injection struck is computed
    again up to `retries` times. During the step number `leaves` the client goes away: what was
    started is dropped unread, and its failures are left to whoever drains the device.
    """

    retries: int = 0
    leaves: int | None = None


class ClientLeft(Exception):
    """Nobody waits for this request any more."""


@dataclass(frozen=True)
class Request:
    """A prompt to continue; requests with the same `subject` have the same answer."""

    number: int
    subject: int
    prompt: tuple[int, ...]
    tokens: int
    temperature: float
    seed: int
    strike: Strike | None = None
    client: Client | None = None

    @property
    def scope(self) -> str | None:
        """The name of the error scope of the request's work."""
        return f"request {self.number}" if self.client else None


@dataclass
class Result:
    """What became of a request; times in seconds, `started` by the server's clock."""

    request: Request
    phase: str
    worker: int
    stream: int
    started: float
    latency: float = 0.0
    first_token: float | None = None
    tokens: list[int] = field(default_factory=list)
    error: Exception | None = None
    retries: int = 0  # how often a step was computed again
    mended: list = field(default_factory=list)  # the reports that these were for
    left: bool = False  # whether the client went away
    collected: tuple | None = None  # the reports of the request's scope, if it had one
    drained: tuple = ()  # reports of requests whose clients went away, this one or others

    @property
    def reports(self) -> tuple:
        """The reports of the device errors that the request met, each once."""
        last = self.error.reports if isinstance(self.error, nt.DeviceError) else ()
        return tuple(dict.fromkeys((*self.mended, *last)))


class Worker:
    """Answers one request after the other on a stream of its own.

    Its cache is kept from request to request and dropped when a request fails: the arrays
    that the failed step wrote are spoiled, those of the weights and of other workers are not.
    """

    def __init__(self, model: Llama, device: nt.Device, capacity: int, index: int):
        self.model = model
        self.device = device
        self.capacity = capacity
        self.index = index
        self.stream = nt.Stream(device)
        self._cache: Cache | None = None

    def answer(self, request: Request, phase: str, clock: float) -> Result:
        """Serve one request; whatever goes wrong ends up in the result."""
        begin = time.perf_counter()
        result = Result(request, phase, self.index, self.stream.index, begin - clock)
        strike, cache, prompt = request.strike, self._cache, list(request.prompt)
        client = request.client or Client()
        scope = nt.error_scope(request.scope) if request.scope else None
        try:
            with self.stream, ExitStack() as injections:
                if scope:
                    injections.enter_context(scope.attach())
                if strike and strike.kind == "bad_token":
                    prompt[len(prompt) // 2] = self.model.config.vocabulary + 7
                if strike and strike.kind == "huge_cache":
                    cache = self.model.new_cache(HUGE_CAPACITY)
                elif cache is None:
                    cache = self._cache = self.model.new_cache(self.capacity)

                def before_step(step):
                    if strike and not strike.real and step == strike.step:
                        injections.enter_context(
                            nt.testing.inject(
                                self.device, strike.kind, at=strike.unit, phase=strike.phase
                            )
                        )

                def may_retry(error):
                    tired = result.retries == client.retries
                    if tired or not all(report.injected for report in error.reports):
                        return False
                    result.retries += 1
                    result.mended += error.reports
                    return True

                def sample(logits):
                    if len(result.tokens) == client.leaves:
                        nt.async_eval(logits)
                        raise ClientLeft
                    return sampler(logits)

                sampler = Sampler(request.temperature, request.seed)
                for token in generate(
                    self.model, cache, prompt, request.tokens, sample, before_step, may_retry
                ):
                    if not result.tokens:
                        result.first_token = time.perf_counter() - begin
                    result.tokens.append(token)
        except ClientLeft:
            result.left, self._cache = True, None
        except Exception as error:  # a server outlives every error of a request
            # Tracebacks would keep the frames of this call alive, and with them the cache.
            result.error = error.with_traceback(None)
            error.__context__ = None
            self._cache = None
        result.latency = time.perf_counter() - begin
        if scope:
            result.collected = None if result.left else tuple(scope.errors)
            scope = None
            result.drained = tuple(self.device.drain_errors())
        return result


class Server:
    """Runs requests through workers and hands the results back as they come.

    Parameters
    ----------
    model : Llama
        The model, shared by all workers.
    device : nitinol.Device
        The device to run on.
    capacity : int
        The largest number of tokens of a request, its answer included.
    """

    def __init__(self, model: Llama, device: nt.Device, capacity: int):
        self.model = model
        self.device = device
        self.capacity = capacity
        self.clock = time.perf_counter()

    def serve(self, requests: Iterable[Request], phase: str, threads: int) -> Iterator[Result]:
        """Answer all requests with a number of threads; yields results in order of completion."""
        source, lock = iter(requests), threading.Lock()
        results: queue.SimpleQueue[Result | None] = queue.SimpleQueue()
        stop = threading.Event()

        def take() -> Request | None:
            with lock:
                return None if stop.is_set() else next(source, None)

        def work(index):
            try:
                worker = Worker(self.model, self.device, self.capacity, index)
                while (request := take()) is not None:
                    result = worker.answer(request, phase, self.clock)
                    lost = isinstance(result.error, nt.DeviceLostError)
                    results.put(result)
                    del result  # a thread that waits holds nothing
                    if lost:
                        time.sleep(PAUSE)
            finally:
                results.put(None)

        workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
        for thread in workers:
            thread.start()
        try:
            running = threads
            while running:
                result = results.get()
                if result is None:
                    running -= 1
                else:
                    yield result
        finally:
            stop.set()
            for thread in workers:
                thread.join()

    def unclaimed(self) -> list:
        """Give the reports of failures that no request has met: there must be none."""
        try:
            nt.synchronize(self.device, timeout=60)
        except nt.DeviceError as error:
            return list(error.reports)
        return self.device.drain_errors()  # of clients that left


def until(deadline: float, make: Callable[[int], Request], first: int) -> Iterator[Request]:
    """Make requests one after the other until a time of time.perf_counter() has come."""
    number = first
    while time.perf_counter() < deadline:
        yield make(number)
        number += 1
