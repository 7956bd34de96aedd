"""Compares the decoder with transformers + PEFT on tiny random models of every family, in f32.

    python benches/parity/architectures.py [--example BINARY] [--fixtures]

Each model is saved as a folder (weights in bf16, computed with in f32) and, where GGUF has the family, as a GGUF file, with a
LoRA adapter saved by PEFT. The engine's example `parity` reads both and answers with logits, loss and the adapter's
gradients. Prints one line of JSON: the largest differences, relative to the largest number of their kind.

With --fixtures it rewrites crates/lm/tests/fixtures/architectures instead, from which
`cargo test -p tunesmith-lm --test architectures` proves the same without Python.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import gguf
import torch
from gguf import GGMLQuantizationType as Q
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

ROOT = Path(__file__).parent.parent.parent
FIXTURES = ROOT / "crates/lm/tests/fixtures/architectures"
VOCABULARY = 48
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
COMMON = dict(
    vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, bos_token_id=1, eos_token_id=2, pad_token_id=0,
)  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32, "rope_theta": 500.0,
}  # fmt: skip
MODELS = {
    "llama": (LlamaForCausalLM, LlamaConfig(**COMMON, head_dim=6, tie_word_embeddings=False)),
    "llama3": (LlamaForCausalLM, LlamaConfig(**COMMON, head_dim=8, rope_parameters=LLAMA3, tie_word_embeddings=True)),
    "linear": (
        LlamaForCausalLM,
        LlamaConfig(**COMMON, rope_parameters={"rope_type": "linear", "factor": 3.0, "rope_theta": 1e4}),
    ),
    "mistral": (MistralForCausalLM, MistralConfig(**COMMON, head_dim=6, sliding_window=7)),
    "qwen2": (
        Qwen2ForCausalLM,
        Qwen2Config(**COMMON, tie_word_embeddings=True, use_sliding_window=True, sliding_window=5, max_window_layers=1),
    ),
    "qwen2-full": (Qwen2ForCausalLM, Qwen2Config(**COMMON, tie_word_embeddings=True)),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**COMMON, head_dim=6, tie_word_embeddings=True)),
    "gemma3": (
        Gemma3ForCausalLM,
        Gemma3TextConfig(
            **{**COMMON, "num_hidden_layers": 6}, head_dim=6, query_pre_attn_scalar=6, sliding_window=6,
            rope_parameters={
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
            },
        ),
    ),
}  # fmt: skip
# Names that GGUF has for a family; the others are folders alone. `linear` and `qwen2`'s window have no keys there.
GGUF = {"llama": "llama", "qwen2-full": "qwen2", "qwen3": "qwen3", "gemma3": "gemma3"}
COMMITTED = ["llama3", "mistral", "qwen2", "qwen2-full", "qwen3", "gemma3"]


def examples() -> list:
    """Sequences longer than every window; two of them begin alike, for a pack that runs the beginning once."""
    random = torch.Generator().manual_seed(3)
    draw = lambda count: torch.randint(3, VOCABULARY, (count,), generator=random).tolist()
    beginning = draw(15)
    sequences = [(beginning + draw(9), 18), (beginning + draw(14), 17), (draw(21), 4)]
    return [{"ids": ids, "mask": [int(at >= first) for at in range(len(ids))]} for ids, first in sequences]


def save_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: at for at, word in enumerate(["<pad>", "<s>", "</s>", *(f"w{n}" for n in range(3, VOCABULARY))])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    plain.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(tokenizer_object=plain, bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    wrapped.save_pretrained(folder)


def permute(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """llama.cpp's order of rotary rows: the two halves of a head interleaved."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def save_gguf(model, architecture: str, path: Path) -> None:
    """As llama.cpp's converter writes it, without a tokenizer."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    rope = config.rope_parameters
    rope = rope.get("full_attention", rope)
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if architecture == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        if architecture == "llama" and "q_proj" in name:
            tensor = permute(tensor, config.num_attention_heads)
        if architecture == "llama" and "k_proj" in name:
            tensor = permute(tensor, config.num_key_value_heads)
        if architecture == "gemma3" and name.endswith("norm.weight"):
            tensor = tensor + 1
        to = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if tensor.dim() == 1:
            writer.add_tensor(to, tensor.numpy())
        else:
            writer.add_tensor(to, gguf.quantize(tensor.numpy(), Q.BF16), raw_dtype=Q.BF16)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def build(name: str, folder: Path) -> dict:
    """Saves the model and its adapter below `folder`; logits of every position, the base model's last, loss, gradients."""
    kind, config = MODELS[name]
    torch.manual_seed(sum(name.encode()))
    fresh = kind(config)
    with torch.no_grad():
        for key, parameter in fresh.named_parameters():
            # Norms and biases begin at one and zero, where mistakes would hide.
            size = 0.35 if parameter.dim() == 2 else 0.3
            parameter.copy_(torch.randn_like(parameter) * size + (key.endswith("norm.weight") and name != "gemma3"))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.to(torch.bfloat16).save_pretrained(folder)
    # Read again: the casts above round the rotary frequencies too, which are no weights.
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if name in GGUF:
        save_gguf(model, GGUF[name], folder / "model.gguf")
    save_tokenizer(folder)
    lora = LoraConfig(r=2, lora_alpha=3, target_modules=TARGETS, task_type="CAUSAL_LM")
    adapted = get_peft_model(model, lora)
    parameters = {key: p for key, p in adapted.named_parameters() if p.requires_grad}
    with torch.no_grad():
        for key, parameter in parameters.items():
            if "lora_B" in key:
                parameter.copy_(torch.randn_like(parameter) * 0.2)
    # Not the path of whoever ran this.
    adapted.peft_config["default"].base_model_name_or_path = folder.name
    adapted.save_pretrained(folder / "adapter")
    (folder / "adapter/README.md").unlink(missing_ok=True)
    loss, count, logits, base = 0.0, 0, [], []
    for example in examples():
        ids, mask = torch.tensor([example["ids"]]), torch.tensor(example["mask"][1:], dtype=torch.bool)
        found = adapted(ids).logits[0]
        logits.append(found.detach())
        with torch.no_grad(), adapted.disable_adapter():
            base.append(adapted(ids).logits[0, -1:])
        loss = loss + torch.nn.functional.cross_entropy(found[:-1][mask], ids[0, 1:][mask], reduction="sum")
        count += int(mask.sum())
    loss = loss / count
    loss.backward()
    plain = lambda key: key.replace(".default.weight", ".weight")
    gradients = {plain(key): p.grad.contiguous() for key, p in parameters.items()}
    return {"logits": torch.cat(logits), "base": torch.cat(base), "loss": loss.item(), "gradients": gradients}


