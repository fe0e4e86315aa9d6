"""G8 and G9: with recovery, transient failures change nothing but the counts."""

import contextlib
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import graphs
import nitinol as nt
from counts import error_counts
from failing import observed

# How often each may strike the same work without being seen.
LIMITS = {"innocent_victim": 3, "impacting_interactivity": 3, "internal": 1, "out_of_memory": 1}
PHASES = ("encode", "commit", "completion")
RULES = st.dictionaries(
    st.sampled_from(list(LIMITS)),
    st.tuples(st.integers(1, 12), st.integers(1, 3), st.sampled_from(PHASES)),
    min_size=1,
)


@pytest.fixture(autouse=True)
def mended(nothing_mended):
    """The usual policy, in a hurry."""
    nt.default_device().recovery = nt.RecoveryPolicy(victim_backoff=1e-5)


@contextlib.contextmanager
def struck(rules):
    """Have the failures strike; what follows is how many did."""
    fired = []
    with contextlib.ExitStack() as stack:
        active = [
            stack.enter_context(
                nt.testing.inject(nt.default_device(), code, at, min(times, LIMITS[code]), phase)
            )
            for code, (at, times, phase) in rules.items()
        ]
        yield fired
    fired.append(sum(each.fired for each in active))


def difference(before):
    now = error_counts()
    return {name: now[name] - before[name] for name in now if now[name] != before[name]}


@given(
    program=graphs.programs(),
    limit=st.sampled_from([1, 2, 3, 1000]),
    rules=RULES,
    seed=st.integers(0, 2**32),
    drop=st.sampled_from([0, 0.5]),
)
def test_transient_failures_change_nothing_but_the_counts(
    streams, program, limit, rules, seed, drop
):
    values = program.values()
    chance = random.Random(seed)
    before = error_counts()
    with graphs.fusion(limit), struck(rules) as fired:
        arrays = dict(enumerate(program.build(streams)))
        if drop:
            # Then updates may work in place.
            arrays = {i: x for i, x in arrays.items() if chance.random() > drop}
        for i in chance.sample(list(arrays), len(arrays)):
            nt.async_eval(arrays[i])
        reports = {i: graphs.reports_of(x) for i, x in arrays.items()}
        observed()
    for i, found in reports.items():
        if not found:
            graphs.assert_value(arrays[i], values[i])
    counts = difference(before)
    assert counts.get("struck", 0) + counts.get("suppressed", 0) == fired[0]
    # What can't be repeated may show: what adds to memory that it was given, and a function of the
    # user that was called.
    unrepeatable = {"scatter"} if drop else set()
    if nt.default_device().kind == "cpu":
        unrepeatable.add("host_call")
    for found in reports.values():
        assert {report.code for report in found} <= LIMITS.keys()
    if not any(step.kind in unrepeatable for step in program.steps):
        assert not any(reports.values())
        assert counts.get("recovered", 0) + counts.get("suppressed", 0) == fired[0]


@pytest.mark.parametrize("phase", PHASES)
def test_a_donated_input_is_used_once_however_often_the_work_runs(phase):
    rows = nt.asarray([[7.0, 8.0]], dtype=nt.float32)
    cache = nt.zeros((4, 2)) + 1
    nt.eval(cache, rows)
    for position in range(4):
        cache = nt.slice_update(cache, rows, position)
        total = nt.sum(cache)
        with struck({"innocent_victim": (1, 2, phase)}) as fired:
            assert total.item() == 8 + 13 * (position + 1)
        assert fired == [2]
    assert cache.tolist() == [[7.0, 8.0]] * 4


@pytest.mark.parametrize("held", [False, True])
def test_what_adds_in_place_is_not_repeated(held):
    x = nt.zeros(3) + 1
    nt.eval(x)
    kept = x if held else None
    x = x.at[nt.asarray([0, 0])].add(1.0)
    before = error_counts()
    with struck({"innocent_victim": (1, 1, "completion")}):
        nt.async_eval(x).wait(30)
    if held:
        # Nothing was given away: it works on a copy.
        assert x.tolist() == [3.0, 1.0, 1.0]
        assert kept.tolist() == [1.0] * 3
        assert difference(before) == {"struck": 1, "recovered": 1}
    else:
        with pytest.raises(nt.InnocentVictimError):
            x.tolist()
        assert difference(before) == {"struck": 1, "raised": 1}


def test_before_it_ran_anything_can_be_repeated():
    x = nt.zeros(3) + 1
    nt.eval(x)
    x = x.at[nt.asarray([0, 0])].add(1.0)
    with struck({"out_of_memory": (1, 1, "encode"), "internal": (1, 1, "commit")}):
        assert x.tolist() == [3.0, 1.0, 1.0]


def test_several_failures_of_one_piece_of_work_are_mended_together():
    before = error_counts()
    rules = {code: (1, LIMITS[code], "completion") for code in LIMITS}
    with struck(rules) as fired:
        assert nt.linalg.inv(nt.eye(2) * 2).tolist() == [[0.5, 0.0], [0.0, 0.5]]
    assert difference(before) == {"struck": fired[0], "recovered": fired[0]}
    assert nt.default_device().state == "ok"


def test_a_mistake_in_the_data_beside_a_failure_that_is_mended():
    a, b = nt.linalg.inv(nt.zeros((2, 2))), nt.linalg.inv(nt.eye(2))
    with struck({"innocent_victim": (2, 1, "completion")}):
        nt.async_eval(a, b).wait(30)
    assert b.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    with pytest.raises(nt.LinAlgError):
        a.tolist()


@pytest.mark.parametrize("policy", ["split", "fail"])
def test_what_a_watchdog_ended_is_split_once_if_at_all(unfused, policy):
    device = nt.default_device()
    device.recovery = nt.RecoveryPolicy(timeout=policy, victim_backoff=1e-5)
    x = nt.ones(5)
    nt.eval(x)
    a = x * 2
    b = a + 1
    with nt.testing.inject(device, "timeout"):
        nt.async_eval(b).wait(30)
    counts = device.error_counts()
    if policy == "split" and device.kind == "metal":
        assert b.tolist() == [3.0] * 5
    else:
        # On the CPU each piece is as small as it gets.
        with pytest.raises(nt.DeviceTimeoutError):
            b.tolist()
        nt.retry(b)
        assert b.tolist() == [3.0] * 5
    # One piece is never submitted again as it was.
    c = x - 1
    with nt.testing.inject(device, "timeout"), pytest.raises(nt.DeviceTimeoutError):
        c.tolist()
    assert device.error_counts()["recovered"] == counts["recovered"]


def test_a_device_that_takes_no_more_work_tries_none_again():
    device = nt.default_device()
    with nt.testing.inject(device, "access_revoked", phase="commit"):
        with pytest.raises(nt.DeviceLostError) as lost:
            (nt.ones(3) + 1).tolist()
        assert lost.value.report.phase == "commit"
        with (
            nt.testing.inject(device, "innocent_victim") as injected,
            pytest.raises(nt.DeviceLostError) as refused,
        ):
            (nt.ones(3) + 1).tolist()
        assert injected.seen == 0
        assert refused.value.report.phase == "commit"
        # Another injection ended, not the one that lost the device.
        assert device.state == "lost"
    assert device.state != "lost"
    assert (nt.ones(3) + 1).tolist() == [2.0] * 3
