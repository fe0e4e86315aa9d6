"""The operations of `nt.fast` agree with their formulas, computed by NumPy in ``float64``."""

import types

import gguf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nitinol as nt

pytestmark = pytest.mark.usefixtures("device")

BLOCKS = {"Q4_0": 2, "Q4_1": 3, "Q8_0": 8}


def normal(seed, *shape, dtype="float32"):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def assert_near(array, expected, error=2e-5, dtype="float32"):
    found = np.asarray(array)
    assert found.dtype == dtype
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=error, atol=error)


seeds = st.integers(0, 2**32 - 1)
leading = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@given(seeds, leading, st.integers(1, 70), st.sampled_from([1e-5, 0.1]), st.booleans())
def test_norms(seed, lead, size, eps, transposed):
    x, weight, bias = normal(seed, *lead, size), normal(seed + 1, size), normal(seed + 2, size)
    array = nt.asarray(x)
    if transposed:
        array = nt.moveaxis(nt.asarray(np.moveaxis(x, -1, 0).copy()), 0, -1)
    wide = x.astype("float64")
    rms = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + eps) * weight
    assert_near(nt.fast.rms_norm(array, nt.asarray(weight), eps), rms)
    centred = wide - wide.mean(-1, keepdims=True)
    expected = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias
    # Where the variance is tiny, the rounding of the mean is multiplied by 1 / sqrt(eps).
    found = nt.fast.layer_norm(array, nt.asarray(weight), nt.asarray(bias), eps)
    assert_near(found, expected, 3e-4)


def test_norms_of_half_precision():
    x = nt.asarray(normal(0, 3, 64, dtype="float16"))
    found = nt.fast.rms_norm(x, nt.ones(64), 1e-5)
    wide = np.asarray(x).astype("float64")
    expected = wide / np.sqrt((wide**2).mean(-1, keepdims=True) + 1e-5)
    assert_near(found, expected, 2e-3, "float16")


def rotated(x, dims, base, offset, interleaved, scale):
    """Rotary embedding by complex numbers."""
    x = x.astype("float64")
    pair = np.arange(dims // 2)
    positions = (offset + np.arange(x.shape[-2])) * scale
    turn = np.exp(1j * positions[:, None] * base ** (-2.0 * pair / max(dims, 1)))
    evens = pair * 2 if interleaved else pair
    odds = evens + 1 if interleaved else pair + dims // 2
    both = (x[..., evens] + 1j * x[..., odds]) * turn
    out = x.copy()
    out[..., evens], out[..., odds] = both.real, both.imag
    return out


@given(
    seeds,
    hnp.array_shapes(min_dims=0, max_dims=2, min_side=1, max_side=3),
    st.integers(0, 5),
    st.integers(1, 20),
    st.data(),
)
def test_rope(seed, lead, length, width, data):
    dims = 2 * data.draw(st.integers(0, width // 2))
    base = data.draw(st.sampled_from([1e4, 1e5, 10.0]))
    offset = data.draw(st.integers(0, 3000))
    interleaved = data.draw(st.booleans())
    scale = data.draw(st.sampled_from([1.0, 0.5]))
    x = normal(seed, *lead, length, width)
    expected = rotated(x, dims, base, offset, interleaved, scale)
    late = nt.asarray(offset) + 0
    for each in (offset, late, nt.asarray(offset, dtype=nt.int32)):
        found = nt.fast.rope(
            nt.asarray(x), dims, base=base, offset=each, interleaved=interleaved, scale=scale
        )
        assert_near(found, expected, 1e-3)
    if lead:
        swapped = nt.swapaxes(nt.asarray(np.swapaxes(x, -2, -3).copy()), -2, -3)
        found = nt.fast.rope(
            swapped, dims, base=base, offset=offset, interleaved=interleaved, scale=scale
        )
        assert_near(found, expected, 1e-3)


def test_rope_at_small_positions_is_precise():
    x = normal(1, 2, 9, 64)
    expected = rotated(x, 64, 1e5, 3, True, 1.0)
    found = nt.fast.rope(nt.asarray(x), 64, base=1e5, offset=3, interleaved=True)
    assert_near(found, expected, 5e-6)


def attention(q, k, v, scale, causal=False, mask=None, valid=None):
    """Attention with the whole matrix of scores; a query that sees nothing is not defined."""
    q, k, v = (each.astype("float64") for each in (q, k, v))
    group = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, group, axis=1), np.repeat(v, group, axis=1)
    scores = q @ k.swapaxes(-1, -2) * scale
    queries, keys = scores.shape[-2:]
    valid = keys if valid is None else valid
    if mask is not None:
        scores = np.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    seen = np.arange(keys) < valid
    if causal:
        seen = seen & (np.arange(keys) <= np.arange(queries)[:, None] + valid - queries)
    scores = np.where(seen, scores, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True) @ v


@given(st.data())
def test_attention(data):
    seed = data.draw(seeds)
    batch, key_heads, group = (data.draw(st.integers(1, 3)) for _ in range(3))
    queries, extra = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 40))
    width, depth = data.draw(st.integers(1, 33)), data.draw(st.integers(1, 33))
    heads, keys = key_heads * group, queries + extra
    q = normal(seed, batch, heads, queries, width)
    stored = data.draw(st.sampled_from(["float32", "float16"]))
    k = normal(seed + 1, batch, key_heads, keys, width, dtype=stored)
    v = normal(seed + 2, batch, key_heads, keys, depth, dtype=stored)
    causal = data.draw(st.booleans())
    # Each query has to see a key: the first ones see as many as there are more keys than queries.
    valid = data.draw(st.none() | st.integers(queries, keys))
    mask = data.draw(st.sampled_from([None, "float", "bool"]))
    if mask is not None:
        pair = data.draw(hnp.broadcastable_shapes((batch, heads, queries, keys), max_dims=4))
        pair = tuple(
            size if size in (1, full) else 1
            for size, full in zip(pair, (batch, heads, queries, keys)[4 - len(pair) :], strict=True)
        )
        values = normal(seed + 3, *pair)
        mask = values if mask == "float" else np.asarray(values < 1)
        if mask.dtype == bool and mask.ndim and mask.shape[-1] > 1:
            mask[..., 0] = True
        elif mask.dtype == bool:
            mask[...] = True
    scale = data.draw(st.none() | st.sampled_from([0.1, 1.0]))
    factor = width**-0.5 if scale is None else scale
    expected = attention(q, k, v, factor, causal, mask, valid)
    cached = nt.swapaxes(nt.asarray(np.swapaxes(k, 1, 2).copy()), 1, 2)
    for array, length in ((nt.asarray(k), valid), (cached, valid and nt.asarray(valid) + 0)):
        found = nt.fast.scaled_dot_product_attention(
            nt.asarray(q),
            array,
            nt.asarray(v),
            scale=scale,
            causal=causal,
            mask=None if mask is None else nt.asarray(mask),
            valid_length=length,
        )
        assert_near(found, expected, 1e-4)


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), [(300, 300), (1, 1000), (70, 513)])
def test_attention_of_many_keys(queries, keys, causal, stored):
    q = normal(1, 1, 6, queries, 64)
    k, v = (normal(seed, 1, 2, keys, 64, dtype=stored) for seed in (2, 3))
    found = nt.fast.scaled_dot_product_attention(*map(nt.asarray, (q, k, v)), causal=causal)
    assert_near(found, attention(q, k, v, 0.125, causal), 1e-4)


