"""Makes golden.json: what llama.cpp's converter makes of the models of TestConverter, key by key and tensor by tensor.

go test ./model/convert -run TestConverter -folders /tmp/models
python golden.py LLAMA /tmp/models > golden.json

LLAMA is the llama.cpp that llama-cpp-python 0.3.36 vendors; transformers 5.24, torch 2.15, sentencepiece 0.2. The converter knows a tokenizer's
way to cut words by a hash of ids; for these small tokenizers the test says what it is."""
import hashlib, json, os, runpy, struct, sys, tempfile

llama, folders = sys.argv[1:3]
sys.path[:0] = [llama, os.path.join(llama, "gguf-py")]
import gguf
from conversion import base

def value(field):
    """A value with its types, an array of more than eight as a hash, of floats as of their bits."""
    v = field.contents()
    if isinstance(v, list) and v and isinstance(v[0], float):
        v = [struct.unpack("I", struct.pack("f", x))[0] for x in v]
    if isinstance(v, list) and len(v) > 8:
        v = hashlib.sha256(json.dumps(v, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()[:16]
    return [" ".join(t.name.lower() for t in field.types), v]

golden = {}
for case in json.load(open(os.path.join(folders, "cases.json"))):
    for kind in case["types"]:
        with tempfile.TemporaryDirectory() as tmp:
            out = os.path.join(tmp, "out.gguf")
            base.TextModel.get_vocab_base_pre = lambda self, tokenizer: case["pre"]
            program = os.path.join(llama, "convert_hf_to_gguf.py")
            sys.argv = [program, os.path.join(folders, case["name"]), "--outfile", out, "--outtype", kind]
            runpy.run_path(program, run_name="__main__")
            r = gguf.GGUFReader(out)
            golden[case["name"] + " " + kind] = {
                "keys": {k: value(f) for k, f in r.fields.items() if not k.startswith("GGUF.")},
                "tensors": {t.name: f"{t.tensor_type.name} {[int(n) for n in reversed(t.shape)]} {hashlib.sha256(t.data.tobytes()).hexdigest()[:16]}" for t in r.tensors},
            }
print("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in golden.items()) + "\n}")
