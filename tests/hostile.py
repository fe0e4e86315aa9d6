"""Files that lie: builders of the formats from raw parts, a table of liars, and random ones.

`python tests/hostile.py` writes the table to tests/corpus, where other fuzzers can start from it.
"""

import json
import pathlib
import struct

import numpy as np
from hypothesis import strategies as st

CORPUS = pathlib.Path(__file__).with_name("corpus")
# Where sizes overflow, in whatever unit somebody counts them.
EDGES = sorted(
    {
        sign * (2**power + step)
        for power in (8, 15, 16, 31, 32, 33, 40, 52, 53, 60, 61, 62, 63, 64)
        for step in (-1, 0, 1)
        for sign in (1, -1)
    }
    | {10**30, 10**4299, -(10**4299)}
)

# npy


def npy(header, data=b"", version=(1, 0), length=None):
    """A npy file; `header` is its text, or the entries of its dict."""
    body = header if isinstance(header, bytes) else repr(header).encode() + b"\n"
    form = "<H" if version[0] == 1 else "<I"
    size = len(body) if length is None else length
    bound = 2 ** (8 * struct.calcsize(form)) - 1
    return b"\x93NUMPY" + bytes(version) + struct.pack(form, size & bound) + body + data


def npy_entries(descr="<f4", shape=(3,), fortran_order=False):
    return {"descr": descr, "fortran_order": fortran_order, "shape": shape}


# safetensors


def safetensors(header, data=b"", length=None):
    body = header if isinstance(header, bytes) else json.dumps(header).encode()
    size = len(body) if length is None else length
    return struct.pack("<Q", size & (2**64 - 1)) + body + data


