"""Speed of the main job's model beside llama.cpp: same file, same threads, in turns, as ratios.

Needs the package llama-cpp-python, which compiles llama.cpp: pip install llama-cpp-python.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

LENGTHS = (512, 2048)
STEPS = 16  # decoded tokens a round


def processors() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count()))


def parse_arguments() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--model", type=Path, help="default: the main job's model")
    p.add_argument("--threads", type=int, default=len(processors()))
    p.add_argument("--rounds", type=int, default=7)
    return p.parse_args()


def nitinol_runner(path: Path):
    """Give functions that prefill a cache and that decode after `length` tokens."""
    import numpy as np

    import nitinol as nt
    from generation import Sampler
    from llama import Cache, Llama

    model = Llama(path)
    cache, best = Cache(model.config, max(LENGTHS) + STEPS), Sampler()

    def prefill(tokens):
        cache.length = 0
        return best(model(nt.asarray(np.asarray(tokens)), cache))

    def decode(length, token):
        cache.length = length
        for _ in range(STEPS):
            token = best(model(nt.asarray(np.asarray([token])), cache))

    return model, prefill, decode


def llama_cpp_runner(path: Path, threads: int):
    """The same with llama.cpp; the best token is chosen by NumPy, which takes microseconds."""
    import llama_cpp
    import numpy as np

    model = llama_cpp.Llama(
        str(path),
        n_ctx=max(LENGTHS) + STEPS,
        n_batch=512,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )
    vocabulary = model.n_vocab()

    def best():
        logits = llama_cpp.llama_get_logits_ith(model.ctx, -1)
        return int(np.ctypeslib.as_array(logits, (vocabulary,)).argmax())

    def prefill(tokens):
        model.n_tokens = 0  # eval drops what lies behind
        model.eval(tokens)
        return best()

    def decode(length, token):
        model.n_tokens = length
        for _ in range(STEPS):
            model.eval([token])
            token = best()

    return prefill, decode


def seconds(function: Callable, *arguments) -> float:
    begin = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - begin


def main() -> int:
    options = parse_arguments()
    available = processors()
    if not 1 <= options.threads <= len(available):
        print(f"--threads is {options.threads}; expected 1 to {len(available)}.", file=sys.stderr)
        return 2
    if options.threads < len(available):
        # Before either library starts threads: nitinol takes as many as there are processors.
        os.sched_setaffinity(0, available[: options.threads])
    try:
        import llama_cpp  # noqa: F401
    except ModuleNotFoundError:
        print("llama-cpp-python is missing: pip install llama-cpp-python.", file=sys.stderr)
        return 2
    from pydoc_data.topics import topics

    from download import fetch_model
    from tokenizer import Tokenizer

    path = options.model or fetch_model()
    model, *ours = nitinol_runner(path)
    theirs = llama_cpp_runner(path, options.threads)
    text = Tokenizer(model.metadata).encode(" ".join(sorted(topics.values())))

    print(f"{path.name}, {options.threads} threads, medians of {options.rounds} rounds in turns")
    print(f"{'tokens a second':>16}  {'nitinol':>9}  {'llama.cpp':>9}  {'ratio':>6}")
    for length in LENGTHS:
        tokens = text[:length]
        prefill = [[], []]
        decode = [[], []]
        for turn in range(options.rounds + 1):
            for which, (run_prefill, run_decode) in enumerate((ours, theirs)):
                one = seconds(run_prefill, tokens)
                many = seconds(run_decode, length, tokens[0])
                if turn > 0:  # the first round warms up
                    prefill[which].append(length / one)
                    decode[which].append(STEPS / many)
        for name, rates in (("prefill", prefill), ("decode", decode)):
            us, them = map(statistics.median, rates)
            print(f"{name + ' ' + str(length):>16}  {us:9.1f}  {them:9.1f}  {us / them:6.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
