"""Compares this engine with transformers and sentence-transformers; see README.md beside it."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
FIXTURES = ROOT / "crates/lm/tests/fixtures"
DATA = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share"))
MODELS = Path(os.environ.get("TUNESMITH_HOME", DATA / "tunesmith")) / "models"
GGUF = MODELS / "smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf"
MINILM = MODELS / "all-minilm-l6-v2"
CONVERTED = ROOT / "target/parity/smollm2-135m-instruct"
BINARY = os.environ.get("PARITY", str(ROOT / "target/release/examples/parity"))
NEW_TOKENS = 32
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def ours(arguments: list, inputs: list) -> tuple[list, str]:
    """Answers of examples/parity.rs to the inputs, one JSON line each, and what it wrote on standard error."""
    lines = "".join(json.dumps(value) + "\n" for value in inputs)
    done = subprocess.run([BINARY, *map(str, arguments)], input=lines, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr.strip()


def convert(_) -> dict:
    from tokenizers import pre_tokenizers
    from transformers import AutoTokenizer

    subprocess.run([sys.executable, ROOT / "benches/convert.py", GGUF, CONVERTED], check=True, stdout=sys.stderr)
    tokenizer = AutoTokenizer.from_pretrained(CONVERTED)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.save_pretrained(CONVERTED)
    return {"folder": str(CONVERTED.relative_to(ROOT))}


def tensors(options) -> dict:
    """Every tensor of a GGUF file, dequantised here and by the `gguf` package: equal to the last bit or not."""
    import hashlib

    import gguf
    import numpy as np

    reader = gguf.GGUFReader(options.file)
    field = lambda key: reader.fields[key].contents()
    architecture = field("general.architecture")
    kind = {name: arch for arch, name in gguf.MODEL_ARCH_NAMES.items()}[architecture]
    names = gguf.get_tensor_name_map(kind, field(f"{architecture}.block_count"))
    stored = {tensor.name: tensor for tensor in reader.tensors}
    heads = {"attn_q": f"{architecture}.attention.head_count", "attn_k": f"{architecture}.attention.head_count_kv"}
    found, _ = ours(["tensors", options.file], [])
    unequal, kinds = [], {}
    for entry in found:
        tensor = stored[names.get_name(entry["name"], try_suffixes=(".weight", ".bias"))]
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype("<f4").reshape(entry["shape"])
        part = tensor.name.split(".")[-2]
        if architecture == "llama" and part in heads:
            # Rotary rows, interleaved in the file, go back to the two halves of each head.
            count = field(heads[part])
            pairs = values.reshape(count, values.shape[0] // count // 2, 2, *values.shape[1:])
            values = pairs.swapaxes(1, 2).reshape(values.shape)
        same = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest() == entry["sha256"]
        unequal += [] if same else [entry["name"]]
        kinds[tensor.tensor_type.name] = kinds.get(tensor.tensor_type.name, 0) + 1
    return {"tensors": len(found), "in_file": len(stored), "by_type": kinds, "unequal": unequal}


def logits(options) -> dict:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    prompts = json.loads((HERE / "prompts.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(CONVERTED)
    model = AutoModelForCausalLM.from_pretrained(CONVERTED, dtype=torch.float32).eval()
    references = []
    for text in prompts:
        # Said, as ours writes no system prompt of the model's maker by itself.
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            last = model(torch.tensor([ids])).logits[0, -1]
            # Without the mask, end tokens in the prompt might pass for padding.
            prompt = torch.tensor([ids])
            mask = torch.ones_like(prompt)
            whole = model.generate(prompt, attention_mask=mask, max_new_tokens=NEW_TOKENS, do_sample=False)
        greedy = [token for token in whole[0, len(ids) :].tolist() if token != tokenizer.eos_token_id]
        references.append({"text": text, "ids": ids, "logits": last, "greedy": greedy})

    report = {}
    for precision in ["f32", "bf16"]:
        answers, _ = ours(["logits", GGUF, precision], prompts)
        worst, means, same, agree = 0.0, [], 0, []
        for found, wanted in zip(answers, references, strict=True):
            difference = (torch.tensor(found["logits"]) - wanted["logits"]).abs()
            worst = max(worst, difference.max().item())
            means.append(difference.mean().item())
            pairs = zip(found["greedy"], wanted["greedy"])
            agree.append(next((i for i, (a, b) in enumerate(pairs) if a != b), len(wanted["greedy"])))
            same += found["greedy"] == wanted["greedy"]
        report[precision] = {
            "max_abs_logit_difference": worst,
            "mean_abs_logit_difference": sum(means) / len(means),
            "greedy_identical": f"{same}/{len(prompts)}",
            "mean_tokens_before_first_difference": sum(agree) / len(agree),
            "prompt_ids_identical": f"{sum(a['ids'] == b['ids'] for a, b in zip(answers, references))}/{len(prompts)}",
        }
    if options.fixture:
        # Every 97th logit: enough to notice a wrong layer, few enough to commit.
        kept = [
            {**reference, "logits": [round(x, 5) for x in reference["logits"].tolist()[::97]]}
            for reference in references
        ]
        write_lines(FIXTURES / "smollm2-135m-instruct.json", kept)
    return report


def tokens(options) -> dict:
    from transformers import AutoTokenizer

    odd = [
        "", " ", "  ", "\n\n\t ", "a  12", "x 1 2  3   4", "½ Ⅷ ٣٤٥ ²", "e\u0301 \u00e9", "\u200b\ufeff\u00a0", "👩‍👩‍👧‍👦🏳️‍🌈",
        "<|im_start|>user\n<|im_end|>", "<|im_start|", "\x00\x01\x7f", "’s 's 'S ''ll I'd've", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "ﷺ שלום مرحبا हिन्दी ไทย 中文",
        "a" * 300, "0" * 50, "\r\n\r\n", "\u2028\u2029\u0085",
    ]  # fmt: skip
    lines = [line for path in options.files for line in Path(path).read_text(encoding="utf-8").splitlines(True)]
    # Whole files too: longer runs than a line's.
    texts = odd + lines + [Path(path).read_text(encoding="utf-8") for path in options.files]
    tokenizer = AutoTokenizer.from_pretrained(CONVERTED)
    found, _ = ours(["tokens", GGUF], texts)
    wanted = [tokenizer.encode(text, add_special_tokens=False) for text in texts]
    wrong = [text for text, a, b in zip(texts, found, wanted, strict=True) if a != b]
    undone = [text for text, ids in zip(texts, wanted) if tokenizer.decode(ids) != text]
    return {
        "texts": len(texts),
        "tokens": sum(map(len, wanted)),
        "mismatches": len(wrong),
        "examples": wrong[:3],
        "reference_not_reversible": len(undone),
    }


def embeddings(options) -> dict:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    from sentence_transformers import SentenceTransformer

    prompts = json.loads((HERE / "prompts.json").read_text())
    texts = prompts + [text.upper() for text in prompts[:10]] + [f"{a} {b}" for a, b in zip(prompts, prompts[1:])]
    texts = texts[:47] + ["", "a", "word " * 400]
    assert len(texts) == 50
    model = SentenceTransformer(str(MINILM), device="cpu")
    model.max_seq_length = 256
    model.encode(texts[:8])
    start = time.perf_counter()
    wanted = model.encode(texts, batch_size=8, normalize_embeddings=True)
    report = {"texts": len(texts), "sentence_transformers_texts_per_second": len(texts) / (time.perf_counter() - start)}
    for precision in ["f32", "bf16", "int8"]:
        found, timing = ours(["embed", MINILM, precision], texts)
        cosines = (np.array(found) * wanted).sum(1) / np.linalg.norm(found, axis=1)
        report[precision] = {"min_cosine": float(cosines.min()), "timing": timing}
    if options.fixture:
        write_lines(FIXTURES / "all-minilm-l6-v2.json", texts)
        save_file({"vectors": wanted.astype(np.float16)}, FIXTURES / "all-minilm-l6-v2.safetensors")
    return report


def write_lines(path: Path, values: list) -> None:
    path.write_text("[\n" + ",\n".join(json.dumps(value) for value in values) + "\n]\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in [convert, tensors, logits, tokens, embeddings]:
        sub = commands.add_parser(command.__name__)
        sub.set_defaults(run=command)
        if command is tensors:
            sub.add_argument("file", nargs="?", default=str(GGUF))
        if command is tokens:
            sub.add_argument("files", nargs="+")
        if command in (logits, embeddings):
            sub.add_argument("--fixture", action="store_true")
    options = parser.parse_args()
    print(json.dumps(options.run(options)))


if __name__ == "__main__":
    main()
