"""Files that lie: one clear sentence each, nothing read outside, nothing allocated for a claim."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import example, given

import hostile
import nitinol as nt
from processes import HEADER, NEEDS_PROC, succeed

NAMES = ["x.npy", "x.safetensors", "x.gguf", "x"]


def read_all(found):
    """Every array of what was loaded, read."""
    parts = found.values() if isinstance(found, dict) else [found]
    return [np.asarray(getattr(each, "blocks", each)) for each in parts]


def lies_in(values, data):
    """Whether the bytes of an array are bytes of the file, in some order that is asked for."""
    raw = values.tobytes(order="A")
    ways = {raw, values.byteswap().tobytes(order="A")}
    if values.dtype == np.float32:
        narrow = np.ascontiguousarray(values).view(np.uint32) >> 16
        ways |= {narrow.astype("<u2").tobytes(), narrow.astype(">u2").tobytes()}
    return values.dtype == np.bool_ or any(way in data for way in ways)


def check(path, data):
    """Load what may be anything; it is read from inside the file, or refused in a sentence."""
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = nt.load(path)
        except ValueError as error:
            sentence = str(error)
            assert sentence.startswith(f"The file {str(path)!r} ")
            assert re.fullmatch(r"[^\n\r]{20,900}\.", sentence)
            chained = error.__context__ is not None and not error.__suppress_context__
            assert not chained
            return sentence
    for values in read_all(found):
        assert values.nbytes <= 2 * len(data)  # bfloat16 becomes twice as wide
        assert lies_in(values, data)
    return None


@pytest.mark.parametrize("name", hostile.TABLE)
def test_a_liar_of_the_table(name, tmp_path):
    data, words = hostile.TABLE[name]
    sentence = check(tmp_path / name, data)
    if words is None:
        assert sentence is None
    else:
        assert words in sentence


def test_the_corpus_is_what_its_generator_makes():
    kept = {path.name: path.read_bytes() for path in hostile.CORPUS.iterdir()}
    assert kept == {name: data for name, (data, _) in hostile.TABLE.items()}


@given(hostile.npy_liars())
def test_a_npy_file_that_lies(tmp_path, data):
    check(tmp_path / "x.npy", data)


@given(hostile.safetensors_liars())
def test_a_safetensors_file_that_lies(tmp_path, data):
    check(tmp_path / "x.safetensors", data)


@given(hostile.gguf_liars())
def test_a_gguf_file_that_lies(tmp_path, data):
    check(tmp_path / "x.gguf", data)


@pytest.mark.parametrize("name", NAMES)
@given(data=hostile.spoilt())
@example(data=b"")
def test_a_good_file_spoilt_anywhere(name, tmp_path, data):
    check(tmp_path / name, data)


@pytest.mark.parametrize("name", [name for name, (_, words) in hostile.TABLE.items() if not words])
def test_a_good_file_cut_anywhere(name, tmp_path):
    data = hostile.TABLE[name][0]
    refused = sum(check(tmp_path / name, data[:end]) is not None for end in range(len(data)))
    # GGUF pads the end of its data, which nobody misses.
    assert refused >= len(data) - 32


LIMITED = """
import sys, tracemalloc
sys.path.insert(0, sys.argv[1])
import hostile
from processes import limit_memory

folder = sys.argv[2]
limit_memory()
def refused(path):
    tracemalloc.start()
    try:
        nt.load(path)
    except ValueError as error:
        assert str(error).startswith("The file "), error
    else:
        raise SystemExit(f"{path} was loaded")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A header of 100,000 bytes that is read, decoded and parsed, not what it claims.
    assert peak < 4_000_000, (path, peak)

with open(f"{folder}/good.gguf", "wb") as file:
    file.write(hostile.GGUF_GOOD)
nt.load(f"{folder}/good.gguf")  # imports what it needs

for name, (data, words) in hostile.TABLE.items():
    if words is not None:
        with open(f"{folder}/{name}", "wb") as file:
            file.write(data)
        refused(f"{folder}/{name}")

