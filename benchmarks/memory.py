"""Samples the resident memory of this process while it works."""

from __future__ import annotations

import os
import subprocess
import threading
import time


def resident_bytes() -> int:
    """Return the resident memory of this process in bytes."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except FileNotFoundError:  # not Linux
        command = ["ps", "-o", "rss=", "-p", str(os.getpid())]
        return int(subprocess.run(command, capture_output=True, check=True).stdout) * 1024


class MemorySampler:
    """A thread that notes the resident memory at intervals; `samples` are (time, bytes).

    Parameters
    ----------
    clock : float
        The time.perf_counter() that counts as 0.
    interval : float, optional
        Seconds between two samples.
    """

    def __init__(self, clock: float, interval: float = 0.25):
        self.samples: list[tuple[float, int]] = []
        self._clock, self._interval = clock, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.samples.append((time.perf_counter() - self._clock, resident_bytes()))
            if self._stop.wait(self._interval):
                return