def fixtures() -> None:
    shutil.rmtree(FIXTURES, ignore_errors=True)
    FIXTURES.mkdir()
    (FIXTURES / "examples.json").write_text(json.dumps(examples()) + "\n")
    losses = {}
    for name in COMMITTED:
        expected = build(name, FIXTURES / name)
        for extra in ["generation_config.json", "special_tokens_map.json"]:
            (FIXTURES / name / extra).unlink(missing_ok=True)
        tensors = {"logits": expected["logits"], "base": expected["base"], **expected["gradients"]}
        save_file(tensors, FIXTURES / name / "expected.safetensors")
        losses[name] = expected["loss"]
    (FIXTURES / "losses.json").write_text(json.dumps(losses) + "\n")


def compare(binary: str) -> None:
    report = {}
    for name in MODELS:
        folder = ROOT / "target/parity/architectures" / name
        expected = build(name, folder)
        command = [binary, "adapter", str(folder), str(folder / "adapter"), str(folder / "gradients")]
        lines = "".join(json.dumps(example) + "\n" for example in examples())
        done = subprocess.run(command, input=lines, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        found = json.loads(done.stdout)
        row = {"loss": abs(found["loss"] - expected["loss"]) / expected["loss"]}
        for key in ["logits", "base"]:
            wanted = expected[key]
            row[key] = ((torch.tensor(found[key]) - wanted).abs().max() / wanted.abs().max()).item()
        ours = load_file(folder / "gradients/adapter_model.safetensors")
        assert ours.keys() == expected["gradients"].keys()
        distances = [((ours[key] - wanted).abs().max() / wanted.abs().max()).item() for key, wanted in expected["gradients"].items()]
        row["gradients"] = max(distances)
        report[name] = row
    print(json.dumps(report))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--example", default=os.environ.get("PARITY", str(ROOT / "target/release/examples/parity")))
    parser.add_argument("--fixtures", action="store_true")
    options = parser.parse_args()
    fixtures() if options.fixtures else compare(options.example)


if __name__ == "__main__":
    main()
