"""scifact in the layout of the large collections: real texts, and vectors of the embedder in f32.

    python -m retrieval.scifact BEIR_FOLDER EMBEDDER FOLDER CHUNKS QUERIES
"""

import json
import pathlib
import sys

from sentence_transformers import SentenceTransformer

from retrieval import layout


def rows(file):
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main():
    beir, embedder, folder = (pathlib.Path(word) for word in sys.argv[1:4])
    chunks, queries = map(int, sys.argv[4:6])
    folder.mkdir(parents=True, exist_ok=True)
    found = {
        "texts": [f"{row['title']} {row['text']}".strip() for row in rows(beir / "corpus.jsonl")[:chunks]],
        "queries": [row["text"] for row in rows(beir / "queries.jsonl")[:queries]],
    }
    model = SentenceTransformer(str(embedder), device="cpu")
    for name, texts in found.items():
        layout.write_texts(folder / f"{name}.jsonl", texts)
        vectors = model.encode(texts, batch_size=16, normalize_embeddings=True, show_progress_bar=False)
        layout.unit(vectors).tofile(folder / f"{'vectors' if name == 'texts' else name}.f32")
    layout.write_nearest(folder)


if __name__ == "__main__":
    main()
