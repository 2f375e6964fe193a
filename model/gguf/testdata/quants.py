"""Makes quants.json: SHA-256 of what gguf 0.19 (Q8_0, Q4_0, BF16, F16) and ggml's C (Q6_K, and Q8_0 and Q4_0 again) make of the values below.

python quants.py LIBRARY: LIBRARY is ggml-quants.c of llama-cpp-python 0.3.36 as a shared library (gcc -O2 -shared -fPIC, no -march=native: ggml
itself builds that file without fused products)."""
import ctypes, hashlib, json, sys
import numpy as np
from gguf import GGMLQuantizationType as T, quants

def values(n, seed):
    """n values of many sizes: splitmix64, of whose outputs the low 24 bits are the value and the high 5 its power of two, with zeros between."""
    out, x, mask = np.empty(n, np.float32), seed, (1 << 64) - 1
    for i in range(n):
        x = (x + 0x9E3779B97F4A7C15) & mask
        z = x
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & mask
        z ^= z >> 31
        block = i // 256
        scale = 0 if block % 7 == 3 else 2.0 ** -(block % 20 if block % 2 else 3)
        v = ((z & 0xFFFFFF) - 0x800000) / 0x800000
        out[i] = np.float32(v * scale if z >> 61 and v * scale else 0)  # of the zeros with a sign gguf's Q4_0 makes another scale than ggml's
    return out

lib = ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_LOCAL | 1)  # lazy: what ggml-quants.c calls elsewhere is not called here
def c(name, x, block, size):
    y = ctypes.create_string_buffer(len(x) // block * size)
    f = getattr(lib, name); f.restype = None
    f(x.ctypes.data_as(ctypes.c_void_p), y, ctypes.c_int64(len(x)))
    return y.raw

x = values(64 * 256, 1)
sha = lambda b: hashlib.sha256(b).hexdigest()
got = {t.name: sha(quants.quantize(x.reshape(1, -1), t).tobytes()) for t in (T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0)}
assert got["Q8_0"] == sha(c("quantize_row_q8_0_ref", x, 32, 34)) and got["Q4_0"] == sha(c("quantize_row_q4_0_ref", x, 32, 18))
got["Q6_K"] = sha(c("quantize_row_q6_K_ref", x, 256, 210))
json.dump(got, sys.stdout, indent=1)
print()
