"""What moves to the Metal device is copied once, and a file not at all."""

import numpy as np
import pytest

import nitinol as nt

METAL = next((device for device in nt.devices() if device.kind == "metal"), None)
pytestmark = pytest.mark.skipif(METAL is None, reason="There is no Metal device.")

SIZE = 500_000
BYTES = 4 * SIZE


class Growth:
    """The most bytes that a device takes at once inside the block, beyond those before it."""

    def __init__(self, device):
        self.device = device

    def __enter__(self):
        nt.synchronize()
        self.device.reset_peak_memory()
        self.before = self.device.memory_stats()["in_use"]
        return self

    def __exit__(self, *exception):
        self.bytes = self.device.memory_stats()["peak"] - self.before


def test_an_array_is_copied_once():
    x = nt.arange(SIZE, dtype=nt.float32, device="cpu") + 1
    nt.eval(x)
    with Growth(METAL) as growth:
        y = x.to_device(METAL)
        nt.eval(y)
    assert BYTES <= growth.bytes < 1.5 * BYTES
    assert y.device == METAL
    z = y.at[0].set(-1)
    assert (float(z[0]), float(y[0]), float(x[0])) == (-1, 1, 1)
    np.testing.assert_array_equal(np.asarray(y), np.arange(SIZE, dtype=np.float32) + 1)


def test_a_file_is_read_into_the_memory_of_the_device(tmp_path):
    path = tmp_path / "x.npy"
    expected = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)
    np.save(path, expected)
    with Growth(nt.Device("cpu")) as host, Growth(METAL) as growth, nt.Stream(METAL):
        x = nt.load(path)
        nt.eval(x)
    assert x.device == METAL
    assert BYTES <= growth.bytes < 1.5 * BYTES
    assert host.bytes < BYTES / 2
    y = x.at[0].set(7)
    assert float(y[0]) == 7
    np.testing.assert_array_equal(np.asarray(x), expected)
    del x
    np.testing.assert_array_equal(np.asarray(y)[1:], expected[1:])


def test_a_file_that_does_not_fit_the_device(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.zeros(SIZE, np.float32))
    limit = METAL.memory_limit
    METAL.trim()
    METAL.memory_limit = METAL.memory_stats()["in_use"] + BYTES // 2
    try:
        with nt.Stream(METAL):
            x = nt.load(path)
        with pytest.raises(nt.OutOfMemoryError, match=str(METAL.memory_limit)):
            nt.eval(x)
    finally:
        METAL.memory_limit = limit
    nt.retry(x)
    assert float(nt.sum(x)) == 0
