"""Work that takes as long as a test wants."""

import threading

import nitinol as nt


class Gate:
    """A host call that takes as long as the test wants."""

    def __init__(self):
        self.event, self.entered = threading.Event(), threading.Event()

    def __call__(self):
        self.entered.set()
        assert self.event.wait(120)
        return 1.0

    def array(self):
        return nt.host_call(self, (), nt.float32)
