"""The main job: a model answers many requests in one process while device failures strike.

Without arguments it downloads SmolLM2-135M-Instruct once (93 MB), answers a few prompts
without failures, then serves many requests, first one after the other, then by several
threads, with failures injected, and shows that only the requests that were struck noticed.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import count
from pathlib import Path

SUBJECTS = 4
INSTRUCTION = "Say in a few words what this text is about.\n\n"
LOAD_ATTEMPTS = REFERENCE_ATTEMPTS = 3
OUTPUT = Path(__file__).resolve().parent / "out" / "sustained_inference.png"


class UsageError(Exception):
    """Something that the user has to mend; the message is one sentence."""


class Parser(argparse.ArgumentParser):
    def error(self, message):
        raise UsageError(f"{message[:1].upper()}{message[1:]} (see --help).")


def whole(low: int) -> Callable[[str], int]:
    def convert(text):
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if value < low:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {low}")
        return value

    return convert


def positive(text: str, zero: bool = False) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not (0 < value < float("inf") or (zero and value == 0)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number {'>=' if zero else '>'} 0")
    return value


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    p = Parser(description=__doc__.splitlines()[0], allow_abbrev=False)
    p.add_argument("--prompt", metavar="TEXT", help="just answer this question")
    p.add_argument("--model", type=Path, metavar="PATH", help="a GGUF file of architecture llama")
    p.add_argument(
        "--context",
        type=whole(1),
        metavar="N",
        help="prompt tokens of a request (default: 512); with --prompt the most it may have",
    )
    p.add_argument(
        "--tokens",
        type=whole(1),
        metavar="N",
        help="answer tokens of a request (default: 32, with --prompt 256)",
    )
    p.add_argument("--threads", type=whole(1), default=2, metavar="N", help="default: 2")
    how_long = p.add_mutually_exclusive_group()
    how_long.add_argument(
        "--requests", type=whole(1), default=32, metavar="N", help="in all (default: 32)"
    )
    how_long.add_argument(
        "--duration", type=positive, metavar="SECONDS", help="serve so long, not --requests"
    )
    p.add_argument(
        "--faults",
        default="every:4",
        metavar="SCHEDULE",
        help="none, every:N, or CODE[/PHASE]@REQUEST joined by commas, as in "
        "page_fault@3,out_of_memory/commit@7,bad_token@9,huge_cache@12 (default: every:4); or "
        "random:SECONDS, failures of every code in every phase, so many seconds apart on average, "
        "that several threads inject at any time",
    )
    p.add_argument(
        "--recovery",
        choices=("none", "default", "alternate"),
        default="none",
        help="whether the device mends by itself what it can (default: none, so that each "
        "planned failure is met); alternate changes it now and then, for random:SECONDS",
    )
    p.add_argument("--temperature", type=lambda t: positive(t, zero=True), default=0.0, metavar="T")
    p.add_argument("--seed", type=whole(0), default=0, metavar="N")
    p.add_argument("--device", metavar="NAME", help="default: nitinol's default device")
    p.add_argument(
        "--cache",
        choices=("float32", "float16"),
        default="float32",
        help="dtype of the keys and values that are kept; float16 halves their bytes and moves the "
        "logits by some hundredths (default: float32)",
    )
    p.add_argument("--plot", type=Path, default=OUTPUT, metavar="PATH", help=f"default: {OUTPUT}")
    p.add_argument("--json", type=Path, metavar="PATH", help="write all that was observed")
    return p.parse_args(arguments)


def need(*modules: str) -> None:
    """Import what the run will take, so that what is missing is said at once."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"The module {error.name!r} is missing; install it with: pip install 'nitinol[bench]'."
        ) from error
    except ValueError as error:  # nitinol cannot read NITINOL_FAULTS
        raise UsageError(str(error)) from error


