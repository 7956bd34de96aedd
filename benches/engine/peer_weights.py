"""Sizes of a GGUF model's weights, for the operations and bytes that `limits.py` counts. Prints one JSON line.

    peer_weights.py FILE.gguf
"""

import json
import sys

from gguf import GGUFReader

reader = GGUFReader(sys.argv[1])


def field(name):
    return reader.get_field(f"{architecture}.{name}").contents()


architecture = reader.get_field("general.architecture").contents()
matrices = {t.name: t for t in reader.tensors if len(t.shape) == 2}
head = matrices.get("output.weight", matrices["token_embd.weight"])
layers = [t for name, t in matrices.items() if name.startswith("blk.")]
heads, kv_heads = field("attention.head_count"), field("attention.head_count_kv")
head_width = matrices["blk.0.attn_q.weight"].shape[1] // heads
# A separate table of embeddings is not read whole.
read = [t for t in reader.tensors if t.name != "token_embd.weight" or t is head]
print(json.dumps({
    "layer_parameters": sum(int(t.n_elements) for t in layers),
    "head_parameters": int(head.n_elements),
    "layers": int(field("block_count")),
    "width": int(heads * head_width),
    "kv_width": int(kv_heads * head_width),
    "bytes": sum(int(t.n_bytes) for t in read),
}))
