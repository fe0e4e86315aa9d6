"""What the tests of failures share: the device they run on, streams, fusion limits, and a check
that nothing is lost.
"""

import contextlib

import pytest

import graphs
import nitinol as nt
from counts import drain_errors, error_counts
from gate import Gate
from lacks import skip_what_it_lacks


@pytest.fixture(autouse=True, params=nt.devices(), ids=str)
def default_device(request):
    """Each device in turn is the default one, for all threads of the test."""
    skip_what_it_lacks(request, request.param)
    before = nt.default_device()
    nt.set_default_device(request.param)
    yield request.param
    nt.set_default_device(before)


_streams: dict[nt.Device, list[nt.Stream]] = {}


@pytest.fixture
def streams(default_device):
    """Streams of the device to spread graphs over, made once."""
    if default_device not in _streams:
        _streams[default_device] = [nt.Stream() for _ in range(4)]
    return _streams[default_device]


@pytest.fixture
def unfused():
    """Every operation is a unit of its own."""
    with graphs.fusion(1):
        yield


@pytest.fixture(autouse=True)
def nothing_mended(default_device):
    """Every failure shows: what a device mends by itself has tests of its own."""
    before = {device: device.recovery for device in nt.devices()}
    for device in before:
        device.recovery = nt.RecoveryPolicy.none()
    yield
    for device, policy in before.items():
        device.recovery = policy
        if device.state != "lost":
            device.reset()


@pytest.fixture(autouse=True)
def nothing_lost(default_device):
    """Whatever strikes in a test is observed in it, and every failure is accounted for once."""
    drain_errors()
    yield
    counts = error_counts()
    ends = ("recovered", "raised", "drained", "collected", "printed")
    seen = sum(counts[name] for name in ends)
    assert counts["struck"] == seen + counts["unobserved"]
    assert counts["unobserved"] == 0, drain_errors()


@pytest.fixture
def gate():
    """A gate that is opened at the end, and the work behind it waited for."""
    made = Gate()
    with nt.Stream() as stream:
        yield made
        made.event.set()
        with contextlib.suppress(nt.DeviceError):
            nt.synchronize(stream, timeout=30)
