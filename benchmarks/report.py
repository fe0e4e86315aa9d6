"""What a run of the main job shows: verdicts on its promises, a table, a plot, a JSON file."""

from __future__ import annotations

import gc
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import nitinol as nt
from nitinol import _runtime
from serving import Result

# Growth within a phase that still counts as flat. Latency is noisy on a shared machine;
# memory is not, and a request leaks a cache of tens of megabytes or nothing.
FLAT_LATENCY = 1.5
LATENCY_NOISE = 0.25  # seconds
FLAT_MEMORY = 10e6
MIN_SAMPLES = 6
MOST_NAMED = 60  # failures in the plot
# The phase that only gathers the answers: its first requests take memory for the first time.
WARM_UP = "reference"


@dataclass(frozen=True)
class Verdict:
    """One promise, whether it was kept, and the figures that say so."""

    promise: str
    kept: bool
    figures: str


@dataclass
class Run:
    """All that was observed: results in order of completion, memory, reports nobody met."""

    answers: Mapping[int, list[int]]  # by subject, from the pass without failures
    results: list[Result]
    memory: list[tuple[float, int]]
    phases: dict[str, tuple[float, float]]  # begin and end
    unclaimed: list
    counts: Mapping[str, int]  # what Device.error_counts counted
    extra: Counter  # codes that NITINOL_FAULTS asks for on top of the plan
    fired: Counter | None = None  # of a storm: how many units each (code, phase) struck
    held: tuple[dict, dict] | None = None  # before and after the storm

    def of(self, phase: str) -> list[Result]:
        """Select the results of one phase."""
        return [r for r in self.results if r.phase == phase]


def outcome(result: Result, answers: Mapping[int, list[int]]) -> str:
    """Name what became of a request: same, left, different, struck, untyped or hung."""
    if result.error is None:
        answer = answers[result.request.subject]
        if result.left:
            return "left" if result.tokens == answer[: len(result.tokens)] else "different"
        return "same" if result.tokens == answer else "different"
    if isinstance(result.error, nt.WaitTimeoutError):
        return "hung"
    return "struck" if isinstance(result.error, nt.DeviceError) else "untyped"


def line(result: Result, answers: Mapping[int, list[int]]) -> str:
    """Describe one request in one line."""
    verdict = outcome(result, answers)
    first = "      -" if result.first_token is None else f"{result.first_token:6.2f}s"
    text = {
        "same": "ok" if not result.retries else f"ok, {result.retries} steps computed again",
        "left": "the client went away",
        "different": "WRONG: the tokens differ from those without failures",
    }.get(verdict, f"{'' if verdict == 'struck' else verdict.upper() + ' '}{_describe(result)}")
    return (
        f"{result.request.number:5d}  {result.phase:<10}  thread {result.worker}"
        f"  {result.latency:6.2f}s  first token {first}  {len(result.tokens):4d} tokens  {text}"
    )


def _describe(result: Result) -> str:
    sentence = result.reports[0].message if result.reports else str(result.error).splitlines()[0]
    return f"{type(result.error).__name__} {_codes(result)}: {sentence}"


def _codes(result: Result) -> str:
    """Name the codes of what struck a request, several of one kind once."""
    return "+".join(sorted({r.code for r in result.reports}))


def verdicts(run: Run) -> list[Verdict]:
    """Judge every promise of the main job by what was observed."""
    seen = Counter(outcome(r, run.answers) for r in run.results)
    healthy = seen["same"] + seen["different"]
    out = [
        Verdict(
            "every failure is a typed error",
            not seen["untyped"] and not seen["hung"],
            f"{seen['struck']} typed, {seen['untyped']} untyped, {seen['hung']} hung",
        ),
        Verdict(
            "all other answers are identical to those without failures",
            seen["different"] == 0 and healthy > 0,
            f"{seen['same']} of {healthy} identical",
        ),
        _blame(run) if run.fired is None else _conservation(run),
        _nothing_left(run),
    ]
    for phase in [p for p in run.phases if p != WARM_UP]:
        out += [_flat_latency(run, phase), _flat_memory(run, phase)]
    return [v for v in out if v is not None]


