"""PyTorch + transformers + PEFT on the pairs that `speed MODEL render` wrote: the peer's side of the rows `train/…`.

    peer_training.py HF_FOLDER RENDERED.jsonl f32|bf16 BATCH

The peer gets what helps it: pairs sorted by length, so that little is padding; logits at trained positions alone; bf16 by
autocast. Padding does not count as tokens. Prints one JSON line.
"""

import json
import resource
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

folder, rendered, mode, size = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
torch.manual_seed(0)
with open(rendered, encoding="utf-8") as lines:
    pairs = sorted((json.loads(line) for line in lines), key=lambda pair: len(pair["ids"]))
batches = [pairs[start : start + size] for start in range(0, len(pairs), size)]
# Short and long batches in turn, the first one of middling length.
batches = batches[len(batches) // 2 :] + batches[: len(batches) // 2]

model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=targets))
model.train()
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=1e-3)
inner = model.base_model.model


def step(batch):
    longest = max(len(pair["ids"]) for pair in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    attention = torch.zeros(len(batch), longest, dtype=torch.long)
    mask = torch.zeros(len(batch), longest, dtype=torch.bool)
    for row, pair in enumerate(batch):
        count = len(pair["ids"])
        ids[row, :count] = torch.tensor(pair["ids"])
        attention[row, :count] = 1
        mask[row, :count] = torch.tensor(pair["mask"], dtype=torch.bool)
    mask[:, 0] = False
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "bf16"):
        hidden = inner.model(input_ids=ids, attention_mask=attention if len(batch) > 1 else None).last_hidden_state
        logits = inner.lm_head(hidden[:, :-1][mask[:, 1:]])
    loss = torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][mask[:, 1:]])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return int(attention.sum()), int(mask.sum())


step(batches[0])
started = time.perf_counter()
counts = [step(batch) for batch in batches[1:]]
seconds = time.perf_counter() - started
print(json.dumps({
    "tokens_per_second": sum(tokens for tokens, _ in counts) / seconds,
    "trained_tokens_per_second": sum(trained for _, trained in counts) / seconds,
    "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
}))