def tensor(dtype="F32", shape=(3,), offsets=(0, 12)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


# GGUF


def number(value, letter="Q"):
    """An integer as it lies in a GGUF file, cut to the width of the field."""
    width = struct.calcsize("<" + letter)
    return (int(value) & (2 ** (8 * width) - 1)).to_bytes(width, "little")


def text(value, length=None):
    data = value if isinstance(value, bytes) else value.encode()
    return number(len(data) if length is None else length) + data


def gguf(values=(), infos=(), data=b"", version=3, counts=None):
    tensors, pairs = counts or (len(infos), len(values))
    head = b"GGUF" + number(version, "I") + number(tensors) + number(pairs)
    head += b"".join(values) + b"".join(infos)
    return head + b"\0" * (-len(head) % 32) + data


def value(kind, payload, key="k"):
    return text(key) + number(kind, "I") + payload


def array_value(kind, count, payload=b"", key="k"):
    return value(9, number(kind, "I") + number(count) + payload, key)


def info(name="t", shape=(3,), kind=0, offset=0, dimensions=None):
    sizes = b"".join(map(number, shape))
    count = number(len(shape) if dimensions is None else dimensions, "I")
    return text(name) + count + sizes + number(kind, "I") + number(offset)


THREE = np.array([1, 2, 3], "<f4").tobytes()
PADDED = THREE + b"\0" * 20
NPY_GOOD = npy(npy_entries(), THREE)
SAFETENSORS_GOOD = safetensors({"t": tensor(), "__metadata__": {"a": "b"}}, THREE)
GGUF_GOOD = gguf(
    [value(4, number(7, "I")), array_value(8, 2, text("x") + text("yz"), "tokens")],
    [info(), info("q", (32, 2), 2, 32)],
    PADDED + bytes(36),
)

#: Name of the file in the corpus: its bytes, and words of the sentence that refuses it, or None
#: for a file that is well.
TABLE = {
    "good.npy": (NPY_GOOD, None),
    "good_fortran.npy": (npy(npy_entries("<f4", (1, 3), True), THREE), None),
    "good_big_endian.npy": (npy(npy_entries(">f4"), THREE, (3, 0)), None),
    "good_empty.npy": (npy(npy_entries("<f4", (0, 7))), None),
    "object.npy": (npy(npy_entries("|O"), b"\x80\x04cos\nsystem\n."), "Python objects"),
    "object_in_a_struct.npy": (npy(npy_entries([("a", "|O")]), THREE), "has the dtype"),
    "hexadecimal_shape.npy": (
        npy(b"{'descr': '<f4', 'fortran_order': False, 'shape': (0x" + b"f" * 9000 + b",)}"),
        "too long to be written",
    ),
    "hexadecimal_descr.npy": (
        npy(b"{'descr': 0x" + b"f" * 9000 + b", 'fortran_order': False, 'shape': (3,)}"),
        "has the dtype (a int too long to be written",
    ),
    "huge_shape.npy": (npy(npy_entries(shape=(2**40,)), THREE), "the file has"),
    "overflowing_shape.npy": (npy(npy_entries(shape=(2**31, 2**31, 2**31)), THREE), "2**63 bytes"),
    "wrapping_shape.npy": (npy(npy_entries(shape=(2**62, 4)), THREE), "less than 2**63 bytes"),
    "negative_shape.npy": (npy(npy_entries(shape=(-1,)), THREE), "integers from 0"),
    "two_negatives.npy": (npy(npy_entries(shape=(-3, -1)), THREE), "integers from 0"),
    "empty_but_huge.npy": (npy(npy_entries(shape=(0, 2**62, 2**62))), "less than 2**63 bytes"),
    "many_dimensions.npy": (npy(npy_entries(shape=(1,) * 65), THREE), "65 dimensions"),
    "long_header.npy": (npy(b"{}", version=(2, 0), length=2**32 - 1), "header of 4294967295"),
    "header_past_the_end.npy": (npy(b"{}", length=9999), "ends before the header"),
    "code_in_the_header.npy": (npy(b"__import__('os').abort()"), "no Python literal"),
    "escape.npy": (npy(b"{'\\d': 1}"), "header"),
    "nul.npy": (npy(b"{'\0': 1}"), "header"),
    "unhashable.npy": (npy(b"{[]: 1}"), "no Python literal"),
    "good.safetensors": (SAFETENSORS_GOOD, None),
    "good_empty.safetensors": (safetensors({"t": tensor("F32", (0,), (0, 0))}), None),
    "no_tensor.safetensors": (safetensors({}), None),
    "header_of_2_64.safetensors": (safetensors({}, length=2**64 - 1), "gives its header"),
    "header_of_2_63.safetensors": (safetensors({}, length=2**63), "gives its header"),
    "sign_of_the_header.safetensors": (safetensors({}, length=-8), "gives its header"),
    "huge_shape.safetensors": (
        safetensors({"t": tensor(shape=(2**40,), offsets=(0, 2**42))}, THREE),
        "ends before tensor 't'",
    ),
    "overflowing_shape.safetensors": (
        safetensors({"t": tensor(shape=(2**62, 4), offsets=(0, 12))}, THREE),
        "less than 2**63 bytes",
    ),
    "digits_of_the_offset.safetensors": (
        safetensors({"t": tensor(shape=(0,), offsets=(10**4299, 10**4299))}, THREE),
        "ends before tensor 't'",
    ),
    "most_digits_of_the_offset.safetensors": (
        safetensors(
            b'{"t":{"dtype":"I8","shape":[1],"data_offsets":[' + b"9" * 4300 + b",1]}}", THREE
        ),
        "ends before tensor 't'",
    ),
    "offsets_backwards.safetensors": (
        safetensors({"t": tensor(offsets=(12, 0))}, THREE),
        "ends before tensor 't'",
    ),
    "negative_offset.safetensors": (
        safetensors({"t": tensor(offsets=(-12, 0))}, THREE),
        "two integers of 0 or more",
    ),
    "offsets_past_the_end.safetensors": (
        safetensors({"t": tensor(offsets=(4, 16))}, THREE),
        "ends before tensor 't'",
    ),
    "hole.safetensors": (
        safetensors({"t": tensor(shape=(1,), offsets=(8, 12))}, THREE),
        "leaves the bytes 0 to 8",
    ),
    "overlap.safetensors": (
        safetensors({"t": tensor(), "u": tensor(shape=(2,), offsets=(4, 12))}, THREE),
        "over tensor 't'",
    ),
    "unread_rest.safetensors": (safetensors({"t": tensor()}, THREE + b"x"), "13 bytes of data"),
    "twice.safetensors": (
        safetensors(b'{"t":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},"t":{}}'),
        "twice in its header",
    ),
    "infinity.safetensors": (
        safetensors(b'{"t":{"dtype":"I8","shape":[Infinity],"data_offsets":[0,0]}}'),
        "integers from 0",
    ),
    "nesting.safetensors": (safetensors(b'{"t":' + b"[" * 100_000), "not JSON"),
    "lone_surrogate.safetensors": (safetensors(b'{"\\ud800":{}}'), "exactly the keys"),
    "not_utf8.safetensors": (safetensors(b'{"\xff":{}}'), "not JSON"),
    "good.gguf": (GGUF_GOOD, None),
    "good_version_2.gguf": (gguf([], [info()], PADDED, version=2), None),
    "no_tensor.gguf": (gguf(), None),
    "many_tensors.gguf": (gguf(counts=(2**64 - 1, 0)), "claims 18446744073709551615 tensors"),
    "many_values.gguf": (gguf(counts=(0, 2**63)), "9223372036854775808 metadata values"),
    "long_key.gguf": (gguf([number(2**63) + b"k"]), "ends before a metadata key"),
    "wrapping_key.gguf": (gguf([number(2**64 - 8) + b"k" * 16]), "ends before a metadata key"),
    "long_string.gguf": (gguf([value(8, text("x", 2**40))]), "ends before the value of 'k'"),
    "long_array.gguf": (gguf([array_value(4, 2**40)]), "ends before the value of 'k'"),
    "wrapping_array.gguf": (gguf([array_value(10, 2**61)]), "ends before the value of 'k'"),
    "long_array_of_strings.gguf": (gguf([array_value(8, 2**61)]), "2305843009213693952 elements"),
    "nested.gguf": (gguf([value(9, (number(9, "I") + number(1)) * 60)]), "nests arrays"),
    "long_key_in_the_sentence.gguf": (
        gguf([value(99, b"", "k" * 5000)]),
        "the type 99; expected one of",
    ),
    "many_dimensions.gguf": (
        gguf([], [info(dimensions=2**32 - 1)], PADDED),
        "4294967295 dimensions",
    ),
    "huge_shape.gguf": (gguf([], [info(shape=(2**40,))], PADDED), "ends before tensor 't'"),
    "overflowing_shape.gguf": (gguf([], [info(shape=(2**62, 4))], PADDED), "less than 2**63"),
    "negative_shape.gguf": (gguf([], [info(shape=(-1,))], PADDED), "integers from 0"),
    "offset_past_the_end.gguf": (
        gguf([], [info(offset=2**64 - 32)], PADDED),
        "ends before tensor 't'",
    ),
    "crooked_offset.gguf": (gguf([], [info(offset=4)], PADDED), "multiple of 32"),
    "overlap.gguf": (gguf([], [info(), info("u")], PADDED), "over tensor 't'"),
    "huge_quantised.gguf": (
        gguf([], [info(shape=(2**40, 2**20), kind=2)], PADDED),
        "ends before tensor 't'",
    ),
    "quantised_scalar.gguf": (gguf([], [info(shape=(), kind=2)], PADDED), "multiple of 32 columns"),
    "alignment_is_true.gguf": (
        gguf([value(7, b"\1", "general.alignment")], [info()], PADDED),
        "general.alignment True; expected a power of 2",
    ),
    "alignment_is_a_table.gguf": (
        gguf([array_value(4, 300, bytes(1200), "general.alignment")]),
        "expected a power of 2",
    ),
    "alignment_of_2_63.gguf": (
        gguf([value(10, number(2**63), "general.alignment")], [info()], PADDED),
        "ends before tensor 't'",
    ),
}

# Random liars


def numbers():
    return st.integers(0, 40) | st.sampled_from(EDGES)


shapes = st.lists(numbers(), max_size=5)


@st.composite
def npy_liars(draw):
    descr = draw(
        st.sampled_from(["<f4", ">f8", "|b1", "|u1", "<c16", "|O", "<M8[s]", "<U9", "V8", "<f16"])
        | st.text(max_size=5)
        | st.lists(st.tuples(st.just("a"), st.just("<f4")), max_size=2)
    )
    shape = draw(shapes)
    written = draw(st.sampled_from([str, lambda n: f"0x{n:x}", lambda n: f"{n}.0", lambda n: "[]"]))
    sizes = "".join(f"{written(n)}," for n in shape)
    order = draw(st.sampled_from(["False", "True", "1", "None", "'C'"]))
    head = f"{{'descr': {descr!r}, 'fortran_order': {order}, 'shape': ({sizes}), }}\n"
    data = bytes(draw(st.integers(0, 400)))
    version = draw(st.sampled_from([(1, 0), (2, 0), (3, 0), (1, 1), (0, 0), (255, 255)]))
    length = draw(st.none() | numbers())
    return npy(head.encode("utf-8", "surrogatepass"), data, version, length)


@st.composite
def safetensors_liars(draw):
    entries = {}
    for name in draw(st.lists(st.text(max_size=4), max_size=4)):
        kind = draw(st.sampled_from(["F32", "BF16", "I8", "BOOL", "C64", "F8_E4M3", "", 7, None]))
        offsets = draw(st.lists(numbers(), min_size=1, max_size=3))
        if draw(st.booleans()):
            offsets = [0, draw(st.integers(0, 400))]
        entries[name] = tensor(kind, draw(shapes), offsets)
        if draw(st.integers(0, 9)) == 0:
            entries[name] = draw(st.sampled_from([None, [], {}, "x", 10**30]))
    length = draw(st.none() | st.none() | numbers())
    return safetensors(entries, bytes(draw(st.integers(0, 400))), length)


@st.composite
def gguf_liars(draw):
    values = []
    for key in draw(st.lists(st.text(max_size=4), max_size=3)):
        kind = draw(st.integers(0, 13) | numbers())
        payload = draw(st.binary(max_size=24))
        many = array_value(draw(st.integers(0, 13)), draw(numbers()), payload, key)
        values.append(draw(st.sampled_from([value(kind, payload, key), many])))
    infos = [
        info(
            name,
            draw(shapes),
            draw(st.integers(0, 40) | numbers()),
            draw(st.integers(0, 10).map(lambda n: n * 32) | numbers()),
            draw(st.none() | st.none() | numbers()),
        )
        for name in draw(st.lists(st.text(max_size=4), max_size=3))
    ]
    counts = draw(st.none() | st.none() | st.tuples(numbers(), numbers()))
    version = draw(st.sampled_from([3, 3, 3, 2, 1, 0, 2**24 * 3]))
    return gguf(values, infos, bytes(draw(st.integers(0, 400))), version, counts)


@st.composite
def spoilt(draw):
    """A good file with some bytes changed, taken out or put in, or cut off anywhere."""
    good = [data for data, words in TABLE.values() if words is None]
    whole = bytearray(draw(st.sampled_from(good)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(whole) - 1, 0)))
        how = draw(st.sampled_from(["flip", "set", "cut", "insert", "repeat"]))
        if how == "flip" and whole:
            whole[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "set":
            whole[at : at + 8] = number(draw(st.sampled_from(EDGES)))
        elif how == "cut":
            del whole[at : at + draw(st.integers(1, 16))]
        elif how == "insert":
            whole[at:at] = draw(st.binary(max_size=8))
        else:
            whole[at:at] = whole[at : at + draw(st.integers(1, 40))]
    if draw(st.booleans()):
        del whole[draw(st.integers(0, len(whole))) :]
    return bytes(whole)


def write_corpus():
    CORPUS.mkdir(exist_ok=True)
    for name, (data, _) in TABLE.items():
        (CORPUS / name).write_bytes(data)


if __name__ == "__main__":
    write_corpus()
