"""Compares tokenizers of folders: what AutoTokenizer of transformers makes of each case, as variations.json for TestVariations.

  python judge.py variations.json variations.json   the committed cases anew; the first may be a list of cases
  python judge.py --random 500 SEED FILE            random ones, for go test -run Variations -variations FILE
  python judge.py --pieces sentencepiece.json       the texts of this file anew, for TestSentencePiece

Made with transformers 5.24.0, tokenizers 0.23.3, sentencepiece 0.2.1, protobuf 7.36.2 (no mistral-common).
A case names a base, a set of files, and edits them: set and delete of keys, patch by JSON pointer, write, remove.
"""
import copy, json, os, random, shutil, sys, tempfile, warnings

os.environ["HF_HUB_OFFLINE"] = "1"
warnings.filterwarnings("ignore")
HERE = os.path.dirname(os.path.abspath(__file__))
import transformers
from transformers import AutoTokenizer

transformers.utils.logging.set_verbosity(50)


def plain(cls):
    return {"tokenizer_class": cls}


def base(arch, tokenizer, config=None, **more):
    files = {"config.json": {"model_type": arch}, "tokenizer.json": "@" + tokenizer}
    if config is not None:
        files["tokenizer_config.json"] = config
    files.update(more)
    return {k: v for k, v in files.items() if v}


BASES = {
    "gpt2": base("gpt2", "gpt2.json", plain("GPT2Tokenizer")),
    "neox": base("gpt_neox", "gpt2.json", plain("GPTNeoXTokenizer")),
    "llama3": base("llama", "llama3.json", plain("PreTrainedTokenizerFast")),
    "llama3 as llama": base("llama", "llama3.json", plain("LlamaTokenizer")),
    "mistral": base("mistral", "llama3.json", plain("LlamaTokenizer")),
    "qwen2": base("qwen2", "qwen2.json", plain("Qwen2Tokenizer")),
    "qwen3": base("qwen3", "qwen2.json", plain("Qwen2Tokenizer")),
    "qwen3.5": base("qwen3_5", "qwen2.json", plain("Qwen2Tokenizer")),
    "llama2": base("llama", "llama2.json", plain("LlamaTokenizer")),
    "llama2 plain": base("llama", "llama2.json", plain("PreTrainedTokenizerFast")),
    "gemma": base("gemma2", "llama2.json", plain("GemmaTokenizer")),
    "cohere": base("cohere", "gpt2.json", plain("CohereTokenizer")),
    "metaspace": base("granite", "metaspace.json", plain("GPT2Tokenizer")),
    "metaspace split": base("olmo2", "metaspace_split.json", {}),
    "opt": base("opt", "", plain("GPT2Tokenizer"), **{"tokenizer.json": None, "vocab.json": "@gpt2_vocab.json", "merges.txt": "@gpt2_merges.txt"}),
    "qwen2 vocab": base("qwen2", "", plain("Qwen2Tokenizer"), **{"tokenizer.json": None, "vocab.json": "@gpt2_vocab.json", "merges.txt": "@gpt2_merges.txt"}),
    "pieces llama": base("llama", "", plain("LlamaTokenizer"), **{"tokenizer.json": None, "tokenizer.model": "@sp_bytes.model"}),
    "pieces gemma": base("gemma", "", plain("GemmaTokenizer"), **{"tokenizer.json": None, "tokenizer.model": "@sp_bytes.model"}),
    "pieces mistral": base("mistral", "", {}, **{"tokenizer.json": None, "tokenizer.model": "@sp_bytes.model"}),
    "pieces unknown": base("mistral", "", {}, **{"tokenizer.json": None, "tokenizer.model": "@sp_unknown.model"}),
    "pieces user": base("mistral", "", {}, **{"tokenizer.json": None, "tokenizer.model": "@sp_user.model"}),
    "pieces unused": base("mistral", "", {}, **{"tokenizer.json": None, "tokenizer.model": "@sp_unused.model"}),
    "pieces user llama": base("llama", "", plain("LlamaTokenizer"), **{"tokenizer.json": None, "tokenizer.model": "@sp_user.model"}),
}

