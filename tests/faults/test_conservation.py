"""G4 as a state machine: threads, drops, retries, scopes, streams and injections in any order."""

import contextlib
import copy
import gc
import pickle
import random
import threading

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import nitinol as nt
from counts import drain_errors
from ledger import Ledger, key
from nitinol import _runtime
from nitinol._wait import wait_for_work

WAIT = 60  # seconds: what lasts longer hangs
WRAP = 97
POOL = 12
PHASES = ("encode", "commit", "completion")
MENDED = ("innocent_victim", "internal", "out_of_memory", "impacting_interactivity")
SEEDS = st.integers(0, 2**16)

# (2, 2) matrices of whole numbers below WRAP, which float32 computes exactly.
OPERATIONS = {
    "add": (lambda x, y: (x + y) % WRAP,) * 2,
    "multiply": (lambda x, y: (x * y) % WRAP,) * 2,
    "matmul": (lambda x, y: (x @ y) % WRAP,) * 2,
    "transpose": (lambda x, y: x.T,) * 2,
    "flip": (lambda x, y: x[::-1],) * 2,
    "maximum": (nt.maximum, np.maximum),
    "take": (lambda x, y: nt.take(x, nt.asarray([1, 0]), axis=0), lambda x, y: x[[1, 0]]),
    "host_call": (
        lambda x, y: nt.host_call(lambda a, b: (a + 2 * b) % WRAP, (2, 2), nt.float32, x, y),
        lambda x, y: (x + 2 * y) % WRAP,
    ),
}


def broken_callback(x):
    raise ValueError(x)


BROKEN = {
    "singular": lambda: nt.linalg.inv(nt.zeros((2, 2)) + 0),
    "out of range": lambda: nt.take(nt.ones((2, 2)), nt.asarray([0, 7]), axis=0),
    "callback": lambda: nt.host_call(broken_callback, (2, 2), nt.float32, nt.ones(2)),
}
ROUTES = {
    "tolist": lambda x: x.tolist(),
    "numpy": np.asarray,
    "memoryview": lambda x: memoryview(x).tolist(),
    "dlpack": np.from_dlpack,
    "pickle": lambda x: pickle.loads(pickle.dumps(x)),
    "copy": lambda x: np.asarray(copy.deepcopy(x)),
    "iteration": lambda x: [row.tolist() for row in x],
    "items": lambda x: [[x[i, j].item() for j in (0, 1)] for i in (0, 1)],
    "repr": repr,
    "in": lambda x: -1 in x,
}
# What several threads may do at once.
TOGETHER = ("leaf", "compute", "compute", "breaks", "update", "submit", "submit", "read", "read",
            "evaluate", "retry", "drop", "drain", "synchronize", "collect", "leave")  # fmt: skip
# What waits for nothing.
BEHIND = ("leaf", "compute", "compute", "breaks", "update", "submit", "submit", "drop", "drain")


def program(names):
    """Steps of a thread, each with the seed of what it leaves to chance."""
    return st.lists(st.tuples(st.sampled_from(names), SEEDS), min_size=2, max_size=8)


