"""Collections of many chunks, built and searched by our example program `scale` and by the peers, and how costs grow with size."""

import json
import math
import os
import shutil

from common.commands import Failed, LeftOut, fingerprint, last_json, output_and_peak, say, set_up

# Chunks by name; `5k` is scifact. And the numbers that only show that rows run.
SIZES = {"1k": 1_000, "5k": 5_183, "10k": 10_000, "100k": 100_000, "1m": 1_000_000}
LARGEST = "1m"
QUICK_SIZES = {"1k": 500, "5k": 300, "10k": 1_000, "100k": 2_000, "1m": 4_000}
QUERIES, QUICK_QUERIES = 500, 40
# Share of the nearest vectors that are to be found: below it, our time counts for nothing, and peers take more effort.
RECALL = 0.98
# Seconds that building or querying a collection may take.
BUILD_LIMIT = 3 * 3600
# Bytes of disk for each chunk of a collection and of one side's index of it, at most, and what stays free whatever happens.
COLLECTION_BYTES, INDEX_BYTES, SPARE_BYTES = 2_500, 8_000, 4 << 30
OURS = "ours"
STORES = {"LanceDB": "lancedb", "LanceDB, no vector index": "lancedb-exact", "Chroma, vectors alone": "chroma", "txtai": "txtai"}


class Scale:
    def __init__(self, options, packages):
        self.options, self.packages = options, packages
        self.folder = options.out / ("retrieval/scale-quick" if options.quick else "retrieval/scale")
        self.program = options.examples / "scale"
        self.sizes = QUICK_SIZES if options.quick else SIZES
        self.queries = QUICK_QUERIES if options.quick else QUERIES
        # Whether this run has asked for the largest collection.
        self.largest_used = False

    def collection(self, size):
        """The folder with a collection, made on first use; `exact.json` is written last."""
        folder = self.folder / size / "collection"
        self.largest_used |= size == LARGEST
        if not (folder / "exact.json").exists():
            chunks, data = self.sizes[size], self.options.data
            self.need_disk(chunks * COLLECTION_BYTES)
            say(f"{size}: making the collection")
            command = ["retrieval.scifact", data / "scifact", self.options.embedder] if size == "5k" else ["retrieval.synthetic"]
            set_up(self.packages.python(), "-m", *command, folder, chunks, self.queries, env=self.packages.environment())
        return folder

    def built(self, side, size):
        """{"seconds", "peak_mib", "disk_mib", "chunks"} of a side's index of a collection; built anew when its program is another."""
        folder, made = self.collection(size), self.folder / size / f"{side}.json"
        made_of = self.made_of(side)
        if made.exists():
            known = json.loads(made.read_text(encoding="utf-8"))
            if known["made_of"] == made_of and self.state(side, size).exists():
                return known
        made.unlink(missing_ok=True)
        shutil.rmtree(self.state(side, size), ignore_errors=True)
        self.need_disk(self.sizes[size] * INDEX_BYTES)
        say(f"{size}: building {side}")
        done = self.run(side, "build", folder, self.state(side, size))
        done = {**done, "disk_mib": disk_mib(self.state(side, size)), "made_of": made_of}
        made.write_text(json.dumps(done) + "\n", encoding="utf-8")
        return done

    def rebuilt(self, side, size):
        """Seconds that building a side's index takes once more; the one that is there stays."""
        state = self.state(side, size).with_name(f"{side}-again")
        shutil.rmtree(state, ignore_errors=True)
        self.need_disk(self.sizes[size] * INDEX_BYTES)
        try:
            return self.run(side, "build", self.collection(size), state)["seconds"]
        finally:
            shutil.rmtree(state, ignore_errors=True)

    def queried(self, side, size, embed):
        """What a side says of its queries; with `embed`, the query's text is embedded too."""
        built = self.built(side, size)
        more = ["--embedder", self.options.embedder] if embed else []
        found = self.run(side, "query", self.collection(size), self.state(side, size), "--k", 10, *more)
        return {**found, "seconds": found["p50_ms"] / 1000, "disk_mib": built["disk_mib"], "build_mib": built["peak_mib"]}

    def run(self, side, work, *arguments):
        if side == OURS:
            if not self.program.exists():
                raise Failed(f"there is no example program `scale` in {self.program.parent}")
            command, env = [self.program, work, *arguments], None
        else:
            command = [self.packages.python(), "-m", "retrieval.peer_query", work, side, *arguments]
            env = self.packages.environment()
        text, peak = output_and_peak(*command, seconds=BUILD_LIMIT, env=env, cwd=self.folder)
        return {**last_json(text, f"{side} {work}"), "peak_mib": peak}

    def state(self, side, size):
        return self.folder / size / side

    def made_of(self, side):
        if side == OURS:
            return fingerprint(self.program) if self.program.exists() else ""
        return fingerprint(self.packages.requirements().parent / "peer_stores.py", self.packages.wanted())

    def need_disk(self, wanted):
        free = shutil.disk_usage(self.options.out).free
        if free < wanted + SPARE_BYTES:
            raise Failed(f"{(wanted + SPARE_BYTES) >> 30} GiB of free disk are needed, there are {free >> 30}")

    def tidy(self):
        """Takes away what this run has used and is too large to keep, and everything of a quick run."""
        if self.options.quick:
            shutil.rmtree(self.folder, ignore_errors=True)
        elif self.largest_used:
            shutil.rmtree(self.folder / LARGEST, ignore_errors=True)


def peer(work):
    """Work of a peer: what goes wrong with it leaves it out."""

    def attempted():
        try:
            return work()
        except LeftOut:
            raise
        except Failed as error:
            raise LeftOut(brief(str(error))) from error

    return attempted


def brief(text):
    """The last line, and no more of its end than a table can hold."""
    last = (text.strip().splitlines() or [""])[-1]
    return last if len(last) <= 160 else f"…{last[-160:]}"


def disk_mib(folder):
    """What the files of a folder take on disk."""
    return sum(os.stat(file).st_blocks * 512 for file in folder.rglob("*") if file.is_file()) / (1 << 20)


def exponent(sizes, costs):
    """That of the power law which fits best: 1 is linear, 0 is constant. Least squares over logarithms."""
    xs, ys = [math.log(size) for size in sizes], [math.log(cost) for cost in costs]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys)) / sum((a - x) ** 2 for a in xs)