# Files that have the bytes they claim, as holes: a terabyte that costs its author nothing.
TERABYTE = 2**40
SPARSE = {
    "header.safetensors": hostile.safetensors(b"{", length=TERABYTE - 8),
    "string.gguf": hostile.gguf([hostile.value(8, hostile.text("x", TERABYTE // 2))]),
    "key.gguf": hostile.gguf([hostile.number(TERABYTE // 2)]),
    "numbers.gguf": hostile.gguf([hostile.array_value(4, TERABYTE // 8)]),
    "strings.gguf": hostile.gguf([hostile.array_value(8, TERABYTE // 16)]),
    "arrays.gguf": hostile.gguf([hostile.array_value(9, TERABYTE // 16)]),
    "values.gguf": hostile.gguf(counts=(0, TERABYTE // 16)),
    "tensors.gguf": hostile.gguf(counts=(TERABYTE // 32, 0)),
}
for name, data in SPARSE.items():
    with open(f"{folder}/{name}", "wb") as file:
        file.write(data)
        file.truncate(TERABYTE)
    refused(f"{folder}/{name}")

# An array that is there, but can't be had: its reading fails, and nothing else.
with open(f"{folder}/whole.npy", "wb") as file:
    file.write(hostile.npy(hostile.npy_entries("<f4", (TERABYTE // 8,))))
    file.truncate(TERABYTE)
array = nt.load(f"{folder}/whole.npy")
for _ in range(2):
    try:
        nt.eval(array)
    except nt.OutOfMemoryError as error:
        assert error.report.code == "out_of_memory"
    else:
        raise SystemExit("a terabyte was had")
assert (nt.ones(3) + 1).tolist() == [2, 2, 2]
print("well")
"""


@NEEDS_PROC
def test_no_liar_is_given_the_memory_it_asks_for(tmp_path):
    out = succeed(LIMITED, hostile.CORPUS.parent, tmp_path, header=HEADER)
    assert out == "well\n"


WATCHED = """
sys.path.insert(0, sys.argv[1])
import contextlib
import hostile

seen = []
names = ("exec", "pickle.find_class", "marshal.loads", "os.system", "subprocess.Popen")

def watch(event, arguments):
    if event in names:
        seen.append((event, repr(arguments)[:200]))

with open(f"{sys.argv[2]}/good.gguf", "wb") as file:
    file.write(hostile.GGUF_GOOD)
nt.load(file.name)  # imports what it needs
sys.addaudithook(watch)
for name, (data, words) in hostile.TABLE.items():
    with open(f"{sys.argv[2]}/{name}", "wb") as file:
        file.write(data)
    with contextlib.suppress(ValueError):
        found = nt.load(file.name)
        parts = found.values() if isinstance(found, dict) else [found]
        nt.eval([getattr(x, "blocks", x) for x in parts])
assert not seen, seen
import pickle
pickle.loads(pickle.dumps(nt.ones(3)))
assert "pickle.find_class" in dict(seen)  # the hook works
print("well")
"""


def test_no_pickle_and_no_code_is_run_to_load_an_array(tmp_path):
    """What every file of the corpus makes the interpreter do, as its audit events tell."""
    assert succeed(WATCHED, hostile.CORPUS.parent, tmp_path, header=HEADER) == "well\n"


def test_blocks_that_do_not_fit_their_shape_are_refused():
    """Kernels go by the shape of the one and write to the shape of the other."""
    blocks = nt.zeros((4, 40), dtype=nt.uint8)
    made = nt.io.QuantizedTensor(blocks, 3, (4, 64))
    assert made.dequantize().tolist() == np.zeros((4, 64)).tolist()
    for shape in [(4, 32), (5, 64), (4, 2**40), (4,), (), (1, 4, 64), (4, 65), (-4, 64)]:
        with pytest.raises(ValueError, match="expected"):
            nt.io.QuantizedTensor(blocks, 3, shape)
    with pytest.raises(ValueError, match="one of Q4_0"):
        nt.io.QuantizedTensor(blocks, 7, (4, 64))
    with pytest.raises(TypeError, match="uint8; float32"):
        nt.io.QuantizedTensor(nt.zeros((4, 40)), 3, (4, 64))
