"""PEFT's half: repeats the run that `train_parity` recorded and prints, as JSON, how far apart the two are.

    python peft_parity.py HF_FOLDER RUN_FOLDER

- gradients: of one batch at an adapter whose B is not zero; the largest difference in a tensor over the largest
  gradient in it.
- curve: the same initial adapter, batches, learning rates, clipping and AdamW; relative difference of each step's loss.
- adapter: `peft` loads the adapter we trained; largest difference of logits, and how far it moved them from the base.
"""
import json
import os
import sys
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

torch.set_num_threads(int(os.environ.get("THREADS", "2")))
base_folder, folder = sys.argv[1], Path(sys.argv[2])
ours = json.loads((folder / "ours.json").read_text())


def load(name):
    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32, attn_implementation="sdpa")
    return PeftModel.from_pretrained(base, folder / name, is_trainable=True)


def mean_loss(model, examples):
    """Mean negative log-likelihood over the trained tokens, as one padded batch."""
    longest = max(len(example["ids"]) for example in examples)
    ids = torch.zeros(len(examples), longest, dtype=torch.long)
    attention = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for row, example in enumerate(examples):
        length = len(example["ids"])
        ids[row, :length] = torch.tensor(example["ids"])
        attention[row, :length] = 1
        mask = torch.tensor(example["mask"], dtype=torch.bool)
        labels[row, :length][mask] = ids[row, :length][mask]
    logits = model(input_ids=ids, attention_mask=attention).logits[:, :-1]
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)


def trainable(model):
    """Parameters by the name they have in an adapter file."""
    return {
        name.replace(".default.weight", ".weight"): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }


def gradients():
    model = load("probe")
    loss = mean_loss(model, ours["probe"]["examples"])
    loss.backward()
    theirs = {name: parameter.grad for name, parameter in trainable(model).items()}
    mine = load_file(folder / "probe-gradients" / "adapter_model.safetensors")
    assert theirs.keys() == mine.keys(), theirs.keys() ^ mine.keys()
    relative = {name: ((mine[name] - theirs[name]).abs().max() / theirs[name].abs().max()).item() for name in mine}
    worst = max(relative, key=relative.get)
    return {
        "tensors": len(relative),
        "largest_relative_difference": relative[worst],
        "in": worst,
        "median_relative_difference": sorted(relative.values())[len(relative) // 2],
        "loss_ours": ours["probe"]["loss"],
        "loss_peft": loss.item(),
    }


def curve():
    model = load("initial")
    parameters = list(trainable(model).values())
    optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=ours["weight_decay"])
    losses = []
    for step, batch in enumerate(ours["batches"]):
        optimizer.param_groups[0]["lr"] = batch["learning_rate"]
        optimizer.zero_grad()
        loss = mean_loss(model, batch["examples"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, ours["clip"])
        optimizer.step()
        losses.append(loss.item())
        print(f"\rstep {step + 1}/{len(ours['batches'])}  loss {loss.item():.4f} ", end="", file=sys.stderr)
    print(file=sys.stderr)
    pairs = [(batch["loss"], loss) for batch, loss in zip(ours["batches"], losses)]
    relative = [abs(mine - theirs) / theirs for mine, theirs in pairs]
    mean = lambda values: sum(values) / len(values)
    return {
        "steps": len(pairs),
        "largest_relative_difference": max(relative),
        "mean_relative_difference": mean(relative),
        "relative_difference_of_the_mean_loss": abs(mean([a for a, _ in pairs]) / mean([b for _, b in pairs]) - 1),
        "first": pairs[0],
        "last": pairs[-1],
        "ours": [a for a, _ in pairs],
        "peft": [b for _, b in pairs],
    }


@torch.inference_mode()
def adapter():
    model = load("trained").eval()
    differences, moved = [], []
    for prompt in ours["logits"]:
        ids = torch.tensor([prompt["ids"]])
        mine = torch.tensor(prompt["logits"])
        theirs = model(ids).logits[0, -1]
        with model.disable_adapter():
            base = model(ids).logits[0, -1]
        differences.append((mine - theirs).abs().max().item())
        moved.append((theirs - base).abs().max().item())
    return {"largest_logit_difference": max(differences), "adapter_moves_logits_by": moved}


report = {}
for part in (gradients, adapter, curve):
    report[part.__name__] = part()
    print(part.__name__, {key: value for key, value in report[part.__name__].items() if key not in ("ours", "peft")}, file=sys.stderr)
report["seconds_ours"], report["memory_ours"] = ours["seconds"], ours["memory"]
limits = {
    "gradients": report["gradients"]["largest_relative_difference"] <= 1e-3,
    "curve": report["curve"]["largest_relative_difference"] <= 0.01,
    "adapter": report["adapter"]["largest_logit_difference"] <= 1e-2
    and min(report["adapter"]["adapter_moves_logits_by"]) > 0.1,
}
report["within_limits"] = limits
print(json.dumps(report, indent=1))
sys.exit(0 if all(limits.values()) else 1)