TEXTS = ["The layers that keep", " a  b\tc\n\n d", "x<new>y <new> z  <pad> <s>a</s><|im_start|>b", "don't DON'T 12345 é 字 😀\u00a0…", "", "▁a ▁▁b"]


def load(value):
    if isinstance(value, str) and value.startswith("@"):
        with open(os.path.join(HERE, value[1:]), "rb") as f:
            raw = f.read()
        return json.loads(raw) if value.endswith(".json") else raw
    return copy.deepcopy(value)


def pointer(doc, path, value):
    parts = [p.replace("~1", "/").replace("~0", "~") for p in path.split("/")[1:]]
    for p in parts[:-1]:
        doc = doc[int(p)] if isinstance(doc, list) else doc[p]
    if isinstance(doc, list):
        if parts[-1] == "-":
            doc.append(value)
        else:
            doc[int(parts[-1])] = value
    else:
        doc[parts[-1]] = value


def files(case):
    out = {name: load(v) for name, v in BASES[case["base"]].items()}
    for name, edit in case.get("files", {}).items():
        if edit.get("remove"):
            out.pop(name, None)
            continue
        if "write" in edit:
            out[name] = copy.deepcopy(edit["write"])
        for k, v in edit.get("set", {}).items():
            out.setdefault(name, {})[k] = v
        for k in edit.get("delete", []):
            out[name].pop(k, None)
        for p in edit.get("patch", []):
            pointer(out[name], p["path"], p["value"])
    return out


def judge(case):
    dir = tempfile.mkdtemp()
    try:
        for name, v in files(case).items():
            raw = v if isinstance(v, bytes) else v.encode() if isinstance(v, str) else json.dumps(v, ensure_ascii=False).encode()
            with open(os.path.join(dir, name), "wb") as f:
                f.write(raw)
        try:
            t = AutoTokenizer.from_pretrained(dir)
            out = {"class": type(t).__name__, "named": t.special_tokens_map, "texts": []}
            out["added"] = [[i, a.content, a.lstrip, a.rstrip, a.single_word, a.normalized, a.special] for i, a in sorted(t.added_tokens_decoder.items())]
            for text in case.get("texts", TEXTS):
                ids = t.encode(text)
                bare = t.encode(text, add_special_tokens=False)
                raw = t.encode(text, add_special_tokens=False, split_special_tokens=True)
                one = {"ids": ids, "decoded": t.decode(ids)}
                if bare != ids:
                    one["bare"] = bare
                if raw != bare:
                    one["raw"] = raw
                if (skipped := t.decode(ids, skip_special_tokens=True)) != one["decoded"]:
                    one["skipped"] = skipped
                out["texts"].append(one)
            return out
        except BaseException as e:  # a panic of Rust is none of Exception
            if isinstance(e, KeyboardInterrupt):
                raise
            return {"refused": type(e).__name__ + ": " + str(e).split("\n")[0].replace(dir, "DIR")[:120]}
    finally:
        shutil.rmtree(dir)


def pick(r, *options):
    return r.choice(options)


def random_token(r, content=None):
    t = {"content": content or pick(r, "<new>", "<pad>", "<s>", "</s>", "<unk>", "a", "The", "layers", "<|im_start|>", "<x>", "  ", "é", " b")}
    for k in ["lstrip", "rstrip", "single_word", "normalized", "special"]:
        if r.random() < 0.8:
            t[k] = r.random() < 0.4
    return t


