"""The peer's side of `squad-top5`: BM25 by bm25s over the data set's own passages, each a document with its title.

    python -m retrieval.peer_words SQUAD K1 B QUESTIONS
"""

import json
import pathlib
import sys

import bm25s
import Stemmer

TOP = 5


def rows(file):
    with open(file, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def main():
    squad, k1, b = pathlib.Path(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
    passages, questions = rows(squad / "passages.jsonl"), rows(squad / "questions.test.jsonl")[:int(sys.argv[4])]

    def tokens(texts):
        return bm25s.tokenize(texts, stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)

    index = bm25s.BM25(k1=k1, b=b)
    index.index(tokens([f"{passage['title']} {passage['text']}" for passage in passages]), show_progress=False)
    found, _ = index.retrieve(tokens([question["question"] for question in questions]), k=TOP, show_progress=False)
    hits = sum(question["passage_id"] in {passages[number]["_id"] for number in row} for question, row in zip(questions, found))
    print(json.dumps({"recall": hits / len(questions), "questions": len(questions)}))


if __name__ == "__main__":
    main()
