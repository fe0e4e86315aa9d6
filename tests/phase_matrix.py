"""G1 as a matrix: every code, phase and place in a process of its own, none of which may die.

    python tests/phase_matrix.py            # the whole matrix, with a table at the end
    python tests/phase_matrix.py --codes timeout --places "interpreter exit" --jobs 4

A cell is well when its process ends with the exit code it chose, within the time limit, says
nothing unexpected on standard error, and observed the failure (or printed it at exit). What the
device does about failures by itself is a further axis, `--recovery`: nothing (`none`), or the
default policy, whose retries all fail again (`in vain`) or succeed (`once`: the failure strikes
once, and is counted as recovered where the policy mends it). `--batch` runs the codes of a phase
and place in one process, where the place allows it.
"""

import argparse
import concurrent.futures
import itertools
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter

import nitinol
from nitinol.errors import CODES
from processes import HEADER, run

PHASES = ("encode", "commit", "completion")
RECOVERIES = ("none", "in vain", "once")

COMMON = """
codes, phase, recovery = sys.argv[1].split(","), sys.argv[2], sys.argv[3]
if recovery == "none":
    for device in nt.devices():
        device.recovery = nt.RecoveryPolicy.none()
MENDED = ("internal", "out_of_memory", "innocent_victim", "impacting_interactivity")
VALUE = 64 * 8 + 64

def work():
    return nt.sum(nt.ones((8, 8)) @ nt.ones((8, 8)) + 1)

def mended(code):
    return recovery == "once" and code in MENDED

def recovered():
    return nt.default_device().error_counts()["recovered"]

def check(x, code):
    if mended(code):
        assert x.item() == VALUE and recovered() >= 1
        return
    for _ in range(3):
        try:
            x.item()
        except nt.DeviceError as error:
            assert error.report.code == code, error
            assert error.report.phase == phase, error
        else:
            raise AssertionError("read a failed array")

def inject(code):
    # As often as somebody tries, but for "once": what is tried again in place fails again.
    times = 1 if recovery == "once" else 10**6
    return nt.testing.inject(nt.default_device(), code, phase=phase, times=times)

def healthy():
    # A device that is lost takes no more work; every other failure leaves it working.
    if nt.default_device().state != "lost":
        assert work().item() == VALUE
    # Nothing is lost, nor counted twice.
    for device in nt.devices():
        counts = device.error_counts()
        ends = ("recovered", "raised", "drained", "collected", "printed", "unobserved")
        assert counts["struck"] == sum(counts[end] for end in ends), counts
"""

# What each place does with the failure. Those that end the process take one code each.
PLACES = {
    "main thread": """
for code in codes:
    x = work()
    with inject(code) as injected:
        nt.async_eval(x).wait(60)
    assert injected.fired >= 1
    check(x, code)
    healthy()
""",
    "worker thread": """
for code in codes:
    wrong = []
    def job():
        try:
            x = work()
            with inject(code):
                nt.async_eval(x).wait(60)
            check(x, code)
            healthy()
        except BaseException as error:
            wrong.append(error)
    threads = [threading.Thread(target=job)]
    for thread in threads: thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert not wrong, wrong
""",
    "thread already dead": """
for code in codes:
    kept = []
    release = threading.Event()
    def held():
        release.wait(60)
        return 1.0
    def job():
        x = work() * nt.host_call(held, (), nt.float32)
        kept.append(x)
        nt.async_eval(x)
    with inject(code) as injected:
        thread = threading.Thread(target=job)
        thread.start()
        thread.join(60)
        assert not thread.is_alive()
        release.set()
        nt.async_eval(kept[0]).wait(60)
    assert injected.fired >= 1
    if not mended(code):
        found = nt.async_eval(kept[0]).exception()
        assert {report.code for report in found.reports} == {code}
        del found
    del thread
    try: nt.synchronize()
    except nt.DeviceError: pass
    check(kept[0], code)
    healthy()
""",
    "interpreter exit": """
[code] = codes
x = work()
rule = inject(code)
rule.__enter__()
if phase == "completion":       # under way while the interpreter goes
    started = threading.Event()
    def slow():
        started.set(); time.sleep(0.05); return 1.0
    y = nt.host_call(slow, (), nt.float32) + 1
    h = nt.async_eval(x, y)
    started.wait(60)
else:
    h = nt.async_eval(x)
sys.exit(5)
""",
    "daemon thread": """
[code] = codes
struck = threading.Event()
threading.excepthook = lambda args: None    # what a daemon thread meets when all is closed
def job():
    with inject(code):
        while True:
            h = nt.async_eval(work())
            h.wait(60)
            if not mended(code) or recovered() >= 1: struck.set()
for _ in range(2): threading.Thread(target=job, daemon=True).start()
assert struck.wait(60)
sys.exit(5)
""",
    "after fork": """
for code in codes:
    x = work()
    with inject(code):
        nt.async_eval(x).wait(60)
        y = work()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                check(x, code)              # the parent's failure is readable
                start = lambda: nt.async_eval(y)
                for job in (y.item, lambda: work().item(), start, nt.synchronize):
                    try:
                        job()
                    except RuntimeError as error:
                        assert "forked" in str(error), error
                    else:
                        raise AssertionError("not refused")
                status = 0
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
            os._exit(status)
        end = time.monotonic() + 60
        while True:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done: break
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL); os.waitpid(pid, 0)
                raise AssertionError("the child hangs")
            time.sleep(0.002)
        assert os.waitstatus_to_exitcode(status) == 0, status
    check(x, code)
    healthy()
""",
}
ALONE = ("interpreter exit", "daemon thread")
# After one of these there may be no device for the next code.
LOSING = ("access_revoked", "submissions_ignored", "device_removed")
TOLD = (
    r"nitinol: \d+ device failure\(s\) that nobody has observed:\n"
    r"(  \w+: .*\n)+(  \.\.\. and \d+ more\.\n)?"
)