def _blame(run: Run) -> Verdict:
    """Check that what was planned is what was met, each failure once and where it struck.

    One thread alone, or a request that fails by itself: the planned request must meet the
    planned code. Several threads share the device that a failure is injected into, so there
    the failure may strike a neighbour's unit; then the codes must agree as a whole, and the
    stream that a report names must be the one of the request that met it.
    """
    wrong = 0
    planned, met = Counter(), Counter()
    threads = Counter(p for p, _ in {(r.phase, r.worker) for r in run.results})
    for result in run.results:
        strike = result.request.strike
        codes = Counter(r.code for r in result.reports)
        if strike and strike.real:  # such a request may fail in several places at once
            codes[strike.code] = min(codes[strike.code], 1)
        met += codes
        planned += Counter([strike.code] if strike else [])
        if any(r.stream != result.stream for r in result.reports):
            wrong += 1
        elif not run.extra and (threads[result.phase] == 1 or (strike and strike.real)):
            wrong += codes[strike.code] != 1 if strike else bool(codes)
    met += Counter(r.code for r in run.unclaimed)
    lost, surplus = planned - met, met - planned - run.extra
    reported = sum(len(r.reports) for r in run.results) + len(run.unclaimed)
    kept = not (wrong or lost or surplus or run.unclaimed) and reported == run.counts["struck"]
    return Verdict(
        "each failure is met once, by the request that it struck",
        kept,
        f"{planned.total()} planned, {run.counts['struck']} struck by the device's count, "
        f"{reported} reported by errors, {lost.total()} lost, "
        f"{surplus.total()} too many, {wrong} at another request, {len(run.unclaimed)} unclaimed",
    )


def _conservation(run: Run) -> Verdict:
    """Check that each failure of a storm was mended, or met where it struck, and only there.

    What a request meets without an injection is what it brought about itself, or that the
    device was lost before. Its scope has what it met. Failures of clients that left are drained,
    by whoever comes next.
    """
    drained = [*run.unclaimed, *(r for result in run.results for r in result.drained)]
    seen = [*drained, *(r for result in run.results for r in result.reports)]
    left = {result.request.scope for result in run.results if result.left}
    wrong = sum(r.scope not in left for r in drained)
    for result in run.results:
        strike, reports = result.request.strike, result.reports
        if strike and not result.error and not result.left:
            wrong += 1  # a request that had to fail did not
        if result.collected is not None and set(result.collected) != set(reports):
            wrong += 1
        for r in reports:
            own = strike is not None and r.code == strike.code
            refused = nt.errors.exception_class(r.code) is nt.DeviceLostError
            here = r.stream == result.stream and r.scope == result.request.scope
            wrong += not (here and (r.injected or own or refused))
    fired, counts = run.fired.total(), run.counts
    twice = len(seen) - len(set(seen))
    # The device tries work again that memory could not be had for, and says nothing of that.
    injected = sum(r.injected for r in seen)
    shortages = sum(r.code == "out_of_memory" and not r.injected for r in seen)
    uncounted = injected + counts["recovered"] + counts["suppressed"] - fired
    kept = (
        not (wrong or twice or counts["unobserved"])
        and counts["struck"] == len(seen) + counts["recovered"]
        and 0 <= uncounted <= shortages
    )
    return Verdict(
        "every failure is met once, where it struck, or mended",
        kept,
        f"{fired} injected, {counts['struck']} struck by the device's count, "
        f"{counts['recovered']} mended by it, {counts['suppressed']} suppressed, {len(seen)} "
        f"reported ({injected} of them injected), {twice} twice, {wrong} where they did not strike",
    )


def held(device: nt.Device) -> dict[str, int]:
    """Count what is alive once nobody is at work, and whether the device is."""
    gc.collect()
    device.drain_errors()  # it keeps those that were met until it is asked
    closed = device.state in ("suspended", "lost")
    return _runtime.alive() | {"devices closed": int(closed)}


def _nothing_left(run: Run) -> Verdict | None:
    if run.held is None:
        return None
    before, after = run.held
    changes = [f"{n:+d} {name}" for name, n in _difference(after, before).items()]
    return Verdict("nothing stays behind", before == after, ", ".join(changes))


def _difference(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: n - before[name] for name, n in after.items()}


def _flat_latency(run: Run, phase: str) -> Verdict | None:
    latencies = [r.latency for r in run.of(phase) if r.error is None and not r.left]
    if len(latencies) < MIN_SAMPLES:
        return None
    middle = len(latencies) // 2
    first, second = latencies[:middle], latencies[middle:]
    # What slows requests down for good slows the fastest one down as well; what else the
    # machine does at times shows in the medians.
    best = min(second) / min(first)
    median = statistics.median(second) / statistics.median(first)
    return Verdict(
        f"latency is flat ({phase})",
        best <= FLAT_LATENCY or min(second) - min(first) < LATENCY_NOISE,
        f"second half against the first: fastest {best:.2f} times, median {median:.2f} times",
    )


def _flat_memory(run: Run, phase: str) -> Verdict | None:
    begin, end = run.phases[phase]
    used = [b for t, b in run.memory if begin <= t <= end]
    third = len(used) // 3
    if third < 2:
        return None
    # A device keeps freed memory until it runs short of it: what grows for good raises the floor.
    growth = min(used[-third:]) - min(used[third:-third])
    return Verdict(
        f"memory is flat ({phase})",
        growth <= FLAT_MEMORY,
        f"least of the last third {growth / 1e6:+.1f} MB against that of the middle third, "
        f"peak {max(used) / 1e6:.0f} MB",
    )


