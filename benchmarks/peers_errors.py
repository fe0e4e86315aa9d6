"""What becomes of failures in nitinol and its peers: a table of scenarios, each seen, not quoted.

Each scenario runs in a process of its own with a time limit, for each library that is installed:

    python benchmarks/peers_errors.py
    python benchmarks/peers_errors.py --python mlx=/venvs/mlx/bin/python --only "out of memory"

The exit status is 1 if a failure in nitinol was silent, lost, blamed on somebody else, late, hung
or ended the process by a signal.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import signal
import subprocess
import sys
from pathlib import Path

from peers_libraries import LIBRARIES
from peers_scenarios import SCENARIOS

CHILD = Path(__file__).with_name("peers_scenarios.py")
PROBE = """
import {0}, importlib.metadata
print(getattr({0}, "__version__", None) or importlib.metadata.version("{0}"))
"""


def parse_arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument(
        "--python",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="the interpreter in which a library is installed; this one if not given",
    )
    p.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    p.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    p.add_argument("--timeout", type=float, default=60, help="seconds a scenario (%(default)s)")
    arguments = p.parse_args()
    interpreters = dict.fromkeys(LIBRARIES, sys.executable)
    for each in arguments.python:
        name, equals, path = each.partition("=")
        if name not in LIBRARIES or not equals or not path:
            p.error(f"--python {each!r} is not NAME=PATH with one of {', '.join(LIBRARIES)}.")
        interpreters[name] = path
    arguments.interpreters = interpreters
    return arguments


def version(interpreter: str, library: str) -> str | None:
    """The version of an installed library; None if it isn't installed there."""
    try:
        done = subprocess.run(
            [interpreter, "-c", PROBE.format(library)], capture_output=True, text=True, check=False
        )
    except OSError as error:
        sys.exit(f"The interpreter {interpreter!r} can't be run: {error.strerror}.")
    return done.stdout.strip() if done.returncode == 0 else None


def lines(output: str | bytes | None) -> list[dict]:
    """What a child said, line by line."""
    text = output.decode() if isinstance(output, bytes) else output or ""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def observe(interpreter: str, library: str, name: str, timeout: float) -> tuple[str, list[str]]:
    """Run a scenario: what it says, or how its process ended, and the faults met."""
    process = subprocess.Popen(
        [interpreter, str(CHILD), library, name],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,  # its own children end with it
    )
    try:
        out, err = process.communicate(timeout=timeout)
        how = None
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        how = "hang"
    said = lines(out)
    so_far = next((line["progress"] for line in reversed(said) if "progress" in line), "")
    if how is None and said and "text" in said[-1] and process.returncode == 0:
        return said[-1]["text"], said[-1]["faults"]
    if how is None and process.returncode < 0:
        how = signal.Signals(-process.returncode).name
    if how is None:
        last = err.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"{library}, {name}: exit {process.returncode}: {last}")
    return f"{so_far} {how}".strip(), ["hang" if how == "hang" else "signal"]


def main() -> int:
    """Print the table."""
    arguments = parse_arguments()
    versions = {name: version(arguments.interpreters[name], name) for name in arguments.libraries}
    present = [name for name, found in versions.items() if found]
    for name in arguments.libraries:
        if name not in present:
            print(f"{name} is not installed for {arguments.interpreters[name]}.", file=sys.stderr)
    if not present:
        return 2
    rows, failed = [], []
    for number, name in enumerate(arguments.only, 1):
        cells = []
        for library in present:
            print(f"\r{number}/{len(arguments.only)} {library:8}", end="", file=sys.stderr)
            interpreter = arguments.interpreters[library]
            text, faults = observe(interpreter, library, name, arguments.timeout)
            cells.append(text)
            if library == "nitinol" and faults:
                failed.append(f"{name}: {text} ({', '.join(faults)})")
        rows.append([name, *cells])
    print("\r", end="", file=sys.stderr)
    today = datetime.date.today().isoformat()
    installed = ", ".join(f"{name} {versions[name]}" for name in present)
    print(f"{today}; {installed}; Python {platform.python_version()}, {platform.system()} "
          f"{platform.machine()}, {os.cpu_count()} cores.\n")  # fmt: skip
    print("| scenario | " + " | ".join(present) + " |")
    print("|---" * (len(present) + 1) + "|")
    for row in rows:
        print("| " + " | ".join(row) + " |")
    for each in failed:
        print(f"nitinol fails: {each}.", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
