"""The main job's model against the NumPy reference: logits, perplexity, cache, failures."""

import os
import sys
from itertools import pairwise
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, quants

import nitinol as nt

pytest.importorskip("tokenizers", reason="the extra 'bench' is not installed")
pytest.importorskip("jinja2", reason="the extra 'bench' is not installed")

# The benchmarks are scripts, not a package.
ROOT = Path(__file__).resolve().parents[2]
for folder in ("tests", "benchmarks"):
    if str(ROOT / folder) not in sys.path:
        sys.path.append(str(ROOT / folder))

from download import DownloadError, fetch_model  # noqa: E402
from generation import Sampler, generate  # noqa: E402
from llama import Cache, Llama, ModelError  # noqa: E402
from reference_llama import ReferenceLlama, dequantize, perplexity  # noqa: E402
from tiny_llama import write_tiny_llama  # noqa: E402
from tokenizer import Tokenizer  # noqa: E402

LOGITS = 1e-3
HALF_CACHE_LOGITS = 0.1  # a float16 has 11 bits, and the logits reach tens
PERPLEXITY = 1e-3  # relative


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.gguf"
    write_tiny_llama(path)
    return path


@pytest.fixture(scope="module")
def real():
    """SmolLM2-135M-Instruct, as the main job has it: from the cache, or downloaded (93 MB)."""
    if path := os.environ.get("NITINOL_TEST_MODEL"):
        return Path(path)
    try:
        return fetch_model()
    except DownloadError as error:
        pytest.skip(str(error))


def logits_of(model, tokens, capacity=None):
    cache = model.new_cache(capacity or len(tokens))
    return np.asarray(model(nt.asarray(np.asarray(tokens)), cache, every=True))


@pytest.mark.parametrize("kind", [Type.Q4_0, Type.Q4_1, Type.Q8_0])
def test_reference_dequantizes_as_the_gguf_package_does(kind):
    data = np.random.default_rng(0).normal(0, 1, (7, 96)).astype(np.float32)
    blocks = quants.quantize(data, kind)
    expected = quants.dequantize(blocks, kind)
    np.testing.assert_allclose(dequantize(blocks, int(kind)), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [Type.Q4_0, Type.Q4_1, Type.Q8_0, Type.F16, Type.F32])
def test_logits_of_small_models(device, tmp_path, kind, tied):
    path = tmp_path / "tiny.gguf"
    embedding = kind if kind in (Type.F16, Type.F32) else Type.Q8_0
    write_tiny_llama(path, weights=kind, embedding=embedding, tied=tied, seed=int(kind))
    model = Llama(path)
    tokens = np.random.default_rng(1).integers(0, model.config.vocabulary, 37)
    expected = ReferenceLlama(path, np.float64)(tokens)
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(logits_of(model, tokens, 50), expected, rtol=0, atol=LOGITS)


def test_half_split_rope_would_be_noticed(device, tiny):
    tokens = np.arange(20) + 5
    wrong = ReferenceLlama(tiny, np.float64, half_split_rope=True)(tokens)
    assert np.abs(logits_of(Llama(tiny), tokens) - wrong).max() > 100 * LOGITS


@pytest.mark.parametrize("split", [1, 5, 19])
def test_cache_in_pieces_gives_the_logits_of_the_whole(device, tiny, split):
    model = Llama(tiny)
    tokens = np.random.default_rng(2).integers(0, model.config.vocabulary, 20)
    expected = ReferenceLlama(tiny, np.float64)(tokens)
    cache = Cache(model.config, 32)
    head = np.asarray(model(nt.asarray(tokens[:split]), cache, every=True))
    steps = [np.asarray(model(nt.asarray(tokens[i : i + 1]), cache)) for i in range(split, 20)]
    np.testing.assert_allclose(np.concatenate([head, *steps]), expected, rtol=0, atol=LOGITS)


def test_a_float16_cache_rounds_keys_and_values_alone(device, tiny):
    tokens = np.random.default_rng(1).integers(0, 100, 30)
    expected = ReferenceLlama(tiny, np.float64)(tokens)
    model = Llama(tiny, cache_dtype=nt.float16)
    cache = model.new_cache(30)
    head = np.asarray(model(nt.asarray(tokens[:12]), cache, every=True))
    steps = [np.asarray(model(nt.asarray(tokens[i : i + 1]), cache)) for i in range(12, 30)]
    found = np.concatenate([head, *steps])
    assert {each.dtype for each in (*cache.keys, *cache.values)} == {nt.float16}
    assert found.dtype == np.float32
    assert LOGITS < np.abs(found - expected).max() < HALF_CACHE_LOGITS
    assert perplexity(found, tokens) == pytest.approx(perplexity(expected, tokens), rel=PERPLEXITY)


