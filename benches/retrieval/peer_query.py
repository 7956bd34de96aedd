"""A peer's side of `query/N`, `size` and `growth`; the same words and answers as our `scale`.

    python -m retrieval.peer_query build STORE FOLDER STATE
    python -m retrieval.peer_query query STORE FOLDER STATE [--k 10] [--embedder PATH]

With an embedder, a query's text is turned into the vector that is searched for, and the time counted; else it is the one in the folder.
Recall is that of the folder's vectors alone; a store takes the least effort with which it is what is asked of us.
"""

import argparse
import json
import pathlib
import time

import numpy as np

from retrieval import layout
from retrieval.peer_stores import STORES
from retrieval.scale import RECALL

# Queries asked before time is taken.
WARM = 20


def build(store, folder):
    started = time.perf_counter()
    vectors = layout.vectors(folder / "vectors.f32")
    store.build(layout.texts(folder / "texts.jsonl"), vectors)
    return {"seconds": time.perf_counter() - started, "chunks": len(vectors)}


def query(store, folder, k, embedder):
    texts = list(layout.texts(folder / "queries.jsonl"))
    vectors = np.array(layout.vectors(folder / "queries.f32"))
    embed = quickest(embedder, texts) if embedder else None
    effort, recall = opened(store, vectors, json.loads((folder / "exact.json").read_text(encoding="utf-8")))
    embedding, searching = [], []
    for number in [*range(min(WARM, len(texts))), *range(len(texts))]:
        started = time.perf_counter()
        vector = embed(texts[number]) if embed else vectors[number]
        embedded = time.perf_counter()
        hits = store.search(texts[number], vector, k)
        searching.append(time.perf_counter() - embedded)
        embedding.append(embedded - started)
        if not hits:
            raise SystemExit(f"nothing found for {texts[number]!r}")
    embedding, searching = (1000 * np.array(times[-len(texts):]) for times in (embedding, searching))
    return {
        "p50_ms": quantile(embedding + searching, 50), "p99_ms": quantile(embedding + searching, 99),
        "embed_p50_ms": quantile(embedding, 50), "search_p50_ms": quantile(searching, 50), "search_p99_ms": quantile(searching, 99),
        "recall_at_10": recall, "effort": effort, "queries": len(texts),
    }


def opened(store, vectors, exact):
    """Opens a store with the least effort whose recall is enough, or else with the greatest: the effort, and the recall."""
    for effort in store.EFFORTS:
        store.open(effort)
        recall = layout.recall([store.nearest(vector, layout.NEAREST) for vector in vectors], exact)
        if recall >= RECALL:
            break
    return effort, recall


def quantile(times, share):
    return float(np.percentile(times, share))


def quickest(path, texts):
    """The embedder in the number format that is faster for a single query here."""
    import torch
    from sentence_transformers import SentenceTransformer

    ways = []
    for number_format in (torch.float32, torch.bfloat16):
        model = SentenceTransformer(str(path), device="cpu", model_kwargs={"dtype": number_format})

        def embed(text, model=model):
            return model.encode(text, normalize_embeddings=True, show_progress_bar=False).astype(np.float32)

        times = []
        for text in texts[:WARM]:
            started = time.perf_counter()
            embed(text)
            times.append(time.perf_counter() - started)
        ways.append((float(np.median(times)), len(ways), embed))
    return min(ways)[2]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("work", choices=("build", "query"))
    parser.add_argument("store", choices=STORES)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("state", type=pathlib.Path)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--embedder", type=pathlib.Path)
    options = parser.parse_args()
    store = STORES[options.store](options.state)
    done = build(store, options.folder) if options.work == "build" else query(store, options.folder, options.k, options.embedder)
    print(json.dumps(done))


if __name__ == "__main__":
    main()
