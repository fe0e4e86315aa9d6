"""Ctrl-C at a moment of the test's choice."""

import contextlib
import signal


@contextlib.contextmanager
def interrupt_after(seconds):
    """Interrupt the body, once, as Ctrl-C does.

    Not by SIGINT: what a shell starts in the background ignores it.
    """
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
