"""Failures that tests have strike, and what is raised of them."""

import contextlib

import pytest

import nitinol as nt


def fail_for_real(*arrays):
    """Compute arrays one of which fails by itself; return what that raised."""
    with pytest.raises(nt.DeviceError) as caught:
        nt.eval(arrays)
    return caught.value


def fail(*arrays, code="page_fault", at=1, phase="completion"):
    """Have a failure strike while the arrays are computed; return what it raised."""
    with nt.testing.inject(nt.default_device(), code, at=at, phase=phase) as injected:
        error = fail_for_real(arrays)
    assert injected.fired == 1
    nt.default_device().reset()
    return error


def failed(shape=(2,), dtype=nt.int64, code="page_fault"):
    """An array that an injected failure spoilt; nobody has read it."""
    x = nt.zeros(shape, dtype=dtype)
    nt.eval(x)
    y = x + x
    with nt.testing.inject(nt.default_device(), code) as injected:
        nt.async_eval(y).wait(60)
    assert injected.fired == 1
    return y


def observed():
    """Wait for everything, and observe what failed."""
    with contextlib.suppress(nt.DeviceError):
        nt.synchronize(timeout=60)
