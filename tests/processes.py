"""Runs programs in processes of their own, for what would end or hang the tests' process."""

import os
import resource
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

import nitinol

HEADER = """
import os, signal, sys, threading, time
import faulthandler; faulthandler.enable()
# Children of a shell that started the tests in the background ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
import numpy as np
import nitinol as nt
nt.set_default_device(os.environ["NITINOL_TEST_DEVICE"])
"""


def environment(**more):
    """Return the environment for a process that uses the tested package, with additions."""
    inherited = {name: value for name, value in os.environ.items() if name != "NITINOL_FAULTS"}
    # The tested package, wherever the tests found it.
    path = str(Path(nitinol.__file__).parents[1])
    paths = os.pathsep.join(p for p in (path, inherited.get("PYTHONPATH")) if p)
    return {
        **inherited,
        "PYTHONPATH": paths,
        "NITINOL_TEST_DEVICE": nitinol.default_device().name,
        **more,
    }


def run(program, *arguments, timeout=120, header=HEADER, **more):
    """Run a Python program; give its return code, standard output and error, and seconds.

    Its default device is the one of the test.

    A program that hangs is killed, and fails the test.
    """
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", header + textwrap.dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**more),
    )
    done.seconds = time.monotonic() - start
    return done


STATM = Path("/proc/self/statm")
NEEDS_PROC = pytest.mark.skipif(not STATM.exists(), reason="needs /proc to set the limit")


def limit_memory():
    """Let this process have what it has mapped by now, and 512 MiB: less than any liar asks for."""
    limit = int(STATM.read_text().split()[0]) * resource.getpagesize() + 2**29
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with pytest.raises(MemoryError):
        bytearray(2**30)


def succeed(program, *arguments, **options):
    """Run a program that must end well and say nothing on standard error; give its output."""
    done = run(program, *arguments, **options)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    assert done.stderr == ""
    return done.stdout
