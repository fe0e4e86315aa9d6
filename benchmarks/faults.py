"""The failures that the main job meets on purpose: which request is struck, by what, and when."""

from __future__ import annotations

import os
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

# What nt.testing.inject can make of a healthy unit of work without ending the device.
INJECTED = (
    "internal",
    "timeout",
    "page_fault",
    "not_permitted",
    "out_of_memory",
    "invalid_resource",
    "memoryless",
    "stack_overflow",
    "innocent_victim",
    "impacting_interactivity",
)
# Requests that fail by themselves: a token outside the vocabulary, and a cache that no
# machine has the memory for. The value is the code of the error that they must meet.
REAL = {"bad_token": "index_out_of_range", "huge_cache": "out_of_memory"}
PHASES = ("encode", "commit", "completion")
# Of the requests of a storm, one in so many fails by itself.
REAL_IN_A_STORM = 40

_CYCLE = (
    ("page_fault", "completion"),
    ("bad_token", ""),
    ("timeout", "completion"),
    ("huge_cache", ""),
    ("stack_overflow", "commit"),
    ("invalid_resource", "encode"),
)


@dataclass(frozen=True)
class Strike:
    """One failure: what it is, where it is injected, before which step and at which unit."""

    kind: str
    phase: str
    step: int
    unit: int

    @property
    def real(self) -> bool:
        """Whether the request fails by itself, with nothing injected."""
        return self.kind in REAL

    @property
    def code(self) -> str:
        """The code that the error's report must carry."""
        return REAL.get(self.kind, self.kind)


def parse_faults(text: str, steps: int, units: int, seed: int) -> Callable[[int], Strike | None]:
    """Read a schedule of failures.

    Parameters
    ----------
    text : str
        ``none``; ``every:N``, which strikes every N-th request by another failure each
        time; ``random:SECONDS``, of which these are the requests that fail by themselves; or
        items ``CODE[/PHASE]@REQUEST`` joined by commas, requests counted from 1.
    steps : int
        How many steps a request has; the failure comes before a random one of them.
    units : int
        A number of units of work that every step has at least; a random one of them fails.
    seed : int
        Where the random numbers start.

    Returns
    -------
    callable
        The Strike of a request by its number, or None.

    Raises
    ------
    ValueError
        The text is no such schedule.
    """

    def strike(kind, phase, request):
        chance = random.Random(f"{seed}/{request}")
        return Strike(kind, phase, chance.randrange(steps), chance.randint(1, units))

    if text == "none":
        return lambda request: None
    if found := re.fullmatch(r"every:([1-9]\d*)", text):
        every = int(found[1])

        def periodic(request):
            if request % every:
                return None
            return strike(*_CYCLE[(request // every - 1) % len(_CYCLE)], request)

        return periodic
    if storm_interval(text):

        def by_chance(request):
            chance = random.Random(f"{seed}/real/{request}")
            if chance.randrange(REAL_IN_A_STORM):
                return None
            return strike(chance.choice(sorted(REAL)), "", request)

        return by_chance
    planned = {}
    for item in text.split(","):
        found = re.fullmatch(r"\s*(\w+)(?:/(\w+))?@([1-9]\d*)\s*", item)
        if found is None:
            raise ValueError(
                f"The item {item!r} of --faults is not understood; expected 'none', 'every:N', "
                "'random:SECONDS' or items like 'page_fault/completion@3' joined by commas."
            )
        kind, phase, request = found[1], found[2], int(found[3])
        if kind not in INJECTED and kind not in REAL:
            expected = ", ".join((*INJECTED, *REAL))
            raise ValueError(f"--faults names the failure {kind!r}; expected one of {expected}.")
        if phase is not None and (phase not in PHASES or kind in REAL):
            expected = "no phase" if kind in REAL else f"one of {', '.join(PHASES)}"
            raise ValueError(f"--faults gives {kind!r} the phase {phase!r}; expected {expected}.")
        if request in planned:
            raise ValueError(f"--faults strikes the request {request} twice; expected once.")
        planned[request] = strike(kind, phase or "completion", request)
    return planned.get


def storm_interval(text: str) -> float | None:
    """Give the mean seconds between failures of a schedule ``random:SECONDS``, else None."""
    found = re.fullmatch(r"random:(\d+\.?\d*|\.\d+)", text)
    return float(found[1]) or None if found else None


def faults_of_environment() -> Counter:
    """Count the codes in NITINOL_FAULTS, which nitinol injects by itself anywhere in the run."""
    items = os.environ.get("NITINOL_FAULTS", "").split(",")
    return Counter(m[1] for i in items if (m := re.search(r":(\w+)@", i)))
