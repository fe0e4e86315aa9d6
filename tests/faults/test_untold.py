"""G4: a failure that somebody asked for and was not told of is still there to be asked for."""

import contextlib
import time
import warnings

import pytest

import nitinol as nt
from counts import drain_errors, error_counts
from failing import failed


def leave(scope, kept):
    with scope:
        pass


OBSERVING = {
    "drain": lambda scope, kept: drain_errors(),
    "synchronize": lambda scope, kept: nt.synchronize(timeout=60),
    "errors": lambda scope, kept: scope.errors,
    "leave": leave,
    "read": lambda scope, kept: nt.eval(kept),
}


@pytest.mark.parametrize(
    ("way", "amid"),
    [
        ("drain", "sentence"),
        ("errors", "sentence"),
        ("synchronize", "sentence"),
        ("synchronize", "DeviceErrorGroup"),
        ("leave", "sentence"),
        ("leave", "DeviceErrorGroup"),
        ("read", "sentence"),
        ("read", "DeviceErrorGroup"),
    ],
)
def test_what_could_not_be_told_is_not_observed(monkeypatch, way, amid):
    """Ctrl-C, or a lack of memory, while Python's objects for two failures are made."""
    scope = nt.error_scope("asked")
    with scope.attach() if way in ("errors", "leave") else contextlib.nullcontext():
        kept = [failed(code="timeout"), failed(code="page_fault")]
    usual = getattr(nt.errors, amid)
    calls = []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == (2 if amid == "sentence" else 1):
            raise KeyboardInterrupt
        return usual(*given)

    with monkeypatch.context() as patch:
        patch.setattr(nt.errors, amid, interrupted)
        with pytest.raises(KeyboardInterrupt):
            OBSERVING[way](scope, kept)
    assert error_counts()["unobserved"] == 2
    again = "errors" if way == "leave" else way  # a scope is left once
    try:
        found = OBSERVING[again](scope, kept)
    except nt.DeviceError as error:
        found = error.reports
    assert [report.code for report in found] == ["timeout", "page_fault"]
    assert error_counts()["unobserved"] == 0


def test_a_warning_that_synchronize_raises_takes_no_failure_along():
    x = nt.ones(8) + 1
    nt.eval(x)
    spoilt = failed(code="timeout")
    with warnings.catch_warnings(), nt.debug(donations=True):
        warnings.simplefilter("error")
        started = nt.async_eval(x.at[0].set(1))
        while not started.done():  # waiting would warn
            time.sleep(0.001)
        with pytest.raises(nt.DonationWarning):
            nt.synchronize(timeout=60)
    assert error_counts()["unobserved"] == 1
    with pytest.raises(nt.DeviceTimeoutError):
        nt.synchronize(timeout=60)
    del spoilt
