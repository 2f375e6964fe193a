"""Makes golden/edges.json.gz and golden/logs.json.gz: requests that no task makes, and how lm-eval logs tasks and documents. See README.md."""

import gzip
import json
import os
import sys

import golden  # replaces datasets.load_dataset
from lm_eval import evaluator, utils
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

LONG = os.path.join(golden.HERE, "data/EleutherAI/wikitext_document_level/wikitext-2-raw-v1/test.jsonl")
RUNS = [
    *({k: v for k, v in run.items() if k != "name"} for run in golden.RUNS),
    {"tasks": ["hellaswag"], "shots": 1, "samples": {"hellaswag": [9, 1, 4]}},
    {"tasks": ["winogrande"], "shots": 2, "limit": 0.3},
]


def request(*args):
    kind = "loglikelihood" if len(args) == 2 else "loglikelihood_rolling"
    return Instance(request_type=kind, doc={}, arguments=args, idx=0, metadata=("edge", 0, 1))


def pair_tokens(lm, context, continuation):
    """What lm.loglikelihood hands to the model, taken from its own path."""
    seen = []
    lm._loglikelihood_tokens = lambda requests, **_: seen.extend(requests) or []
    try:
        lm.loglikelihood([request(context, continuation)], disable_tqdm=True)
    finally:
        del lm._loglikelihood_tokens
    return [list(seen[0][1]), list(seen[0][2])]


def windows(lm, text):
    w = utils.get_rolling_token_windows(token_list=lm.tok_encode(text), prefix_token=lm.prefix_token_id, max_seq_len=lm.max_length, context_len=1)
    return [[list(a), list(b)] for a, b in map(utils.make_disjoint_window, w)]


def edges(lm, page):
    first = lm.tokenizer.decode(lm.prefix_token_id)
    pairs = [
        ("", "The harbor"), ("", " The harbor"), ("", first + "The harbor"), (first + "The", " harbor"), ("The harbor  ", "museum"),
        ("The harbor\n", "museum"), ("The harbor \t\n ", " museum"), ("A", "."), ("The har", "bor museum"), ("The harbor " + first, " museum"),
        ("Zürich – “", "naïve” 北京 🙂"), ("A\u00a0", "b"), ("A\u3000\u2003", "b"), ("Answer:", " "), ("Answer:", "  "), ("Answer:", " yes\n"), ("e", "\u0301tude"),
    ]
    n = lm.max_length
    for want in (n - 1, n, n + 1, n + 2, n + 40):  # tokens of both together
        for end in range(want, len(page)):
            if not page[end - 1].isspace() and sum(map(len, pair_tokens(lm, page[:end], " and the museum"))) == want:
                pairs.append((page[:end], " and the museum"))
                break
    texts = ["A", "The harbor", " The harbor\n", first + "The harbor"]
    for want in (n - 1, n, n + 1, 2 * n, 2 * n + 1):
        texts += [page[:end] for end in range(want, len(page)) if len(lm.tok_encode(page[:end])) == want][:1]
    out = {"max_length": n, "prefix_token_id": lm.prefix_token_id, "pairs": [], "rolling": []}
    for context, continuation in pairs:
        (score, greedy), = lm.loglikelihood([request(context, continuation)], disable_tqdm=True)
        out["pairs"].append({"context": context, "continuation": continuation, "tokens": pair_tokens(lm, context, continuation), "score": [float(score), bool(greedy)]})
    for text in texts:
        score, = lm.loglikelihood_rolling([request(text)], disable_tqdm=True)
        out["rolling"].append({"text": text, "windows": windows(lm, text), "score": float(score)})
    return out


def plain(v):
    """What JSON has; of a function, whose source lm-eval logs, only "def" and its name."""
    if isinstance(v, dict):
        return {k: plain(x) for k, x in v.items()}
    if isinstance(v, (list, tuple)):
        return [plain(x) for x in v]
    if callable(v):
        return "def " + v.__name__
    if isinstance(v, str) and v.startswith("def "):
        return v.split("(")[0]
    return v


def logs(spec):
    """Of a model that guesses, since nothing of this depends on it."""
    got = evaluator.simple_evaluate(
        model="dummy", tasks=spec["tasks"], num_fewshot=spec["shots"], limit=spec.get("limit"), samples=spec.get("samples"), log_samples=True,
        task_manager=TaskManager(), fewshot_random_seed=spec.get("seed", 1234), bootstrap_iters=0,
    )
    configs = plain(got["configs"])
    for c in configs.values():
        del c["metadata"]["config_source"]  # where lm-eval is installed
        c["metric_list"] = [m for m in c["metric_list"] if m["metric"] != "acc_bytes"]
    docs = {
        task: [[s["doc_id"], s["doc_hash"][:16], s["prompt_hash"][:16], s["target_hash"][:16]] for s in samples]
        for task, samples in got["samples"].items()
    }
    out = {key: spec.get(key) for key in ("tasks", "shots", "limit", "samples")}
    return out | {"seed": spec.get("seed", 1234), "n-samples": got["n-samples"], "configs": configs, "docs": docs}


def put(name, value):
    with gzip.GzipFile(os.path.join(golden.HERE, "golden", name), "wb", mtime=0) as f:
        f.write(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8"))


def main(parts):
    os.makedirs(os.path.join(golden.HERE, "golden"), exist_ok=True)
    if not parts or "edges" in parts:
        with open(LONG, encoding="utf-8") as f:
            page = max((json.loads(line)["page"] for line in f), key=len)
        models = {}
        for name in ("mistral", "qwen3", "tiny12"):
            lm = HFLM(pretrained=golden.folder_of(name), dtype="float32", device="cpu", batch_size=1, softmax_dtype="float32")
            models[name] = edges(lm, page)
            print(name, len(models[name]["pairs"]), "pairs,", len(models[name]["rolling"]), "texts", flush=True)
        put("edges.json.gz", {"models": models})
    if not parts or "logs" in parts:
        put("logs.json.gz", {"runs": [logs(spec) for spec in RUNS]})


if __name__ == "__main__":
    main(sys.argv[1:])
