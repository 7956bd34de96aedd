#!/usr/bin/env python3
"""The engine beside its peers: same machine, same weights, same work, in turn.

    run.py --model FILE.gguf --embedder FOLDER --data DATA --tunesmith BINARY --out OUT [--row PREFIX] [--runs 3] [--python PYTHON]

Sets the peers up below OUT (Python packages; llama.cpp, built from the source inside the package llama-cpp-python), runs every row's
commands in turn and writes OUT/engine.json after each: a list of {row, ours, peer, peer_name, unit, ratio, runs, target, met, …},
medians and the ratio of medians against the best peer. More is better, but for memory. OUT/engine.md and the figures in
docs/performance.md are written from it. Rows that are there and not asked for stay; a row that fails is named and the others go on.
Standard library only.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import signal
import sys

import limits
import table
from commands import THREADS, Failed, say, set_up
from measure import measure
from peers import Peers
from rows import Bench, planned

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs/performance.md"
# Characters from the beginning of each document of squad that perplexity is measured on.
PERPLEXITY_CHARACTERS = 4000


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model", "embedder", "data", "tunesmith", "out"):
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--row", default="", help="rows that begin so, several beginnings with commas; all when left out")
    parser.add_argument("--runs", type=int, default=3, help="turns of every row")
    parser.add_argument("--python", type=pathlib.Path, help="one that has the packages of requirements.txt; set up when left out")
    parser.add_argument("--quick", action="store_true", help="little work and one turn, only to see that rows run: no figures are kept")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs is {options.runs}, expected at least 1")
    for name in ("model", "embedder", "data", "tunesmith", "out"):
        path = getattr(options, name).resolve()
        if name != "out" and not path.exists():
            parser.error(f"--{name}: there is no {path}")
        setattr(options, name, path)
    if options.python:
        # Not resolved: a virtual environment's interpreter is a link that must be called by its own name.
        options.python = options.python.absolute()
    options.out.mkdir(parents=True, exist_ok=True)
    options.examples = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/examples"
    return options, parser


def perplexity_text(data, out):
    file = out / "perplexity.txt"
    if not file.exists():
        documents = sorted((data / "squad/docs").glob("*.md"))
        texts = [document.read_text(encoding="utf-8")[:PERPLEXITY_CHARACTERS] for document in documents]
        file.write_text("\n\n".join(texts), encoding="utf-8")
    return file


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    found = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return found[0] if found else platform.processor() or platform.machine()


class Results:
    """`engine.json` and the tables written from it, up to date after every row."""

    def __init__(self, out, names):
        self.out, self.names, self.file = out, names, out / "engine.json"
        known = json.loads(self.file.read_text(encoding="utf-8")) if self.file.exists() else []
        self.entries = {entry["row"]: entry for entry in known}

    def add(self, entries):
        today = datetime.date.today().isoformat()
        self.entries.update({entry["row"]: {**entry, "measured": today} for entry in entries})
        rows = [self.entries[name] for name in sorted(self.entries)]
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        part.replace(self.file)
        (self.out / "engine.md").write_text(self.table(), encoding="utf-8")

    def table(self):
        return table.table(self.names, self.entries.values())


def main():
    options, parser = read_options()
    peers = Peers(options.model, options.out, options.python, perplexity_text(options.data, options.out))
    bench = Bench(options, peers)
    rows = bench.rows()
    chosen = [row for name, row in rows.items() if name.startswith(tuple(options.row.split(",")))]
    if not chosen:
        parser.error(f"no row begins so: {options.row!r}; there are {', '.join(rows)}")
    set_up("cargo", "build", "--release", "--locked", "-p", "tunesmith-lm", "--examples", cwd=ROOT)
    results = Results(options.out, planned(rows.values()))
    failed = []
    # Ended from outside, servers and peers end as they do on Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    for row in chosen:
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
    if not options.quick:
        write_page(peers, results)
        print(results.table(), end="")
    if failed:
        sys.exit(f"rows without figures: {', '.join(failed)}")


def write_page(peers, results):
    """The figures in docs/performance.md."""
    machine = {"processor": processor(), "threads": THREADS, "peak": limits.known_peak(peers.out / "peak")}
    parts = [results.table(), table.perplexities(peers.perplexities()), table.conditions(machine, peers.versions())]
    PAGE.write_text(table.between_markers(PAGE.read_text(encoding="utf-8"), "\n".join(parts)), encoding="utf-8")


if __name__ == "__main__":
    main()
