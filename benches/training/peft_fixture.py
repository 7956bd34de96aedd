"""Writes crates/lm/fixtures/peft: a tiny Llama, an adapter saved by `peft`, and what PyTorch computes with both.

    python benches/training/peft_fixture.py crates/lm/fixtures/peft
"""
import json
import shutil
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
folder = Path(sys.argv[1])
# As DecoderConfig::tiny().
config = LlamaConfig(
    vocab_size=67, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=6,
    num_key_value_heads=2, head_dim=8, max_position_embeddings=256, rms_norm_eps=1e-5, rope_theta=10000.0,
    tie_word_embeddings=True,
)
base = LlamaForCausalLM(config)
with torch.no_grad():
    for parameter in base.parameters():
        parameter.copy_(torch.randn_like(parameter) * (0.2 if parameter.dim() == 2 else 0.1) + (parameter.dim() == 1))
weights = {name: tensor.clone() for name, tensor in base.state_dict().items() if name != "lm_head.weight"}
targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = get_peft_model(base, LoraConfig(r=2, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM"))
parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
with torch.no_grad():
    for name, parameter in parameters.items():
        if "lora_B" in name:
            parameter.copy_(torch.randn_like(parameter) * 0.2)
folder.mkdir(parents=True, exist_ok=True)
save_file(weights, folder / "base.safetensors")
model.save_pretrained(folder / "adapter")
(folder / "adapter" / "README.md").unlink(missing_ok=True)

prompt = [5, 1, 40, 66, 0, 12, 33]
with torch.inference_mode():
    logits = model(torch.tensor([prompt])).logits[0].tolist()
    with model.disable_adapter():
        base_logits = model(torch.tensor([prompt])).logits[0, -1].tolist()

examples = [
    {"ids": torch.randint(67, (length,)).tolist(), "mask": [int(at >= start) for at in range(length)]}
    for length, start in [(9, 5), (4, 3), (14, 6), (6, 2), (11, 8)]
]


def mean_loss(examples):
    total, count = 0.0, 0
    for example in examples:
        ids, mask = torch.tensor([example["ids"]]), torch.tensor(example["mask"][1:], dtype=torch.bool)
        logits = model(ids).logits[0, :-1][mask]
        total = total + torch.nn.functional.cross_entropy(logits, ids[0, 1:][mask], reduction="sum")
        count += int(mask.sum())
    return total / count


loss = mean_loss(examples)
loss.backward()
plain = lambda name: name.replace(".default.weight", ".weight")
save_file({plain(name): p.grad.contiguous() for name, p in parameters.items()}, folder / "gradients.safetensors")
first_loss = loss.item()

optimizer = torch.optim.AdamW(parameters.values(), lr=0.01)
losses = []
for step in range(20):
    optimizer.zero_grad()
    loss = mean_loss(examples)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(list(parameters.values()), 1.0)
    optimizer.step()
    losses.append(loss.item())
expected = {
    "prompt": prompt, "logits": logits, "base_logits": base_logits, "examples": examples, "loss": first_loss,
    "learning_rate": 0.01, "clip": 1.0, "losses": losses,
}
(folder / "expected.json").write_text(json.dumps(expected))
