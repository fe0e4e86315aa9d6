"""The main job's own judgement: a run that breaks a promise must not pass as one that keeps it."""

import sys
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest

import nitinol as nt

BENCHMARKS = str(Path(__file__).resolve().parents[2] / "benchmarks")
if BENCHMARKS not in sys.path:
    sys.path.append(BENCHMARKS)

import report  # noqa: E402
from faults import Strike, parse_faults, storm_interval  # noqa: E402
from serving import Client, Request, Result  # noqa: E402
from spool import Spool  # noqa: E402

ANSWERS = {0: [1, 2, 3], 1: [4, 5, 6]}


def error_of(code):
    with nt.testing.inject("cpu", code), pytest.raises(nt.DeviceError) as caught:
        nt.eval(nt.asarray([1.0, 2.0]) + 1)
    return caught.value


def strike(code):
    return Strike(code, "completion", 0, 1)


def result(number, phase="sequential", worker=0, code=None, planned=None, **changes):
    request = Request(number, number % 2, (9,), 3, 0.0, 0, strike(planned) if planned else None)
    error = error_of(code) if code else None
    stream = error.report.stream if error else 1
    made = Result(request, phase, worker, stream, number, 1.0, 0.5, list(ANSWERS[number % 2]))
    made.error = error
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def run_of(results, memory=(), struck=None, unclaimed=(), extra=()):
    phases = dict.fromkeys(dict.fromkeys(r.phase for r in results), (0.0, 100.0))
    struck = sum(len(r.reports) for r in results) if struck is None else struck
    memory, unclaimed = list(memory), list(unclaimed)
    counts = {"struck": struck}
    return report.Run(ANSWERS, results, memory, phases, unclaimed, counts, Counter(extra))


def broken(run):
    return [v.promise for v in report.verdicts(run) if not v.kept]


def healthy(count=8, **changes):
    return [result(n, **changes) for n in range(count)]


def test_a_clean_run_keeps_every_promise():
    steady = [(t, 5e8) for t in range(60)]
    results = [*healthy(), result(8, code="page_fault", planned="page_fault")]
    assert broken(run_of(results, steady)) == []


def test_a_different_token_is_noticed():
    results = [*healthy(), result(9, tokens=[4, 5, 7])]
    assert broken(run_of(results)) == ["all other answers are identical to those without failures"]


@pytest.mark.parametrize("error", [ValueError("oops"), nt.WaitTimeoutError("late")])
def test_errors_of_other_kinds_are_noticed(error):
    results = [*healthy(), result(8, error=error)]
    assert broken(run_of(results)) == ["every failure is a typed error"]


BLAME = "each failure is met once, by the request that it struck"


@pytest.mark.parametrize(
    "results",
    [
        [result(1, planned="timeout")],  # lost
        [result(1, code="timeout")],  # never planned
        [result(1, code="timeout", planned="internal")],  # another code
        [result(1, planned="timeout"), result(2, code="timeout")],  # a neighbour of one thread
        [result(1, code="timeout", planned="timeout", stream=-1)],  # another stream
    ],
)
def test_blame_on_the_wrong_request_is_noticed(results):
    assert broken(run_of([*healthy(), *results])) == [BLAME]


def test_threads_may_meet_failures_planned_for_their_neighbours():
    results = [
        *healthy(phase="concurrent"),
        result(8, "concurrent", 0, planned="timeout"),
        result(9, "concurrent", 1, code="timeout"),
    ]
    assert broken(run_of(results)) == []
    results[-1].request = results[-2].request  # a real failure strikes its own request only
    assert broken(run_of([*results, result(10, "concurrent", 1, planned="bad_token")])) == [BLAME]


def test_failures_that_nobody_met_are_noticed():
    assert broken(run_of(healthy(), struck=1)) == [BLAME]
    unclaimed = error_of("timeout").reports
    assert broken(run_of(healthy(), struck=1, unclaimed=unclaimed)) == [BLAME]


def test_failures_of_the_environment_are_expected_and_others_not():
    results = [*healthy(), result(8, code="timeout")]
    assert broken(run_of(results, extra=["timeout"])) == []
    assert broken(run_of(results, extra=["internal"])) == [BLAME]


STORM = "every failure is met once, where it struck, or mended"


def stormy(number, code=None, **changes):
    """A result of a storm, the failure that struck it collected by its scope."""
    made = result(number, "storm", 0)
    object.__setattr__(made.request, "client", Client())
    made.collected = ()
    if code:
        with nt.error_scope(made.request.scope, raise_on_exit=False):
            made.error = error_of(code)
        made.collected, made.stream = made.reports, made.error.report.stream
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def storm_of(results, fired=None, counts=(), unclaimed=()):
    run = run_of(results, unclaimed=unclaimed)
    reported = sum(len(r.reports) + len(r.drained) for r in results) + len(run.unclaimed)
    run.fired = Counter({("timeout", "encode"): reported if fired is None else fired})
    run.held = ({"nodes": 1}, {"nodes": 1})
    run.counts = {"struck": reported, "recovered": 0, "suppressed": 0, "unobserved": 0}
    run.counts |= dict(counts)
    return run