def load(options):
    """Read the model and its tokenizer, and choose the device."""
    need("nitinol", "gguf", "tokenizers", "jinja2")
    import nitinol as nt
    from download import DownloadError, fetch_model
    from llama import Llama
    from tokenizer import Tokenizer

    try:
        device = nt.Device(options.device) if options.device else nt.default_device()
        default = options.recovery == "default"
        device.recovery = nt.RecoveryPolicy() if default else nt.RecoveryPolicy.none()
        path = options.model or fetch_model()
    except (DownloadError, ValueError, TypeError) as error:
        raise UsageError(str(error)) from error
    if not path.is_file():
        raise UsageError(f"There is no file {str(path)!r}; --model takes the path of a GGUF file.")
    begin = time.perf_counter()
    for attempt in range(1, LOAD_ATTEMPTS + 1):
        try:
            model = Llama(path, getattr(nt, options.cache))
            tokenizer = Tokenizer(model.metadata)
            tokenizer.encode_frame("")  # a chat template that fails does so here
            break
        except nt.DeviceError as error:
            if attempt == LOAD_ATTEMPTS or error.report.code == "io":
                raise UsageError(f"The model {str(path)!r} cannot be read: {error}") from error
            print(f"A failure struck while the weights were read, reading again: {error}")
        except (ValueError, KeyError, TypeError, IndexError, OSError, EOFError) as error:
            raise UsageError(f"The model {str(path)!r} cannot be used: {error}") from error
    seconds = time.perf_counter() - begin
    print(f"{path.name}: {model.weight_bytes / 1e6:.0f} MB of weights, {seconds:.1f} s, {device}")
    return device, model, tokenizer


def check_length(model, context: int, tokens: int) -> None:
    if context + tokens > model.config.context:
        raise UsageError(
            f"A prompt of {context} tokens and an answer of {tokens} need a context of "
            f"{context + tokens} tokens; the model's is {model.config.context}."
        )


def answer(options) -> int:
    """Answer one question, printing the text as it comes."""
    device, model, tokenizer = load(options)
    import nitinol as nt
    from generation import Sampler, generate

    prompt = tokenizer.encode_chat(options.prompt)
    limit, tokens = options.context or model.config.context, options.tokens or 256
    if len(prompt) > limit:
        raise UsageError(f"The prompt has {len(prompt)} tokens; the context holds {limit}.")
    check_length(model, len(prompt), tokens if options.tokens else 1)
    tokens = min(tokens, model.config.context - len(prompt))
    shown, ids = "", []
    try:
        with nt.Stream(device):
            cache = model.new_cache(len(prompt) + tokens)
            sampler = Sampler(options.temperature, options.seed)
            for token in generate(model, cache, prompt, tokens, sampler):
                if token == tokenizer.end_of_text:
                    break
                ids.append(token)
                text = tokenizer.decode(ids)
                if not text.endswith("\ufffd"):  # a character may span several tokens
                    print(text[len(shown) :], end="", flush=True)
                    shown = text
    except nt.DeviceError as error:
        print()
        print(f"A failure struck the answer: {error}", file=sys.stderr)
        return 1
    print()
    return 0


