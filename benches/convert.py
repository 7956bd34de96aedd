"""Writes a GGUF model, dequantised, as a Hugging Face folder in f32.

    python benches/convert.py FILE.gguf HF_FOLDER
"""
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

file, target = Path(sys.argv[1]), sys.argv[2]
quantised = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
config = quantised.config
if hasattr(config, "quantization_config"):
    del config.quantization_config
model = LlamaForCausalLM(config)
model.load_state_dict(quantised.state_dict())
model.tie_weights()
model.generation_config.pad_token_id = 2
model.save_pretrained(target)
AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name).save_pretrained(target)
