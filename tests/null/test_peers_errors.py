"""The table of failures beside other libraries: nitinol's column of it has no fault."""

import re
import sys
from pathlib import Path

import pytest

from processes import run

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
# Those that take seconds and have tests of their own: exit, cancelled waits, Ctrl-C, long chains.
QUICK = [
    "failed array, second read",
    "unrelated array, same stream",
    "failed array dropped unread",
    "4 threads, 200 bad and 200 good",
    "index out of range, scatter",
]


def table(*arguments):
    program = (
        "import runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    header = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r})\n"
    return run(program, BENCHMARKS / "peers_errors.py", *arguments, header=header, timeout=120)


def test_what_nitinol_does():
    done = table("--libraries", "nitinol", "--only", *QUICK)
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[4:]]
    assert [name for name, _ in rows] == QUICK
    assert dict(rows)["failed array, second read"] == "raises again"
    assert dict(rows)["failed array dropped unread"] == "synchronize raises it"


def test_the_page_has_every_scenario():
    """The table in docs/errors.md is one that the program printed, whole."""
    page = BENCHMARKS.with_name("docs").joinpath("errors.md").read_text(encoding="utf-8")
    found = re.search(r"^\| scenario .*?\n\n", page, re.DOTALL | re.MULTILINE)[0]
    head, _, *rows = found.splitlines()
    assert head == "| scenario | nitinol | mlx | jax | torch |"
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from peers_scenarios import SCENARIOS
    finally:
        sys.path.remove(str(BENCHMARKS))
    rows = [line.strip("| ").split(" | ") for line in rows if line]
    assert [row[0] for row in rows] == list(SCENARIOS)
    bad = re.compile("[1-9]\\d* (bad )?silent|blamed \\(|lost|hang|SIG|never|nothing|late")
    assert not [text for _, text, *_ in rows if bad.search(text)]
    assert [text for _, _, text, *_ in rows if bad.search(text)]


def test_a_scenario_that_hangs_or_dies_is_a_fault(tmp_path):
    """The driver itself is not to be trusted blindly: children that end badly must show."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import peers_errors
    finally:
        sys.path.remove(str(BENCHMARKS))
    child = tmp_path / "child.py"
    original = peers_errors.CHILD
    peers_errors.CHILD = child
    try:
        for body, expected in [
            ("import os; os.abort()", ("SIGABRT", ["signal"])),
            ("import time; time.sleep(60)", ("hang", ["hang"])),
            (
                'print(\'{"progress": "after 3"}\', flush=True)\n'
                "import os; os.kill(os.getpid(), 11)",
                ("after 3 SIGSEGV", ["signal"]),
            ),
            (
                'print(\'{"text": "second silent", "faults": ["silent"]}\')',
                ("second silent", ["silent"]),
            ),
        ]:
            child.write_text(body)
            assert peers_errors.observe(sys.executable, "nitinol", "x", 2.0) == expected
        child.write_text("raise SystemExit(3)")
        with pytest.raises(RuntimeError, match="exit 3"):
            peers_errors.observe(sys.executable, "nitinol", "x", 2.0)
    finally:
        peers_errors.CHILD = original


def test_a_library_that_is_not_there():
    done = table("--libraries", "nitinol", "--python", "nitinol=/nonexistent/python")
    assert done.returncode == 1
    assert "can't be run" in done.stderr
    done = table("--python", "numpy=/usr/bin/python3")
    assert done.returncode == 2
    assert "is not NAME=PATH" in done.stderr
