"""A `timeout=` that is none raises in every wait, also where there is nothing to wait for."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from counts import drain_errors
from gate import Gate

WAITS = {
    "eval": lambda x, h, t: nt.eval(x, timeout=t),
    "eval of nothing": lambda x, h, t: nt.eval(timeout=t),
    "retry": lambda x, h, t: nt.retry(x, timeout=t),
    "wait": lambda x, h, t: h.wait(t),
    "result": lambda x, h, t: h.result(t),
    "exception": lambda x, h, t: h.exception(t),
    "synchronize": lambda x, h, t: nt.synchronize(timeout=t),
    "synchronize a stream": lambda x, h, t: nt.synchronize(nt.Stream(), timeout=t),
    "synchronize a device": lambda x, h, t: nt.synchronize(nt.default_device(), timeout=t),
}

# What the work of a wait is at: none of it begun, on its way, done.
WORK = {
    "small": lambda: nt.ones(2) + 1,
    "large": lambda: nt.cumulative_sum(nt.ones(100_000)) * 2,
    "ready": lambda: nt.ones(2),
    "failed": lambda: nt.linalg.inv(nt.zeros((2, 2))),
}


class Broken:
    def __float__(self):
        raise ZeroDivisionError


bad_type = st.one_of(
    st.text(),
    st.binary(),
    st.lists(st.floats()),
    st.complex_numbers(),
    st.dictionaries(st.text(), st.none()),
)
bad_value = st.one_of(
    st.just(math.nan), st.integers(min_value=10**309), st.integers(max_value=-(10**309))
)


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("name", WAITS)
@given(
    st.one_of(
        st.tuples(bad_type, st.just(TypeError)),
        st.tuples(bad_value, st.just(ValueError)),
        st.just((Broken(), ZeroDivisionError)),
    )
)
def test_a_timeout_that_is_none(name, work, case):
    timeout, error = case
    x = WORK[work]()
    started = nt.async_eval(x) if name in ("wait", "result", "exception") else None
    with pytest.raises(error) as caught:
        WAITS[name](x, started, timeout)
    assert not isinstance(caught.value, nt.DeviceError | nt.WaitTimeoutError)
    if error is not ZeroDivisionError:
        assert "timeout" in str(caught.value)
    if started is not None:
        started.wait(30)
    drain_errors()


@pytest.mark.parametrize("name", WAITS)
@given(st.one_of(st.floats(min_value=1e3), st.integers(1000, 10**300), st.none()))
def test_a_timeout_that_is_one(name, timeout):
    x = nt.ones(2) + 1
    WAITS[name](x, nt.async_eval(x), timeout)
    assert x.tolist() == [2, 2]


@pytest.mark.parametrize("timeout", [0, -1, -math.inf, 0.0, False])
@pytest.mark.parametrize("name", WAITS)
def test_no_time_is_time_enough_for_what_is_done(name, timeout):
    x = nt.ones(2) + 1
    started = nt.async_eval(x)
    nt.synchronize(timeout=30)
    WAITS[name](x, started, timeout)


def test_a_bad_timeout_starts_nothing():
    gate = Gate()
    x = gate.array()
    with pytest.raises(TypeError):
        nt.eval(x, timeout="soon")
    with pytest.raises(TypeError):
        nt.retry(x, timeout="soon")
    assert not gate.entered.wait(0.05)
