#!/usr/bin/env python3
"""Ingesting and finding beside peers: same machine, same embedder, same work, in turn.

    PYTHONPATH=benches python -m retrieval.run --embedder FOLDER --data DATA --tunesmith BINARY --out OUT
        [--row PREFIX] [--runs 3] [--python PYTHON] [--precision auto] [--without PEERS]

Sets the peers up below OUT, runs every row's commands in turn and writes OUT/retrieval.json after each: a list of {row, ours, peer,
peer_name, unit, ratio, runs, target, met, …}, medians and the ratio of medians against the best peer, or against a target where the row
says so. OUT/retrieval.md and the figures in docs/performance.md are written from it. Rows that are there and not asked for stay; a row
that fails is named and the others go on. Standard library only.
"""

from common import driver, table
from common.commands import THREADS, set_up
from common.packages import Packages
from retrieval.rows import Bench, planned, remark

DISTRIBUTIONS = ["lancedb", "chromadb", "txtai", "faiss-cpu", "llama-index-core", "sentence-transformers", "torch", "bm25s"]


def main():
    parser = driver.option_parser(__doc__)
    parser.add_argument("--precision", default="auto", help="of our embedder in the rows ndcg: auto, int8, bf16 or f32")
    parser.add_argument("--without", default="", help="stores to leave out of the rows query, with commas (lancedb, chroma, txtai): building "
                        "the largest takes most of them an hour; the table says so")
    options = driver.read_options(parser)
    packages = Packages("retrieval", options.out, options.python, DISTRIBUTIONS)
    bench = Bench(options, packages)
    rows = bench.rows()
    chosen = driver.chosen_rows(rows, options, parser)
    if any(row.name.startswith(("query", "size", "growth")) for row in chosen):
        set_up("cargo", "build", "--release", "--locked", "--workspace", "--examples", cwd=driver.ROOT)
    results = driver.Results(options.out, "retrieval", planned(rows.values()), ("remarks", remark))
    try:
        failed = driver.run_rows(chosen, options, results)
    finally:
        bench.scale.tidy()
    if not options.quick:
        machine = {"processor": driver.processor(), "threads": THREADS}
        results.write_page(table.conditions(machine, packages.versions()))
        print(results.table(), end="")
    driver.finish(failed)


if __name__ == "__main__":
    main()
