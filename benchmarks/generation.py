"""Answers of a model token by token: greedy or seeded sampling, one wait a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

import nitinol as nt
from llama import Cache, Llama

# A wait that outlives this is a hang, which nitinol promises not to have.
STEP_TIMEOUT = 900.0


class Sampler:
    """Chooses the next token: the best one, or a random one from an explicit seed.

    Parameters
    ----------
    temperature : float, optional
        0 takes the best token; the higher, the more even the choice.
    seed : int, optional
        The same seed and the same logits give the same tokens.
    """

    def __init__(self, temperature: float = 0.0, seed: int = 0):
        self.temperature = temperature
        self.generator = np.random.default_rng(seed)

    def __call__(self, logits: nt.Array) -> int:
        """Evaluate the logits (1, vocabulary) and choose a token: one wait."""
        if self.temperature == 0:
            best = nt.argmax(logits[0], axis=-1)
            nt.eval(best, timeout=STEP_TIMEOUT)
            return int(best)
        nt.eval(logits, timeout=STEP_TIMEOUT)
        scores = np.asarray(logits)[0].astype(np.float64) / self.temperature
        weights = np.exp(scores - scores.max())
        return int(self.generator.choice(len(weights), p=weights / weights.sum()))


def generate(
    model: Llama,
    cache: Cache,
    prompt: list[int],
    count: int,
    sampler: Sampler,
    before_step: Callable[[int], None] | None = None,
    may_retry: Callable[[nt.DeviceError], bool] | None = None,
) -> Iterator[int]:
    """Answer a prompt token by token: one pass over the prompt, then one step a token.

    Parameters
    ----------
    model : Llama
        The model.
    cache : Cache
        Where keys and values go; what it held of earlier requests is overwritten.
    prompt : list of int
        The token ids to continue.
    count : int
        How many tokens to give.
    sampler : Sampler
        What chooses them.
    before_step : callable, optional
        Called with the number of the step before each one is built; 0 is the prompt.
    may_retry : callable, optional
        Called with the error of a step that failed: whether to compute it again.

    Yields
    ------
    int
        The next token.
    """
    cache.length = 0
    tokens = prompt
    for step in range(count):
        if before_step is not None:
            before_step(step)
        logits = model(nt.asarray(np.asarray(tokens, dtype=np.int64)), cache)
        try:
            token = sampler(logits)
        except nt.DeviceError as error:
            if may_retry is None:
                raise
            token = _again(logits, cache, sampler, error, may_retry)
        yield token
        tokens = [token]


def _again(logits, cache, sampler, error, may_retry) -> int:
    """Compute a failed step until it succeeds or is given up."""
    while may_retry(error):
        try:
            # The arrays of the cache that the step spoilt are bound to what is computed now.
            nt.retry(logits, *cache.keys, *cache.values, timeout=STEP_TIMEOUT)
            return sampler(logits)
        except nt.DeviceError as again:
            error = again.with_traceback(None)  # it would refer to this frame, and that to it
        except nt.RecoveryError:  # the device is lost or suspended
            break
    raise error
