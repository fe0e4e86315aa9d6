"""The llama architecture in plain NumPy, from a GGUF file: what nitinol's model must match."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import gguf
import numpy as np

F32, F16, Q4_0, Q4_1, Q8_0 = 0, 1, 2, 3, 8


def _half(block: np.ndarray) -> np.ndarray:
    """Read two bytes a block as float16 and return them as float32, one column."""
    return np.ascontiguousarray(block).view("<f2").astype(np.float32)


def dequantize(blocks: np.ndarray, type_number: int) -> np.ndarray:
    """Turn the rows of a quantised matrix into float32 numbers.

    Parameters
    ----------
    blocks : numpy.ndarray
        uint8 of shape (rows, bytes of a row), as the file holds them.
    type_number : int
        The GGUF number of the block type: 2 (Q4_0), 3 (Q4_1) or 8 (Q8_0).

    Returns
    -------
    numpy.ndarray
        float32 of shape (rows, columns).
    """
    rows = blocks.shape[0]
    size = {Q4_0: 18, Q4_1: 20, Q8_0: 34}[type_number]
    b = blocks.reshape(-1, size)
    scale = _half(b[:, :2])
    if type_number == Q8_0:
        weights = scale * b[:, 2:].view(np.int8)
    else:
        packed = b[:, 4:] if type_number == Q4_1 else b[:, 2:]
        nibbles = np.concatenate([packed & 15, packed >> 4], axis=1).astype(np.float32)
        if type_number == Q4_1:
            weights = scale * nibbles + _half(b[:, 2:4])
        else:
            weights = scale * (nibbles - np.float32(8))
    return weights.reshape(rows, -1)


class ReferenceLlama:
    """A llama model evaluated by NumPy, one matrix product after the other.

    Parameters
    ----------
    path : path-like
        A GGUF file of architecture "llama".
    dtype : dtype, optional
        What everything after dequantisation is computed in.
    half_split_rope : bool, optional
        Pair the rotated components (i, i + d/2) instead of (2i, 2i + 1). Wrong for this
        architecture; the tests use it to show that they would notice.
    """

    def __init__(self, path: Path, dtype=np.float32, half_split_rope: bool = False):
        reader = gguf.GGUFReader(path)
        self.dtype = np.dtype(dtype)
        self.half_split_rope = half_split_rope
        self.tensors = {t.name: t for t in reader.tensors}

        def field(name, default=None):
            found = reader.fields.get(f"llama.{name}")
            return default if found is None else found.contents()

        self.layers = field("block_count")
        self.heads = field("attention.head_count")
        self.kv_heads = field("attention.head_count_kv", self.heads)
        self.head_size = field("attention.key_length", field("embedding_length") // self.heads)
        self.eps = self.dtype.type(field("attention.layer_norm_rms_epsilon"))
        self.rope_base = field("rope.freq_base", 10000.0)
        self.rope_dims = field("rope.dimension_count", self.head_size)
        self.rope_factor = field("rope.scaling.factor", 1.0)
        # A matrix is used once a pass: keeping them all would take 1 GB in float64.
        self.weight = lru_cache(maxsize=512 if self.dtype == np.float32 else 16)(self._weight)

    def _weight(self, name: str) -> np.ndarray:
        tensor = self.tensors[name]
        if tensor.tensor_type in (F32, F16):
            return np.asarray(tensor.data).astype(self.dtype)
        return dequantize(np.asarray(tensor.data), int(tensor.tensor_type)).astype(self.dtype)

    def _norm(self, x, name):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.eps) * self.weight(name)

    def _rope(self, x):
        """Rotate x (heads, length, d) by its position along the second axis."""
        half = self.rope_dims // 2
        frequency = float(self.rope_base) ** (-np.arange(half) / half)
        angle = np.arange(x.shape[1])[:, None] / self.rope_factor * frequency
        cos, sin = np.cos(angle).astype(self.dtype), np.sin(angle).astype(self.dtype)
        even, odd = slice(0, self.rope_dims, 2), slice(1, self.rope_dims, 2)
        if self.half_split_rope:
            even, odd = slice(0, half), slice(half, self.rope_dims)
        out = x.copy()
        out[..., even] = x[..., even] * cos - x[..., odd] * sin
        out[..., odd] = x[..., even] * sin + x[..., odd] * cos
        return out

    def _attention(self, x, name):
        length, d = x.shape[0], self.head_size

        def heads(which, count):
            y = x @ self.weight(f"{name}.attn_{which}.weight").T
            return y.reshape(length, count, d).transpose(1, 0, 2)

        q, k, v = heads("q", self.heads), heads("k", self.kv_heads), heads("v", self.kv_heads)
        q, k = self._rope(q), self._rope(k)
        group = self.heads // self.kv_heads
        k, v = np.repeat(k, group, axis=0), np.repeat(v, group, axis=0)
        scores = q @ k.transpose(0, 2, 1) / self.dtype.type(np.sqrt(d))
        scores[:, np.triu(np.ones((length, length), bool), 1)] = -np.inf
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        y = (scores @ v).transpose(1, 0, 2).reshape(length, self.heads * d)
        return y @ self.weight(f"{name}.attn_output.weight").T

    def _feed_forward(self, x, name):
        gate = x @ self.weight(f"{name}.ffn_gate.weight").T
        up = x @ self.weight(f"{name}.ffn_up.weight").T
        with np.errstate(over="ignore"):
            gate = gate / (1 + np.exp(-gate))
        return (gate * up) @ self.weight(f"{name}.ffn_down.weight").T

    def __call__(self, tokens) -> np.ndarray:
        """Compute the logits after each token: (length, vocabulary) from (length,)."""
        x = self.weight("token_embd.weight")[np.asarray(tokens)]
        for layer in range(self.layers):
            name = f"blk.{layer}"
            x = x + self._attention(self._norm(x, f"{name}.attn_norm.weight"), name)
            x = x + self._feed_forward(self._norm(x, f"{name}.ffn_norm.weight"), name)
        x = self._norm(x, "output_norm.weight")
        head = "output.weight" if "output.weight" in self.tensors else "token_embd.weight"
        return x @ self.weight(head).T


def perplexity(logits: np.ndarray, tokens) -> float:
    """Compute the perplexity of `tokens` under logits (length, vocabulary) of the same text."""
    logits = np.asarray(logits, dtype=np.float64)[:-1]
    targets = np.asarray(tokens)[1:]
    top = logits.max(axis=-1)
    log_sum = top + np.log(np.exp(logits - top[:, None]).sum(axis=-1))
    return float(np.exp(np.mean(log_sum - logits[np.arange(len(targets)), targets])))
