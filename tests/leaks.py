"""What stays behind: the objects that the core holds, counted before and after."""

import gc
import time

from counts import drain_errors
from nitinol import _runtime
from nitinol._wait import wait_for_work

PATIENCE = 5  # seconds: other threads may let go of the last work a moment after it is done


def alive():
    """What the core holds when nothing is under way, and the failures that nobody has met."""
    wait_for_work(timeout=30)
    unmet = drain_errors()  # the devices hold those that were met until they are asked
    wait_for_work(timeout=30)  # gives back what belongs to Python
    return _runtime.alive(), unmet


def left_behind(before):
    """What there is more of than before, by kind; empty if nothing stays behind."""

    def more():
        return {kind: n for kind, n in alive()[0].items() if n > before[kind]}

    if not more():
        return {}
    gc.collect()
    end = time.monotonic() + PATIENCE
    while (found := more()) and time.monotonic() < end:
        time.sleep(0.01)
        gc.collect()
    return {kind: f"{n}, {before[kind]} before" for kind, n in found.items()}


def freeze():
    """Make collections look at what is made from now on alone, which is little."""
    gc.collect()
    gc.freeze()
