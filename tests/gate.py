"""Work that takes as long as a test wants."""

import threading

import nitinol as nt


class Gate:
    """A host call that takes as long as the test wants."""

    def __init__(self):
        self.event, self.entered = threading.Event(), threading.Event()

    def __call__(self, value=1.0):
        self.entered.set()
        assert self.event.wait(120)
        return value

    def array(self, *value):
        """What an array is, or 1, once the gate is open."""
        return nt.host_call(self, value[0].shape if value else (), nt.float32, *value)