@pytest.mark.parametrize("queried", ["float32", "float16"])
@given(seeds, st.integers(1, 12), st.integers(1, 300), st.integers(1, 70), st.integers(1, 70))
def test_attention_to_half_precision_is_that_to_its_values(
    queried, seed, queries, keys, width, depth
):
    q = nt.asarray(normal(seed, 1, 4, queries, width, dtype=queried))
    k = nt.asarray(normal(seed + 1, 1, 2, keys, width, dtype="float16"))
    v = nt.asarray(normal(seed + 2, 1, 2, keys, depth, dtype="float16"))
    found = nt.fast.scaled_dot_product_attention(q, k, v)
    wide = (nt.astype(each, nt.float32) for each in (k, v))
    expected = np.asarray(nt.fast.scaled_dot_product_attention(q, *wide))
    # Rounded to float16, what differs by a unit of float32 may differ by one of float16.
    assert_near(found, expected, 1e-6 if queried == "float32" else 2e-3, queried)


@pytest.mark.parametrize("stored", ["float32", "float16"])
@pytest.mark.parametrize("queries", [3, 10])
def test_rows_of_the_cache_beyond_the_valid_ones_count_for_nothing(queries, stored):
    q = normal(1, 1, 2, queries, 8)
    k, v = (normal(seed, 1, 2, 20, 8, dtype=stored) for seed in (2, 3))
    k[:, :, 11:] = np.nan
    v[:, :, 11:] = np.inf
    found = nt.fast.scaled_dot_product_attention(
        *map(nt.asarray, (q, k, v)), causal=True, valid_length=nt.asarray(11)
    )
    expected = attention(q, k[:, :, :11], v[:, :, :11], 8**-0.5, True)
    assert_near(found, expected, 1e-4)


def test_more_valid_keys_than_keys_is_a_device_error():
    x = nt.ones((1, 1, 2, 4))
    found = nt.fast.scaled_dot_product_attention(x, x, x, valid_length=nt.asarray(3))
    with pytest.raises(nt.DeviceIndexError):
        np.asarray(found)
    with pytest.raises(ValueError, match="valid_length=3"):
        nt.fast.scaled_dot_product_attention(x, x, x, valid_length=3)


