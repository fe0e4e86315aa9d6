"""What the tests of error scopes share: work that fails by its own data, and what became of it."""

import pytest

import nitinol as nt
from counts import error_counts

counts = error_counts


def difference(before):
    return {name: value - before[name] for name, value in counts().items() if value != before[name]}


def singular():
    return nt.linalg.inv(nt.zeros((2, 2)) + 0)


def out_of_range():
    return nt.take(nt.arange(3), nt.asarray([7]))


def submit(x):
    """Start work and keep it: work that nobody refers to is skipped."""
    nt.async_eval(x)
    return x


def report_of(x):
    with pytest.raises(nt.DeviceError) as caught:
        x.tolist()
    return caught.value.report
