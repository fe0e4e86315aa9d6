"""Writes a small random llama as a GGUF file, so that tests of the model need no download."""

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

WORDS = ("the", "he", "in", "er", "an", "ing")
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_characters():
    """Name the 256 bytes as byte-level BPE does: printable ones by themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(b if b in printable else next(rest)) for b in range(256)]


def vocabulary():
    """Give the tokens and the merges that build WORDS."""
    tokens, merges = [*SPECIAL, *byte_characters()], []
    for word in WORDS:
        for end in range(2, len(word) + 1):
            pair = f"{word[: end - 1]} {word[end - 1]}"
            if pair not in merges:
                merges.append(pair)
            if word[:end] not in tokens:
                tokens.append(word[:end])
    return tokens, merges


def write_tiny_llama(
    path,
    *,
    weights=Type.Q4_1,
    embedding=Type.Q8_0,
    tied=True,
    seed=0,
    context=256,
    architecture="llama",
    without=(),
    extra=(),
    types=None,
    metadata=None,
    template=TEMPLATE,
):
    """Write a llama of 2 layers, 4 heads and 2 key-value heads, width 64.

    Parameters
    ----------
    path : path-like
        Where to write.
    weights, embedding : GGMLQuantizationType
        The types of the matrices, and of the embedding and the head.
    tied : bool
        Whether the embedding is the output head as well.
    seed : int
        Of the random weights.
    context : int
        The model's context length.
    architecture : str
        What the file calls itself.
    without, extra : sequence of str
        Tensors that are left out, and norms that are added under a name.
    types : dict
        Types of single tensors by name.
    metadata : dict
        Further floats, or strings, under "llama.".
    template : str
        The chat template.
    """
    layers, width, heads, kv_heads, hidden = 2, 64, 4, 2, 96
    head_size = width // heads
    tokens, merges = vocabulary()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(layers)
    writer.add_context_length(context)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(hidden)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(head_size)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * len(SPECIAL) + [1] * (len(tokens) - len(SPECIAL)))
    writer.add_token_merges(merges)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(template)
    for key, value in (metadata or {}).items():
        add = writer.add_string if isinstance(value, str) else writer.add_float32
        add(f"llama.{key}", value)

    random = np.random.default_rng(seed)
    types = types or {}

    def add(name, shape, kind, scale):
        if name in without:
            return
        data = random.normal(0, scale, shape).astype(np.float32)
        kind = types.get(name, kind)
        if kind in (Type.F32, Type.F16):
            writer.add_tensor(name, data.astype(np.float32 if kind == Type.F32 else np.float16))
        else:
            writer.add_tensor(name, quants.quantize(data, kind), raw_dtype=kind)

    def norm(name):
        if name not in without:
            writer.add_tensor(name, random.uniform(0.5, 1.5, width).astype(np.float32))

    add("token_embd.weight", (len(tokens), width), embedding, 1.0)
    for i in range(layers):
        name = f"blk.{i}"
        norm(f"{name}.attn_norm.weight")
        add(f"{name}.attn_q.weight", (width, width), weights, 0.2)
        add(f"{name}.attn_k.weight", (kv_heads * head_size, width), weights, 0.2)
        add(f"{name}.attn_v.weight", (kv_heads * head_size, width), weights, 0.2)
        add(f"{name}.attn_output.weight", (width, width), weights, 0.2)
        norm(f"{name}.ffn_norm.weight")
        add(f"{name}.ffn_gate.weight", (hidden, width), weights, 0.2)
        add(f"{name}.ffn_up.weight", (hidden, width), weights, 0.2)
        add(f"{name}.ffn_down.weight", (width, hidden), weights, 0.2)
    norm("output_norm.weight")
    if not tied:
        add("output.weight", (len(tokens), width), embedding, 0.2)
    for name in extra:
        norm(name)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
