"""Writes documents/ and questions/ of the Tarrowmere example from sources/.

    pip install fpdf2==2.8.9          # only for the PDF documents
    python build.py                   # writes everything
    python check.py                   # checks what was written

The same sources always give the same bytes: the only chance involved is a seeded shuffle.

A source file in guides/ or registers/ is plain text:

    title: The Weir House
    format: md | html | pdf
    split: train | dev | test         # of every question about this document
    place: where the house keeps the paper original (shown in headers and footers)

    == A section heading              # `== Name @ Wt` registers an instrument: its house and its drive
    Paragraphs, `- lists` and `| tables |` as in Markdown.
    ? A question about the section    # `= answer | another way to write it` follows it
    " the quote                       # optional: by default the sentence in which the answer stands

desk.txt holds one message a line under a `[label]` line.
"""

import dataclasses
import datetime
import html
import json
import pathlib
import random
import re

HERE = pathlib.Path(__file__).resolve().parent
SEED = 1931  # the year the Trust was founded

# The house rule behind the transit tags: colour by house, figure by drive. It is written here and in no document.
HOUSES = {"L": "Plum", "S": "Ivory", "W": "Rust", "C": "Teal", "R": "Fawn"}
DRIVES = {"c": "7", "w": "2", "s": "9", "a": "4", "t": "5"}

# How people ask for a tag. An instrument with a question of its own in the source keeps that one instead.
TAG_QUESTIONS = (HERE / "sources" / "tag_questions.txt").read_text("utf-8").split("\n")

DESK_SPLITS = {"train": 30, "dev": 6, "test": 20}  # messages per label


@dataclasses.dataclass
class Question:
    text: str
    answers: list[str]
    quote: str


@dataclasses.dataclass
class Section:
    heading: str
    instrument: str | None  # house letter and drive letter, as in `Wt`
    lines: list[str]
    questions: list[Question]

    @property
    def paragraphs(self) -> list[list[str]]:
        """Blocks of lines parted by empty lines."""
        blocks = [[]]
        for line in self.lines:
            if line:
                blocks[-1].append(line)
            elif blocks[-1]:
                blocks.append([])
        return [block for block in blocks if block]


@dataclasses.dataclass
class Source:
    path: str  # of the written document, relative to the project
    title: str
    format: str
    split: str
    place: str
    sections: list[Section]


def sentences(lines: list[str]) -> list[str]:
    """Sentences of the prose; a list item or a table row counts as one."""
    found = []
    for line in lines:
        if line.startswith(("|", "- ")):
            found.append(line.removeprefix("- "))
        else:
            found += re.split(r"(?<=[.!?])\s+(?=[A-Z\"'0-9])", line)
    return [sentence for sentence in found if sentence]


def read_source(path: pathlib.Path) -> Source:
    head, sections = {}, []
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        line = line.rstrip()
        try:
            if line.startswith("== "):
                heading, _, instrument = line[3:].partition(" @ ")
                sections.append(Section(heading, instrument or None, [], []))
            elif not sections:
                if line:
                    key, value = line.split(": ", 1)
                    head[key] = value
            elif line.startswith("? "):
                sections[-1].questions.append(Question(line[2:], [], ""))
            elif line.startswith("= "):
                question = sections[-1].questions[-1]
                question.answers = [answer.strip() for answer in line[2:].split(" | ")]
                spoken = question.answers[0].lower()
                question.quote = next(s for s in sentences(sections[-1].lines) if spoken in s.lower())
            elif line.startswith('" '):
                sections[-1].questions[-1].quote = line[2:]
            else:
                sections[-1].lines.append(line)
        except (ValueError, IndexError, StopIteration) as error:
            raise SystemExit(f"{path}:{number}: cannot make sense of {line!r} ({error!r})") from error
    name = f"documents/{path.stem}.{head['format']}"
    return Source(name, head["title"], head["format"], head["split"], head["place"], sections)


def read_sources() -> list[Source]:
    folders = (HERE / "sources" / "guides", HERE / "sources" / "registers")
    return [read_source(path) for folder in folders for path in sorted(folder.glob("*.txt"))]


