"""What the tests of failures share: streams, fusion limits, and a check that nothing is lost."""

import pytest

import nitinol as nt
from nitinol import _runtime


@pytest.fixture(scope="session")
def streams(request):
    """Streams of the device to spread graphs over, made once."""
    return [nt.Stream("cpu") for _ in range(4)]


@pytest.fixture
def unfused():
    """Every operation is a unit of its own."""
    before = _runtime.set_fusion_limit(1)
    yield
    _runtime.set_fusion_limit(before)


@pytest.fixture(autouse=True)
def nothing_lost():
    """Whatever strikes in a test is observed in it, and every failure is accounted for once."""
    nt.Device("cpu").drain_errors()
    yield
    counts = nt.Device("cpu").error_counts()
    seen = sum(counts[name] for name in ("raised", "drained", "collected", "printed"))
    assert counts["struck"] == seen + counts["unobserved"]
    assert counts["unobserved"] == 0, nt.Device("cpu").drain_errors()
