"""Times nitinol beside NumPy, PyTorch, JAX and MLX, where they are installed.

Every row is one task, from the call to the value being there: the graph, the scheduler and fresh
outputs included. The libraries take turns within a row, so that a slower moment of the machine
meets all of them; the table shows medians in microseconds, and how nitinol compares to each.

    python benchmarks/suite.py [--rows PATTERN] [--repeats N] [--json PATH]
"""

from __future__ import annotations

import abc
import argparse
import fnmatch
import importlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

PAUSE = 0.25  # seconds between the turns
BURST = 0.02  # seconds of untimed calls, then of timed ones, in a turn


class Library(abc.ABC):
    """What one library is called by: how to make an array, and how to wait for a result."""

    name: str
    version: str

    @abc.abstractmethod
    def array(self, value: np.ndarray):
        """Return the library's array of a NumPy array."""

    def wait(self, result) -> None:  # noqa: B027 (NumPy and PyTorch have nothing to wait for)
        """Return when the result is there."""


class NumPy(Library):
    """NumPy as it is used; results are there when a function returns."""

    name = "numpy"
    version = np.__version__

    def array(self, value):
        """Return the array itself."""
        return value


class Nitinol(Library):
    """nitinol on its CPU device."""

    name = "nitinol"

    def __init__(self):
        self.nt = importlib.import_module("nitinol")
        self.version = self.nt.__version__

    def array(self, value):
        """Copy the array in."""
        return self.nt.asarray(value)

    def wait(self, result):
        """Evaluate the graph."""
        self.nt.eval(result)


class Torch(Library):
    """PyTorch, eager."""

    name = "torch"

    def __init__(self):
        self.torch = importlib.import_module("torch")
        self.version = self.torch.__version__
        self.torch.set_num_threads(os.cpu_count() or 1)

    def array(self, value):
        """Copy the array in."""
        return self.torch.tensor(value)


class Jax(Library):
    """JAX; each task is compiled once, before it is timed."""

    name = "jax"

    def __init__(self):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self.jax = importlib.import_module("jax")
        self.version = self.jax.__version__
        self.numpy = importlib.import_module("jax.numpy")

    def array(self, value):
        """Copy the array in."""
        return self.numpy.asarray(value)

    def wait(self, result):
        """Wait for the result."""
        self.jax.block_until_ready(result)


class Mlx(Library):
    """MLX on its CPU backend."""

    name = "mlx"

    def __init__(self):
        self.mx = importlib.import_module("mlx.core")
        self.version = self.mx.__version__
        self.mx.set_default_device(self.mx.cpu)

    def array(self, value):
        """Copy the array in."""
        return self.mx.array(value)

    def wait(self, result):
        """Evaluate the graph."""
        self.mx.eval(result)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _chain(libraries):
    """Return 1000 dependent additions of 16 numbers."""

    def run(x):
        y = x
        for _ in range(1000):
            y = y + x
        return y

    return dict.fromkeys(libraries, run)


def _softmax_numpy(x):
    y = np.exp(x - x.max(axis=-1, keepdims=True))
    y /= y.sum(axis=-1, keepdims=True)
    return y


def _layer_norm_numpy(x, w, b):
    mean = x.mean(axis=-1, keepdims=True)
    y = x - mean
    y *= 1 / np.sqrt((y * y).mean(axis=-1, keepdims=True) + 1e-5)
    y *= w
    y += b
    return y


def _attention_numpy(q, k, v):
    return _softmax_numpy(q @ np.swapaxes(k, -1, -2) * 0.125) @ v


