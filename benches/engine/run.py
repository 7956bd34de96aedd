#!/usr/bin/env python3
"""The engine beside its peers: same machine, same weights, same work, in turn.

    PYTHONPATH=benches python -m engine.run --model FILE.gguf --embedder FOLDER --data DATA --tunesmith BINARY --out OUT
        [--row PREFIX] [--runs 3] [--python PYTHON]

Sets the peers up below OUT (Python packages; llama.cpp, built from the source inside the package llama-cpp-python), runs every row's
commands in turn and writes OUT/engine.json after each: a list of {row, ours, peer, peer_name, unit, ratio, runs, target, met, …},
medians and the ratio of medians against the best peer. More is better, but for memory. OUT/engine.md and the figures in
docs/performance.md are written from it. Rows that are there and not asked for stay; a row that fails is named and the others go on.
Standard library only.
"""

import pathlib

from common import driver, table
from common.commands import THREADS, set_up
from engine import limits
from engine.peers import Peers
from engine.rows import Bench, perplexities, planned

# Characters from the beginning of each document of squad that perplexity is measured on.
PERPLEXITY_CHARACTERS = 4000


def perplexity_text(data, out):
    file = out / "perplexity.txt"
    if not file.exists():
        documents = sorted((data / "squad/docs").glob("*.md"))
        texts = [document.read_text(encoding="utf-8")[:PERPLEXITY_CHARACTERS] for document in documents]
        file.write_text("\n\n".join(texts), encoding="utf-8")
    return file


def main():
    parser = driver.option_parser(__doc__)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    options = driver.read_options(parser, ("model", *driver.PATHS))
    peers = Peers(options.model, options.out, options.python, perplexity_text(options.data, options.out))
    rows = Bench(options, peers).rows()
    chosen = driver.chosen_rows(rows, options, parser)
    set_up("cargo", "build", "--release", "--locked", "-p", "tunesmith-lm", "--examples", cwd=driver.ROOT)
    results = driver.Results(options.out, "engine", planned(rows.values()), ("share of the peak", table.share_of_peak))
    failed = driver.run_rows(chosen, options, results)
    if not options.quick:
        machine = {"processor": driver.processor(), "threads": THREADS, "peak": limits.known_peak(peers.out / "peak")}
        results.write_page(perplexities(peers.perplexities()), table.conditions(machine, peers.versions()))
        print(results.table(), end="")
    driver.finish(failed)


if __name__ == "__main__":
    main()
