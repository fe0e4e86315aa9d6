"""What `peers_scenarios.py` asks of a library, in the words of nitinol, mlx, jax and torch."""

from __future__ import annotations

import asyncio
import functools
import time

import numpy as np

SIDE = 1024  # of the products that long work is made of


class Library:
    """The defaults: everything runs when it is called."""

    settle = 0.1  # seconds after which a failure has struck

    def start(self, *arrays):
        """Start the computing."""

    def synchronize(self):
        """Wait for everything, and raise what can be raised."""

    def read(self, x):
        return np.asarray(x).tolist()

    def derived(self, x, n):
        return x + n

    def product(self):
        return self.square @ self.square

    async def waiting(self, work):
        """What an asyncio task does to wait for long work."""
        await asyncio.to_thread(work)

    def repeats(self, seconds):
        """How many products take that long."""
        self.wait(self.product())
        begin = time.perf_counter()
        for _ in range(3):
            self.wait(self.product())
        return max(2, int(3 * seconds / (time.perf_counter() - begin)))

    def long(self, seconds):
        """A function that waits for work of about that long, which it starts."""
        x = self.square
        for _ in range(self.repeats(seconds)):
            x = x @ self.square
        return functools.partial(self.wait, x)


class Nitinol(Library):
    name = "nitinol"

    def __init__(self):
        import nitinol as nt

        self.nt = nt
        self.square = nt.full((SIDE, SIDE), 1 / SIDE)

    def bad(self):
        return self.nt.linalg.inv(self.nt.zeros((4, 4)))

    def good(self):
        return self.nt.ones(4) + 1

    def start(self, *arrays):
        self.handle = self.nt.async_eval(*arrays)

    def wait(self, *arrays):
        self.nt.eval(*arrays)

    def synchronize(self):
        self.nt.synchronize()

    def read(self, x):
        return x.tolist()

    def cholesky(self, values):
        return self.nt.linalg.cholesky(self.nt.asarray(values))

    def lazy_file(self, path):
        return self.nt.load(path)

    def huge(self):
        return self.nt.sum(self.nt.cumulative_sum(self.nt.ones(2**36) + 1))

    def gather(self, index):
        return self.nt.take(self.nt.asarray([1.0, 2.0, 3.0]), self.nt.asarray([index]))

    def scatter(self, index):
        return self.nt.asarray([1.0, 2.0, 3.0]).at[self.nt.asarray([index])].set(9.0)

    def on_new_stream(self):
        with self.nt.Stream("cpu"):
            return self.nt.ones(4) + 1

    async def waiting(self, work):
        handle = self.nt.async_eval(*work.args)
        if hasattr(handle, "__await__"):
            await handle
        while not handle.done():
            await asyncio.sleep(0.01)

    def one(self):
        return self.nt.ones(1, dtype=self.nt.float64)

    def plus_one(self, x):
        return x + 1


class Mlx(Library):
    name = "mlx"

    def __init__(self):
        import mlx.core as mx

        self.mx = mx
        mx.set_default_device(mx.cpu)
        self.square = mx.full((SIDE, SIDE), 1 / SIDE)

    def bad(self):
        return self.mx.linalg.inv(self.mx.zeros((4, 4)), stream=self.mx.cpu)

    def good(self):
        return self.mx.ones(4) + 1

    def start(self, *arrays):
        self.mx.async_eval(*arrays)

    def wait(self, *arrays):
        self.mx.eval(*arrays)

    def synchronize(self):
        self.mx.synchronize()

    def read(self, x):
        return x.tolist()

    def cholesky(self, values):
        return self.mx.linalg.cholesky(self.mx.array(values), stream=self.mx.cpu)

    def lazy_file(self, path):
        return self.mx.load(str(path))

    def huge(self):
        return self.mx.sum(self.mx.cumsum(self.mx.ones((2**18, 2**18)) + 1, axis=0))

    def gather(self, index):
        return self.mx.take(self.mx.array([1.0, 2.0, 3.0]), self.mx.array([index]))

    def scatter(self, index):
        x = self.mx.array([1.0, 2.0, 3.0])
        x[self.mx.array([index])] = 9.0
        return x

    def on_new_stream(self):
        return self.mx.add(self.mx.ones(4), 1, stream=self.mx.new_stream(self.mx.cpu))

    def one(self):
        return self.mx.ones(1)

    def plus_one(self, x):
        return x + 1


