# Makes the files beside it: python make.py, with torch 2.15.0 and safetensors. Each NAME.bin has a NAME.safetensors of the same values.
import collections, os, pickle
import torch
from safetensors.torch import save_file

os.chdir(os.path.dirname(os.path.abspath(__file__)))
torch.manual_seed(0)


def save(name, state, **how):
    torch.save(state, name + ".bin", **how)
    save_file({k: v.detach().clone().contiguous() for k, v in state.items() if torch.is_tensor(v)}, name + ".safetensors")


base = torch.randn(6, 4)
kinds = {str(d)[6:]: (torch.randn(3, 5) * 9).to(d) for d in (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)}
views = {"whole": base, "row": base[2], "rows": base[1:3], "transposed": base.t(), "column": base[:, 1], "every second": base[::2], "one": base[0, 0], "none": base[:0],
         "parameter": torch.nn.Parameter(base[3:]), "cube": torch.randn(2, 3, 4).permute(2, 0, 1), "a width of one": base[:, :1]}
module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2)).state_dict()  # an OrderedDict with _metadata
module["a number"] = 7
save("kinds", kinds)
save("kinds-old", kinds, _use_new_zipfile_serialization=False)
save("views", views)
save("views-old", views, _use_new_zipfile_serialization=False)
save("module", module)
save("module-4", collections.OrderedDict(kinds), pickle_protocol=4)


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/pickle-ran",)


torch.save({"w": base, "x": Evil()}, "evil.bin")
torch.save({"w": base.to_sparse()}, "sparse.bin")
torch.save({"w": torch.quantize_per_tensor(base, 0.1, 0, torch.qint8)}, "quantized.bin")
torch.save([base], "list.bin")
open("evil-old.bin", "wb").write(pickle.dumps(Evil(), protocol=2))

# A model that transformers made, in both formats; of the older one, both as one file and as shards.
from transformers import LlamaConfig, LlamaForCausalLM

m = LlamaForCausalLM(LlamaConfig(hidden_size=8, intermediate_size=12, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, vocab_size=20, tie_word_embeddings=True)).to(torch.bfloat16)
m.save_pretrained("model")
state = m.state_dict()  # with the tied head, which shares the embedding's storage
torch.save(state, "model/pytorch_model.bin")
