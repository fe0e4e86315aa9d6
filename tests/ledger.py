"""A ledger of failures, kept apart from the devices' own: which struck, and who saw them first."""

import threading
import time

import nitinol as nt
from counts import error_counts
from nitinol._wait import wait_for_work


def key(report):
    """What tells one failure from all others."""
    return report.device, report.submission, report.unit


class Ledger:
    """Compares what the devices count with what `Device.on_error` told and the test has seen.

    A context manager. What several threads see at once can be claimed by any of them: from then
    on only the sum of what was raised and collected is known, not each of them.
    """

    def __init__(self):
        self._before = error_counts()
        self._lock = threading.Lock()
        self.told, self._seen = {}, {}
        self.fired = 0  # units that injections struck which have ended
        self._drift = 0

    def __enter__(self):
        self._subscriptions = [device.on_error(self._hear) for device in nt.devices()]
        return self

    def __exit__(self, *exc):
        for subscription in self._subscriptions:
            subscription.cancel()

    def _hear(self, report):
        with self._lock:
            assert key(report) not in self.told
            self.told[key(report)] = report

    def see(self, reports, kind):
        """Note that reports were met; the first time counts, and draining gives no others."""
        with self._lock:
            for report in reports:
                if kind == "drained":
                    self._seen[key(report)] = kind
                else:
                    self._seen.setdefault(key(report), kind)

    def counts(self):
        """What the devices have counted since the beginning."""
        return {name: n - self._before[name] for name, n in error_counts().items()}

    def unseen(self):
        """The reports that nobody has met."""
        with self._lock:
            return {k: report for k, report in self.told.items() if k not in self._seen}

    def of(self, scope):
        """The keys of a scope's reports."""
        with self._lock:
            return {k for k, report in self.told.items() if report.scope == scope}

    def claimed_by_any(self):
        """Take over who raised and who collected what several threads saw at once."""
        self._drift = self.counts()["raised"] - self._number("raised")

    def _number(self, kind):
        return sum(found == kind for found in self._seen.values())

    def check_observed(self):
        """What was observed, work under way or not."""
        counts = self.counts()
        assert counts["drained"] == self._number("drained")
        assert counts["raised"] == self._number("raised") + self._drift
        assert counts["collected"] == self._number("collected") - self._drift
        assert counts["printed"] == 0
        assert counts["unobserved"] >= 0

    def settle(self):
        """Wait until nothing is under way, and every failure was told of."""
        wait_for_work(timeout=60)
        end = time.monotonic() + 20
        while True:
            counts = self.counts()
            with self._lock:
                missing = counts["struck"] - counts["recovered"] - len(self.told)
            if missing == 0:
                return counts
            assert missing > 0, f"{-missing} more failures were told of than struck"
            assert time.monotonic() < end, f"{missing} failures were not told of"
            time.sleep(0.001)

    def check(self, injecting):
        """DESIGN's equation, each term by two ways of counting it."""
        counts = self.settle()
        self.check_observed()
        assert set(self._seen) <= set(self.told)
        assert counts["unobserved"] == len(self.unseen())
        told = sum(report.injected for report in self.told.values())
        accounted = told + counts["recovered"] + counts["suppressed"]
        if not injecting:
            assert accounted == self.fired
        else:  # what it has struck is known when it ends
            assert accounted >= self.fired