class Jax(Library):
    name = "jax"

    def __init__(self):
        import jax
        import jax.numpy as jnp

        jax.config.update("jax_platforms", "cpu")
        self.jax, self.jnp = jax, jnp
        self.square = jnp.full((SIDE, SIDE), 1 / SIDE)
        # Its only failure that comes late is memory: an intermediate of 128 GiB.
        self.too_large = jax.jit(
            lambda x: jnp.cumsum(jnp.broadcast_to(x, (2**17, 2**17)), axis=0)[-1, :4]
        )

    def bad(self):
        return self.too_large(self.jnp.ones(()))

    def good(self):
        return self.jnp.ones(4) + 1

    def wait(self, *arrays):
        self.jax.block_until_ready(arrays)

    def long(self, seconds):
        times = self.repeats(seconds)
        step = self.jax.jit(
            lambda x: self.jax.lax.fori_loop(0, times, lambda _, y: y @ self.square, x)
        ).lower(self.square).compile()  # fmt: skip
        return lambda: self.wait(step(self.square))

    def synchronize(self):
        self.jax.effects_barrier()

    def cholesky(self, values):
        return self.jnp.linalg.cholesky(self.jnp.asarray(values))

    def lazy_file(self, path):
        return np.load(path, mmap_mode="r")

    def read(self, x):
        return np.asarray(self.jnp.asarray(x)).tolist()

    def huge(self):
        return self.jnp.sum(self.jnp.cumsum(self.jnp.ones((2**18, 2**18)) + 1, axis=0))

    def gather(self, index):
        return self.jnp.asarray([1.0, 2.0, 3.0])[self.jnp.asarray([index])]

    def scatter(self, index):
        return self.jnp.asarray([1.0, 2.0, 3.0]).at[self.jnp.asarray([index])].set(9.0)

    def on_new_stream(self):
        return self.jnp.ones(4) + 1

    def one(self):
        return self.jnp.ones(1)

    def plus_one(self, x):
        return x + 1


class Torch(Library):
    name = "torch"

    def __init__(self):
        import torch

        self.torch = torch
        self.square = torch.full((SIDE, SIDE), 1 / SIDE)

    def bad(self):
        return self.torch.linalg.inv(self.torch.zeros((4, 4)))

    def good(self):
        return self.torch.ones(4) + 1

    def wait(self, *arrays):
        """Everything has been computed by now."""

    def read(self, x):
        return x.tolist()

    def long(self, seconds):
        times = self.repeats(seconds)

        def work():
            x = self.square
            for _ in range(times):
                x = x @ self.square
            return x

        return work

    def cholesky(self, values):
        return self.torch.linalg.cholesky(self.torch.from_numpy(values))

    def lazy_file(self, path):
        return self.torch.from_numpy(np.load(path, mmap_mode="c"))

    def huge(self):
        return (self.torch.ones(2**36) + 1).cumsum(0).sum()

    def gather(self, index):
        return self.torch.take(self.torch.tensor([1.0, 2.0, 3.0]), self.torch.tensor([index]))

    def scatter(self, index):
        x = self.torch.tensor([1.0, 2.0, 3.0])
        x[self.torch.tensor([index])] = 9.0
        return x

    def on_new_stream(self):
        return self.torch.ones(4) + 1

    def one(self):
        return self.torch.ones(1)

    def plus_one(self, x):
        return x + 1


LIBRARIES = {each.name: each for each in (Nitinol, Mlx, Jax, Torch)}
