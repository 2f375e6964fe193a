#!/usr/bin/env python3
"""A tiny Llama as GGUF with every type that the Python package gguf can quantize to, and what the Hugging Face folder of it holds: tiny.gguf,
pieces.gguf (a SentencePiece vocabulary without weights) and model.json.

usage: model.py LLAMA-TOKENIZE      made with gguf 0.19.0, numpy 2 and llama-tokenize of llama-cpp-python 0.3.36
"""
import hashlib
import json
import subprocess
import sys

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFWriter, quants

HIDDEN, HEADS, KV, DIM, FF, LAYERS = 32, 4, 2, 8, 64, 2
rng = np.random.default_rng(13)


def byte_chars():
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in keep]
    table = {b: chr(b) for b in keep} | {b: chr(256 + i) for i, b in enumerate(rest)}
    return [table[b] for b in range(256)]


MERGES = ["Ġ t", "h e", "Ġt he", "i n", "Ġ Ġ", "1 2"]
SPECIAL = [("<|end|>", 3), ("<|user|>", 3), ("<tool>", 4), ("[PAD265]", 5)]
TOKENS = byte_chars() + [m.replace(" ", "") for m in MERGES] + [t for t, _ in SPECIAL]
TYPES = [1] * (256 + len(MERGES)) + [kind for _, kind in SPECIAL]
TEXTS = ["the cat in the  hat<|user|>12123\n\n<tool> x <|end|>", " ünïcödé 🙂   \t the", ""]

# The types of each layer's tensors.
KINDS = {
    "attn_q": (T.Q4_0, T.F32), "attn_k": (T.Q4_1, T.Q8_0), "attn_v": (T.Q5_1, T.Q5_0), "attn_output": (T.BF16, T.BF16),
    "ffn_gate": (T.F16, T.Q5_1), "ffn_up": (T.Q8_0, T.F16), "ffn_down": (T.Q4_1, T.F16),
}
SHAPES = {
    "attn_q": (HEADS * DIM, HIDDEN), "attn_k": (KV * DIM, HIDDEN), "attn_v": (KV * DIM, HIDDEN), "attn_output": (HIDDEN, HEADS * DIM),
    "ffn_gate": (FF, HIDDEN), "ffn_up": (FF, HIDDEN), "ffn_down": (HIDDEN, FF),
}
NAMES = {
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
}
# What one operation reads together: vkcome gives it one dtype, in all layers.
GROUPS = [["attn_q", "attn_k", "attn_v"], ["attn_output"], ["ffn_gate", "ffn_up"], ["ffn_down"]]


def unpermute(w, heads):
    return w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def stored(values, kind):
    """The bytes of values in a dtype, as safetensors has them."""
    if kind == "BF16":
        return quants.quantize(np.ascontiguousarray(values), T.BF16).tobytes()
    return np.ascontiguousarray(values).astype({"F16": np.float16, "F32": np.float32}[kind]).tobytes()


def dtype(kinds):
    plain = {k.name if k.name in ("F32", "BF16") else "F16" for k in kinds}
    return plain.pop() if len(plain) == 1 else "F32"


golden = {"tensors": {}, "texts": TEXTS}


def expect(name, values, kind):
    golden["tensors"][name] = {"dtype": kind, "shape": list(values.shape), "sha256": hashlib.sha256(stored(values, kind)).hexdigest()}


def model(path):
    w = GGUFWriter(path, "llama")
    w.add_name("tiny")
    w.add_block_count(LAYERS)
    w.add_context_length(128)
    w.add_embedding_length(HIDDEN)
    w.add_feed_forward_length(FF)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV)
    w.add_rope_freq_base(500000.0)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(len(TOKENS))
    w.add_rope_dimension_count(DIM)
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("smollm")
    w.add_token_list(TOKENS)
    w.add_token_types(TYPES)
    w.add_token_merges(MERGES)
    w.add_bos_token_id(TOKENS.index("<|user|>"))
    w.add_eos_token_id(TOKENS.index("<|end|>"))
    w.add_eot_token_id(TOKENS.index("<|user|>"))
    w.add_add_bos_token(False)
    w.add_chat_template("{{ messages[0].content }}")

    def tensor(name, values, kind):
        if kind == T.F32:
            w.add_tensor(name, values)
            return values
        raw = quants.quantize(values, kind)
        w.add_tensor(name, raw, raw_dtype=kind)
        return quants.dequantize(raw, kind)

    def random(*shape):
        return (rng.standard_normal(shape) * 0.2).astype(np.float32)

    expect("model.embed_tokens.weight", tensor("token_embd.weight", random(len(TOKENS), HIDDEN), T.Q8_0), "F16")
    for layer in range(LAYERS):
        for group in GROUPS:
            kind = dtype([k for n in group for k in KINDS[n]])
            for n in group:
                values = tensor(f"blk.{layer}.{n}.weight", random(*SHAPES[n]), KINDS[n][layer])
                values = unpermute(values, {"attn_q": HEADS, "attn_k": KV}[n]) if n in ("attn_q", "attn_k") else values
                expect(f"model.layers.{layer}.{NAMES[n]}.weight", values, kind)
        for n in ("attn_norm", "ffn_norm"):
            expect(f"model.layers.{layer}.{NAMES[n]}.weight", tensor(f"blk.{layer}.{n}.weight", 1 + random(HIDDEN), T.F32), "F32")
    expect("model.norm.weight", tensor("output_norm.weight", 1 + random(HIDDEN), T.F32), "F32")
    # what the converter writes for the rope_type llama3 with factor 32
    freqs = 1.0 / (500000.0 ** (np.arange(0, DIM, 2, dtype=np.float32) / DIM))
    turns = 8192 * freqs / (2 * np.pi)
    smooth = np.clip((turns - 1) / 3, 0, 1)
    tensor("rope_freqs.weight", (1 / ((1 - smooth) / 32 + smooth)).astype(np.float32), T.F32)
    finish(w)


def pieces(path):
    """A SentencePiece vocabulary, whose scores decide what is merged."""
    words = ["▁", "t", "h", "e", "c", "a", "i", "n", "▁t", "th", "he", "▁the", "the", "in", "▁in", "at", "cat", "▁c", "▁cat"]
    tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + words + ["<tool>"]
    w = GGUFWriter(path, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list(tokens)
    w.add_token_scores([0.0] * 259 + [-float(i * 7 % 13) for i in range(len(words))] + [0.0])
    w.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(words) + [4])
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    finish(w)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def ids(path):
    """The ids that llama.cpp gives the texts."""
    out = []
    for text in TEXTS:
        run = subprocess.run([sys.argv[1], "-m", path, "--stdin", "--ids", "--no-bos"], input=text.encode(), capture_output=True, check=True)
        out.append(json.loads(run.stdout))
    return out


model("tiny.gguf")
pieces("pieces.gguf")
golden["ids"], golden["pieces"] = ids("tiny.gguf"), ids("pieces.gguf")
with open("model.json", "w") as f:
    json.dump(golden, f, indent=1, ensure_ascii=False)
    f.write("\n")
