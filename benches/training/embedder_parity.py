"""PyTorch's half: repeats the embedder training that `embedder_parity` recorded and prints, as JSON, how far apart the two are.

    python embedder_parity.py EMBEDDER RUN_FOLDER

- gradients: of the first step; the largest difference in a tensor over the largest gradient in it. The model is transformers'
  BERT without dropout, the loss sentence-transformers' MultipleNegativesRankingLoss where the step has the form it knows
  (a positive and a negative a question, no passage twice), and its formula with masked scores everywhere else.
- curve: the same steps, learning rates, clipping and AdamW; relative difference of each step's loss.
- folder: sentence-transformers loads the folder we saved; lowest cosine of its vectors to ours and, which says that it is not the
  untuned model, to those of the folder training began with.
"""
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import BertModel

torch.set_num_threads(int(os.environ.get("THREADS", "2")))
base, folder = sys.argv[1], Path(sys.argv[2])
ours = json.loads((folder / "ours.json").read_text())


def load():
    return BertModel.from_pretrained(base, dtype=torch.float32, add_pooling_layer=False).eval()


def embed(model, texts):
    """Unit vectors of texts given as ids: the mean over all tokens."""
    longest = max(map(len, texts))
    ids = torch.zeros(len(texts), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)] = torch.tensor(text)
        mask[row, : len(text)] = 1
    states = model(input_ids=ids, attention_mask=mask).last_hidden_state
    mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.nn.functional.normalize(mean, dim=1)


def loss_of(model, step):
    texts = step["texts"]
    questions, passages = embed(model, texts["questions"]), embed(model, texts["passages"])
    scores = ours["scale"] * questions @ passages.T
    for row, also in enumerate(texts["also"]):
        scores[row, also] = -torch.inf
    return torch.nn.functional.cross_entropy(scores, torch.tensor(texts["positives"])), questions, passages


def gradients():
    model = load()
    loss, questions, passages = loss_of(model, ours["steps"][0])
    loss.backward()
    flat = np.fromfile(folder / "gradients.f32", dtype="<f4")
    relative = {}
    theirs = dict(model.named_parameters())
    assert theirs.keys() == ours["gradients"].keys(), theirs.keys() ^ ours["gradients"].keys()
    for name, place in ours["gradients"].items():
        size = int(np.prod(place["shape"]))
        mine = torch.from_numpy(flat[place["start"] : place["start"] + size].reshape(place["shape"]))
        # A bias of all keys changes no softmax: its gradient is rounding noise on both sides, held against the weights'.
        largest = theirs[name.replace("key.bias", "key.weight")].grad.abs().max()
        relative[name] = ((mine - theirs[name].grad).abs().max() / largest).item()
    worst = max(relative, key=relative.get)
    return {
        "tensors": len(relative),
        "largest_relative_difference": relative[worst],
        "in": worst,
        "median_relative_difference": sorted(relative.values())[len(relative) // 2],
        "loss_ours": ours["first_loss"],
        "loss_torch": loss.item(),
    }


@torch.no_grad()
def peer_loss():
    """Loss by sentence-transformers' own class, of the first step of the form it knows."""
    model = load()
    for step in ours["steps"]:
        texts = step["texts"]
        pairs = len(texts["questions"])
        if any(texts["also"]) or len(texts["passages"]) != 2 * pairs or texts["positives"] != list(range(0, 2 * pairs, 2)):
            continue
        expected, questions, passages = loss_of(model, step)
        loss = MultipleNegativesRankingLoss(SentenceTransformer(base, device="cpu"), scale=ours["scale"])
        found = loss.compute_loss_from_embeddings([questions, passages[0::2], passages[1::2]], None)
        return {"formula": expected.item(), "sentence_transformers": found.item()}
    return None


def curve():
    model = load()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=1.0, weight_decay=ours["weight_decay"])
    losses = []
    for number, step in enumerate(ours["steps"]):
        optimizer.param_groups[0]["lr"] = step["learning_rate"]
        optimizer.zero_grad()
        loss, _, _ = loss_of(model, step)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, ours["clip"])
        optimizer.step()
        losses.append(loss.item())
        print(f"\rstep {number + 1}/{len(ours['steps'])}  loss {loss.item():.4f} ", end="", file=sys.stderr)
    print(file=sys.stderr)
    pairs = [(step["loss"], loss) for step, loss in zip(ours["steps"], losses)]
    # Losses near zero are compared by their difference.
    relative = [abs(mine - theirs) / max(theirs, 0.1) for mine, theirs in pairs]
    return {"steps": len(pairs), "largest_relative_difference": max(relative), "first": pairs[0], "last": pairs[-1], "pairs": pairs}


def saved():
    vectors = np.array(ours["vectors"])
    cosines = {}
    for name, path in [("trained", folder / "trained"), ("base", base)]:
        model = SentenceTransformer(str(path), device="cpu")
        model.max_seq_length = ours["max_tokens"] if name == "base" else model.max_seq_length
        cosines[name] = float((model.encode(ours["texts"]) * vectors).sum(1).min())
    return cosines


report = {}
for part in (gradients, peer_loss, saved, curve):
    report[part.__name__] = part()
    shown = report[part.__name__]
    print(part.__name__, {key: value for key, value in (shown or {}).items() if key != "pairs"}, file=sys.stderr)
report["seconds_ours"], report["tokens"] = ours["seconds"], ours["tokens"]
peer = report["peer_loss"]
limits = {
    "gradients": report["gradients"]["largest_relative_difference"] <= 1e-3,
    "peer_loss": peer is not None and abs(peer["formula"] - peer["sentence_transformers"]) <= 1e-4,
    "saved": report["saved"]["trained"] >= 0.99999 and report["saved"]["base"] < 0.9999,
    "curve": report["curve"]["largest_relative_difference"] <= 0.01,
}
report["within_limits"] = limits
print(json.dumps(report, indent=1))
sys.exit(0 if all(limits.values()) else 1)