def test_a_storm_in_which_everything_is_met():
    left = stormy(3, left=True, tokens=[4], collected=None)
    with nt.error_scope(left.request.scope, raise_on_exit=False):
        unread = error_of("page_fault").reports
    met = stormy(1, "timeout")
    results = [stormy(0), met, left, stormy(5, drained=unread)]
    assert broken(storm_of(results)) == []
    assert broken(storm_of(results, fired=3, counts={"struck": 3, "recovered": 1})) == []
    assert broken(storm_of(results, fired=3, counts={"suppressed": 1})) == []
    # One was met by a step that was computed again.
    mended = stormy(1, "timeout")
    mended.mended, mended.error, mended.retries = list(mended.reports), None, 1
    assert broken(storm_of([mended, stormy(2)])) == []


def test_what_a_storm_must_not_do_is_noticed():
    met = stormy(1, "timeout")
    assert broken(storm_of([stormy(0), met], fired=2)) == [STORM]  # lost
    assert broken(storm_of([stormy(0), met], fired=0)) == [STORM]  # one too many
    assert broken(storm_of([stormy(0), met], counts={"struck": 2})) == [STORM]
    assert broken(storm_of([stormy(0), met], counts={"unobserved": 1})) == [STORM]
    twice = stormy(1, error=met.error, collected=met.collected, stream=met.stream)
    assert broken(storm_of([stormy(0), met, twice])) == [STORM]
    assert broken(storm_of([stormy(0)], unclaimed=met.reports)) == [STORM]
    assert broken(storm_of([stormy(0), stormy(1, "timeout", stream=-1)])) == [STORM]
    assert broken(storm_of([stormy(0), stormy(1, "timeout", collected=())])) == [STORM]
    other = stormy(2, error=met.error, collected=met.collected, stream=met.stream)
    assert broken(storm_of([stormy(0), other])) == [STORM]  # a neighbour's scope
    spared = stormy(1)
    object.__setattr__(spared.request, "strike", strike("bad_token"))
    assert broken(storm_of([stormy(0), spared])) == [STORM]


def test_a_wrong_token_before_the_client_left_is_noticed():
    run = storm_of([stormy(0), stormy(1, left=True, tokens=[7], collected=None)])
    assert broken(run) == ["all other answers are identical to those without failures"]


def test_what_stays_behind_is_noticed():
    run = storm_of([stormy(0)])
    run.held = ({"nodes": 1}, {"nodes": 2})
    assert broken(run) == ["nothing stays behind"]


def test_rising_latency_and_memory_are_noticed():
    results = healthy()
    for i, each in enumerate(results):
        each.latency = 1.0 + i
    assert broken(run_of(results)) == ["latency is flat (sequential)"]
    rising = [(t, 3e8 + 1e6 * t) for t in range(60)]
    assert broken(run_of(healthy(), rising)) == ["memory is flat (sequential)"]


def test_a_cache_that_comes_and_goes_is_no_growth_and_its_rising_floor_is():
    cached = [(t, 3e8 + 1e7 * ((t + t * t // 40) % 17)) for t in range(60)]
    assert broken(run_of(healthy(), cached)) == []
    rising = [(t, b + 1e6 * t) for t, b in cached]
    assert broken(run_of(healthy(), rising)) == ["memory is flat (sequential)"]


def test_observations_come_back_from_the_disk():
    odd = result(0, error=OSError(threading.Lock()))
    written = [stormy(0), odd, stormy(1, "timeout"), stormy(2, left=True, collected=None)]
    with tempfile.TemporaryFile() as file:
        spool = Spool(file)
        for each in written:
            spool.append(each)
        for _ in range(2):
            read = list(spool)
            assert len(read) == len(spool) == 4
            assert read[1] is odd
            assert read[2].reports == written[2].reports
            assert read[2].collected == written[2].collected
            for x, y in zip(read, written, strict=True):
                x, y = vars(x).copy(), vars(y).copy()
                assert type(x.pop("error")) is type(y.pop("error"))
                assert x == y


def test_schedules_of_failures():
    plan = parse_faults("every:3", steps=5, units=7, seed=0)
    struck = {n: plan(n) for n in range(1, 31) if plan(n)}
    assert list(struck) == list(range(3, 31, 3))
    assert len({s.kind for s in struck.values()}) > 4
    assert all(0 <= s.step < 5 and 1 <= s.unit <= 7 for s in struck.values())
    assert plan(3) == parse_faults("every:3", steps=5, units=7, seed=0)(3)
    plan = parse_faults("random:0.5", steps=5, units=7, seed=0)
    assert {s.kind for n in range(1000) if (s := plan(n))} == {"bad_token", "huge_cache"}
    assert [storm_interval(t) for t in ("random:0.5", "random:3", "every:3")] == [0.5, 3.0, None]
    plan = parse_faults("timeout/encode@2, bad_token@5", steps=1, units=1, seed=0)
    assert (plan(2).code, plan(2).phase) == ("timeout", "encode")
    assert plan(5).code == "index_out_of_range"
    assert plan(1) is None
    assert parse_faults("none", steps=1, units=1, seed=0)(1) is None
