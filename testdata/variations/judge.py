# What transformers makes of the folders of testdata/variations: python judge.py [AREA...] writes AREA/golden.json.
#
# It calls `go run ./model/modeltest/gen -variations` for the folders, in the repository that it lies in.
import json, os, subprocess, sys, tempfile, warnings

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer

warnings.filterwarnings("ignore")
transformers.logging.set_verbosity_error()
here = os.path.dirname(os.path.abspath(__file__))
LOGITS = [(i * 7919 + 13) % 258 for i in range(40)]  # the tokens whose last logits are compared
PROMPT = [5, 77, 130, 9, 41, 200]


def judged(folder, case):
    out = {}
    try:
        tok = AutoTokenizer.from_pretrained(folder)
        out["texts"] = []
        for text in case["texts"]:
            ids, plain = tok(text).input_ids, tok(text, add_special_tokens=False).input_ids
            # "raw" is of text in which special tokens mean nothing.
            raw = tok(text, add_special_tokens=False, split_special_tokens=True).input_ids
            out["texts"].append({"text": text, "ids": ids, "plain": plain, "raw": raw, "decoded": tok.decode(ids), "skipped": tok.decode(ids, skip_special_tokens=True)})
        out["bos"], out["eos"], out["pad"] = tok.bos_token_id, tok.eos_token_id, tok.pad_token_id
    except Exception as e:
        out["tokenizer_error"] = one_line(e)
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").double().eval()
        with torch.no_grad():
            logits = model(torch.tensor([LOGITS])).logits[0, -1]
            out["logits"] = [float("%.9g" % v) for v in logits[::25].tolist()]
            out["argmax"] = int(logits.argmax())
            ids = torch.tensor([PROMPT])
            out["greedy"] = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, num_beams=1, max_new_tokens=12)[0, len(PROMPT):].tolist()
    except Exception as e:
        out["model_error"] = one_line(e)
    return out


def one_line(e):
    return (type(e).__name__ + ": " + " ".join(str(e).split()))[:200]


def main():
    root = os.path.dirname(os.path.dirname(here))
    with tempfile.TemporaryDirectory() as folders:
        subprocess.run(["go", "run", "./model/modeltest/gen", "-variations", here, folders], cwd=root, check=True)
        areas = {}
        for case in json.load(open(os.path.join(folders, "index.json"))):
            if len(sys.argv) > 1 and case["area"] not in sys.argv[1:]:
                continue
            got = judged(os.path.join(folders, case["folder"]), case)
            areas.setdefault(case["area"], []).append({"name": case["name"], **got})
            print(case["area"], "|", case["name"], "|", got.get("tokenizer_error", ""), got.get("model_error", ""), file=sys.stderr)
    for area, cases in areas.items():
        with open(os.path.join(here, area, "golden.json"), "w") as f:
            lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
            f.write('{"transformers": "%s", "torch": "%s", "cases": [\n%s\n]}\n' % (transformers.__version__, torch.__version__, lines))


main()
