"""Random numbers depend on the key alone and have the distributions they are named after."""

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nitinol as nt
from strategies import widest_float

pytestmark = pytest.mark.usefixtures("device")

MANY = 100_000
DRAWS = {
    "bits": lambda key, shape: nt.random.bits(key, shape),
    "bits64": lambda key, shape: nt.random.bits(key, shape, dtype=nt.uint64),
    "uniform": lambda key, shape: nt.random.uniform(key, shape),
    "widest uniform": lambda key, shape: nt.random.uniform(
        key, shape, dtype=nt.dtype(widest_float())
    ),
    "normal": lambda key, shape: nt.random.normal(key, shape),
    "normal16": lambda key, shape: nt.random.normal(key, shape, dtype=nt.float16),
    "integers": lambda key, shape: nt.random.integers(key, -7, 1000, shape),
    "categorical": lambda key, shape: nt.random.categorical(key, nt.zeros((*shape, 50))),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_the_key_decides(draw):
    key = nt.random.key(42)
    first = np.asarray(draw(key, (7, 300)))
    nt.eval(draw(nt.random.key(1), (5,)))
    again = np.asarray(draw(nt.random.key(42), (7, 300)))
    np.testing.assert_array_equal(first, again)
    others = [nt.random.key(43), key.split()[0], key.split()[1], key.fold_in(0)]
    for other in others:
        assert (np.asarray(draw(other, (7, 300))) != first).mean() > 0.5


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (3, 0, 2), (5, 1, 3)])
def test_shapes(draw, shape):
    assert draw(nt.random.key(0), shape).shape == shape


def test_shape_does_not_matter_to_the_numbers():
    key = nt.random.key(5)
    flat = np.asarray(nt.random.uniform(key, 1000))
    np.testing.assert_array_equal(np.asarray(nt.random.uniform(key, (10, 100))).ravel(), flat)
    np.testing.assert_array_equal(np.asarray(nt.random.uniform(key, 77)), flat[:77])


@given(st.integers(-(2**63), 2**64 - 1), st.integers(-(10**30), 10**30))
def test_keys_are_values(seed, i):
    key = nt.random.key(seed)
    assert key == nt.random.key(seed)
    assert pickle.loads(pickle.dumps(key)) == copy.deepcopy(key) == key
    assert hash(key.fold_in(i)) == hash(nt.random.key(seed).fold_in(i))
    derived = [key, key.fold_in(i), key.fold_in(i + 1), *key.split(3), *key.split(2)[0].split(2)]
    assert len(set(derived)) == len(derived)
    assert key.split(5)[:2] == key.split(2)


def test_keys_are_immutable():
    key = nt.random.key(1)
    with pytest.raises(AttributeError, match="immutable"):
        key._seed = 2
    with pytest.raises(TypeError, match="key"):
        nt.random.Key(1)
    with pytest.raises(ValueError, match="64 bits"):
        nt.random.key(2**64)
    with pytest.raises(TypeError, match="int was given"):
        nt.random.normal(1, (2,))


def test_uniform_fills_its_range():
    x = np.asarray(nt.random.uniform(nt.random.key(3), MANY, low=-2, high=6))
    assert x.dtype == np.float32
    assert x.min() >= -2
    assert x.max() < 6
    counts, _ = np.histogram(x, bins=20, range=(-2, 6))
    # Five standard deviations of a binomial count.
    expected = MANY / 20
    assert (abs(counts - expected) < 5 * math.sqrt(expected)).all()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_normal_has_its_moments(dtype):
    x = np.asarray(nt.random.normal(nt.random.key(4), MANY, mean=3, std=2, dtype=dtype))
    assert x.dtype == dtype
    z = (x.astype("float64") - 3) / 2
    error = 5 / math.sqrt(MANY)
    assert abs(z.mean()) < error
    assert abs((z**2).mean() - 1) < error * math.sqrt(2)
    assert abs((z**3).mean()) < error * math.sqrt(15)
    assert abs((z**4).mean() - 3) < error * math.sqrt(96)
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < error


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "uint32", "int64", "uint64"])
def test_integers_are_even(dtype):
    x = np.asarray(nt.random.integers(nt.random.key(6), 5, 15, MANY, dtype=dtype))
    assert x.dtype == dtype
    counts = np.bincount(x.astype("int64"), minlength=15)
    assert counts[:5].sum() == 0
    expected = MANY / 10
    assert counts[5:].size == 10
    assert (abs(counts[5:] - expected) < 5 * math.sqrt(expected)).all()


def test_integers_of_the_whole_range():
    x = np.asarray(nt.random.integers(nt.random.key(6), -128, 128, MANY, dtype="int8"))
    assert set(np.unique(x)) == set(range(-128, 128))
    wide = np.asarray(nt.random.integers(nt.random.key(6), -(2**62), 2**62, 1000))
    assert abs(wide).max() > 2**61


@pytest.mark.parametrize("dtype", ["uint32", "uint64"])
def test_each_bit_is_even(dtype):
    x = np.asarray(nt.random.bits(nt.random.key(8), MANY, dtype=dtype))
    for bit in range(8 * x.itemsize):
        ones = ((x >> np.dtype(dtype).type(bit)) & np.dtype(dtype).type(1)).sum()
        assert abs(ones - MANY / 2) < 5 * math.sqrt(MANY / 4)


def test_categorical_follows_the_probabilities():
    probabilities = np.asarray([0.5, 0.25, 0.0, 0.2, 0.05])
    with np.errstate(divide="ignore"):
        logits = nt.asarray(np.log(probabilities).astype("float32"))
    many = nt.broadcast_to(logits, (MANY, 5))
    found = np.asarray(nt.random.categorical(nt.random.key(9), many))
    assert found.dtype == np.int64
    counts = np.bincount(found, minlength=5)
    spread = np.sqrt(MANY * probabilities * (1 - probabilities))
    assert (abs(counts - MANY * probabilities) <= 5 * spread).all()
    across = nt.random.categorical(nt.random.key(9), nt.zeros((4, 3)), axis=0)
    assert across.shape == (3,)
    assert ((np.asarray(across) >= 0) & (np.asarray(across) < 4)).all()


def test_permutation():
    found = nt.random.permutation(nt.random.key(1), 1000)
    assert sorted(found.tolist()) == list(range(1000))
    assert found.tolist() != list(range(1000))


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda key: nt.random.uniform(key, 2, low=1, high=1), ValueError, "low=1"),
        (lambda key: nt.random.uniform(key, 2, dtype="int32"), TypeError, "int32"),
        (lambda key: nt.random.normal(key, 2, std=-1), ValueError, "std=-1"),
        (lambda key: nt.random.normal(key, -2), ValueError, "-2"),
        (lambda key: nt.random.integers(key, 5, 5), ValueError, "low=5"),
        (lambda key: nt.random.integers(key, 0, 300, dtype="int8"), ValueError, "int8"),
        (lambda key: nt.random.integers(key, 0, 5, dtype="float32"), TypeError, "float32"),
        (lambda key: nt.random.bits(key, 2, dtype="int32"), TypeError, "int32"),
        (lambda key: nt.random.categorical(key, nt.arange(3)), TypeError, "int64"),
        (lambda key: key.split(-1), ValueError, "-1"),
    ],
)
def test_wrong_arguments(call, kind, message):
    with pytest.raises(kind, match=message):
        call(nt.random.key(0))
