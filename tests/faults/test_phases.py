"""G1: a sample of the matrix of code, phase and place that tests/phase_matrix.py runs whole."""

import itertools
from types import SimpleNamespace

import pytest

import phase_matrix
from nitinol.errors import CODES
from phase_matrix import ALONE, LOSING, PHASES, PLACES, RECOVERIES

KEEPING = [code for code in CODES if code not in LOSING]
TOGETHER = [place for place in PLACES if place not in ALONE]
# Each code once, spread over the phases and the places that end their process.
SPREAD = list(
    zip(itertools.cycle(itertools.product(ALONE, PHASES)), [*LOSING, *CODES[1::6]], strict=False)
)
# Every place and every phase with every recovery, in as few processes.
SQUARE = [
    (place, phase, RECOVERIES[(i + j) % len(RECOVERIES)])
    for i, place in enumerate(TOGETHER)
    for j, phase in enumerate(PHASES)
]


@pytest.mark.parametrize(("place", "phase", "recovery"), SQUARE)
def test_most_codes_in_one_process(place, phase, recovery):
    assert phase_matrix.cell(place, phase, KEEPING, recovery) is None


@pytest.mark.parametrize(("place", "phase", "code"), [(*where, code) for where, code in SPREAD])
def test_a_code_that_ends_with_its_process(place, phase, code):
    assert phase_matrix.cell(place, phase, (code,)) is None


@pytest.mark.parametrize(("place", "recovery"), list(itertools.product(ALONE, ("in vain", "once"))))
def test_an_end_of_the_process_amid_recovery(place, recovery):
    assert phase_matrix.cell(place, "completion", ("innocent_victim",), recovery) is None


@pytest.mark.parametrize(("place", "code"), list(zip(TOGETHER, [*LOSING, LOSING[0]], strict=True)))
def test_a_code_that_may_cost_the_device(place, code):
    assert phase_matrix.cell(place, "completion", (code,)) is None


def ended(returncode, stderr=""):
    return SimpleNamespace(returncode=returncode, stderr=stderr)


def test_the_judge_sees_what_is_wrong(monkeypatch):
    told = "nitinol: 1 device failure(s) that nobody has observed:\n  timeout: It took too long.\n"
    judge = phase_matrix.judge
    assert judge("main thread", ["timeout"], ended(0)) is None
    assert judge("main thread", ["timeout"], ended(-6)) == "SIGABRT"
    assert judge("main thread", ["timeout"], ended(1, "AssertionError: x")).startswith("exit 1")
    assert judge("main thread", ["timeout"], ended(0, told)).startswith("said")
    assert judge("interpreter exit", ["timeout"], ended(5, told)) is None
    assert judge("interpreter exit", ["timeout"], ended(5)) is None
    assert judge("interpreter exit", ["timeout"], ended(0, told)).startswith("exit 0")
    assert judge("interpreter exit", ["timeout"], ended(-11, told)) == "SIGSEGV"
    assert judge("interpreter exit", ["timeout"], ended(5, "Fatal Python error")).startswith("said")
    assert judge("interpreter exit", ["io"], ended(5, told)) == "told timeout"
    assert judge("daemon thread", ["timeout"], ended(5)) == "lost"
    assert judge("daemon thread", ["timeout"], ended(5), "once") is None
    for program, found, seconds in [
        ("os.abort()", "SIGABRT", 150),
        ("check(nt.ones(()) + 1, codes[0])", "exit 1: AssertionError: read a failed array", 150),
        ("mended = lambda code: True; check(work(), '')", "exit 1: AssertionError", 150),
        ("time.sleep(60)", "hang", 4),
    ]:
        monkeypatch.setitem(PLACES, "main thread", program)
        done = phase_matrix.cell("main thread", "commit", ("timeout",), timeout=seconds)
        assert done == found


def test_every_cell_is_in_the_whole_matrix():
    whole = set(phase_matrix.chosen(CODES, PHASES, PLACES, RECOVERIES, batch=False))
    assert len(whole) == len(CODES) * len(PHASES) * len(PLACES) * len(RECOVERIES)
    batched = list(phase_matrix.chosen(CODES, PHASES, PLACES, RECOVERIES, batch=True))
    assert {(p, f, c, r) for p, f, codes, r in batched for c in codes} == {
        (p, f, c[0], r) for p, f, c, r in whole
    }
