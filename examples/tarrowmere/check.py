"""Checks the written Tarrowmere example: sources, documents and question sets against one another.

    python check.py            # pip install pypdf to have the text layer of the PDF documents read as well

Prints what was counted; any fault is printed and makes the exit code 1.
"""

import collections
import html
import json
import pathlib
import re
import sys

import build

HERE = pathlib.Path(__file__).resolve().parent
HOUSE_NAMES = {"L": "Lantern Hall", "S": "Salt Loft", "W": "Weir House", "C": "Cooper's Yard", "R": "Rookery"}
DRIVE_WORDS = {"c": r"\bcranks?\b", "w": r"\bweight\b", "s": r"\bspring\b", "a": r"\bwater\b", "t": r"\btreadle\b"}
MAX_SECTION_WORDS = 90
MOST_COMMON_ANSWER = 0.1  # largest share of the test questions of a set that one answer may have
NEAR_DUPLICATE = 0.6  # share of common words, of all words, from which two questions count as the same
SAME_FORM = 0.9  # the like for two questions about different instruments
EXPECTED_DOCUMENTS = range(30, 41)
EXPECTED_ROWS = {
    "facts": {"train": 60, "dev": 60, "test": 160},
    "desk": {"train": 300, "dev": 60, "test": 200},
    "tags": {"train": 240, "dev": 60, "test": 160},
}

faults = []


def fault(message: str) -> None:
    faults.append(message)


def fold(text: str) -> str:
    """White space folded, as a reader of a wrapped page does without thinking."""
    return " ".join(text.split())


def document_text(path: pathlib.Path) -> str | None:
    """The plain text of a document, or None when no reader for its format is installed."""
    if path.suffix == ".pdf":
        try:
            import pypdf
        except ImportError:
            return None
        return fold(" ".join(page.extract_text() for page in pypdf.PdfReader(path).pages))
    text = path.read_text("utf-8")
    if path.suffix == ".html":
        text = re.sub(r"<(script|style)\b.*?</\1>", " ", text, flags=re.S)
        text = html.unescape(re.sub(r"<[^>]+>", " ", text))
    return fold(text)


def check_sections(sources: list[build.Source]) -> None:
    names = collections.Counter()
    for source in sources:
        for section in source.sections:
            words = len(" ".join(section.lines).split())
            if words > MAX_SECTION_WORDS and not any(line.startswith("|") for line in section.lines):
                fault(f"{source.path}: section {section.heading!r} has {words} words")
            if not section.instrument:
                continue
            names[section.heading] += 1
            text = section.paragraphs[0][0]
            house, drive = section.instrument
            if [key for key, name in HOUSE_NAMES.items() if name in text] != [house]:
                fault(f"{source.path}: {section.heading!r} must name its house and no other")
            if not re.search(DRIVE_WORDS[drive], text, flags=re.I):
                fault(f"{source.path}: {section.heading!r} does not say what drives it")
    for name, count in names.items():
        if count > 1:
            fault(f"the instrument {name!r} is registered {count} times")


def check_rows(name: str, rows: list[dict], texts: dict[str, str | None]) -> None:
    counts = collections.Counter(row["split"] for row in rows)
    if counts != EXPECTED_ROWS[name]:
        fault(f"{name}: has {dict(counts)}, expected {EXPECTED_ROWS[name]}")
    if len({row["id"] for row in rows}) != len(rows):
        fault(f"{name}: ids repeat")
    splits_of_group = collections.defaultdict(set)
    splits_of_quote = collections.defaultdict(set)
    for row in rows:
        if not row["answers"]:
            fault(f"{row['id']}: no answer")
        if "group" in row:
            splits_of_group[row["group"]].add(row["split"])
        for evidence in row.get("evidence", []):
            splits_of_quote[evidence["quote"]].add(row["split"])
            if evidence["document"] not in texts:
                fault(f"{row['id']}: no document {evidence['document']}")
            elif texts[evidence["document"]] is not None and fold(evidence["quote"]) not in texts[evidence["document"]]:
                fault(f"{row['id']}: the quote does not stand in {evidence['document']}: {evidence['quote']}")
    for group, splits in [*splits_of_group.items(), *splits_of_quote.items()]:
        if len(splits) > 1:
            fault(f"{name}: {group!r} is in {' and '.join(sorted(splits))}")


def check_facts(rows: list[dict]) -> None:
    for row in rows:
        if row["answers"][0].lower() not in row["evidence"][0]["quote"].lower():
            fault(f"{row['id']}: the answer does not stand in the quote")
        if len(row["answers"][0].split()) > 9:
            fault(f"{row['id']}: long answer {row['answers'][0]!r}")
        if re.search(rf"\b{re.escape(row['answers'][0].lower())}\b", row["question"].lower()):
            fault(f"{row['id']}: the question gives its answer away")


def check_labels(name: str, rows: list[dict], texts: dict[str, str | None], allowed_per_document: int) -> None:
    """No answer is common enough to be worth guessing, every one is trained, and no document gives the scheme away."""
    answers = {"train": collections.Counter(), "dev": collections.Counter(), "test": collections.Counter()}
    for row in rows:
        answers[row["split"]][row["answers"][0]] += 1
    common, count = answers["test"].most_common(1)[0]
    if count > MOST_COMMON_ANSWER * answers["test"].total():
        fault(f"{name}: {common} is the answer to {count} of {answers['test'].total()} test questions")
    for answer in answers["test"].keys() - answers["train"].keys():
        fault(f"{name}: {answer} is never trained")
    for path, text in texts.items():
        held = [answer for answer in answers["train"] if text and re.search(rf"\b{answer}\b", text, flags=re.I)]
        if len(held) > allowed_per_document:
            fault(f"{name}: {path} holds the answers {', '.join(held)}")


def check_near_duplicates(name: str, rows: list[dict]) -> None:
    """Questions that share most of their words; of different instruments one may well ask in nearly the same words."""
    words = [frozenset(re.findall(r"\w+", row["question"].lower())) for row in rows]
    for i, one in enumerate(rows):
        for j in range(i):
            other = rows[j]
            most = SAME_FORM if name == "tags" else NEAR_DUPLICATE
            if len(words[i] & words[j]) >= most * len(words[i] | words[j]):
                fault(f"{name}: {one['id']} ({one['split']}) and {other['id']} ({other['split']}) are nearly the same")


def main() -> int:
    sources = build.read_sources()
    texts = {f"documents/{path.name}": document_text(path) for path in sorted((HERE / "documents").iterdir())}
    if set(texts) != {source.path for source in sources} or len(texts) not in EXPECTED_DOCUMENTS:
        fault(f"documents/ holds {len(texts)} files for {len(sources)} sources")
    check_sections(sources)
    for name in EXPECTED_ROWS:
        rows = [json.loads(line) for line in (HERE / "questions" / f"{name}.jsonl").read_text("utf-8").splitlines()]
        check_rows(name, rows, texts)
        check_near_duplicates(name, rows)
        if name == "facts":
            check_facts(rows)
        elif name == "desk":
            check_labels(name, rows, texts, allowed_per_document=2)  # trays are everyday words: a page may use two
        else:
            check_labels(name, rows, texts, allowed_per_document=0)
        print(f"{name}: {len(rows)} questions, {len({row.get('group', row['id']) for row in rows})} groups")
    unread = [path for path, text in texts.items() if text is None]
    print(f"documents: {len(texts)}")
    if unread:
        print(f"not checked, for want of pypdf: the text layer of {', '.join(unread)}")
    for message in faults:
        print(f"fault: {message}", file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
