"""What the servers are asked: conversations over passages of squad, the same for both sides.

tunesmith puts a passage that it finds before the last question. The project it serves here holds a single short note, so that this
passage is always the note; the peer gets the conversation with the note already in its place (`finished`), token for token what our
model reads.
"""

import json

INSTRUCTION = "Answer the question from the passages, briefly and in full sentences."
NOTE = "Answers are given in plain English."
SET = "chat"
# Passages of a conversation.
PASSAGES = 3

PROJECT = """[project]
name = "bench"
documents = ["documents"]

[models]
generator = {generator}
embedder = {embedder}

[retrieval]
passages = 1
lexical_weight = 0.5

[[set]]
name = "{set}"
questions = "questions.jsonl"
measure = "contains"
"""


def passages_and_questions(squad):
    """[(passage, [(question, answer)])] of passages of middling length with three questions or more, one a document."""
    asked = {}
    for question in rows_of(squad / "questions.train.jsonl"):
        asked.setdefault(question["passage_id"], []).append((question["question"], question["answers"][0]))
    found, documents = [], set()
    for passage in rows_of(squad / "passages.jsonl"):
        document = passage["_id"].split("#")[0]
        questions = asked.get(passage["_id"], [])
        if document not in documents and len(questions) >= 3 and 500 <= len(passage["text"]) <= 1200:
            documents.add(document)
            found.append((passage["text"], questions))
    return found


def conversation(material, number, passages=PASSAGES):
    """Passages with a question answered already: what a follow-up question comes after. And two questions to follow up with."""
    chosen = [material[(number + offset) % len(material)] for offset in range(passages)]
    text = "\n\n".join(passage for passage, _ in chosen)
    (asked, answer), *others = chosen[0][1]
    before = [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": f"Passages:\n{text}\n\nAnswer from the passages above.\nQuestion: {asked}"},
        {"role": "assistant", "content": answer},
    ]
    return before, [question for question, _ in others[:2]]


def asked(before, question):
    """As sent to tunesmith."""
    return [*before, {"role": "user", "content": question}]


def finished(before, question):
    """The same as our model reads it, as sent to the peer."""
    note = f"Passages:\n{NOTE}\n\nAnswer from the passages above.\nQuestion: {question}"
    return [*before, {"role": "user", "content": note}]


def squad_pairs(squad, apart=False):
    """Training pairs with their passage in the prompt, as lines of JSON.

    Pairs about one passage follow each other, passages in the order of their first question, so that the first few pairs are what any
    part of the set is: several questions about each passage (4.4 on average). `apart`: the first question of each alone.
    """
    passages = {passage["_id"]: passage["text"] for passage in rows_of(squad / "passages.jsonl")}
    about = {}
    for row in rows_of(squad / "questions.train.jsonl"):
        about.setdefault(row["passage_id"], []).append(row)
    lines = []
    for row in (row for rows in about.values() for row in (rows[:1] if apart else rows)):
        passage = passages[row["passage_id"]]
        user = f"Passages:\n{passage}\n\nAnswer from the passages above.\nQuestion: {row['question']}"
        turns = [("system", "Answer in a few words."), ("user", user), ("assistant", row["answers"][0])]
        lines.append(json.dumps({"messages": [{"role": role, "content": content} for role, content in turns]}) + "\n")
    return "".join(lines)


def write_project(folder, generator, embedder):
    """A project whose only document is the note."""
    (folder / "documents").mkdir(parents=True, exist_ok=True)
    (folder / "documents/note.txt").write_text(NOTE + "\n", encoding="utf-8")
    (folder / "questions.jsonl").write_text(json.dumps({"question": "?", "answers": ["!"]}) + "\n", encoding="utf-8")
    quoted = {"generator": json.dumps(str(generator)), "embedder": json.dumps(str(embedder)), "set": SET}
    (folder / "tunesmith.toml").write_text(PROJECT.format(**quoted), encoding="utf-8")


def rows_of(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