def make_prompts(tokenizer, context: int) -> list[tuple[int, ...]]:
    """Cut prompts of exactly `context` tokens out of the text that every CPython ships."""
    from pydoc_data.topics import topics

    before, after = tokenizer.encode_frame(INSTRUCTION)
    room = context - len(before) - len(after)
    if room < 1:
        raise UsageError(
            f"--context is {context}; the chat template alone takes {context - room} tokens."
        )
    text = tokenizer.encode("\n\n".join(topics[name] for name in sorted(topics)))
    starts = [i * len(text) // SUBJECTS for i in range(SUBJECTS)]
    text *= 1 + room // len(text) + 1
    return [(*before, *text[s : s + room], *after) for s in starts]


def serve(options) -> int:
    """Serve requests without and with failures, and show what became of them."""
    from faults import faults_of_environment, parse_faults, storm_interval

    context, tokens = options.context or 512, options.tokens or 32
    need("tqdm", "matplotlib")
    try:
        for path in filter(None, (options.plot, options.json)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    except OSError as error:
        raise UsageError(f"The results cannot be written: {error}.") from error
    try:
        parse_faults(options.faults, steps=1, units=1, seed=options.seed)  # before the long load
    except ValueError as error:
        raise UsageError(str(error)) from error
    every = storm_interval(options.faults)
    if options.recovery != "none" and not every:
        raise UsageError("--recovery is for --faults random:SECONDS alone.")
    device, model, tokenizer = load(options)
    check_length(model, context, tokens)
    units = 8 * model.config.layers  # fewer than any step has
    plan = parse_faults(options.faults, steps=tokens, units=units, seed=options.seed)
    prompts = make_prompts(tokenizer, context)

    from tqdm import tqdm

    import report
    from memory import MemorySampler
    from serving import Request, Server, until
    from spool import Spool
    from storm import Storm, some_client

    def request(number, strikes=True):
        subject = (number - 1) % SUBJECTS
        strike = plan(number) if strikes else None
        seed = options.seed + subject
        prompt = prompts[subject]
        client = some_client(number, tokens, options.seed) if every and strikes else None
        return Request(number, subject, prompt, tokens, options.temperature, seed, strike, client)

    server = Server(model, device, context + tokens)
    run = report.Run({}, [], [], {}, [], {}, faults_of_environment())
    counts = device.error_counts()

    def phase(name: str, requests: Iterable[Request], threads: int, total: int | None):
        begin = time.perf_counter() - server.clock
        with tqdm(total=total, unit="request", leave=False, desc=name, disable=None) as bar:
            for result in server.serve(requests, name, threads):
                if name == "reference" and result.error is None:
                    run.answers[result.request.subject] = result.tokens
                if result.tokens == run.answers.get(result.request.subject):
                    result.tokens = run.answers[result.request.subject]  # one list for all
                observed.append(result)
                bar.write(report.line(result, run.answers), file=sys.stdout)
                bar.update()
        run.unclaimed += server.unclaimed()
        begin = run.phases.get(name, (begin,))[0]
        run.phases[name] = (begin, time.perf_counter() - server.clock)

    # Neither what is observed in an hour nor the samples are to be what grows.
    interval = max(0.25, (options.duration or 0) / 2000)
    with tempfile.TemporaryFile() as file, MemorySampler(server.clock, interval) as memory:
        observed = Spool(file)
        # NITINOL_FAULTS may strike here too: every subject needs one answer without a failure.
        first = (request(n, strikes=False) for n in range(1, SUBJECTS + 1))
        phase("reference", first, 1, SUBJECTS)
        for attempt in count(1):
            if not (missing := [s + 1 for s in range(SUBJECTS) if s not in run.answers]):
                break
            if attempt == REFERENCE_ATTEMPTS:
                print(f"The prompts {missing} have no answer even without failures.")
                return 1
            again = (request(number, strikes=False) for number in missing)
            phase("reference", again, 1, len(missing))
        if every:
            requests, total = map(request, range(1, options.requests + 1)), options.requests
            if options.duration:
                requests, total = until(time.perf_counter() + options.duration, request, 1), None
            held = report.held(device)
            with Storm(device, every, 4 * units, options.seed, options.recovery) as storm:
                phase("storm", requests, options.threads, total)
            run.fired, run.held = storm.fired, (held, report.held(device))
        elif options.duration:
            half, before = options.duration / 2, len(observed)
            phase("sequential", until(time.perf_counter() + half, request, 1), 1, None)
            done = len(observed) - before
            deadline = time.perf_counter() + half
            phase("concurrent", until(deadline, request, done + 1), options.threads, None)
        else:
            half = -(-options.requests // 2)
            phase("sequential", map(request, range(1, half + 1)), 1, half)
            rest = map(request, range(half + 1, options.requests + 1))
            if options.requests > half:
                phase("concurrent", rest, options.threads, options.requests - half)
        run.memory = list(memory.samples)
        run.results = list(observed)
    run.counts = {name: n - counts[name] for name, n in device.error_counts().items()}
    judged = report.verdicts(run)
    print(f"\n{report.table(run)}\n")
    for verdict in judged:
        print(f"{'kept  ' if verdict.kept else 'BROKEN'}  {verdict.promise}: {verdict.figures}")
    report.plot(run, options.plot)
    print(f"\nThe plot is in {options.plot}")
    if options.json:
        report.write_json(run, judged, vars(options), options.json)
    return 0 if all(v.kept for v in judged) else 1


def main(arguments: list[str] | None = None) -> int:
    try:
        options = parse_arguments(arguments)
        return serve(options) if options.prompt is None else answer(options)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    # A model may say what the terminal cannot show; lines appear as they come, in files too.
    sys.stdout.reconfigure(errors="replace", line_buffering=True)
    sys.exit(main())
