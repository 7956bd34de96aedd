"""How far a figure is from what the machine can do at most: operations and bytes that the work takes, over the peak of `peak.c`.

`sizes` is what `peer_weights.py` prints: parameters of the layers' matrices and of the output matrix (`layer_parameters`,
`head_parameters`), `layers`, `width` of all query heads, `kv_width` of all key heads, `bytes` of the weights in the file.
"""

import json

from common.commands import THREADS, Failed, last_json, output, say

# Bytes of a key or value that decoding cannot do without reading.
CACHE_BYTES = 2


def measured_peak(folder, source):
    """10^9 operations a second in f32, bf16 and int8, and 10^9 bytes read a second; kept for the table."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "peak"
    output("cc", "-O3", "-march=native", "-pthread", source, "-o", program)
    say("peak of the machine")
    found = last_json(output(program, THREADS), "peak")
    (folder / "peak.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def known_peak(folder):
    """The peak last measured."""
    file = folder / "peak.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else None


def train_operations(sizes, run, tokens, trained):
    """Operations of LoRA training: forward, and the gradient of what each matrix reads; frozen weights have none of their own.

    `run` tokens go through the layers (what a pack begins with in common goes once); the output matrix sees the `trained` ones
    alone. Attention's products and the adapter's are not counted: less than a tenth.
    """
    if not 0 < run <= tokens:
        raise Failed(f"{run} tokens run of {tokens}")
    return 4 * (sizes["layer_parameters"] * run + sizes["head_parameters"] * trained)


def prefill_operations(sizes, tokens):
    """Operations of reading a prompt: matrices, causal attention, and the output matrix once."""
    attention = 2 * sizes["layers"] * sizes["width"] * tokens * (tokens + 1)
    return 2 * sizes["layer_parameters"] * tokens + 2 * sizes["head_parameters"] + attention


def decode_bytes(sizes, depth):
    """Bytes that decoding a token reads: the file's weights once, and the keys and values before it."""
    return sizes["bytes"] + 2 * sizes["layers"] * sizes["kv_width"] * depth * CACHE_BYTES


def share(done_per_second, peak, name):
    """{"share_of_peak", "peak"}; the peak of `bf16` stands for that of f32 where the machine has no bf16."""
    used = name if name in peak else "f32"
    return {"share_of_peak": round(done_per_second / 1e9 / peak[used], 3), "peak": used}