def quantized(kind, rows, columns, seed=0):
    """A tensor as `nt.load` gives it, and its values."""
    number = gguf.GGMLQuantizationType[kind]
    blocks = gguf.quants.quantize(normal(seed, rows, columns), number)
    tensor = types.SimpleNamespace(
        blocks=nt.asarray(blocks), type=BLOCKS[kind], shape=(rows, columns)
    )
    return tensor, gguf.quants.dequantize(blocks, number)


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 5), (0,), (40,)])
@pytest.mark.parametrize(("rows", "columns"), [(1, 32), (7, 64), (100, 576)])
def test_quantized_matmul(kind, lead, rows, columns):
    tensor, values = quantized(kind, rows, columns)
    x = normal(5, *lead, columns)
    expected = x.astype("float64") @ values.astype("float64").T
    found = nt.fast.quantized_matmul(nt.asarray(x), tensor)
    assert_near(found, expected, 2e-4)


@pytest.mark.parametrize("kind", BLOCKS)
def test_quantized_take(kind):
    tensor, values = quantized(kind, 50, 96)
    for index in ([3, -1, 49], [[0], [7]], 5, []):
        expected = values[np.asarray(index, dtype=int)]
        found = nt.fast.quantized_take(tensor, index)
        np.testing.assert_array_equal(np.asarray(found), expected)
        assert found.shape == expected.shape
    late = nt.fast.quantized_take(tensor, nt.asarray([49, 50]) + 0)
    with pytest.raises(nt.DeviceIndexError, match=r"Index 50 .* size 50"):
        late.tolist()
    with pytest.raises(IndexError, match="Index 50"):
        nt.fast.quantized_take(tensor, [50])


X = (2, 3, 4, 8)


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda f: f.rms_norm(nt.ones((2, 3)), nt.ones(2), 1e-5), ValueError, r"\(2,\).*\(3,\)"),
        (lambda f: f.rms_norm(nt.arange(3), nt.ones(3), 1e-5), TypeError, "int64"),
        (lambda f: f.rms_norm(nt.ones(()), nt.ones(1), 1e-5), ValueError, "0-d"),
        (
            lambda f: f.layer_norm(nt.ones((2, 3)), nt.ones(3), nt.ones(1), 1e-5),
            ValueError,
            "bias",
        ),
        (lambda f: f.rope(nt.ones(X), 7, base=10.0), ValueError, "dims=7"),
        (lambda f: f.rope(nt.ones(X), 10, base=10.0), ValueError, "dims=10"),
        (lambda f: f.rope(nt.ones(8), 8, base=10.0), ValueError, r"\(8,\)"),
        (
            lambda f: f.rope(nt.ones(X), 8, base=10.0, offset=nt.ones(())),
            TypeError,
            "offset.*float32",
        ),
        (
            lambda f: f.scaled_dot_product_attention(nt.ones(X), nt.ones(X[1:]), nt.ones(X)),
            ValueError,
            "k of 4 dimensions",
        ),
        (
            lambda f: f.scaled_dot_product_attention(
                nt.ones(X), nt.ones((2, 2, 4, 8)), nt.ones((2, 2, 4, 8))
            ),
            ValueError,
            "3 heads and 2 key heads",
        ),
        (
            lambda f: f.scaled_dot_product_attention(nt.ones(X), nt.ones(X), nt.ones((2, 3, 5, 8))),
            ValueError,
            r"\(2, 3, 5, 8\)",
        ),
        (
            lambda f: f.scaled_dot_product_attention(
                nt.ones(X), nt.ones(X), nt.ones(X), mask=nt.ones((4, 5))
            ),
            ValueError,
            r"mask of shape \(4, 5\)",
        ),
        (
            lambda f: f.scaled_dot_product_attention(
                nt.ones(X), nt.ones(X, dtype=nt.float16), nt.ones(X)
            ),
            TypeError,
            "k of float16 and v of float32; expected one dtype",
        ),
        (
            lambda f: f.scaled_dot_product_attention(
                nt.ones(X), nt.ones(X, dtype=nt.float16), nt.ones(X, dtype=nt.int32)
            ),
            TypeError,
            "float32 .or float16. arrays; it was given int32",
        ),
        (
            lambda f: f.quantized_matmul(nt.ones((2, 32)), quantized("Q8_0", 3, 64)[0]),
            ValueError,
            "expected 64",
        ),
        (
            lambda f: f.quantized_matmul(
                nt.ones(32),
                types.SimpleNamespace(blocks=nt.zeros((3, 18)), type=99, shape=(3, 32)),
            ),
            TypeError,
            "block type 99",
        ),
        (
            lambda f: f.quantized_matmul(
                nt.ones(32),
                types.SimpleNamespace(
                    blocks=nt.zeros((3, 17), dtype="uint8"), type=2, shape=(3, 32)
                ),
            ),
            ValueError,
            r"\(3, 17\)",
        ),
    ],
)
def test_wrong_arguments_raise_at_once(call, kind, message):
    with pytest.raises(kind, match=message):
        call(nt.fast)


def test_attention_over_heads_of_no_width_is_the_mean_of_the_values():
    q, k = nt.ones((1, 1, 2, 0)), nt.ones((1, 1, 4, 0))
    v = nt.reshape(nt.arange(12.0), (1, 1, 4, 3))
    found = nt.fast.scaled_dot_product_attention(q, k, v)
    assert found.tolist() == [[[[4.5, 5.5, 6.5]] * 2]]
