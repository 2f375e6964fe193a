"""Writes testdata/lmeval/models: two tiny random models of other architectures than tiny12's, with tokenizers trained on the fixtures."""

import json
import os

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))


def texts():
    for folder, _, files in sorted(os.walk(os.path.join(HERE, "data"))):
        for file in sorted(files):
            with open(os.path.join(folder, file), encoding="utf-8") as f:
                for line in f:
                    for value in json.loads(line).values():
                        if isinstance(value, str):
                            yield value


def byte_level():
    """As Qwen's: bytes, no token at the beginning."""
    t = tokenizers.Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(tokenizers.Regex(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])
    t.post_processor = processors.ByteLevel(add_prefix_space=False, use_regex=False)
    t.decoder = decoders.ByteLevel(add_prefix_space=False, use_regex=False)
    t.train_from_iterator(texts(), trainers.BpeTrainer(vocab_size=600, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), special_tokens=["<|endoftext|>"]))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=t, eos_token="<|endoftext|>", pad_token="<|endoftext|>")


def sentence_piece():
    """As Mistral's: words begin with ▁, unknown characters fall back to bytes, and <s> comes before every text."""
    t = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=640, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=70, max_token_length=9)
    t.train_from_iterator((word for text in texts() for word in text.split(" ")), trainer)
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    raw = json.loads(t.to_str())
    raw["added_tokens"] = [a for a in raw["added_tokens"] if a["content"] in special]  # bytes are tokens of the model alone
    t = tokenizers.Tokenizer.from_str(json.dumps(raw))
    return transformers.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def write(name, config, tokenizer, dtype, seed):
    folder = os.path.join(HERE, "models", name)
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "norm" in key:
                p.copy_(1 + 0.2 * torch.randn(p.shape))
            elif "embed" in key or "lm_head" in key:
                p.copy_(0.45 * torch.randn(p.shape))
            else:
                p.copy_(1.6 * torch.randn(p.shape) / p.shape[-1] ** 0.5)
    model.to(dtype).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    again = transformers.AutoTokenizer.from_pretrained(folder)
    sample = "A text with  spaces, 12 numbers\n\nand Zoë's café."
    assert again.encode(sample) == tokenizer.backend_tokenizer.encode(sample).ids, (again, sample)
    print(name, sum(p.numel() for p in model.parameters()), "parameters,", len(tokenizer), "tokens;", again.encode("Zoë and a word"))


def main():
    common = {"hidden_size": 32, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    t = byte_level()
    write("qwen3", transformers.Qwen3Config(vocab_size=len(t), max_position_embeddings=384, rope_theta=10000.0, tie_word_embeddings=True,
                                            eos_token_id=t.eos_token_id, bos_token_id=None, **common), t, torch.float32, 1)
    t = sentence_piece()
    write("mistral", transformers.MistralConfig(vocab_size=len(t), max_position_embeddings=320, sliding_window=48, rope_theta=10000.0, tie_word_embeddings=False,
                                                bos_token_id=1, eos_token_id=2, **common), t, torch.bfloat16, 2)


main()
