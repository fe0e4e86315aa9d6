"""What the check for failures costs where nothing fails: next to nothing, measured in one run.

Three ways to ask for a computed array are timed in turns, so that a busy machine disturbs them
alike, as well as a whole small computation. The check itself is two atomic loads for an array,
with the interpreter lock released around what waits.

    python benchmarks/error_check.py
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import nitinol as nt


def interleaved(jobs: dict, rounds: int, repeat: int) -> dict[str, list[float]]:
    """Time jobs in turns; give nanoseconds a call, a figure for each round."""
    found = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, job in jobs.items():
            begin = time.perf_counter_ns()
            for _ in range(repeat):
                job()
            found[name].append((time.perf_counter_ns() - begin) / repeat)
    return found


def main() -> int:
    """Print the table; the last line is the ratio that the guarantee is about."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=200, help="turns (default: %(default)s)")
    parser.add_argument("--repeat", type=int, default=500, help="calls a turn (%(default)s)")
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.repeat) < 1:
        print("--rounds and --repeat are at least 1.", file=sys.stderr)
        return 2

    ready = nt.ones(16) + 1
    scalar = nt.sum(ready)
    nt.eval(ready, scalar)
    shape = ready.__class__.shape.__get__

    def chain(x=ready):
        for _ in range(10):
            x = x + ready
        nt.eval(x)

    clean = {
        "a call that does nothing": (lambda: None),
        "an attribute (no check)": (lambda: shape(ready)),
        "eval of a computed array": (lambda: nt.eval(ready)),
        "item of a computed array": (lambda: scalar.item()),
        "ten operations and an eval": chain,
    }
    before = interleaved(clean, arguments.rounds, arguments.repeat)

    # The same once failures have struck: what was observed long ago must cost nothing either.
    kept = []
    for _ in range(50):
        bad = nt.linalg.inv(nt.zeros((2, 2)) + 0)
        kept.append(nt.async_eval(bad).exception())
    after = interleaved(clean, arguments.rounds, arguments.repeat)

    print(f"{'':32}{'median ns':>12}{'fastest ns':>12}{'after 50 failures':>20}")
    for name in clean:
        first, later = before[name], after[name]
        print(
            f"{name:32}{statistics.median(first):12.1f}{min(first):12.1f}"
            f"{statistics.median(later):20.1f}"
        )
    base = "ten operations and an eval"
    ratios = [b / a for a, b in zip(before[base], after[base], strict=True)]
    print(f"With failures behind it / without: {statistics.median(ratios):.3f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
