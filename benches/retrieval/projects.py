"""Folders and projects that are ingested and searched: written once, outside any time that is measured."""

import json
import shutil

CONFIG = """[project]
name = {name}
documents = ["documents"]

[models]
embedder = {embedder}
"""
SET = """
[[set]]
name = "squad"
questions = "questions.jsonl"
measure = "f1"
"""


def rows_of(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_config(project, embedder, more=""):
    quoted = {"name": json.dumps(project.name), "embedder": json.dumps(str(embedder))}
    (project / "tunesmith.toml").write_text(CONFIG.format(**quoted) + more, encoding="utf-8")


def copied(source, folder, count=None):
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir())[:count]:
        shutil.copyfile(file, folder / file.name)


def write_mixed(project, data, embedder, abstracts=None, files=None):
    """A project of scifact's documents, a file each, squad's articles, and the mixed documents; returns how many files there are.
    `abstracts`, `files`: at most so many of scifact's and of each of the other two."""
    documents = project / "documents"
    whole = project / "whole"
    if not whole.exists():
        shutil.rmtree(documents, ignore_errors=True)
        (documents / "scifact").mkdir(parents=True)
        for row in rows_of(data / "scifact/corpus.jsonl")[:abstracts]:
            text = f"{row['title']}\n\n{row['text']}\n"
            (documents / f"scifact/{row['_id']}.txt").write_text(text, encoding="utf-8")
        copied(data / "squad/docs", documents / "squad", files)
        copied(data / "documents/files", documents / "mixed", files)
        whole.touch()
    write_config(project, embedder)
    return sum(file.is_file() for file in documents.rglob("*"))


def write_squad(project, data, embedder, questions=None):
    """A project of squad's articles whose test questions name their passages. A set needs all three splits, so one question stands in each
    of the other two. `questions`: at most so many."""
    squad = data / "squad"
    copied(squad / "docs", project / "documents")
    write_config(project, embedder, SET)
    passages = {passage["_id"]: passage for passage in rows_of(squad / "passages.jsonl")}
    lines = []
    for split, name, count in (("train", "train", 1), ("dev", "valid", 1), ("test", "test", questions)):
        for row in rows_of(squad / f"questions.{name}.jsonl")[:count]:
            passage = passages[row["passage_id"]]
            evidence = {"document": passage["doc"].replace("docs/", "documents/", 1), "quote": passage["text"]}
            asked = {"id": row["id"], "question": row["question"], "answers": row["answers"], "split": split, "evidence": [evidence]}
            lines.append(json.dumps({**asked, "group": row["passage_id"]}, ensure_ascii=False) + "\n")
    (project / "questions.jsonl").write_text("".join(lines), encoding="utf-8")


def fresh(project):
    """The project without what was ingested before."""
    shutil.rmtree(project / ".tunesmith", ignore_errors=True)
    return project