class Machine(RuleBasedStateMachine):
    """Does anything, and asks after every step where each failure is."""

    device: nt.Device
    streams: list[nt.Stream]

    @initialize(
        limit=st.sampled_from([1, 2, 1000]), mending=st.booleans(), seed=st.integers(0, 100)
    )
    def begin(self, limit, mending, seed):
        wait_for_work(timeout=WAIT)
        drain_errors()  # those that an example which failed has left
        self.fusion = _runtime.set_fusion_limit(limit)
        self.ledger = Ledger()
        self.ledger.__enter__()
        self.lock = threading.Lock()
        self.arrays, self.scopes, self.injections = [], {}, []
        self.number = 0
        self.mend(mending)
        for n in range(3):
            self.leaf(random.Random(seed + n))
        for n in range(5):
            self.compute(random.Random(seed + n))

    def teardown(self):
        try:
            while self.injections:
                self.end_injection()
            for device in nt.devices():
                device.reset()
            self.ledger.settle()
            for scope in self.scopes.values():
                self.ledger.see(scope.errors, "collected")
            self.arrays.clear()
            self.scopes.clear()
            gc.collect()
            left = self.ledger.unseen()
            drained = drain_errors()
            assert sorted(map(key, drained)) == sorted(left)
            self.ledger.see(drained, "drained")
            self.ledger.check(injecting=False)
            assert self.ledger.counts()["unobserved"] == 0
        finally:
            for injection in self.injections:
                injection.__exit__()
            self.arrays.clear()
            self.scopes.clear()
            self.ledger.__exit__()
            _runtime.set_fusion_limit(self.fusion)

    # --- what any thread may do; `chance` chooses what is left open --------------------------

    def act(self, name, seed):
        chance = random.Random(seed)
        with self.streams[chance.randrange(len(self.streams))]:
            getattr(self, name)(chance)

    def pick(self, chance):
        with self.lock:
            return chance.choice(self.arrays) if self.arrays else (nt.ones((2, 2)), np.ones((2, 2)))

    def keep(self, x, value):
        with self.lock:
            self.arrays.append((x, value))
            del self.arrays[:-POOL]

    def scope_of(self, chance):
        """Work in some scope, or in none."""
        with self.lock:
            known = [None, *self.scopes.values()]
        scope = chance.choice(known)
        return scope.attach() if scope else contextlib.nullcontext()

    @contextlib.contextmanager
    def meeting(self):
        try:
            yield
        except nt.DeviceError as error:
            self.ledger.see(error.reports, "raised")

    def leaf(self, chance):
        value = np.array([[chance.randrange(WRAP) for _ in range(2)] for _ in range(2)], "f4")
        self.keep(nt.asarray(value), value)

    def compute(self, chance):
        (x, a), (y, b) = self.pick(chance), self.pick(chance)
        name = chance.choice(list(OPERATIONS))
        on_device, in_numpy = OPERATIONS[name]
        spoilt = a is None or (b is None and name not in ("transpose", "flip", "take"))
        self.keep(on_device(x, y), None if spoilt else in_numpy(a, b))

    def breaks(self, chance):
        self.keep(BROKEN[chance.choice(list(BROKEN))](), None)

    def update(self, chance):
        """Replace an array by an update of it, in place if nobody else holds it."""
        with self.lock:
            if not self.arrays:
                return
            x, value = self.arrays.pop(chance.randrange(len(self.arrays)))
        row, at = chance.randrange(WRAP), chance.randrange(2)
        x = nt.slice_update(x, nt.full((1, 2), row, dtype=nt.float32), at)
        if value is not None:
            value = value.copy()
            value[at] = row
        self.keep(x, value)

    def submit(self, chance):
        some = [self.pick(chance)[0] for _ in range(chance.randint(1, 3))]
        with self.scope_of(chance):
            nt.async_eval(some)

    def read(self, chance):
        x, value = self.pick(chance)
        name = chance.choice(list(ROUTES))
        with self.scope_of(chance), self.meeting():
            found = ROUTES[name](x)
            assert value is not None, f"what must fail was read by {name}: {found!r}"
            if name not in ("repr", "in"):
                np.testing.assert_array_equal(np.asarray(found), value)

    def evaluate(self, chance):
        some = [self.pick(chance)[0] for _ in range(chance.randint(1, 3))]
        way = chance.choice(("eval", "result", "exception"))
        with self.scope_of(chance), self.meeting():
            if way == "eval":
                nt.eval(some, timeout=WAIT)
            elif way == "result":
                nt.async_eval(some).result(WAIT)
            elif (error := nt.async_eval(some).exception(WAIT)) is not None:
                self.ledger.see(error.reports, "raised")

    def retry(self, chance):
        some = [self.pick(chance) for _ in range(chance.randint(1, 3))]
        with self.scope_of(chance), self.meeting():
            try:
                nt.retry([x for x, _ in some], timeout=WAIT)
            except nt.RecoveryError:  # the device is closed, or an input was donated
                return
            for x, value in some:
                assert value is not None, "what must fail was retried"
                np.testing.assert_array_equal(np.asarray(x), value)

    def drop(self, chance):
        with self.lock:
            if self.arrays:
                del self.arrays[chance.randrange(len(self.arrays))]

    def drain(self, chance):
        self.ledger.see(drain_errors(), "drained")

    def synchronize(self, chance):
        with self.meeting():
            nt.synchronize(chance.choice([None, self.device, *self.streams]), timeout=WAIT)

    def collect(self, chance):
        with self.lock:
            scopes = list(self.scopes.values())
        if scopes:
            self.ledger.see(chance.choice(scopes).errors, "collected")

    def leave(self, chance):
        """Work in a scope that is left, and raises what nobody has seen of it."""
        with self.lock:
            self.number += 1
            number = self.number
        some = [self.pick(chance)[0] for _ in range(2)]
        with self.meeting(), nt.error_scope(f"left {number}") as scope:
            nt.async_eval(some)
        assert scope.errors == sorted(scope.errors, key=key)
        self.ledger.see(scope.errors, "collected")

    # --- the steps -----------------------------------------------------------------------------

    @rule(steps=program(TOGETHER))
    def some(self, steps):
        for name, seed in steps:
            self.act(name, seed)
            self.ledger.check_observed()

    @rule(steps=program(TOGETHER))
    def on_a_thread_that_ends(self, steps):
        self.run([steps])

    @rule(programs=st.lists(program(TOGETHER), min_size=2, max_size=3))
    def threads(self, programs):
        self.run(programs)
        self.ledger.claimed_by_any()

    def run(self, programs):
        wrong = []
        start = threading.Barrier(len(programs))

        def work(program):
            try:
                start.wait(WAIT)
                for name, seed in program:
                    self.act(name, seed)
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=work, args=(program,)) for program in programs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * WAIT)
            assert not thread.is_alive(), "a thread hangs"
        if wrong:
            raise wrong[0]

    @rule(steps=program(BEHIND))
    def behind_a_gate(self, steps):
        """Work piles up behind a host call that takes its time, and is dropped or drained."""
        event = threading.Event()
        try:
            with self.streams[0]:
                closed = nt.host_call(lambda: event.wait(WAIT) and 1.0, (), nt.float32)
                nt.async_eval(closed + 1)
            for name, seed in steps:
                self.act(name, seed)
                self.ledger.check_observed()
        finally:
            event.set()

    @rule(
        code=st.sampled_from(nt.errors.CODES) | st.sampled_from(MENDED),
        at=st.integers(1, 6),
        times=st.sampled_from([1, 1, 2, 5]),
        phase=st.sampled_from(PHASES),
        steps=program(TOGETHER),
    )
    @precondition(lambda self: len(self.injections) < 3)
    def inject(self, code, at, times, phase, steps):
        injection = nt.testing.inject(self.device, code, at, times, phase)
        self.injections.append(injection.__enter__())
        self.some(steps)

    @rule()
    @precondition(lambda self: self.injections)
    def end_injection(self):
        injection = self.injections.pop(0)
        self.ledger.settle()
        injection.__exit__()
        self.ledger.fired += injection.fired

    @rule(mending=st.booleans())
    def mend(self, mending):
        policy = nt.RecoveryPolicy(victim_backoff=1e-5) if mending else nt.RecoveryPolicy.none()
        for device in nt.devices():
            device.recovery = policy

    @rule()
    def reset(self):
        for device in nt.devices():
            with contextlib.suppress(nt.RecoveryError):  # it is lost while an injection goes on
                device.reset()

    @rule()
    @precondition(lambda self: len(self.scopes) < 3)
    def open_scope(self):
        self.number += 1
        name = f"scope {self.number}"
        self.scopes[name] = nt.error_scope(name)

    @rule(which=st.integers(0, 2))
    @precondition(lambda self: self.scopes)
    def forget_scope(self, which):
        del self.scopes[list(self.scopes)[which % len(self.scopes)]]

    @rule()
    def drain_exactly(self):
        """What nobody has seen of no scope, or of one that nobody can ask any more."""
        self.ledger.settle()
        expected = {k for k, r in self.ledger.unseen().items() if r.scope not in self.scopes}
        found = drain_errors()
        assert sorted(map(key, found)) == sorted(expected)
        self.ledger.see(found, "drained")

    @rule(which=st.integers(0, 2))
    @precondition(lambda self: self.scopes)
    def collect_exactly(self, which):
        """All that struck the scope's work, and nothing else."""
        name = list(self.scopes)[which % len(self.scopes)]
        self.ledger.settle()
        found = self.scopes[name].errors
        assert sorted(map(key, found)) == sorted(self.ledger.of(name))
        self.ledger.see(found, "collected")

    @rule()
    def synchronize_exactly(self):
        self.ledger.settle()
        expected = {k for k, r in self.ledger.unseen().items() if r.scope is None}
        if not expected:
            return nt.synchronize(timeout=WAIT)
        with pytest.raises(nt.DeviceError) as caught:
            nt.synchronize(timeout=WAIT)
        assert sorted(map(key, caught.value.reports)) == sorted(expected)
        return self.ledger.see(caught.value.reports, "raised")

    @invariant()
    def nothing_is_lost(self):
        self.ledger.check(injecting=bool(self.injections))


def test_conservation(default_device, streams):
    """Struck = recovered + raised + drained + collected + printed + unobserved, at every step."""

    class OnDevice(Machine):
        pass

    OnDevice.device, OnDevice.streams = default_device, streams[:3]
    run_state_machine_as_test(
        OnDevice,
        settings=settings(stateful_step_count=20),
    )
