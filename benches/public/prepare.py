#!/usr/bin/env python3
"""Turn the public benchmark sets into tunesmith projects.

    prepare.py DATA OUT [--train N] [--dev N] [--test N] [SET ...]

DATA is the folder with `squad/`, `banking77/` and so on (its README says where they come from); OUT gets one project
folder a set. Every split is already shuffled there, so the first N rows are a fair sample. Standard library only.
"""

import argparse
import json
import pathlib
import shutil


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_rows(path, items):
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items), encoding="utf-8")


def project(folder, toml):
    if folder.exists():
        for part in folder.iterdir():
            if part.name != ".tunesmith":  # keep what was already measured; changed inputs are measured again
                shutil.rmtree(part) if part.is_dir() else part.unlink()
    (folder / "questions").mkdir(parents=True, exist_ok=True)
    (folder / "tunesmith.toml").write_text(toml + TRAINING, encoding="utf-8")


# Bounds each adapter to some ten minutes on two cores.
TRAINING = """
[training]
max_tokens = 300000
"""


def squad(data, out, size):
    """Short answers found in 20 encyclopedia articles, and as many questions that only look as if they had one there."""
    project(out, """[project]
name = "squad"
documents = ["documents"]

[[set]]
name = "squad"
questions = "questions/squad.jsonl"
instruction = "Answer the question with the shortest span that answers it."
measure = "f1"
margin = 0.05
max_tokens = 32
""")
    shutil.copytree(data / "docs", out / "documents")
    passages = {p["_id"]: p for p in rows(data / "passages.jsonl")}
    questions = []
    for split, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        for q in rows(data / f"questions.{name}.jsonl")[: size[split]]:
            passage = passages[q["passage_id"]]
            questions.append({
                "id": q["id"], "question": q["question"], "answers": q["answers"], "group": q["passage_id"], "split": split,
                "evidence": [{"document": passage["doc"].replace("docs/", "documents/"), "quote": passage["text"]}],
            })
        for q in rows(data / f"unanswerable.{name}.jsonl")[: size[split]]:
            questions.append({"id": q["id"], "question": q["question"], "answerable": False, "group": q["passage_id"], "split": split})
    write_rows(out / "questions/squad.jsonl", questions)


def banking77(data, out, size):
    """A customer's message to one of 77 intent labels; there is nothing to look up."""
    project(out, """[project]
name = "banking77"
documents = []

[[set]]
name = "banking77"
train = "questions/train.jsonl"
dev = "questions/dev.jsonl"
test = "questions/test.jsonl"
measure = "label"
margin = 0.05
max_tokens = 16
""")
    for split, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        write_rows(out / f"questions/{split}.jsonl", rows(data / f"{name}.jsonl")[: size[split]])


def pubmedqa(data, out, size):
    """A research question to yes, no or maybe, with its abstract among 1,000."""
    project(out, """[project]
name = "pubmedqa"
documents = ["documents"]

[[set]]
name = "pubmedqa"
questions = "questions/pubmedqa.jsonl"
instruction = "Answer the research question from the abstracts. First line: yes, no or maybe. Second line: the conclusion in one to three sentences."
measure = "label"
margin = 0.05
max_tokens = 8
""")
    (out / "documents").mkdir()
    abstracts = {a["_id"]: a["text"] for a in rows(data / "corpus.jsonl")}
    for name, text in abstracts.items():
        (out / f"documents/{name}.txt").write_text(text + "\n", encoding="utf-8")
    questions = []
    for split, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        for q in rows(data / f"questions.{name}.jsonl")[: size[split]]:
            questions.append({
                "id": q["id"], "question": q["question"], "answers": [q["label"]], "group": q["doc_id"], "split": split,
                "completion": f"{q['label']}\n{q['long_answer']}",
                "evidence": [{"document": f"documents/{q['doc_id']}.txt", "quote": abstracts[q["doc_id"]]}],
            })
    write_rows(out / "questions/pubmedqa.jsonl", questions)


def paired(data, size):
    """Rows of a set of pairs whose accepted answers stand in a file beside them."""
    for split, name in (("train", "train"), ("dev", "valid"), ("test", "test")):
        pairs = rows(data / f"{name}.jsonl")[: size[split]]
        for pair, meta in zip(pairs, rows(data / f"{name}.meta.jsonl")):
            _, user, assistant = pair["messages"]
            accepted = meta.get("references") or [meta.get("answer") or assistant["content"]]
            yield {
                "id": f"{split}-{meta['id']}", "question": user["content"], "answers": accepted, "split": split,
                "completion": assistant["content"],
            }


def gsm8k(data, out, size):
    """A school problem, solved step by step; the last line holds the number."""
    project(out, """[project]
name = "gsm8k"
documents = []

[[set]]
name = "gsm8k"
questions = "questions/gsm8k.jsonl"
instruction = "Solve the problem step by step, one short step a line. End with a line '#### N', where N is the final number."
measure = "numeric:0"
margin = 0.05
max_tokens = 160
""")
    write_rows(out / "questions/gsm8k.jsonl", list(paired(data, size)))


def e2e_nlg(data, out, size):
    """Attributes of a venue to one description, in the style of the pairs."""
    project(out, """[project]
name = "e2e_nlg"
documents = []

[[set]]
name = "e2e_nlg"
questions = "questions/e2e_nlg.jsonl"
instruction = "Turn the attributes into one fluent description of the venue. Use every attribute and add nothing."
measure = "rouge-l"
margin = 0.05
max_tokens = 64
""")
    write_rows(out / "questions/e2e_nlg.jsonl", list(paired(data, size)))


SETS = {
    "squad": (squad, {"train": 240, "dev": 60, "test": 120}),
    "banking77": (banking77, {"train": 1540, "dev": 100, "test": 200}),
    "pubmedqa": (pubmedqa, {"train": 449, "dev": 51, "test": 120}),
    "gsm8k": (gsm8k, {"train": 1000, "dev": 60, "test": 120}),
    "e2e_nlg": (e2e_nlg, {"train": 1000, "dev": 60, "test": 120}),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"some of {', '.join(SETS)}; all when left out")
    for split in ("train", "dev", "test"):
        parser.add_argument(f"--{split}", type=int, help=f"{split} rows, in place of the default of each set")
    args = parser.parse_args()
    unknown = set(args.sets) - set(SETS)
    if unknown:
        parser.error(f"unknown set {', '.join(sorted(unknown))}; expected {', '.join(SETS)}")
    for name in args.sets or SETS:
        build, size = SETS[name]
        size = {split: getattr(args, split) or count for split, count in size.items()}
        build(args.data / name, args.out / name, size)
        print(f"{args.out / name}: train {size['train']}, dev {size['dev']}, test {size['test']}")


if __name__ == "__main__":
    main()
