"""Failures at random times: threads that inject every code in every phase while work goes on."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter

import nitinol as nt
from faults import PHASES
from serving import Client

# An injection waits for its unit this long; a device that is lost is there again as soon as
# the injection that lost it ends.
PATIENCE = 1.0
LOSS = 0.2
LEAVING = 0.1  # of all clients
LOSING = [c for c in nt.errors.CODES if nt.errors.exception_class(c) is nt.DeviceLostError]


def some_client(number: int, tokens: int, seed: int) -> Client:
    """Choose what the client of a request does: every other one lets failed steps be retried."""
    chance = random.Random(f"{seed}/client/{number}")
    leaves = chance.randrange(tokens) if chance.random() < LEAVING else None
    return Client(retries=3 * (number % 2), leaves=leaves)


class Storm:
    """Injects failures from several threads until it is left; a context manager.

    Parameters
    ----------
    device : nitinol.Device
        Where they strike.
    every : float
        The mean number of seconds between two injections of all threads together.
    units : int
        An injection strikes one of the next so many units of work.
    seed : int
        Where the random numbers start. (Which work they meet is up to the threads.)
    recovery : str
        ``"none"``, ``"default"``, or ``"alternate"``, which changes the device's policy from one
        to the other every `period` seconds. The device's cache is freed as often.
    threads : int, optional
        How many inject.
    period : float, optional
        Of the change of policy.

    Attributes
    ----------
    fired : Counter
        How many units each pair of code and phase struck.
    """

    def __init__(self, device, every, units, seed, recovery, threads=3, period=20.0):
        self.device, self.units, self.period = device, units, period
        self.fired: Counter[tuple[str, str]] = Counter()
        self._mean = every * threads
        self._policies = {
            "none": [nt.RecoveryPolicy.none()],
            "default": [nt.RecoveryPolicy()],
            "alternate": [nt.RecoveryPolicy(), nt.RecoveryPolicy.none()],
        }[recovery]
        self._stop, self._lock = threading.Event(), threading.Lock()
        chances = [random.Random(f"{seed}/storm/{i}") for i in range(threads)]
        self._threads = [threading.Thread(target=self._strike, args=(c,)) for c in chances]
        self._threads.append(threading.Thread(target=self._alternate))

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _strike(self, chance: random.Random) -> None:
        while not self._stop.wait(chance.expovariate(1 / self._mean)):
            code, phase = chance.choice(nt.errors.CODES), chance.choice(PHASES)
            # Several in a row exhaust the retries of a unit, or strike neighbours.
            times = chance.choice((1, 1, 1, 2, 5))
            at = chance.randint(1, self.units)
            patience = chance.uniform(0, LOSS if code in LOSING else PATIENCE)
            with nt.testing.inject(self.device, code, at, times, phase) as rule:
                time.sleep(patience)
            with self._lock:
                self.fired[code, phase] += rule.fired

    def _alternate(self) -> None:
        for turn in range(2**63):
            self.device.recovery = self._policies[turn % len(self._policies)]
            self.device.trim()  # so that what grows for good can be told from the cache
            if self._stop.wait(self.period):
                return
