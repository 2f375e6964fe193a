"""Puts the logits of transformers for models of model/modeltest into logits.json beside it: python logits.py NAME:DTYPE..."""
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import torch
import transformers
from transformers import AutoModelForCausalLM

here = pathlib.Path(__file__).resolve().parent
path = here / "logits.json"
data = json.loads(path.read_text())
for arg in sys.argv[1:]:
    name, dtype = arg.split(":")
    with tempfile.TemporaryDirectory() as top:
        folder = pathlib.Path(top) / "m"
        subprocess.run(["go", "run", "./model/modeltest/gen", "-arch", name, "-dtype", dtype, "-vocab", "61", folder], check=True, cwd=here.parent.parent)
        m = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").double().eval()
        tokens = [(i * 7919 + 13) % 61 for i in range(40)]
        with torch.no_grad():
            whole = m(torch.tensor([tokens])).logits[0, -1]
            cache = m(torch.tensor([tokens[:30]]), use_cache=True).cache
            for token in tokens[30:]:
                step = m(torch.tensor([[token]]), cache=cache, use_cache=True)
                cache = step.cache
        # its softmax is of float32
        if not torch.allclose(step.logits[0, -1], whole, rtol=0, atol=1e-5):
            sys.exit(f"{name}: transformers says otherwise with its cache: by {(step.logits[0, -1] - whole).abs().max()}")
        sha = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    data = [c for c in data if c["arch"] != name]
    data.append({"arch": name, "dtype": dtype, "sha256": sha, "tokens": tokens, "logits": whole.tolist()})
data.sort(key=lambda c: c["arch"])
path.write_text(json.dumps(data))
print(transformers.__version__, torch.__version__)
