"""Makes testdata/lmeval/golden: what lm-evaluation-harness gives on the fixtures. See README.md."""

import gzip
import hashlib
import json
import os
import shutil
import sys
import tempfile

os.environ["HF_DATASETS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = os.environ["TOKENIZERS_PARALLELISM"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # more make small models ten times as slow
import datasets
import torch
import zstandard

HERE = os.path.dirname(os.path.abspath(__file__))


def load_dataset(path, name=None, **_):
    """The fixtures, in place of the hub."""
    folder = os.path.join(HERE, "data", path, name or "")
    splits = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".jsonl"):
            with open(os.path.join(folder, file), encoding="utf-8") as f:
                splits[file[: -len(".jsonl")]] = datasets.Dataset.from_list([json.loads(line) for line in f])
    return datasets.DatasetDict(splits)


datasets.load_dataset = load_dataset

from lm_eval import evaluator  # noqa: E402
from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.models.huggingface import HFLM  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

begin = ConfigurableTask.__init__


def with_acc_bytes(self, *args, config=None, **kwargs):
    """Tasks with acc_norm get lm-eval's acc_bytes too, which their YAML does not ask for."""
    metrics = (config or {}).get("metric_list") or []
    if any(m["metric"] == "acc_norm" for m in metrics):
        config["metric_list"] = [*metrics, {"metric": "acc_bytes", "aggregation": "mean", "higher_is_better": True}]
    begin(self, *args, config=config, **kwargs)


ConfigurableTask.__init__ = with_acc_bytes

ALL = ["arc_easy", "arc_challenge", "hellaswag", "piqa", "winogrande", "mmlu", "boolq", "openbookqa", "wikitext", "lambada_openai"]
RUNS = [
    {"name": "0", "tasks": ALL, "shots": 0},
    {"name": "arc-5", "tasks": ["arc_easy", "arc_challenge"], "shots": 5},
    {"name": "hellaswag-3", "tasks": ["hellaswag"], "shots": 3},
    {"name": "piqa-2", "tasks": ["piqa"], "shots": 2},
    {"name": "winogrande-5", "tasks": ["winogrande"], "shots": 5},
    {"name": "mmlu-5", "tasks": ["mmlu"], "shots": 5},
    {"name": "boolq-2", "tasks": ["boolq"], "shots": 2},
    {"name": "openbookqa-3", "tasks": ["openbookqa"], "shots": 3},
    {"name": "limit", "tasks": ["arc_easy"], "shots": 5, "limit": 4},
    {"name": "samples", "tasks": ["arc_challenge"], "shots": 2, "samples": {"arc_challenge": [1, 3, 7]}},
    {"name": "seed", "tasks": ["piqa"], "shots": 3, "seed": 7},
]


def folder_of(name):
    """The folder of a model; tiny12's weights are compressed in the repository."""
    if name != "tiny12":
        return os.path.join(HERE, "models", name)
    folder = tempfile.mkdtemp()
    for file in os.listdir(os.path.join(HERE, "..", "tiny12")):
        if not file.endswith(".zst"):
            shutil.copy(os.path.join(HERE, "..", "tiny12", file), folder)
    with open(os.path.join(HERE, "..", "tiny12", "model.safetensors.zst"), "rb") as f, open(os.path.join(folder, "model.safetensors"), "wb") as out:
        zstandard.ZstdDecompressor().copy_stream(f, out)
    return folder


def digest(args):
    return hashlib.sha256("\x00".join(args).encode("utf-8")).hexdigest()[:16]


def plain(v):
    return v.item() if hasattr(v, "item") else v


def run(lm, spec):
    got = evaluator.simple_evaluate(
        model=lm, tasks=spec["tasks"], num_fewshot=spec["shots"], limit=spec.get("limit"), samples=spec.get("samples"), log_samples=True,
        task_manager=TaskManager(), fewshot_random_seed=spec.get("seed", 1234), bootstrap_iters=100000,
    )
    out = {"name": spec["name"], "tasks": spec["tasks"], "shots": spec["shots"], "limit": spec.get("limit"), "samples": spec.get("samples"), "seed": spec.get("seed", 1234)}
    for key in ("results", "groups", "group_subtasks", "versions", "n-shot", "higher_is_better", "n-samples"):
        out[key] = got.get(key)
    out["results"] = {task: {k: plain(v) for k, v in r.items()} for task, r in got["results"].items()}
    if out["groups"]:
        out["groups"] = {task: {k: plain(v) for k, v in r.items()} for task, r in got["groups"].items()}
    out["docs"] = {}
    for task, samples in got["samples"].items():
        docs = []
        for n, s in enumerate(sorted(samples, key=lambda s: s["doc_id"])):
            args = [[a["arg_%d" % i] for i in range(len(a))] for a in s["arguments"].values()] if isinstance(s["arguments"], dict) else [list(a) for a in s["arguments"]]
            resps = [r[0] for r in s["resps"]]
            doc = {
                "doc_id": s["doc_id"], "target": s["target"], "requests": [digest(a) for a in args],
                "scores": [[float(r[0]), bool(r[1])] if isinstance(r, (tuple, list)) else [float(r)] for r in resps],
                "metrics": {m: plain(s[m]) for m in s["metrics"]},
            }
            shown = not task.startswith("mmlu_") or task in ("mmlu_anatomy", "mmlu_world_religions")
            if n < 2 and shown:
                doc["arguments"] = args
            if n < 3 and shown and len(args[0]) == 2:
                doc["tokens"] = [list(lm._encode_pair(*a)) if a[0] else None for a in args]
            docs.append(doc)
        out["docs"][task] = docs
    return out


def main(names):
    out = os.path.join(HERE, "golden")
    os.makedirs(out, exist_ok=True)
    for name in names or ["tiny12", *sorted(os.listdir(os.path.join(HERE, "models")))]:
        torch.manual_seed(0)
        lm = HFLM(pretrained=folder_of(name), dtype="float32", device="cpu", batch_size=1, softmax_dtype="float32")
        got = {"model": name, "max_length": lm.max_length, "prefix_token_id": lm.prefix_token_id, "runs": []}
        for spec in RUNS:
            r = run(lm, spec)
            if name != "tiny12" and spec["name"] in ("limit", "samples", "seed"):
                continue
            got["runs"].append(r)
            print(name, spec["name"], {t: v.get("acc,none") for t, v in r["results"].items()} if len(r["results"]) < 12 else "", flush=True)
        with gzip.GzipFile(os.path.join(out, name + ".json.gz"), "wb", mtime=0) as f:
            f.write(json.dumps(got, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