# ---- documents ------------------------------------------------------------------------------------------------------


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def is_rule(row: str) -> bool:
    return set(row) <= set("|-: ")


def markdown(source: Source) -> str:
    parts = [f"# {source.title}", f"*{source.place}*"]
    for section in source.sections:
        parts.append(f"## {section.heading}")
        parts += ["\n".join(block) for block in section.paragraphs]
    return "\n\n".join(parts) + "\n"


def escaped(text: str) -> str:
    return html.escape(text, quote=False)


def html_row(tag: str, values: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escaped(value)}</{tag}>" for value in values) + "</tr>"


def html_block(block: list[str]) -> str:
    if block[0].startswith("|"):
        head, *body = [cells(row) for row in block if not is_rule(row)]
        rows = "\n".join(html_row("td", row) for row in body)
        return f"<table>\n<thead>{html_row('th', head)}</thead>\n<tbody>\n{rows}\n</tbody>\n</table>"
    if block[0].startswith("- "):
        return "<ul>\n" + "\n".join(f"<li>{escaped(line[2:])}</li>" for line in block) + "\n</ul>"
    return "\n".join(f"<p>{escaped(line)}</p>" for line in block)


def html_section(section: Section) -> str:
    anchor = re.sub(r"[^a-z0-9]+", "-", section.heading.lower()).strip("-")
    blocks = "\n".join(map(html_block, section.paragraphs))
    return f'<section id="{anchor}">\n<h2>{escaped(section.heading)}</h2>\n{blocks}\n</section>'


def web_page(source: Source) -> str:
    """A page as the Trust's web site serves it: the text stands among navigation, notices and a footer."""
    title = escaped(source.title)
    body = "\n".join(map(html_section, source.sections))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} | The Tarrowmere Trust</title>