def table(run: Run) -> str:
    """Lay out a column a phase."""
    phases = list(run.phases)
    rows: list[tuple[str, list[str]]] = []

    def row(name, cell):
        rows.append((name, [cell(run.of(p)) for p in phases]))

    def median(values):
        values = [v for v in values if v is not None]
        return f"{statistics.median(values):.2f} s" if values else "-"

    def good(results):
        return [r for r in results if r.error is None and not r.left]

    def count(kind):
        return lambda results: str(sum(outcome(r, run.answers) == kind for r in results))

    def decode(results):
        rates = [
            (len(r.tokens) - 1) / (r.latency - r.first_token)
            for r in good(results)
            if len(r.tokens) > 1
        ]
        return f"{statistics.median(rates):.1f}" if rates else "-"

    def prefill(results):
        rates = [len(r.request.prompt) / r.first_token for r in good(results)]
        return f"{statistics.median(rates):.0f}" if rates else "-"

    row("requests", lambda results: str(len(results)))
    row("answered as without failures", count("same"))
    row("answered differently", count("different"))
    row("struck by a failure", count("struck"))
    row("left by the client", count("left"))
    row("steps computed again", lambda results: str(sum(r.retries for r in results)))
    row("median latency", lambda results: median(r.latency for r in good(results)))
    row("median time to first token", lambda results: median(r.first_token for r in good(results)))
    row("prompt tokens a second and thread", prefill)
    row("answer tokens a second and thread", decode)
    rows.append(("wall time", [f"{end - begin:.1f} s" for begin, end in run.phases.values()]))
    width = max(len(name) for name, _ in rows)
    head = f"{'':{width}}" + "".join(f"{p:>14}" for p in phases)
    body = [f"{name:{width}}" + "".join(f"{c:>14}" for c in cells) for name, cells in rows]
    return "\n".join([head, *body])


def plot(run: Run, path: Path) -> None:
    """Draw latency over time with the failures marked, and resident memory, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(10, 7), layout="constrained")
    for index, phase in enumerate(run.phases):
        good = [r for r in run.of(phase) if r.error is None]
        above.plot(
            [r.started + r.latency for r in good],
            [r.latency for r in good],
            "o",
            color=f"C{index}",
            label=f"answered ({phase})",
        )
    failed = [r for r in run.results if r.error is not None]
    times = [r.started + r.latency for r in failed]
    few = len(failed) <= MOST_NAMED  # of thousands nobody could read a name
    size = 9 if few else 3
    above.plot(times, [r.latency for r in failed], "rx", markersize=size, label="failed")
    for r, t in zip(failed, times, strict=True) if few else ():
        name = _codes(r) or type(r.error).__name__
        above.annotate(
            name,
            (t, r.latency),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize=7,
            color="red",
            rotation=30,
        )
        below.axvline(t, color="red", linewidth=0.7, alpha=0.6)
    above.set_ylabel("latency of a request (s)")
    above.set_ylim(bottom=0)
    above.margins(y=0.25)
    above.legend(loc="lower right", fontsize=8)
    above.set_title("Sustained inference while device failures strike")
    below.plot([t for t, _ in run.memory], [b / 1e6 for _, b in run.memory], color="black")
    below.set_ylim(bottom=0)
    below.set_ylabel("resident memory (MB)")
    below.set_xlabel("time (s); red: a failure")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write_json(run: Run, judged: Sequence[Verdict], settings: Mapping, path: Path) -> None:
    """Write everything that was observed as JSON."""
    results = [
        {
            "request": r.request.number,
            "subject": r.request.subject,
            "phase": r.phase,
            "thread": r.worker,
            "started": r.started,
            "latency": r.latency,
            "first_token": r.first_token,
            "tokens": r.tokens,
            "retries": r.retries,
            "planned": asdict(r.request.strike) if r.request.strike else None,
            "outcome": outcome(r, run.answers),
            "codes": [x.code for x in r.reports],
            "error": None if r.error is None else str(r.error),
        }
        for r in run.results
    ]
    data = {
        "settings": dict(settings),
        "verdicts": [asdict(v) for v in judged],
        "phases": run.phases,
        "results": results,
        "memory": run.memory,
        "counts": run.counts,
        "fired": None if run.fired is None else {"/".join(k): n for k, n in run.fired.items()},
        "held": run.held,
    }
    path.write_text(json.dumps(data, indent=1, default=str) + "\n")