def test_cache_of_an_earlier_request_leaves_no_trace(device, tiny):
    model, cache = Llama(tiny), None
    answers = []
    for prompt in ([9, 10, 11], [50] * 20, [9, 10, 11]):
        cache = cache or Cache(model.config, 40)
        answers.append(list(generate(model, cache, prompt, 10, Sampler())))
    assert answers[0] == answers[2] != answers[1]


def test_a_full_cache_is_refused(device, tiny):
    model = Llama(tiny)
    with pytest.raises(ValueError, match="The cache holds 0 of 4 tokens; 5 more do not fit"):
        model(nt.asarray(np.arange(5)), Cache(model.config, 4))


def test_greedy_answers_are_those_of_the_reference(device, tiny):
    model, reference = Llama(tiny), ReferenceLlama(tiny, np.float64)
    tokens = [7, 8, 9, 10]
    answer = list(generate(model, Cache(model.config, 24), tokens, 20, Sampler()))
    for token in answer:
        assert token == int(reference(tokens)[-1].argmax())
        tokens.append(token)


def test_sampling_is_repeatable_and_follows_the_probabilities(device, tiny):
    model = Llama(tiny)
    cache = Cache(model.config, 40)

    def answer(seed, temperature=1.0):
        return list(generate(model, cache, [7, 8, 9], 16, Sampler(temperature, seed)))

    assert answer(1) == answer(1) != answer(2)
    assert answer(3, temperature=1e-4) == answer(0, temperature=0.0)
    cache.length = 0
    logits = model(nt.asarray(np.array([7, 8, 9])), cache)
    scores = np.asarray(logits)[0].astype(np.float64) / 2
    expected = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    sampler = Sampler(2.0, seed=0)
    counts = np.bincount([sampler(logits) for _ in range(4000)], minlength=len(expected))
    common = expected > 0.01
    assert common.sum() > 2
    error = np.sqrt(expected * (1 - expected) / 4000)
    assert np.all(np.abs(counts / 4000 - expected)[common] < 5 * error[common])


@pytest.mark.parametrize("phase", nt.testing.PHASES)
def test_a_failure_spoils_one_answer_and_no_weights(device, tiny, phase):
    model = Llama(tiny)
    prompt = list(range(5, 25))

    def answer():
        return list(generate(model, Cache(model.config, 40), prompt, 8, Sampler()))

    expected = answer()
    for at in (1, 7, 20, 90):
        injection = nt.testing.inject(device, "page_fault", at=at, phase=phase)
        with injection, pytest.raises(nt.KernelFaultError) as caught:
            answer()
        assert injection.fired == 1
        assert caught.value.report.code == "page_fault"
        assert answer() == expected


def test_a_token_outside_the_vocabulary_is_a_typed_error(device, tiny):
    model = Llama(tiny)
    prompt = [5, model.config.vocabulary, 6]
    with pytest.raises(nt.DeviceIndexError, match=str(model.config.vocabulary)) as caught:
        list(generate(model, Cache(model.config, 8), prompt, 1, Sampler()))
    assert caught.value.report.code == "index_out_of_range"
    assert not caught.value.report.injected


def test_a_cache_beyond_all_memory_is_a_typed_error(device, tiny):
    model = Llama(tiny)
    # The keys and the values of the first layer fail alike: a group, or one of them alone.
    with pytest.raises(nt.DeviceError) as caught:
        list(generate(model, Cache(model.config, 1 << 40), [5, 6], 1, Sampler()))
    assert {report.code for report in caught.value.reports} == {"out_of_memory"}
    assert len(list(generate(model, Cache(model.config, 8), [5, 6], 1, Sampler()))) == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": "qwen2"}, "architecture is 'qwen2'; expected 'llama'"),
        ({"without": ["blk.1.ffn_up.weight"]}, "no tensor 'blk.1.ffn_up.weight'"),
        ({"extra": ["rope_freqs.weight"]}, "'rope_freqs.weight', which is not supported"),
        ({"metadata": {"rope.scaling.type": "yarn"}}, "rope scaling is 'yarn'; expected"),
        ({"metadata": {"attention.key_length": 32.0}}, "expected a whole number"),
    ],
)
def test_unfit_files_are_refused_in_one_sentence(tmp_path, change, sentence):
    path = tmp_path / "unfit.gguf"
    write_tiny_llama(path, **change)
    with pytest.raises(ModelError, match=sentence) as caught:
        Llama(path)
    assert "\n" not in str(caught.value)


def test_linear_rope_scaling(device, tmp_path):
    path = tmp_path / "scaled.gguf"
    scaling = {"rope.scaling.type": "linear", "rope.scaling.factor": 4.0}
    write_tiny_llama(path, metadata=scaling)
    tokens = np.arange(20) + 5
    expected = ReferenceLlama(path, np.float64)(tokens)
    np.testing.assert_allclose(logits_of(Llama(path), tokens), expected, rtol=0, atol=LOGITS)