<link rel="stylesheet" href="/assets/trust.css">
<script>document.documentElement.classList.add("js");</script>
</head>
<body>
<header>
<a class="skip" href="#content">Skip to content</a>
<nav aria-label="Main"><ul><li><a href="/">Home</a></li><li><a href="/visit">Visit</a></li><li><a href="/collection">Collection</a></li><li><a href="/give">Give</a></li></ul></nav>
<p class="banner">The Tarrowmere Trust: music that plays itself</p>
</header>
<main id="content">
<h1>{title}</h1>
<p class="place">{escaped(source.place)}</p>
{body}
</main>
<footer>
<p>Registered charity of the Reach. Sign up for the Winding Letter.</p>
<ul><li><a href="/privacy">Privacy</a></li><li><a href="/cookies">Cookies</a></li><li><a href="#content">Back to top</a></li></ul>
</footer>
</body>
</html>
"""


def write_pdf(source: Source, path: pathlib.Path) -> None:
    """A multi-page A4 document with a text layer; no section is torn apart by a page break."""
    from fpdf import FPDF

    class Page(FPDF):
        def footer(self):
            self.set_y(-15)
            self.set_font("helvetica", "I", 8)
            self.cell(0, 8, f"{source.place}, page {self.page_no()}", align="C")

    pdf = Page()
    pdf.set_creation_date(datetime.datetime(2024, 6, 1, tzinfo=datetime.timezone.utc))
    pdf.set_title(source.title)
    pdf.set_author("The Tarrowmere Trust")
    pdf.set_auto_page_break(True, margin=25)
    pdf.set_margins(30, 25, 30)
    pdf.add_page()
    pdf.set_font("helvetica", "B", 20)
    pdf.multi_cell(0, 10, source.title, align="L", new_x="LMARGIN", new_y="NEXT")
    pdf.ln(8)

    def draw(section: Section) -> None:
        pdf.set_font("helvetica", "B", 14)
        pdf.multi_cell(0, 8, section.heading, align="L", new_x="LMARGIN", new_y="NEXT")
        pdf.ln(1)
        pdf.set_font("times", "", 13)
        for block in section.paragraphs:
            if block[0].startswith("|"):
                with pdf.table(line_height=6) as table:
                    for row in block:
                        if not is_rule(row):
                            table.row(cells(row))
            else:
                for line in block:
                    pdf.multi_cell(0, 5.6, line, align="L", new_x="LMARGIN", new_y="NEXT")
            pdf.ln(2)
        pdf.ln(5)

    for section in source.sections:
        with pdf.offset_rendering() as trial:
            draw(section)
        if trial.page_break_triggered:
            pdf.add_page()
        draw(section)
    pdf.output(str(path))


def write_document(source: Source) -> None:
    path = HERE / source.path
    path.parent.mkdir(exist_ok=True)
    if source.format == "pdf":
        write_pdf(source, path)
    else:
        path.write_text({"md": markdown, "html": web_page}[source.format](source), "utf-8")


# ---- questions ------------------------------------------------------------------------------------------------------


def fact_rows(sources: list[Source]) -> list[dict]:
    return [
        {
            "question": question.text,
            "answers": question.answers,
            "evidence": [{"document": source.path, "quote": question.quote}],
            "group": source.path,
            "split": source.split,
        }
        for source in sources
        for section in source.sections
        if not section.instrument
        for question in section.questions
    ]


def tag_rows(sources: list[Source], chance: random.Random) -> list[dict]:
    """One question for each instrument; the forms are dealt like cards, so that each is used about equally often."""
    forms, rows = [], []
    for source in sources:
        for section in source.sections:
            if not section.instrument:
                continue
            if not forms:
                forms = [form for form in TAG_QUESTIONS if form]
                chance.shuffle(forms)
            own = [question.text for question in section.questions]
            name = re.sub(r"^The ", "the ", section.heading)
            question = own[0] if own else forms.pop().replace("{name}", name)
            house, drive = section.instrument
            rows.append(
                {
                    "question": question[0].upper() + question[1:],
                    "answers": [f"{HOUSES[house]}-{DRIVES[drive]}"],
                    "evidence": [{"document": source.path, "quote": section.paragraphs[0][0]}],
                    "group": source.path,
                    "split": source.split,
                }
            )
    return rows


def desk_messages() -> dict[str, list[str]]:
    labels, current = {}, None
    for line in (HERE / "sources" / "desk.txt").read_text("utf-8").split("\n"):
        if re.fullmatch(r"\[\w+\]", line):
            current = labels.setdefault(line[1:-1], [])
        elif line:
            current.append(line)
    return labels


def desk_rows(chance: random.Random) -> list[dict]:
    rows = []
    for label, messages in desk_messages().items():
        messages = list(messages)
        chance.shuffle(messages)
        total, start = sum(DESK_SPLITS.values()), 0
        for split, share in DESK_SPLITS.items():
            size = round(len(messages) * share / total)
            end = len(messages) if split == "test" else start + size
            rows += [{"question": message, "answers": [label], "split": split} for message in messages[start:end]]
            start = end
    return rows


def write_questions(name: str, rows: list[dict], chance: random.Random) -> None:
    """Shuffled within each split, numbered in the order written."""
    path = HERE / "questions" / f"{name}.jsonl"
    path.parent.mkdir(exist_ok=True)
    chance.shuffle(rows)
    rows.sort(key=lambda row: ("train", "dev", "test").index(row["split"]))
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(rows, 1):
            file.write(json.dumps({"id": f"{name}-{number:03}", **row}, ensure_ascii=False) + "\n")


def main() -> None:
    sources = read_sources()
    for source in sources:
        write_document(source)
    kept = {HERE / source.path for source in sources}
    for stale in set((HERE / "documents").iterdir()) - kept:
        stale.unlink()
    write_questions("facts", fact_rows(sources), random.Random(SEED))
    write_questions("tags", tag_rows(sources, random.Random(SEED + 1)), random.Random(SEED + 2))
    write_questions("desk", desk_rows(random.Random(SEED + 3)), random.Random(SEED + 4))
    print(f"wrote {len(sources)} documents and three question sets")


if __name__ == "__main__":
    main()
