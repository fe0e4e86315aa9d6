"""Text to token ids and back, and the chat template, from the metadata of a GGUF file alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jinja2.sandbox
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers
from tokenizers import Tokenizer as _Tokenizer

# tokenizer.ggml.token_type
_NORMAL, _CONTROL, _USER_DEFINED, _BYTE = 1, 3, 4, 6

_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def _words(pre: str) -> list:
    """Name how text is cut into words before pairs are merged (tokenizer.ggml.pre)."""
    if pre == "gpt-2":
        return [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if pre == "smollm":  # digits one by one
        digits = pre_tokenizers.Split(Regex(r"\p{N}"), "isolated")
        return [digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if pre == "llama-bpe":
        words = pre_tokenizers.Split(Regex(_LLAMA3_WORDS), "isolated")
        return [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    raise ValueError(
        f"The file's pre-tokenizer is {pre!r}; expected one of 'gpt-2', 'smollm', 'llama-bpe'."
    )


def _byte_level(metadata: Mapping, vocabulary: dict[str, int]) -> _Tokenizer:
    """Build a byte-level BPE from the merges that the file lists."""
    merges = [tuple(m.split(" ", 1)) for m in metadata["tokenizer.ggml.merges"]]
    pre = metadata.get("tokenizer.ggml.pre", "gpt-2")
    tokenizer = _Tokenizer(
        models.BPE(vocab=vocabulary, merges=merges, ignore_merges=pre == "llama-bpe")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(_words(pre))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def _sentence_piece(metadata: Mapping, vocabulary: dict[str, int]) -> _Tokenizer:
    """Build a BPE from scores: of all pairs, the one whose union scores best merges first."""
    tokens, types = metadata["tokenizer.ggml.tokens"], metadata["tokenizer.ggml.token_type"]
    scores = metadata["tokenizer.ggml.scores"]
    merges = []
    for token, kind, score in zip(tokens, types, scores, strict=True):
        if kind not in (_NORMAL, _USER_DEFINED):
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                merges.append((-score, vocabulary[left], vocabulary[right], left, right))
    merges.sort()
    unknown = tokens[metadata.get("tokenizer.ggml.unknown_token_id", 0)]
    tokenizer = _Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[m[3:] for m in merges],
            unk_token=unknown,
            byte_fallback=_BYTE in types,
        )
    )
    steps = [normalizers.Replace(" ", "\u2581")]
    if metadata.get("tokenizer.ggml.add_space_prefix", True):
        steps.insert(0, normalizers.Prepend("\u2581"))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return tokenizer


class Tokenizer:
    """The tokenizer and the chat template of one model.

    Parameters
    ----------
    metadata : mapping
        The key-value pairs of a GGUF file.

    Raises
    ------
    ValueError
        The file has no tokenizer, or one of a kind that is not supported.
    """

    def __init__(self, metadata: Mapping):
        kinds = {"gpt2": _byte_level, "llama": _sentence_piece}
        kind = metadata.get("tokenizer.ggml.model")
        if kind not in kinds:
            raise ValueError(f"The file's tokenizer is {kind!r}; expected one of {list(kinds)}.")
        self.tokens: Sequence[str] = metadata["tokenizer.ggml.tokens"]
        self._tokenizer = kinds[kind](metadata, {t: i for i, t in enumerate(self.tokens)})
        types = metadata["tokenizer.ggml.token_type"]
        special = [t for t, k in zip(self.tokens, types, strict=True) if k == _CONTROL]
        self._tokenizer.add_special_tokens(
            [AddedToken(t, special=True, normalized=False) for t in special]
        )
        self.end_of_text: int | None = metadata.get("tokenizer.ggml.eos_token_id")
        self.begin_of_text: int | None = metadata.get("tokenizer.ggml.bos_token_id")
        self._add_bos = metadata.get("tokenizer.ggml.add_bos_token", kind == "llama")
        self._template = metadata.get("tokenizer.chat_template")

    def encode(self, text: str) -> list[int]:
        """Turn text into token ids; the names of special tokens in it become those tokens."""
        return self._tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Turn token ids into text, without the special tokens."""
        return self._tokenizer.decode(list(ids), skip_special_tokens=True)

    def chat(self, question: str) -> str:
        """Wrap one question of a user in the model's chat template, ready for the answer."""
        if self._template is None:
            return question

        def refuse(message):
            raise ValueError(f"The file's chat template refuses the conversation: {message}")

        environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True
        )
        environment.globals["raise_exception"] = refuse
        try:
            return environment.from_string(self._template).render(
                messages=[{"role": "user", "content": question}],
                add_generation_prompt=True,
                bos_token=self._name(self.begin_of_text),
                eos_token=self._name(self.end_of_text),
            )
        except jinja2.TemplateError as error:
            raise ValueError(f"The file's chat template cannot be used: {error}.") from error

    def encode_chat(self, question: str) -> list[int]:
        """Turn a user's question into the token ids that the model continues with an answer."""
        return self._begin(self.encode(self.chat(question)))

    def encode_frame(self, instruction: str) -> tuple[list[int], list[int]]:
        """Give the token ids before and after a text that follows an instruction in a chat."""
        parts = self.chat(instruction + "\0").split("\0")
        if len(parts) != 2:
            raise ValueError(
                f"The file's chat template shows a question {len(parts) - 1} times; expected once."
            )
        before, after = parts
        return self._begin(self.encode(before)), self.encode(after)

    def _begin(self, ids: list[int]) -> list[int]:
        if self._add_bos and ids[:1] != [self.begin_of_text]:
            ids.insert(0, self.begin_of_text)
        return ids

    def _name(self, token: int | None) -> str:
        return "" if token is None else self.tokens[token]
