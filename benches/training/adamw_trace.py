"""Writes crates/lm/fixtures/adamw_trace.json: PyTorch's AdamW and gradient clipping on a few numbers.

    python benches/training/adamw_trace.py > crates/lm/fixtures/adamw_trace.json
"""
import json

import torch

torch.manual_seed(0)
weight_decay, clip, size = 0.1, 1.0, 7
parameter = torch.nn.Parameter(torch.randn(size))
start = parameter.tolist()
optimizer = torch.optim.AdamW([parameter], lr=1.0, weight_decay=weight_decay, foreach=False, fused=False)
steps = []
for step in range(20):
    learning_rate = 0.02 * (step + 1) / 5 if step < 5 else 0.02 * (20 - step) / 15
    optimizer.param_groups[0]["lr"] = learning_rate
    # Magnitudes from far below to far above the clip, one gradient always zero.
    gradient = torch.randn(size) * 10.0 ** (step % 4 - 2)
    gradient[3] = 0.0
    parameter.grad = gradient.clone()
    norm = torch.nn.utils.clip_grad_norm_([parameter], clip)
    optimizer.step()
    steps.append(
        {
            "learning_rate": learning_rate,
            "gradient": gradient.tolist(),
            "norm": norm.item(),
            "parameters": parameter.tolist(),
        }
    )
print(json.dumps({"torch": torch.__version__, "weight_decay": weight_decay, "clip": clip, "start": start, "steps": steps}))
