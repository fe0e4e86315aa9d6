"""One scenario of failure in one library, told in a line of JSON; `peers_errors.py` runs them all.

    python benchmarks/peers_scenarios.py nitinol "failed array, second read"

The line has a `text` for the table and `faults`: which of silent, blamed, lost, hang and late were
met. Everything that is said is what was observed in this process.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from peers_libraries import LIBRARIES

# No library may fill the machine: what is asked for below is more than this.
ADDRESS_SPACE = 32 << 30
LOOPS = 3000
HELD = []  # kept until the interpreter exits

SCENARIOS = {}


def scenario(name):
    """Enter a function as the scenario of that name; it returns a text and the faults met."""

    def enter(function):
        SCENARIOS[name] = function
        return function

    return enter


def raised(job):
    """The exception that a job ends with, or None."""
    try:
        job()
    except Exception as error:
        return error
    return None


def progress(text):
    """What is known so far, should the process end here."""
    print(json.dumps({"progress": text}), flush=True)


def failing(lib):
    """A failing array under way, whose failure has struck; None if the call itself raised."""
    try:
        x = lib.bad()
        lib.start(x)
    except Exception:
        return None
    time.sleep(lib.settle)
    return x


EAGER = "-", []


@scenario("who gets the error")
def who(lib):
    x = failing(lib)
    if x is None:
        return "raised by the call", []
    found = [raised(lambda: lib.read(lib.good())), *(raised(lambda: lib.read(x)) for _ in range(3))]
    faults = ["blamed"] if found[0] else []
    times = sum(error is not None for error in found[1:])
    faults += [] if times == 3 else ["silent"]
    others = "an unrelated array's reader; " if found[0] else ""
    return others + f"{times} of 3 reads of the array", faults


@scenario("failed array, second read")
def second_read(lib):
    x = failing(lib)
    if x is None:
        return EAGER
    raised(lambda: lib.read(x))
    again = raised(lambda: lib.read(x))
    return ("raises again", []) if again else ("silent garbage", ["silent"])


@scenario("two arrays derived from it, caught on the first")
def derived(lib):
    try:
        x = lib.bad()
        y, z = lib.derived(x, 1), lib.derived(x, 2)
    except Exception:
        return EAGER
    first, second = raised(lambda: lib.read(y)), raised(lambda: lib.read(z))
    if first and second:
        return "both raise", []
    return ("second silent" if first else "first silent" if second else "both silent"), ["silent"]


@scenario("eval(good, bad)")
def good_and_bad(lib):
    try:
        good, bad = lib.good(), lib.bad()
    except Exception:
        return EAGER
    first = raised(lambda: lib.wait(good, bad))
    after, blamed = raised(lambda: lib.read(bad)), raised(lambda: lib.read(good))
    text = "raises" if first else "returns"
    text += ", then bad raises" if after else ", then bad reads silently"
    text += ", good is blamed" if blamed else ""
    return text, ["silent"] * (not after) + ["blamed"] * bool(blamed)


@scenario("unrelated array, same stream")
def unrelated(lib):
    blamed = 0
    for i in range(5):
        x = failing(lib)
        if x is None and i == 0:
            return EAGER
        if x is None:  # what was to be started met the failure before it
            blamed += 1
            continue
        blamed += raised(lambda: lib.read(lib.good())) is not None
        for _ in range(2):
            raised(lambda x=x: lib.read(x))
    return (f"wrongly blamed ({blamed} of 5)", ["blamed"]) if blamed else ("fine", [])


@scenario("two failures in one call")
def two_failures(lib):
    try:
        x, y = lib.bad(), lib.bad()
    except Exception:
        return EAGER
    raised(lambda: lib.wait(x, y))
    silent = sum(raised(lambda a=a: lib.read(a)) is None for a in (x, y))
    return [("both raise", []), ("one lost, its array silent", ["lost", "silent"]),
            ("both silent", ["lost", "silent"])][silent]  # fmt: skip


@scenario("failed array dropped unread")
def dropped(lib):
    x = failing(lib)
    if x is None:
        return EAGER
    del x
    gc.collect()
    if raised(lambda: lib.read(lib.good())):
        return "the next unrelated read raises", ["blamed"]
    if raised(lib.synchronize):
        return "synchronize raises it", []
    return "lost", ["lost"]


@scenario("failed, never read, exit")
def exit_unread(lib):
    if failing(lib) is None:
        return EAGER
    with contextlib.suppress(Exception):
        lib.synchronize()
    done = again(lib, "leave", 30)
    said = "told on standard error" if done.stderr.strip() else "nothing said"
    return f"{ended(done)}, {said}", [] if done.stderr.strip() else ["lost"]


def leave(lib):
    HELD.append(failing(lib))


@scenario("4 threads, 200 bad and 200 good")
def four_threads(lib):
    counts = {"silent": 0, "blamed": 0}

    def work(seed):
        chance = random.Random(seed)
        jobs = [True] * 50 + [False] * 50
        chance.shuffle(jobs)
        for bad in jobs:
            error = raised(lambda bad=bad: lib.read(lib.bad() if bad else lib.good()))
            counts["silent"] += bad and error is None
            counts["blamed"] += not bad and error is not None

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    text = f"{counts['silent']} bad silent, {counts['blamed']} good blamed"
    return text, [name for name, count in counts.items() if count]


@scenario("loop of `try: eval(bad)`")
def loop(lib):
    silent = 0
    for i in range(LOOPS):
        progress(f"after {i} errors")
        silent += raised(lambda: lib.wait(lib.bad())) is None
    return (f"{silent} of {LOOPS} silent", ["silent"]) if silent else (f"fine ({LOOPS})", [])


@scenario("`np.array(bad)`")
def to_numpy(lib):
    x = failing(lib)
    if x is None:
        return EAGER
    found = [raised(lambda: np.array(x)) for _ in range(3)]
    times = sum(error is not None for error in found)
    if times == 3:
        return "raises", []
    return (f"raises {times} of 3 times" if times else "never raises"), ["silent"]


@scenario("Cholesky of a non-positive matrix")
def cholesky(lib):
    values = np.array([[1, 2], [2, 1]], np.float32)
    found = []
    error = raised(lambda: found.append(lib.read(lib.cholesky(values))))
    if error:
        return f"raises {type(error).__name__}", []
    return ("NaN", []) if np.isnan(found[0]).any() else ("silent wrong values", ["silent"])


@scenario("file truncated after a lazy load")
def truncated(lib):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        np.save(path, np.ones(1 << 22, np.float32))
        x = lib.lazy_file(path)
        os.truncate(path, 1 << 12)
        found = [raised(lambda: lib.read(x)) for _ in range(3)]
    times = sum(error is not None for error in found)
    return ("raises", []) if times == 3 else (f"raises {times} of 3 times", ["silent"])


@scenario("out of memory")
def out_of_memory(lib):
    found = []
    error = raised(lambda: found.append(lib.read(lib.huge())))
    if error:
        still = raised(lambda: lib.read(lib.good()))
        return ("raises, then nothing works", ["blamed"]) if still else ("raises", [])
    return f"silent {found[0]}", ["silent"]


def out_of_range(lib, job):
    texts, faults = [], []
    for name, index in (("near", 7), ("far", 200_000_000)):
        found = []
        error = raised(lambda i=index, found=found: found.append(lib.read(job(i))))
        value = np.ravel(found[0]).tolist() if found else None
        if error:
            text = "raises"
        elif np.isnan(value).any():
            text = "NaN"
        elif value in ([1.0], [2.0], [3.0], [1.0, 2.0, 3.0]):
            text = "clamped" if len(value) == 1 else "dropped"
            faults.append("silent")
        else:
            text = "silent garbage"
            faults.append("silent")
        texts.append(f"{name}: {text}")
        progress("; ".join(texts))
    return (texts[0].removeprefix("near: ") if len({t.split(": ")[1] for t in texts}) == 1
            else "; ".join(texts)), sorted(set(faults))  # fmt: skip


@scenario("index out of range, gather")
def gather(lib):
    return out_of_range(lib, lib.gather)


@scenario("index out of range, scatter")
def scatter(lib):
    return out_of_range(lib, lib.scatter)


@scenario("stream or lazy array used in another thread")
def other_thread(lib):
    x = lib.on_new_stream()
    found = []

    def work():
        with contextlib.suppress(Exception):
            found.append(lib.read(x))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return ("works", []) if found and np.ravel(found[0])[0] == 2 else ("raises", [])


@scenario("asyncio cancel of a wait")
def cancel(lib):
    work = lib.long(2.0)

    async def main():
        task = asyncio.ensure_future(lib.waiting(work))
        await asyncio.sleep(0.2)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    begin = time.monotonic()
    error = raised(lambda: asyncio.run(main()))
    closed = time.monotonic() - begin - 0.2
    if error:
        return f"raises {str(error).rstrip('.')!r}", []
    wrong = raised(work) or raised(lambda: lib.read(lib.good()))
    text = "loop close waits for the work" if closed > 1 else "work goes on"
    return (f"{text}, then fails", ["blamed"]) if wrong else (text, [])


@scenario("Ctrl-C in a long eval")
def ctrl_c(lib):
    work = lib.long(8.0)
    sent = []

    def interrupt():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Timer(0.7, interrupt).start()
    try:
        work()
        text = "never raised"
    except KeyboardInterrupt:
        text = None
    late = time.monotonic() - sent[0] if sent else 0.0
    return f"{text + ', ' if text else ''}after {late:.2f} s", ["late"] if late > 1 or text else []


@scenario("fork, then compute in the child")
def fork(lib):
    lib.wait(lib.product())
    pid = os.fork()
    if pid == 0:
        error = raised(lambda: lib.wait(lib.product()))
        os._exit(1 if error else 0)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                return signal.Signals(-code).name, ["signal"]
            return ("raises" if code else "works"), []
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hang", ["hang"]


@scenario("exit with a daemon thread computing")
def daemon_exit(lib):
    codes = [again(lib, "leave_computing", 30).returncode for _ in range(5)]
    signals = {signal.Signals(-code).name for code in codes if code < 0}
    if signals:
        bad = sum(code < 0 for code in codes)
        return f"{', '.join(sorted(signals))} ({bad} of 5)", ["signal"]
    return f"exit {', '.join(map(str, sorted(set(codes))))}", []


def leave_computing(lib):
    def work():
        while True:
            lib.wait(lib.product())

    threading.excepthook = lambda args: None
    for _ in range(2):
        threading.Thread(target=work, daemon=True).start()
    time.sleep(0.5)


@scenario("1e6 chained operations, eval and drop")
def chain(lib):
    x = lib.one()
    for _ in range(1_000_000):
        x = lib.plus_one(x)
    value = np.ravel(lib.read(x))[0]
    del x
    gc.collect()
    return ("fine", []) if value == 1_000_001 else (f"silent {value}", ["silent"])


def again(lib, function, timeout):
    """Run another process of this library, which does only that."""
    return subprocess.run(
        [sys.executable, __file__, lib.name, function],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def ended(done):
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    return f"exit {done.returncode}"


def main():
    """Run one scenario and print its line."""
    library, name = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lib = LIBRARIES[library]()
    if name in ("leave", "leave_computing"):
        globals()[name](lib)
        return
    text, faults = SCENARIOS[name](lib)
    print(json.dumps({"text": text, "faults": faults}), flush=True)
    if name not in ("failed, never read, exit",):
        os._exit(0)  # what an exit with failures does is a scenario of its own


if __name__ == "__main__":
    main()
