"""A collection with its vectors in a folder, for both sides: `texts.jsonl`, `vectors.f32`, `queries.jsonl`, `queries.f32`.

Lines are {"id": N, "text": …}; vectors are little-endian f32, one after the other, of unit length. `exact.json` holds the numbers of
the ten vectors nearest to each query, by an exact scan. Run by the peers' Python.
"""

import json

import numpy as np

DIMENSION = 384
# Neighbours that recall is measured on; vectors compared at a time.
NEAREST, BLOCK = 10, 50_000


def write_texts(file, texts):
    with open(file, "w", encoding="utf-8") as lines:
        for number, text in enumerate(texts):
            lines.write(json.dumps({"id": number, "text": text}, ensure_ascii=False) + "\n")


def texts(file):
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def vectors(file):
    return np.memmap(file, dtype="<f4", mode="r").reshape(-1, DIMENSION)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("<f4")


def write_nearest(folder):
    """Written last: a folder that has it is whole."""
    found = nearest(vectors(folder / "vectors.f32"), np.array(vectors(folder / "queries.f32")))
    (folder / "exact.json").write_text(json.dumps(found.tolist()) + "\n", encoding="utf-8")


def nearest(rows, queries, count=NEAREST):
    """Numbers of the rows nearest to each query, best first."""
    best = np.zeros((len(queries), 0), dtype=np.int64)
    scores = np.zeros((len(queries), 0), dtype=np.float32)
    for start in range(0, len(rows), BLOCK):
        block = queries @ np.asarray(rows[start:start + BLOCK]).T
        numbers = np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)
        best, scores = np.hstack([best, numbers]), np.hstack([scores, block])
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        best, scores = np.take_along_axis(best, order, 1), np.take_along_axis(scores, order, 1)
    return best


def recall(found, exact):
    """Mean share of the exact neighbours that were found."""
    return float(np.mean([len(set(some) & set(all_)) / len(all_) for some, all_ in zip(found, exact)]))