def random_case(r, n):
    name = r.choice(list(BASES))
    has_json = "tokenizer.json" in BASES[name]
    words = ["<new>", "<pad>", "<s>", "</s>", "<unk>", "a", "The", "<|im_start|>", "<x>", "<y>", "<|endoftext|>"]
    edits = {}
    config = {}
    for k in ["bos_token", "eos_token", "pad_token", "unk_token", "mask_token", "image_token"]:
        x = r.random()
        if x < 0.3:
            config[k] = r.choice(words)
        elif x < 0.36:
            config[k] = {"__type": "AddedToken", **random_token(r, r.choice(words))}
        elif x < 0.4:
            config[k] = None
    if r.random() < 0.3:
        config["added_tokens_decoder"] = {str(r.choice([0, 1, 5, 300, 511, 512, 600, 601])): random_token(r) for _ in range(r.randint(0, 4))}
    for k in ["additional_special_tokens", "extra_special_tokens"]:
        x = r.random()
        if x < 0.15:
            config[k] = r.sample(words, r.randint(0, 3))
        elif x < 0.2:
            config[k] = [{"__type": "AddedToken", **random_token(r)}]
        elif x < 0.25 and k[0] == "e":
            config[k] = {"video_token": r.choice(words), "odd": r.choice(words)}
    for k in ["add_bos_token", "add_eos_token", "add_prefix_space", "legacy", "split_special_tokens", "clean_up_tokenization_spaces"]:
        x = r.random()
        if x < 0.25 and (k != "split_special_tokens" or x < 0.05):
            config[k] = x < 0.15
        elif x < 0.28 and k in ("legacy",):
            config[k] = None
    if r.random() < 0.2:
        config["tokenizer_class"] = r.choice(["LlamaTokenizer", "LlamaTokenizerFast", "GPT2Tokenizer", "Qwen2TokenizerFast", "GemmaTokenizerFast", "PreTrainedTokenizerFast", "TokenizersBackend", "PreTrainedTokenizer"])
    if config:
        edits["tokenizer_config.json"] = {"set": config}
    if r.random() < 0.1:
        edits["tokenizer_config.json"] = {"remove": True}
    if r.random() < 0.35:
        m = {}
        for k in ["bos_token", "eos_token", "pad_token", "unk_token", "cls_token", "sound_token"]:
            x = r.random()
            if x < 0.25:
                m[k] = r.choice(words)
            elif x < 0.4:
                m[k] = random_token(r, r.choice(words))
        x = r.random()
        if x < 0.2:
            m["additional_special_tokens"] = r.sample(words, 2)
        elif x < 0.3:
            m["extra_special_tokens"] = r.sample(words, 2)
        elif x < 0.35:
            m["extra_special_tokens"] = [random_token(r)]
        elif x < 0.4:
            m["extra_special_tokens"] = {"odd": r.choice(words)}
        edits["special_tokens_map.json"] = {"write": m}
    if r.random() < 0.3:
        edits["added_tokens.json"] = {"write": {w: r.choice([300, 400, 512, 513, 514, 700]) for w in r.sample(words, r.randint(1, 3))}}
    if has_json and r.random() < 0.5:
        patch = []
        if r.random() < 0.5:
            for i in range(r.randint(1, 3)):
                t = {"id": r.choice([0, 3, 400, 512, 600]), "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False, **random_token(r)}
                patch.append({"path": "/added_tokens/-", "value": t})
        if r.random() < 0.3:
            patch.append({"path": "/normalizer", "value": r.choice([None, {"type": "NFC"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": r.random() < 0.5},
                {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]},
                {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}])})
        if r.random() < 0.3:
            ids = [r.choice([0, 1, 2, 3]) for _ in range(2)]
            template = {"type": "TemplateProcessing", "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "single": [{"SpecialToken": {"id": "one", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "two", "type_id": 0}}],
                "special_tokens": {"one": {"id": "one", "ids": ids[:1], "tokens": ["x"]}, "two": {"id": "two", "ids": ids, "tokens": ["x", "y"]}}}
            patch.append({"path": "/post_processor", "value": r.choice([None, template, {"type": "Sequence", "processors": [{"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}, template]},
                {"type": "RobertaProcessing", "sep": ["</s>", ids[0]], "cls": ["<s>", ids[1]], "trim_offsets": True, "add_prefix_space": False}])})
        if r.random() < 0.3:
            pre = {"type": r.choice(["Digits", "Punctuation", "WhitespaceSplit", "Whitespace"])}
            if pre["type"] == "Digits":
                pre["individual_digits"] = r.random() < 0.5
            if pre["type"] == "Punctuation":
                pre["behavior"] = r.choice(["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"])
            patch.append({"path": "/pre_tokenizer", "value": {"type": "Sequence", "pretokenizers": [pre, {"type": "ByteLevel", "add_prefix_space": r.random() < 0.5, "trim_offsets": True, "use_regex": r.random() < 0.5}]}})
        if patch:
            edits["tokenizer.json"] = {"patch": patch}
    return {"name": "random %d" % n, "base": name, "files": edits, "texts": [TEXTS[1], TEXTS[2], random_text(r)]}


def random_text(r):
    parts = ["The", " layers", "a", " ", "  ", "\n", "\t", "<new>", "<pad>", "<s>", "</s>", "<x>", "<y>", "<|im_start|>", "<|endoftext|>", "é", "e\u0301", "字", "😀", "1", "23", ".", ",", "'s", "'S", "▁", "\u00a0", "ß", "ſ", "<unk>", "_", "—"]
    return "".join(r.choice(parts) for _ in range(r.randint(1, 25)))


def pieces(path):
    """Has each tokenizer.model of the file read by TokenizersBackend, as the folder of a model without a class of its own."""
    with open(path) as f:
        doc = json.load(f)
    doc["note"] = "made by judge.py with transformers " + transformers.__version__ + " from models trained with sentencepiece on a text written for this test"
    for t in doc["tokenizers"]:
        dir = tempfile.mkdtemp()
        shutil.copy(os.path.join(HERE, t["file"]), os.path.join(dir, "tokenizer.model"))
        with open(os.path.join(dir, "config.json"), "w") as f:
            f.write('{"model_type":"mistral"}')
        tok = AutoTokenizer.from_pretrained(dir)
        for c in t["cases"]:
            c["ids"] = tok.encode(c["text"], add_special_tokens=False, split_special_tokens=True)
        for c in t["cases"] + t["decode"]:
            c.pop("skipped", None)
            c["skipped"] = tok.decode(c["ids"], skip_special_tokens=True)
            if c["skipped"] == c.get("text"):
                del c["skipped"]
        shutil.rmtree(dir)
    with open(path, "w") as f:
        f.write('{"note":%s,"tokenizers":[' % json.dumps(doc["note"]))
        for i, t in enumerate(doc["tokenizers"]):
            f.write(("," if i else "") + '{"file":%s' % json.dumps(t["file"]))
            for k in ["cases", "decode"]:
                f.write(',"%s":[\n' % k + ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in t[k]) + "]")
            f.write("}")
        f.write("]}\n")


def main():
    if sys.argv[1] == "--pieces":
        return pieces(sys.argv[2])
    if sys.argv[1] == "--random":
        r = random.Random(int(sys.argv[3]))
        cases, out = [random_case(r, n) for n in range(int(sys.argv[2]))], sys.argv[4]
    else:
        with open(sys.argv[1]) as f:
            cases, out = json.load(f), sys.argv[2]
        if isinstance(cases, dict):
            cases = cases["cases"]
    for case in cases:
        case["golden"] = judge(case)
    note = "made by judge.py with transformers " + transformers.__version__
    bases = {b: BASES[b] for b in sorted({c["base"] for c in cases})}
    with open(out, "w") as f:
        f.write('{"note":%s,"texts":%s,"bases":%s,"cases":[\n' % (json.dumps(note), json.dumps(TEXTS, ensure_ascii=False), json.dumps(bases)))
        f.write(",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases))
        f.write("\n]}\n")
    refused = sum("refused" in c["golden"] for c in cases)
    print(len(cases), "cases,", refused, "refused by transformers")


main()
