"""sentence-transformers and onnxruntime: the peers' side of the row `embed`.

    peer_embedding.py prepare ENCODER DOCUMENTS OUT COUNT      chunks of 200 tokens, the f32 vectors, and ONNX files in f32 and int8
    peer_embedding.py time ENCODER OUT LIBRARY FORMAT BATCH    sentence-transformers f32|bf16, onnxruntime f32|int8

Each prints one JSON line. Chunks are a line each of `chunks.txt`; the lowest cosine of any vector to the one of
sentence-transformers in f32 is reported. The int8 file is onnxruntime's dynamic quantisation of the same weights by channels, the
nearest to f32 that it makes.
"""

import json
import os
import pathlib
import sys
import time

import numpy as np
import torch
from tokenizers import Tokenizer

# Tokens of a chunk, the two that the encoder adds among them.
TOKENS = 200
INPUTS = ["input_ids", "attention_mask", "token_type_ids"]


def chunks_of(folder):
    return (folder / "chunks.txt").read_text(encoding="utf-8").splitlines()


def cosine(vectors, folder):
    vectors, truth = np.asarray(vectors, dtype=np.float64), np.load(folder / "f32.npy").astype(np.float64)
    norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(truth, axis=1)
    return float(((vectors * truth).sum(1) / norms).min())


def prepare(encoder, documents, folder, count):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.no_truncation()
    chunks = []
    for document in sorted(documents.glob("*.md")):
        text = document.read_text(encoding="utf-8")
        offsets = tokenizer.encode(text, add_special_tokens=False).offsets
        for start in range(0, len(offsets) - TOKENS, TOKENS - 2):
            chunks.append(" ".join(text[offsets[start][0] : offsets[start + TOKENS - 3][1]].split()))
    # Evenly from all documents.
    chunks = chunks[:: max(1, len(chunks) // count)][:count]
    (folder / "chunks.txt").write_text("\n".join(chunks) + "\n", encoding="utf-8")
    np.save(folder / "f32.npy", sentence_transformer(encoder, "f32", 32)(chunks))
    export(encoder, folder)
    return {"chunks": len(chunks)}


def export(encoder, folder):
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import BertModel

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = BertModel.from_pretrained(encoder, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask, token_type_ids):
            return self.bert(
                input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
            ).last_hidden_state

    ids = torch.ones(2, 16, dtype=torch.long)
    axes = {0: "batch", 1: "tokens"}
    file = folder / "f32.onnx"
    torch.onnx.export(
        Encoder(), (ids, ids, torch.zeros_like(ids)), str(file), input_names=INPUTS, output_names=["hidden"],
        dynamic_axes={name: axes for name in [*INPUTS, "hidden"]}, opset_version=17, dynamo=False,
    )
    quantize_dynamic(str(file), str(folder / "int8.onnx"), weight_type=QuantType.QInt8, per_channel=True)


def sentence_transformer(encoder, number_format, batch):
    from sentence_transformers import SentenceTransformer

    kind = {"f32": torch.float32, "bf16": torch.bfloat16}[number_format]
    model = SentenceTransformer(str(encoder), device="cpu", model_kwargs={"dtype": kind})

    def embed(chunks):
        return model.encode(chunks, batch_size=batch, show_progress_bar=False, convert_to_tensor=True).float().numpy()

    return embed


def onnx(encoder, file, batch):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    tokenizer.enable_truncation(256)
    tokenizer.enable_padding()

    def embed(chunks):
        vectors = []
        for start in range(0, len(chunks), batch):
            encoded = tokenizer.encode_batch(chunks[start : start + batch])
            ids = np.array([one.ids for one in encoded], dtype=np.int64)
            mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
            hidden = session.run(None, dict(zip(INPUTS, (ids, mask, np.zeros_like(ids)))))[0]
            mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
            vectors.append(mean / np.linalg.norm(mean, axis=1, keepdims=True))
        return np.concatenate(vectors)

    return embed


def timed(encoder, folder, library, number_format, batch):
    if library == "onnxruntime":
        embed = onnx(encoder, folder / f"{number_format}.onnx", batch)
    else:
        embed = sentence_transformer(encoder, number_format, batch)
    chunks = chunks_of(folder)
    embed(chunks[: max(batch, 8)])
    started = time.perf_counter()
    vectors = embed(chunks)
    seconds = time.perf_counter() - started
    return {"chunks_per_second": len(chunks) / seconds, "cosine_min": cosine(vectors, folder)}


def main():
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    match sys.argv[1:]:
        case ["prepare", encoder, documents, folder, count]:
            figures = prepare(pathlib.Path(encoder), pathlib.Path(documents), pathlib.Path(folder), int(count))
        case ["time", encoder, folder, library, number_format, batch]:
            figures = timed(pathlib.Path(encoder), pathlib.Path(folder), library, number_format, int(batch))
        case _:
            sys.exit(__doc__)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
