"""The import: what NITINOL_FAULTS asks for, and that nothing happens before it is needed."""

import pytest

import nitinol as nt
from processes import run, succeed

REPORT = """
        x = nt.ones(3)
        for step in range(6):
            x = x + 1
            nt.async_eval(x).wait()
            try: x.tolist(); print("ok", end=" ")
            except nt.DeviceError as error:
                print(error.report.code, error.report.phase, end=" ")
                x = nt.ones(3)
        """


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "ok ok ok ok ok ok"),
        ("  ", "ok ok ok ok ok ok"),
        ("cpu:timeout@2", "ok timeout completion ok ok ok ok"),
        ("cpu:0:timeout@2", "ok timeout completion ok ok ok ok"),
        (" cpu:timeout@1 , cpu:stack_overflow@4/encode ",
         "timeout completion ok ok stack_overflow encode ok ok"),
        ("cpu:page_fault@3x2/commit", "ok ok page_fault commit page_fault commit ok ok"),
        ("cpu:io@9", "ok ok ok ok ok ok"),
    ],
)  # fmt: skip
def test_good_faults(text, expected):
    assert succeed(REPORT, NITINOL_FAULTS=text).strip() == expected


BAD = [
    ("nonsense", "'nonsense' is no planned failure"),
    ("cpu:timeout", "'cpu:timeout' is no planned failure"),
    ("timeout@3", "'timeout@3' is no planned failure"),
    ("cpu:timeout@", "'cpu:timeout@' is no planned failure"),
    ("cpu:timeout@x", "'cpu:timeout@x' is no planned failure"),
    ("cpu:timeout@-1", "'cpu:timeout@-1' is no planned failure"),
    ("cpu:timeout@0", "at is an integer from 1"),
    ("cpu:timeout@1x", "'cpu:timeout@1x' is no planned failure"),
    ("cpu:timeout@1x0", "times is an integer from 1"),
    ("cpu:timeout@1/", "'' is no phase"),
    ("cpu:timeout@1/later", "'later' is no phase"),
    ("cpu:timeout@99999999999999999999", "at is an integer from 1"),
    ("cpu:tiemout@1", "'tiemout' is no failure code"),
    ("gpu:timeout@1", "There is no device 'gpu'"),
    ("cpu:timeout@1,,cpu:io@2", "'' is no planned failure"),
    ("cpu:timeout@1,oops", "'oops' is no planned failure"),
    ("cpu:none@1", "'none' is no failure code"),
]


@pytest.mark.parametrize(("text", "words"), BAD)
def test_bad_plans_of_failures(text, words):
    with pytest.raises(ValueError, match=r"planned failure|no device") as caught:
        nt.testing.inject_from(text)
    assert words in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    # Nothing of it was planned.
    with nt.testing.inject("cpu", "io", at=1000) as injected:
        nt.async_eval(nt.ones(3) + 1).wait(60)
    assert injected.seen == 1
    assert nt.Device("cpu").error_counts()["unobserved"] == 0


@pytest.mark.parametrize(("text", "words"), BAD[:1] + BAD[-2:])
def test_a_bad_plan_in_the_environment(text, words):
    done = run("print('imported')", NITINOL_FAULTS=text)
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.rstrip().splitlines()[-1]
    assert last.startswith("ValueError: NITINOL_FAULTS: ")
    assert words in last
    assert done.stderr.count("Traceback") == 1, "one error, not a chain"


def test_the_import_starts_no_python_thread_and_takes_no_memory():
    out = succeed(
        """
        print(threading.active_count(), nt.Device("cpu").memory_stats()["in_use"])
        nt.eval(nt.ones(3) + 1)
        print(threading.active_count())
        """
    )
    assert out == "1 0\n1\n"