def rows(found: dict[str, Library]) -> dict[str, tuple[tuple, dict[str, Callable]]]:
    """Return each row's inputs and, per library, its function of them."""
    names = list(found)
    nt = found["nitinol"].nt
    torch = found["torch"].torch if "torch" in found else None
    jax = found["jax"].jax if "jax" in found else None
    jnp = found["jax"].numpy if "jax" in found else None
    mx = found["mlx"].mx if "mlx" in found else None

    def table(**functions):
        made = {}
        for name, function in functions.items():
            if name in names:
                made[name] = jax.jit(function) if name == "jax" else function
        return made

    def multiply_add(a, b, c):
        return a * b + c

    def sigmoid_like(module):
        return lambda a, b, c: module.tanh(a * b + c) * module.exp(-a)

    def same(function):
        return table(**dict.fromkeys(names, function))

    def per_module(make):
        modules = {"numpy": np, "nitinol": nt, "torch": torch, "jax": jnp, "mlx": mx}
        return table(**{name: make(modules[name]) for name in names})

    small, large = 100_000, 10_000_000
    three = tuple(_random(small) for _ in range(3))
    three_large = tuple(_random(large) for _ in range(3))
    square = _random(4096, 4096)
    row = _random(4096)
    heads = tuple(_random(1, 8, 2048, 64) for _ in range(3))
    indices = np.random.default_rng(1).integers(0, 100_000, 1_000_000)

    made = {
        "1000 dependent adds of 16": ((_random(16),), _chain(n for n in names if n != "jax")),
        "a*b+c 1e5": (three, same(multiply_add)),
        "a*b+c 1e7": (three_large, same(multiply_add)),
        "tanh(a*b+c)*exp(-a) 1e5": (three, per_module(sigmoid_like)),
        "tanh(a*b+c)*exp(-a) 1e7": (three_large, per_module(sigmoid_like)),
        "copy 1e7": (
            three_large[:1],
            table(
                numpy=lambda x: x.copy(),
                nitinol=lambda x: x.copy(),
                torch=lambda x: x.clone(),
                jax=lambda x: jnp.array(x, copy=True),
            ),
        ),
        "sum 4096x4096 last axis": (
            (square,),
            table(
                numpy=lambda x: x.sum(axis=-1),
                nitinol=lambda x: nt.sum(x, axis=-1),
                torch=lambda x: x.sum(dim=-1),
                jax=lambda x: x.sum(axis=-1),
                mlx=lambda x: x.sum(axis=-1),
            ),
        ),
        "sum 4096x4096 first axis": (
            (square,),
            table(
                numpy=lambda x: x.sum(axis=0),
                nitinol=lambda x: nt.sum(x, axis=0),
                torch=lambda x: x.sum(dim=0),
                jax=lambda x: x.sum(axis=0),
                mlx=lambda x: x.sum(axis=0),
            ),
        ),
        "softmax 4096x4096": (
            (square,),
            table(
                numpy=_softmax_numpy,
                nitinol=lambda x: nt.softmax(x, axis=-1),
                torch=lambda x: torch.softmax(x, -1),
                jax=lambda x: jax.nn.softmax(x, axis=-1),
                mlx=lambda x: mx.softmax(x, axis=-1),
            ),
        ),
        "layer norm 4096x4096": (
            (square, row, row),
            table(
                numpy=_layer_norm_numpy,
                nitinol=lambda x, w, b: nt.fast.layer_norm(x, w, b, 1e-5),
                torch=lambda x, w, b: torch.nn.functional.layer_norm(x, (4096,), w, b),
                mlx=lambda x, w, b: mx.fast.layer_norm(x, w, b, 1e-5),
            ),
        ),
        "matmul 1024 cubed": ((_random(1024, 1024), _random(1024, 1024)), same(lambda a, b: a @ b)),
        "4096x64 @ 64x4096": ((_random(4096, 64), _random(64, 4096)), same(lambda a, b: a @ b)),
        "matrix-vector 4096x4096": ((square, row), same(lambda a, b: a @ b)),
        "attention 1x8x2048x64": (
            heads,
            table(
                numpy=_attention_numpy,
                nitinol=lambda q, k, v: nt.fast.scaled_dot_product_attention(q, k, v, scale=0.125),
                torch=lambda q, k, v: torch.nn.functional.scaled_dot_product_attention(q, k, v),
                mlx=lambda q, k, v: mx.fast.scaled_dot_product_attention(q, k, v, scale=0.125),
            ),
        ),
        "take 1e6 rows of 16": (
            (_random(100_000, 16), indices),
            table(
                numpy=lambda x, i: np.take(x, i, axis=0),
                nitinol=lambda x, i: nt.take(x, i, axis=0),
                torch=lambda x, i: x[i],
                jax=lambda x, i: jnp.take(x, i, axis=0),
                mlx=lambda x, i: mx.take(x, i, axis=0),
            ),
        ),
        "cumulative sum 1e7": (
            three_large[:1],
            table(
                numpy=lambda x: np.cumsum(x),
                nitinol=lambda x: nt.cumulative_sum(x),
                torch=lambda x: torch.cumsum(x, 0),
                jax=lambda x: jnp.cumsum(x),
                mlx=lambda x: mx.cumsum(x),
            ),
        ),
        "argsort 1e6": (
            (_random(1_000_000),),
            table(
                numpy=lambda x: np.argsort(x),
                nitinol=lambda x: nt.argsort(x),
                torch=lambda x: torch.argsort(x),
                jax=lambda x: jnp.argsort(x),
                mlx=lambda x: mx.argsort(x),
            ),
        ),
    }
    quantized = np.random.default_rng(2).integers(0, 255, (4096, 4096 // 32 * 20), dtype=np.uint8)
    halves = np.float16([0.01, -0.08]).view(np.uint8)  # the d and m that start each block
    quantized.reshape(4096, -1, 20)[:, :, :4] = halves
    weight = nt.io.QuantizedTensor(nt.asarray(quantized), 3, (4096, 4096))
    dense = np.asarray(nt.fast.quantized_take(weight, nt.arange(4096)))
    vector = _random(1, 4096)
    transposed = {"numpy": dense.T}
    made["4-bit matrix-vector 4096x4096"] = (
        (vector,),
        table(
            numpy=lambda x: x @ transposed["numpy"],
            nitinol=lambda x: nt.fast.quantized_matmul(x, weight),
        ),
    )
    return made


def installed() -> dict[str, Library]:
    """Return the libraries that can be imported, nitinol first."""
    found: dict[str, Library] = {}
    for kind in (Nitinol, NumPy, Torch, Jax, Mlx):
        try:
            found[kind.name] = kind()
        except ImportError:
            if kind in (Nitinol, NumPy):
                raise
    return found


def measure(found: dict[str, Library], inputs, functions, repeats: int) -> dict[str, float]:
    """Return the median microseconds of each library, timed in turns."""
    arguments = {name: [found[name].array(x) for x in inputs] for name in functions}
    times: dict[str, list[float]] = {name: [] for name in functions}

    def once(name: str) -> float:
        start = time.perf_counter()
        result = functions[name](*arguments[name])
        found[name].wait(result)
        return time.perf_counter() - start

    for _ in range(repeats):
        for name in functions:
            # OpenBLAS's and OpenMP's threads go on spinning after a call and would take a core from
            # whoever comes next: a pause lets them sleep, untimed calls wake one's own.
            time.sleep(PAUSE)
            warm = time.perf_counter() + BURST
            while time.perf_counter() < warm:
                once(name)
            burst = [once(name)]
            while sum(burst) < BURST:
                burst.append(once(name))
            times[name].append(statistics.median(burst))
    return {name: statistics.median(each) * 1e6 for name, each in times.items()}


def main() -> int:
    """Run the rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="*", metavar="PATTERN", help="names, with * and ?")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="turns")
    parser.add_argument("--json", metavar="PATH", help="write all medians")
    options = parser.parse_args()

    found = installed()
    versions = {name: library.version for name, library in found.items()}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    table = rows(found)
    chosen = [name for name in table if fnmatch.fnmatch(name, options.rows)]
    if not chosen:
        print(f"No row matches {options.rows!r}; there are: {', '.join(table)}.", file=sys.stderr)
        return 2
    peers = [name for name in found if name != "nitinol"]
    width = max(len(name) for name in chosen)
    print(f"{'microseconds':{width}}  " + "".join(f"{n:>11}" for n in found), end="   ")
    print("nitinol as a share of " + ", ".join(peers))
    results = {}
    for name in chosen:
        inputs, functions = table[name]
        medians = results[name] = measure(found, inputs, functions, options.repeats)
        cells = "".join(f"{medians[n]:>11.1f}" if n in medians else f"{'-':>11}" for n in found)
        shares = "".join(
            f"{medians['nitinol'] / medians[n]:>7.2f}" if n in medians else f"{'-':>7}"
            for n in peers
        )
        print(f"{name:{width}}  {cells}   {shares}", flush=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"versions": versions, "microseconds": results}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