def judge(place, codes, done, recovery="none"):
    """What is wrong with a process that ended; None if nothing."""
    if done.returncode < 0:
        return signal.Signals(-done.returncode).name
    expected = 5 if place in ALONE else 0
    if done.returncode != expected:
        last = (done.stderr.strip().splitlines() or ["nothing said"])[-1]
        return f"exit {done.returncode}: {last[:120]}"
    if place not in ALONE:
        return None if done.stderr == "" else f"said {done.stderr.splitlines()[0][:120]}"
    # A failure that struck is told; where the exit came first, nothing ran and nothing is said.
    if done.stderr and not re.fullmatch(TOLD, done.stderr):
        return f"said {done.stderr.splitlines()[0][:120]}"
    told = set(re.findall(r"^  (\w+): ", done.stderr, re.M))
    if told - set(codes):
        return f"told {', '.join(sorted(told - set(codes)))}"
    # What struck once may have been recovered, which the program has looked for itself.
    if place == "daemon thread" and not told and recovery != "once":
        return "lost"
    return None


def cell(place, phase, codes, recovery="none", timeout=150):
    """Run some codes at a place: what went wrong, None if nothing."""
    try:
        done = run(textwrap.dedent(COMMON + PLACES[place]), ",".join(codes), phase, recovery,
                   timeout=timeout, header=HEADER)  # fmt: skip
    except subprocess.TimeoutExpired:
        return "hang"
    return judge(place, codes, done, recovery)


def chosen(codes, phases, places, recoveries, batch):
    """The processes to run: (place, phase, codes, recovery)."""
    for recovery, place, phase in itertools.product(recoveries, places, phases):
        together = [c for c in codes if batch and place not in ALONE and c not in LOSING]
        if together:
            yield place, phase, tuple(together), recovery
        yield from ((place, phase, (code,), recovery) for code in codes if code not in together)


def main():
    """Run the matrix; the exit status is 1 if a cell is not well."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--codes", nargs="+", choices=CODES, default=CODES)
    p.add_argument("--phases", nargs="+", choices=PHASES, default=PHASES)
    p.add_argument("--places", nargs="+", choices=PLACES, default=tuple(PLACES))
    p.add_argument("--recovery", nargs="+", choices=RECOVERIES, default=RECOVERIES)
    p.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    p.add_argument("--timeout", type=float, default=150, help="seconds a process (%(default)s)")
    p.add_argument("--batch", action="store_true", help="all codes in one process")
    p.add_argument("--device", choices=[each.name for each in nitinol.devices()])
    arguments = p.parse_args()
    if arguments.device:
        nitinol.set_default_device(arguments.device)  # which the processes take over
    cells = list(
        chosen(arguments.codes, arguments.phases, arguments.places, arguments.recovery,
               arguments.batch)
    )  # fmt: skip
    begin, wrong, well = time.monotonic(), [], Counter()
    with concurrent.futures.ThreadPoolExecutor(max(arguments.jobs, 1)) as pool:
        running = {pool.submit(cell, *each, arguments.timeout): each for each in cells}
        for number, future in enumerate(concurrent.futures.as_completed(running), 1):
            place, phase, codes, recovery = running[future]
            found = future.result()
            if found is None:
                well[place, phase, recovery] += len(codes)
            else:
                wrong.append((place, phase, ",".join(codes), recovery, found))
            print(f"\r{number}/{len(cells)}, {len(wrong)} wrong", end="", file=sys.stderr)
    print(file=sys.stderr)
    total = len(arguments.codes)
    columns = list(itertools.product(arguments.recovery, arguments.phases))
    print(f"| of {total} codes | " + " | ".join(f"{r}: {p}" for r, p in columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for place in arguments.places:
        counts = [f"{well[place, phase, recovery]} well" for recovery, phase in columns]
        print(f"| {place} | " + " | ".join(counts) + " |")
    cells = total * len(columns) * len(arguments.places)
    print(f"\n{sum(well.values())} of {cells} cells are well, in {time.monotonic() - begin:.0f} s.")
    for each in wrong:
        print("wrong:", *each, sep="  ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
