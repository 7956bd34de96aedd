"""transformers in bf16: the peer's side of the rows `prefill/…` and `decode/…`.

    peer_inference.py HF_FOLDER prefill TOKENS | decode DEPTH

Prints one JSON line.
"""

import json
import resource
import sys
import time

import torch
from transformers import AutoModelForCausalLM

folder, work, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
DECODED = 64
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).eval()


def ids(count, shift):
    return torch.tensor([[(i * 7919 + shift) % 40000 + 100 for i in range(count)]])


with torch.inference_mode():
    for turn in range(2):  # the first warms up
        started = time.perf_counter()
        out = model(ids(max(size, 1), turn), use_cache=True, logits_to_keep=1)
        read = time.perf_counter() - started
        token, cache = out.logits[:, -1:].argmax(-1), out.past_key_values
        started = time.perf_counter()
        for _ in range(DECODED if work == "decode" else 0):
            out = model(token, past_key_values=cache, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
        decoded = time.perf_counter() - started

print(json.dumps({
    "tokens_per_second": size / read if work == "prefill" else DECODED / decoded,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
}))
