"""A llama language model on nitinol arrays, its weights as they lie in a GGUF file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nitinol as nt


class ModelError(ValueError):
    """A model file that cannot be used; the message is one sentence that says why."""


@dataclass(frozen=True)
class Config:
    """What a GGUF file says about the shape of its llama."""

    layers: int
    heads: int
    kv_heads: int
    head_size: int
    context: int
    vocabulary: int
    eps: float
    rope_base: float
    rope_dims: int
    rope_scale: float

    @classmethod
    def from_metadata(cls, metadata) -> Config:
        """Read the configuration; raise ModelError where the file is not such a model."""
        architecture = metadata.get("general.architecture")
        if architecture != "llama":
            raise ModelError(f"The file's architecture is {architecture!r}; expected 'llama'.")

        def read(name, default=None, kind=int):
            value = metadata.get(f"llama.{name}", default)
            if not isinstance(value, kind) or value <= 0:
                expected = "a whole number" if kind is int else "a number"
                raise ModelError(
                    f"The file's llama.{name} is {value!r}; expected {expected} above 0."
                )
            return value

        scaling = metadata.get("llama.rope.scaling.type", "none")
        if scaling not in ("none", "linear"):
            raise ModelError(
                f"The file's rope scaling is {scaling!r}; expected 'none' or 'linear'."
            )
        factor = read("rope.scaling.factor", 1.0, float) if scaling == "linear" else 1.0
        heads = read("attention.head_count")
        kv_heads = read("attention.head_count_kv", heads)
        head_size = read("attention.key_length", read("embedding_length") // heads)
        if heads % kv_heads:
            raise ModelError(
                f"The file has {heads} heads and {kv_heads} key-value heads; expected a multiple."
            )
        return cls(
            layers=read("block_count"),
            heads=heads,
            kv_heads=kv_heads,
            head_size=head_size,
            context=read("context_length"),
            vocabulary=len(metadata.get("tokenizer.ggml.tokens", ())) or read("vocab_size"),
            eps=read("attention.layer_norm_rms_epsilon", kind=float),
            rope_base=read("rope.freq_base", 10000.0, float),
            rope_dims=read("rope.dimension_count", head_size),
            rope_scale=1.0 / factor,
        )


class Cache:
    """The keys and values of the tokens so far, in arrays that every step updates in place.

    Parameters
    ----------
    config : Config
        The model's shape.
    capacity : int
        The largest number of tokens.
    dtype : dtype, optional
        float32, or float16 for half the bytes: what is put in is rounded to it.
    """

    def __init__(self, config: Config, capacity: int, dtype=nt.float32):
        shape = (1, config.kv_heads, capacity, config.head_size)
        self.keys = [nt.zeros(shape, dtype=dtype) for _ in range(config.layers)]
        self.values = [nt.zeros(shape, dtype=dtype) for _ in range(config.layers)]
        self.capacity = capacity
        self.length = 0


class Linear:
    """A matrix W that maps x to x @ W.T, quantised or not."""

    def __init__(self, weight):
        self.quantized = isinstance(weight, nt.io.QuantizedTensor)
        self.weight = weight if self.quantized else nt.permute_dims(weight, (1, 0))

    def __call__(self, x: nt.Array) -> nt.Array:
        """Multiply: (..., out) from (..., in)."""
        if self.quantized:
            return nt.fast.quantized_matmul(x, self.weight)
        return x @ self.weight


class Stacked:
    """Matrices that map the same x, their results side by side: one product where types agree."""

    def __init__(self, *weights):
        kinds = {getattr(weight, "type", None) for weight in weights}
        if len(kinds) > 1:
            self.products = [Linear(weight) for weight in weights]
            return
        kind, rows = kinds.pop(), [getattr(weight, "blocks", weight) for weight in weights]
        joined = nt.concat(rows, axis=0)
        nt.eval(joined)  # so that the separate ones are freed
        if kind is not None:
            shape = (joined.shape[0], weights[0].shape[1])
            joined = nt.io.QuantizedTensor(joined, kind, shape)
        self.products = [Linear(joined)]

    def __call__(self, x: nt.Array) -> nt.Array:
        """Multiply: (..., sum of all outs) from (..., in)."""
        results = [product(x) for product in self.products]
        return results[0] if len(results) == 1 else nt.concat(results, axis=-1)


class Layer:
    """Attention and feed-forward of one layer, each added to what comes in."""

    def __init__(self, config: Config, tensor: Callable, name: str, model: int):
        c, width = config, config.heads * config.head_size

        def weight(which, *shape):
            return tensor(f"{name}.{which}.weight", *shape)

        self.config = config
        self.attention_norm = weight("attn_norm", model)
        self.qkv = Stacked(
            weight("attn_q", width, model),
            weight("attn_k", c.kv_heads * c.head_size, model),
            weight("attn_v", c.kv_heads * c.head_size, model),
        )
        self.attention_output = Linear(weight("attn_output", model, width))
        self.feed_forward_norm = weight("ffn_norm", model)
        gate = weight("ffn_gate", None, model)
        self.hidden = gate.shape[0]
        self.gate_up = Stacked(gate, weight("ffn_up", self.hidden, model))
        self.down = Linear(weight("ffn_down", model, self.hidden))

    def __call__(self, x, cache: Cache, index: int, start, valid) -> nt.Array:
        """Run tokens x (1, length, model) whose first has the position `start`."""
        c = self.config
        y = nt.fast.rms_norm(x, self.attention_norm, c.eps)
        x = x + self.attention(y, cache, index, start, valid)
        y = self.gate_up(nt.fast.rms_norm(x, self.feed_forward_norm, c.eps))
        return x + self.down(nt.silu(y[..., : self.hidden]) * y[..., self.hidden :])

    def attention(self, x, cache: Cache, index: int, start, valid) -> nt.Array:
        """Append the keys and values of x to the cache and attend to all that it then holds."""
        c, length = self.config, x.shape[1]
        turned = c.heads + c.kv_heads
        qkv = nt.reshape(self.qkv(x), (1, length, turned + c.kv_heads, c.head_size))
        qkv = nt.permute_dims(qkv, (0, 2, 1, 3))
        qk = nt.fast.rope(
            qkv[:, :turned],
            c.rope_dims,
            base=c.rope_base,
            offset=start,
            interleaved=True,
            scale=c.rope_scale,
        )
        # The cache gives its array away, so that nobody else holds it and it is updated in place.
        k = cache.keys[index] = nt.slice_update(cache.keys[index], qk[:, c.heads :], start, 2)
        v = cache.values[index] = nt.slice_update(cache.values[index], qkv[:, turned:], start, 2)
        y = nt.fast.scaled_dot_product_attention(
            qk[:, : c.heads], k, v, scale=c.head_size**-0.5, causal=True, valid_length=valid
        )
        y = nt.reshape(nt.permute_dims(y, (0, 2, 1, 3)), (1, length, c.heads * c.head_size))
        return self.attention_output(y)


class Llama:
    """A model read from a GGUF file: calling it gives logits.

    Parameters
    ----------
    path : path-like
        A GGUF file of architecture "llama", of F32, F16, Q4_0, Q4_1 and Q8_0 tensors.
    cache_dtype : dtype, optional
        Of the caches that `new_cache` makes: float32, or float16.

    Raises
    ------
    ModelError
        The file is not such a model.
    nitinol.DeviceError
        Reading the weights failed.
    """

    def __init__(self, path: Path, cache_dtype=nt.float32):
        self.cache_dtype = cache_dtype
        file = nt.load(path)
        self.metadata = file.metadata
        self.config = config = Config.from_metadata(file.metadata)
        unused = set(file)
        self.weight_bytes = 0

        def tensor(name, *shape):
            if name not in file:
                raise ModelError(f"The file has no tensor {name!r}, which the model needs.")
            found = file[name]
            if len(found.shape) != len(shape) or any(
                want not in (None, size) for want, size in zip(shape, found.shape, strict=True)
            ):
                expected = str(shape).replace("None", "any")
                raise ModelError(
                    f"The tensor {name!r} has the shape {tuple(found.shape)}; expected {expected}."
                )
            if not isinstance(found, nt.io.QuantizedTensor):
                found = nt.astype(found, nt.float32)
            array = getattr(found, "blocks", found)
            nt.eval(array)
            self.weight_bytes += array.nbytes
            unused.discard(name)
            return found

        self.embedding = tensor("token_embd.weight", config.vocabulary, None)
        model = self.embedding.shape[1]
        self.layers = [Layer(config, tensor, f"blk.{i}", model) for i in range(config.layers)]
        self.norm = tensor("output_norm.weight", model)
        tied = "output.weight" not in file
        shape = (config.vocabulary, model)
        self.head = Linear(self.embedding if tied else tensor("output.weight", *shape))
        if unused:
            raise ModelError(f"The file has the tensor {min(unused)!r}, which is not supported.")

    def new_cache(self, capacity: int) -> Cache:
        """Make an empty cache for so many tokens."""
        return Cache(self.config, capacity, self.cache_dtype)

    def __call__(self, tokens: nt.Array, cache: Cache, every: bool = False) -> nt.Array:
        """Compute logits of the tokens that follow what the cache holds, and extend it.

        Parameters
        ----------
        tokens : nitinol.Array
            Token ids, integers of shape (length,).
        cache : Cache
            Keys and values of the tokens before; its arrays are replaced by new ones.
        every : bool, optional
            Whether to give the logits after every token, not after the last alone.

        Returns
        -------
        nitinol.Array
            float32 of shape (length or 1, vocabulary), not yet evaluated.
        """
        length = tokens.shape[0]
        if cache.length + length > cache.capacity:
            raise ValueError(
                f"The cache holds {cache.length} of {cache.capacity} tokens; {length} more "
                "do not fit."
            )
        start = nt.asarray(np.int64(cache.length))
        cache.length += length
        valid = nt.asarray(np.int64(cache.length))
        if isinstance(self.embedding, nt.io.QuantizedTensor):
            x = nt.fast.quantized_take(self.embedding, tokens)
        else:
            x = nt.take(self.embedding, tokens, axis=0)
        x = nt.reshape(x, (1, length, x.shape[-1]))
        for index, layer in enumerate(self.layers):
            x = layer(x, cache, index, start, valid)
        x = x[0] if every else x[0, -1:]
        return self.head(nt.fast.rms_norm(x, self.norm, self.config.eps))