def metadata_of(path):
    fields = GGUFReader(path).fields
    return {name: f.contents() for name, f in fields.items() if not name.startswith("GGUF.")}


def test_tokenizer_of_a_small_file(tiny):
    tokenizer = Tokenizer(metadata_of(tiny))
    text = "then 1234 and \u00e9\U0001f600 <|im_end|>"
    ids = tokenizer.encode(text)
    names = [tokenizer.tokens[i] for i in ids]
    assert names[:2] == ["the", "n"]
    assert names[3:7] == ["1", "2", "3", "4"]
    assert ids[-1] == tokenizer.end_of_text
    assert tokenizer.decode(ids) == text.removesuffix("<|im_end|>")
    before, after = tokenizer.encode_frame("in ")
    middle = tokenizer.encode("ing")
    assert before + middle + after == tokenizer.encode_chat("in ing")


def merge_by_score(text, scores):
    """Join the adjacent pair whose union scores best, the leftmost of equals, as long as any."""
    parts = list("\u2581" + text.replace(" ", "\u2581"))
    while True:
        pairs = [(scores.get(a + b, -np.inf), -i) for i, (a, b) in enumerate(pairwise(parts))]
        if not pairs or max(pairs)[0] == -np.inf:
            return parts
        i = -max(pairs)[1]
        parts[i : i + 2] = [parts[i] + parts[i + 1]]


def test_tokenizer_by_scores():
    """A "llama" tokenizer: pieces with scores, no merges, bytes for what is unknown."""
    words = [
        "the",
        "then",
        "he",
        "hen",
        "in",
        "inner",
        "▁the",
        "▁in",
        "▁then",
        "nn",
        "er",
        "▁h",
        "▁t",
        "th",
        "en",
    ]
    letters = list("abcdefghijklmnopqrstuvwxyz\u2581")
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]
    random = np.random.default_rng(0)
    scores = dict(zip(words, -random.permutation(len(words)) - 1.0, strict=True))
    tokens = ["<unk>", "<s>", "</s>", *bytes_, *words, *letters]
    tokenizer = Tokenizer(
        {
            "tokenizer.ggml.model": "llama",
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.scores": [scores.get(t, -1e4) for t in tokens],
            "tokenizer.ggml.token_type": [2, 3, 3] + [6] * 256 + [1] * (len(words) + len(letters)),
            "tokenizer.ggml.bos_token_id": 1,
            "tokenizer.ggml.eos_token_id": 2,
        }
    )
    for text in ("the inner hen then", "in the thinner then", "hen", "a  b"):
        ids = tokenizer.encode(text)
        assert [tokens[i] for i in ids] == merge_by_score(text, scores)
    ids = tokenizer.encode("h\u00e9")
    assert [tokens[i] for i in ids] == ["\u2581h", "<0xC3>", "<0xA9>"]
    assert tokenizer.decode(ids).strip() == "h\u00e9"
    assert tokenizer.encode_chat("in")[0] == 1


@pytest.mark.timeout(1800)  # the download may be slow
def test_real_tokenizer_and_template(real):
    tokenizer = Tokenizer(metadata_of(real))
    text = "Hello, world! 2024\n\n    it's  a \u00e9t\u00e9"
    assert tokenizer.decode(tokenizer.encode(text)) == text
    ids = tokenizer.encode_chat("hi")
    assert tokenizer.tokens[ids[0]] == "<|im_start|>"
    assert tokenizer.chat("hi").endswith("user\nhi<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.timeout(1800)
def test_real_model_against_the_reference(device, real):
    if device.hardware.startswith("Emulated"):
        pytest.skip("The emulator takes minutes for a token of this model.")
    model = Llama(real)
    tokenizer = Tokenizer(model.metadata)
    tokens = tokenizer.encode(" ".join(topics["objects"].split()))[:400]
    assert len(tokens) == 400
    logits = logits_of(model, tokens)
    expected = ReferenceLlama(real, np.float32)(tokens)
    np.testing.assert_allclose(logits, expected, rtol=0, atol=LOGITS)
    wanted = perplexity(expected, tokens)
    assert 10 < wanted < 30
    assert perplexity(logits, tokens) == pytest.approx(wanted, rel=PERPLEXITY)
    model.cache_dtype = nt.float16
    rounded = logits_of(model, tokens)
    np.testing.assert_allclose(rounded, expected, rtol=0, atol=HALF_CACHE_LOGITS)
    assert perplexity(rounded, tokens) == pytest.approx(wanted, rel=PERPLEXITY)
    # The same through the cache, token by token, as answers are made.
    cache = Cache(model.config, 400)
    model(nt.asarray(np.asarray(tokens[:390])), cache)
    steps = [np.asarray(model(nt.asarray(np.asarray([t])), cache))[0] for t in tokens[390:]]
    np.testing.assert_allclose(np.array(steps), expected[390:], rtol=0, atol=LOGITS)
