#!/usr/bin/env python3
"""Blocks of every type that is read, and the values that the Python package gguf makes of them: testdata/blocks.json.

usage: blocks.py > blocks.json      made with gguf 0.19.0, numpy 2
"""
import base64
import json
import sys

import numpy as np
from gguf import GGMLQuantizationType as T, quants
from gguf.constants import GGML_QUANT_SIZES

# Where the half-precision scales of a block are: they must be numbers, and of all sizes.
SCALES = {"F16": [0], "BF16": [], "F32": [], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0],
          "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}

rng = np.random.default_rng(13)
out = {}
for name, places in SCALES.items():
    kind = T[name]
    values, size = GGML_QUANT_SIZES[kind]
    blocks = 64 if values == 1 else 6 if values == 32 else 2
    if name == "F32" or name == "BF16":
        raw = rng.standard_normal(blocks).astype(np.float32).view(np.uint8).reshape(blocks, 4)[:, 4 - size:]
    else:
        raw = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    raw = np.ascontiguousarray(raw)
    for b in range(blocks):
        for p in places:
            # powers of two from subnormal to large, with a random sign and mantissa
            h = np.float16(rng.choice([-1, 1]) * rng.uniform(1, 2) * 2.0 ** rng.integers(-20, 8))
            raw[b, p:p + 2] = np.array([h]).view(np.uint8)
    want = quants.dequantize(raw.reshape(1, -1), kind).astype(np.float32)
    out[name] = {"blocks": base64.b64encode(raw.tobytes()).decode(), "values": base64.b64encode(want.tobytes()).decode()}
json.dump(out, sys.stdout, indent=1)
print()
