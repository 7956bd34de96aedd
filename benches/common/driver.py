"""Options, the loop over rows, and what is written."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import sys

from common import table
from common.commands import Failed, say
from common.measure import measure

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs/performance.md"
PATHS = ("embedder", "data", "tunesmith", "out")


def option_parser(about):
    """A parser of the options that all benchmarks have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in PATHS:
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--row", default="", help="rows that begin so, several beginnings with commas; all when left out")
    parser.add_argument("--runs", type=int, default=3, help="turns of every row")
    parser.add_argument("--python", type=pathlib.Path, help="one that has the packages of requirements.txt; set up when left out")
    parser.add_argument("--quick", action="store_true", help="little work and one turn, only to see that rows run: no figures are kept")
    return parser


def read_options(parser, paths=PATHS):
    """The options, their paths resolved and looked at."""
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs is {options.runs}, expected at least 1")
    for name in paths:
        path = getattr(options, name).resolve()
        if name != "out" and not path.exists():
            parser.error(f"--{name}: there is no {path}")
        setattr(options, name, path)
    if options.python:
        # Not resolved: a virtual environment's interpreter is a link that must be called by its own name.
        options.python = options.python.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    options.examples = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples"
    return options


def chosen_rows(rows, options, parser):
    chosen = [row for name, row in rows.items() if name.startswith(tuple(options.row.split(",")))]
    if not chosen:
        parser.error(f"no row begins so: {options.row!r}; there are {', '.join(rows)}")
    return chosen


class Results:
    """`NAME.json` and the table written from it, up to date after every row."""

    def __init__(self, out, name, planned, remark):
        self.out, self.name, self.planned, self.remark = out, name, planned, remark
        self.file = out / f"{name}.json"
        known = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else []
        self.entries = {entry["row"]: entry for entry in known}

    def add(self, entries):
        today = datetime.date.today().isoformat()
        self.entries.update({entry["row"]: {**entry, "measured": today} for entry in entries})
        rows = [self.entries[name] for name in sorted(self.entries)]
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        part.replace(self.file)
        (self.out / f"{self.name}.md").write_text(self.table(), encoding="utf-8")

    def table(self):
        return table.table(self.planned, self.entries.values(), self.remark)

    def write_page(self, *parts):
        """The figures in docs/performance.md, and what belongs to them."""
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(table.between_markers(page, self.name, "\n".join([self.table(), *parts])), encoding="utf-8")


def run_rows(rows, options, results):
    """Measures the rows one after the other and returns the names of those that failed. A row that fails leaves the others as they are."""
    failed = []
    # Ended from outside, servers and peers end as they do on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for row in rows:
        try:
            entries = measure(row, 1 if options.quick else options.runs)
        except Failed as error:
            failed.append(row.name)
            say(f"{row.name}: FAILED: {error}")
            continue
        except KeyboardInterrupt:
            failed.append(f"{row.name} and those after it (interrupted)")
            break
        if options.quick:
            print(json.dumps(entries, indent=1))
        else:
            results.add(entries)
    return failed


def finish(failed):
    if failed:
        sys.exit(f"rows without figures: {', '.join(failed)}")


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()
