#!/usr/bin/env python3
"""What another number format of the embedder does to rankings, on training queries: scifact, squad, pubmedqa.

    python -m retrieval.precision TUNESMITH DATA OUT [--formats bf16,int8] [--weight 0.4]

Prints one JSON line a collection and ranking: nDCG@10 in both formats, and the mean of the paired differences (second less first) with its
95 % interval (percentile bootstrap over queries, 10,000 resamples, fixed seed). Documents and queries are embedded in the same format.
"""

import argparse
import json
import math
import pathlib
import random

from common.commands import completed
from retrieval.projects import rows_of

RESAMPLES, SEED = 10_000, 20261129


def write_collection(folder, corpus, asked):
    """A folder in BEIR layout. `corpus`: rows; `asked`: (id, question, id of the document)."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    asked = list(asked)
    lines = {
        "corpus.jsonl": [json.dumps(row) for row in corpus],
        "queries.jsonl": [json.dumps({"_id": number, "text": question}) for number, question, _ in asked],
        "qrels/train.tsv": ["query-id\tcorpus-id\tscore", *(f"{number}\t{document}\t1" for number, _, document in asked)],
    }
    for name, rows in lines.items():
        (folder / name).write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return folder


def collections(data, out):
    """Folders in BEIR layout, by name."""
    squad, pubmed = data / "squad", data / "pubmedqa"
    passages = [{"_id": row["_id"], "title": row["title"], "text": row["text"]} for row in rows_of(squad / "passages.jsonl")]
    of_squad = ((row["id"], row["question"], row["passage_id"]) for row in rows_of(squad / "questions.train.jsonl"))
    of_pubmed = ((row["id"], row["question"], row["doc_id"]) for row in rows_of(pubmed / "questions.train.jsonl"))
    return {
        "scifact": data / "scifact",
        "squad": write_collection(out / "squad", passages, of_squad),
        "pubmedqa": write_collection(out / "pubmedqa", rows_of(pubmed / "corpus.jsonl"), of_pubmed),
    }


def read_qrels(path):
    """{query: {document: grade}} of the relevant ones."""
    qrels = {}
    for line in path.read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            qrels.setdefault(query, {})[document] = int(grade)
    return qrels


def read_run(path):
    """{query: documents, best first}."""
    run = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        query, _, document, _, _, _ = line.split()
        run.setdefault(query, []).append(document)
    return run


def ndcg(grades, documents, depth=10):
    def discounted(gains):
        return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))

    ideal = discounted(sorted(grades.values(), reverse=True)[:depth])
    return discounted([grades.get(document, 0) for document in documents[:depth]]) / ideal


def interval(differences):
    """The mean, and the 95 % interval of a percentile bootstrap."""
    generator, count = random.Random(SEED), len(differences)
    means = sorted(sum(generator.choices(differences, k=count)) / count for _ in range(RESAMPLES))
    return sum(differences) / count, [means[RESAMPLES * 25 // 1000], means[RESAMPLES * 975 // 1000]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("tunesmith", "data", "out"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--formats", default="bf16,int8")
    parser.add_argument("--weight", default="0.4")
    options = parser.parse_args()
    formats = options.formats.split(",")
    for name, folder in collections(options.data, options.out).items():
        for chosen in formats:
            runs = options.out / f"{name}-runs-{chosen}"
            completed(options.tunesmith, "eval", "retrieval", "--beir", folder, "--split", "train", "--store", options.out / f"{name}-{chosen}",
                      "--lexical-weights", options.weight, "--embedder-precision", chosen, "--runs", runs, seconds=3600)
        qrels = read_qrels(folder / "qrels/train.tsv")
        for file in ("vectors-0.run", f"fusion-{options.weight}.run"):
            found = [read_run(options.out / f"{name}-runs-{chosen}" / file) for chosen in formats]
            scores = [[ndcg(grades, run.get(query, [])) for query, grades in sorted(qrels.items())] for run in found]
            mean, bounds = interval([second - first for first, second in zip(*scores)])
            print(json.dumps({
                "collection": name, "ranking": file.removesuffix(".run"), "queries": len(qrels),
                **{chosen: round(sum(of) / len(of), 4) for chosen, of in zip(formats, scores)},
                "difference": round(mean, 4), "interval": [round(bound, 4) for bound in bounds],
            }), flush=True)


if __name__ == "__main__":
    main()
