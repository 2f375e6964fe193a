"""Makes chat.json.gz: what lm-eval asks of the fixtures with chat templates and system instructions. See README.md."""

import gzip
import hashlib
import json
import os

import golden  # replaces datasets.load_dataset
import lm_eval
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from transformers.utils.chat_template_utils import render_jinja_template

TASKS = [t for t in golden.ALL if t != "mmlu"] + ["mmlu_anatomy", "mmlu_world_religions"]


class Tokenizer:
    """What HFLM.apply_chat_template calls of a tokenizer."""

    def __init__(self, template):
        self.template = template

    def apply_chat_template(self, history, tokenize, **options):
        return render_jinja_template([history], chat_template=self.template, bos_token="<s>", eos_token="</s>", **options)[0][0]


class Chatting(LM):
    tokenizer_name = "of the fixtures"
    chat_template_args = {}
    apply_chat_template = HFLM.apply_chat_template

    def __init__(self, template):
        super().__init__()
        self.tokenizer = Tokenizer(template)

    def chat_template(self, chat_template=False):
        return self.tokenizer.template

    def loglikelihood(self, requests):
        return [(-1.0, False) for _ in requests]

    def loglikelihood_rolling(self, requests):
        return [-1.0 for _ in requests]

    def generate_until(self, requests):
        raise NotImplementedError


runs = []
for template, shots, multiturn, system in [
    ("own-zephyr", 0, False, None),
    ("own-zephyr", 2, True, None),
    ("own-zephyr", 2, False, None),
    ("own-zephyr", 3, True, "You answer."),
    ("own-zephyr", 1, False, "You answer.\n"),
    ("own-nosystem", 1, True, "Be brief."),
    ("own-nosystem", 2, False, None),
    (None, 2, False, "Answer:"),
    (None, 0, False, "Answer: "),
]:
    source = None
    if template:
        with open(os.path.join(golden.HERE, "..", "chat", "templates", template + ".jinja"), encoding="utf-8") as f:
            source = f.read()
    got = lm_eval.simple_evaluate(
        model=Chatting(source), tasks=TASKS, num_fewshot=shots, limit=5, log_samples=True, fewshot_random_seed=1234, bootstrap_iters=0,
        apply_chat_template=bool(template), fewshot_as_multiturn=multiturn, system_instruction=system,
    )
    docs = {}
    for task, samples in got["samples"].items():
        docs[task] = []
        for n, s in enumerate(sorted(samples, key=lambda s: s["doc_id"])):
            doc = {"doc_id": s["doc_id"], "requests": [hashlib.sha256("\x00".join(a).encode()).hexdigest()[:16] for a in s["arguments"]]}
            if n == 0:
                doc["arguments"] = [list(a) for a in s["arguments"]]
            docs[task].append(doc)
    runs.append({"template": template, "shots": shots, "multiturn": multiturn, "system": system, "limit": 5, "docs": docs})
with gzip.GzipFile(os.path.join(golden.HERE, "chat.json.gz"), "wb", mtime=0) as f:
    f.write(json.dumps({"runs": runs}, ensure_ascii=False, separators=(",", ":")).encode())
