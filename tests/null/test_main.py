"""``python -m nitinol``: the facts that a bug report needs, and no side effects."""

import platform
import re
import subprocess
import sys

import numpy as np
import pytest

import nitinol as nt
from nitinol import _runtime
from processes import environment


def describe(*arguments, **more):
    return subprocess.run(
        [sys.executable, "-m", "nitinol", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**more),
    )


def test_it_says_what_a_bug_report_needs():
    done = describe()
    assert done.returncode == 0
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"nitinol {nt.__version__} (")
    assert f"Python {platform.python_version()} ({platform.python_implementation()})" in lines
    assert f"NumPy {np.__version__}" in lines
    assert re.search(r"^build: \S+ [\d.]+, buildtype=\w+, .*baseline", done.stdout, re.MULTILINE)
    assert re.search(r"^BLAS: OpenBLAS [\d.]+.*\(scipy_openblas(64|32) ", done.stdout, re.MULTILINE)
    assert f"instruction set {_runtime.instruction_set()}" in done.stdout
    assert "NITINOL_FAULTS: not set" in lines
    for device in nt.devices():
        assert f"{device}: ok" in lines
    assert done.stdout.count("failures: none; unobserved: 0") == len(nt.devices())


def test_it_says_which_failures_are_planned():
    assert "NITINOL_FAULTS: 'cpu:timeout@37'" in describe(NITINOL_FAULTS="cpu:timeout@37").stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/cpuinfo")
def test_the_instruction_set_is_one_that_the_processor_has():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = set(
            re.search(r"^(?:flags|Features)\s*:(.*)$", file.read(), re.MULTILINE)[1].split()
        )
    found = _runtime.instruction_set()
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= flags:
        assert found == "v4"
    elif {"avx2", "bmi2", "fma", "f16c"} <= flags:
        assert found == "v3"
    else:
        assert found == "baseline"


def test_arguments():
    asked = describe("--help")
    assert asked.returncode == 0
    assert "bug report" in asked.stdout
    refused = describe("--devices")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("unrecognized arguments: --devices")
