"""PyTorch + transformers + PEFT on the pairs that `speed MODEL render` wrote: the peer's side of the rows `train/…`.

    peer_training.py HF_FOLDER RENDERED.jsonl f32|bf16 batch SIZE | pack TOKENS

The peer gets what helps it: pairs sorted by length, so that little is padding, or laid end to end without any; logits at trained
positions alone; bf16 by autocast. transformers keeps packed pairs apart by their position ids, which begin anew with each pair:
its attention is then block-diagonal (`sdpa`; no key-value cache and no mask may be given). Padding does not count as tokens. Prints
one JSON line.
"""

import json
import resource
import sys
import time

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM


def batches_of(pairs, size):
    """Batches of `size` pairs, padded to the longest: (ids, attention mask or None, positions or None, trained)."""
    for start in range(0, len(pairs), size):
        batch = pairs[start : start + size]
        longest = max(len(pair["ids"]) for pair in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        attention, trained = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        for row, pair in enumerate(batch):
            count = len(pair["ids"])
            ids[row, :count] = torch.tensor(pair["ids"])
            attention[row, :count] = 1
            trained[row, :count] = torch.tensor(pair["mask"], dtype=torch.bool)
        trained[:, 0] = False
        yield ids, attention if len(batch) > 1 else None, None, trained


def packs_of(pairs, tokens):
    """Pairs end to end, as many as fit into `tokens`, a row each."""
    packs, free = [], 0
    for pair in pairs:
        if len(pair["ids"]) > free:
            packs.append([])
            free = tokens
        packs[-1].append(pair)
        free -= len(pair["ids"])
    for pack in packs:
        ids = torch.tensor([[i for pair in pack for i in pair["ids"]]])
        positions = torch.cat([torch.arange(len(pair["ids"])) for pair in pack])[None]
        trained = torch.tensor([[m for pair in pack for m in pair["mask"]]], dtype=torch.bool)
        yield ids, None, positions, trained & (positions > 0)


def adapted(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=targets))
    model.train()
    return model


def loss_of(model, batch, mode):
    """Mean loss over the batch's trained tokens."""
    ids, attention, positions, trained = batch
    inner = model.base_model.model
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "bf16"):
        read = inner.model(input_ids=ids, attention_mask=attention, position_ids=positions, use_cache=False)
        logits = inner.lm_head(read.last_hidden_state[:, :-1][trained[:, 1:]])
    return torch.nn.functional.cross_entropy(logits.float(), ids[:, 1:][trained[:, 1:]])


def main(folder, rendered, mode, layout, size):
    torch.manual_seed(0)
    with open(rendered, encoding="utf-8") as lines:
        pairs = sorted((json.loads(line) for line in lines), key=lambda pair: len(pair["ids"]))
    batches = list((packs_of if layout == "pack" else batches_of)(pairs, int(size)))
    # The first, which only warms up, is one of middling length.
    batches = batches[len(batches) // 2 :] + batches[: len(batches) // 2]
    model = adapted(folder)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3)

    def step(batch):
        loss_of(model, batch, mode).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ids, attention, _, trained = batch
        return ids.numel() if attention is None else int(attention.sum()), int(trained.sum())

    step(batches[0])
    started = time.perf_counter()
    # A single batch is its own warm-up.
    counts = [step(batch) for batch in batches[1:] or batches]
    seconds = time.perf_counter() - started
    print(json.dumps({
        "tokens_per_second": sum(tokens for tokens, _ in counts) / seconds,
        "trained_tokens_per_second": sum(trained for _, trained in counts) / seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }))


if __name__ == "__main__":
    main(*sys.argv[1:])
