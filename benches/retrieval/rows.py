"""The rows: for each its work, our command and the peers'."""

import json
import shutil
import statistics
import time
from functools import cached_property, partial

from common.commands import LeftOut, completed, last_json, output, say
from common.measure import Also, Row, median
from retrieval import projects
from retrieval.scale import OURS, RECALL, SIZES, STORES, Scale, exponent, peer

# nDCG@10 as published: BM25 by Anserini and by bm25s, MiniLM by MTEB, file_search by its maker; and of the plain fusion by minimum and
# maximum, weight .5, that a reader of those figures would build first (measured here, 2026-11).
PUBLISHED = {
    "scifact": {"BM25 (Anserini)": 0.679, "BM25 (bm25s)": 0.687, "MiniLM (MTEB)": 0.645, "OpenAI file_search": 0.717, "plain fusion": 0.733},
    "cranfield": {"plain fusion": 0.427},
}
NDCG_TARGETS = {"scifact": 0.735, "cranfield": 0.43}
# The BM25 weight in the fusion without settings, and those tried on training queries.
DEFAULT_WEIGHT, WEIGHTS = 0.4, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
TOP5_TARGET, GAIN_TARGET = 0.95, 0.03
# bm25s as it comes, and with what Anserini takes.
WORD_SETTINGS = [(1.5, 0.75), (0.9, 0.4)]
GROWTH = ["1k", "10k", "100k", "1m"]
# Where the exact scan is behind us.
LARGE = ["100k", "1m"]
# Linear, and what a measurement of seconds may be off.
GROWTH_TARGET = 1.1
# Times that all but the largest of them are built, of which the median counts.
BUILDS = 5
SQUAD = "squad"


class Bench:
    """Commands of both sides; everything is found or made on first use."""

    def __init__(self, options, packages):
        self.options, self.packages, self.quick = options, packages, options.quick
        self.folder = options.out / ("retrieval/quick" if self.quick else "retrieval")
        self.folder.mkdir(parents=True, exist_ok=True)
        self.scale, self.settings = Scale(options, packages), None
        self.without = options.without.split(",")

    def tunesmith(self, *arguments, accepted=(0,)):
        command = [self.options.tunesmith, *arguments]
        return json.loads(completed(*command, seconds=3600, accepted=accepted).stdout)

    def script(self, name, *arguments, **options):
        """The last line of one of the peers' scripts here, as JSON."""
        command = [self.packages.python(), "-m", f"retrieval.{name}", *arguments]
        return last_json(output(*command, env=self.packages.environment(), **options), name)

    # ndcg-SET, and the same with a weight chosen on scifact's training queries

    def ndcg(self, name, tuned):
        def ours():
            weight = self.trained_weight if tuned else DEFAULT_WEIGHT
            rankings = {run["name"]: run for run in self.ranked(name, "test", [weight])}
            for ranking, run in rankings.items():
                say(f"{name}: {ranking:8} nDCG@10 {run['ndcg_at_10']:.4f}, R@100 {run['recall_at_100']:.4f}")
            return {"ndcg": rankings["fusion"]["ndcg_at_10"], "rankings": rankings}

        def extras(runs):
            rankings = runs[0]["rankings"]
            return {"weight": rankings["fusion"]["lexical_weight"],
                    "rankings": {ranking: round(run["ndcg_at_10"], 4) for ranking, run in rankings.items()}}

        peers = {f"published: {of}": partial(dict, ndcg=figure) for of, figure in PUBLISHED[name].items()}
        return Row(f"ndcg-{name}{'-weight' if tuned else ''}", 1.0, ours, lambda: peers, unit="nDCG@10", figure="ndcg",
                   against=NDCG_TARGETS[name], extras=extras, once=True)

    @cached_property
    def trained_weight(self):
        """The BM25 weight with the highest nDCG@10 on the training queries of scifact."""
        runs = [run for run in self.ranked("scifact", "train", WEIGHTS) if run["name"] == "fusion"]
        weight = round(max(runs, key=lambda run: run["ndcg_at_10"])["lexical_weight"], 2)
        say(f"BM25 weight in the fusion, chosen on scifact train: {weight}")
        return weight

    def ranked(self, name, split, weights):
        """Measures of each ranking. The index is kept, so that a second run embeds nothing."""
        precision, data = self.options.precision, self.options.data / name
        store = self.folder / f"{name}-{precision}"
        if self.quick:
            data = self.cut(data)
        report = self.tunesmith("eval", "retrieval", "--beir", data, "--split", split, "--store", store,
                                "--lexical-weights", ",".join(map(str, weights)), "--embedder-precision", precision)
        return report["runs"]

    # ndcg-scifact-tuned

    def ndcg_tuned(self):
        """What tuning the embedder on the training queries gains on the test queries, words and vectors fused."""
        folder, told = self.folder / "scifact-tuned", {}

        def ours():
            data, precision = self.options.data / "scifact", self.options.precision
            data, epochs = (self.cut(data), 1) if self.quick else (data, 4)
            report = self.tunesmith("eval", "retrieval", "--beir", data, "--split", "test", "--store", self.folder / f"scifact-{precision}",
                                    "--lexical-weights", DEFAULT_WEIGHT, "--tune", folder, "--epochs", epochs,
                                    "--embedder-precision", precision)
            for compared in report["compared"]:
                of = compared["all"]
                told[f"{compared['name']} untuned"], told[f"{compared['name']} tuned"] = of["untuned"], of["tuned"]
            return {"gain": told["fusion tuned"] - told["fusion untuned"]}

        def extras(runs):
            return {"rankings": {name: round(figure, 4) for name, figure in told.items()}}

        return Row("ndcg-scifact-tuned", 1.0, ours, lambda: {"the embedder untuned": lambda: {"gain": 0.0}}, unit="nDCG@10 gained",
                   figure="gain", against=GAIN_TARGET, extras=extras, once=True)

    def cut(self, collection, documents=200):
        """A small part of a collection: the judged documents come first."""
        folder = self.folder / f"{collection.name}-cut"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(collection / "qrels", folder / "qrels")
        shutil.copyfile(collection / "queries.jsonl", folder / "queries.jsonl")
        judged = {line.split("\t")[1] for file in (folder / "qrels").iterdir() for line in file.read_text(encoding="utf-8").splitlines()}
        rows = sorted(projects.rows_of(collection / "corpus.jsonl"), key=lambda row: row["_id"] not in judged)
        text = "".join(json.dumps(row) + "\n" for row in rows[:documents])
        (folder / "corpus.jsonl").write_text(text, encoding="utf-8")
        return folder

    # squad-top5

    def squad_top5(self):
        project, told = self.folder / SQUAD, {}
        questions = 40 if self.quick else None

        def ours():
            projects.write_squad(project, self.options.data, self.options.embedder, questions)
            self.tunesmith("--project", project, "ingest", "--json")
            report = self.tunesmith("--project", project, "eval", "retrieval", "--set", SQUAD, "--split", "test",
                                    "--lexical-weights", DEFAULT_WEIGHT)
            told.update({run["name"]: run["recall_at_5"] for run in report["runs"]}, questions=report["questions"])
            return {"recall": told["fusion"]}

        def words(k1, b):
            return self.script("peer_words", self.options.data / SQUAD, k1, b, told["questions"])

        def peers():
            found = {f"bm25s, k1 {k1}, b {b}": peer(partial(words, k1, b)) for k1, b in WORD_SETTINGS}
            return {**found, "our words alone": lambda: {"recall": told["bm25"]}}

        def extras(runs):
            return {"questions": told["questions"], "rankings": {name: round(told[name], 4) for name in ("bm25", "vectors", "fusion")}}

        return Row("squad-top5", 1.0, ours, peers, unit="in the top 5", figure="recall", against=TOP5_TARGET, extras=extras, once=True)

    # ingest

    def ingest(self):
        project = self.folder / "ingest"

        def written():
            limits = {"abstracts": 60, "files": 3} if self.quick else {}
            return projects.write_mixed(project, self.options.data, self.options.embedder, **limits)

        def ours():
            documents = written()
            report, seconds = self.timed_ingest(projects.fresh(project))
            stored = [file for file in report["files"] if file["outcome"] == "stored"]
            chunks = sum(file["receipt"]["chunks"] for file in stored)
            return {"documents_per_second": documents / seconds, "chunks": chunks}

        def peers():
            return {name: peer(partial(theirs, name)) for name in ("llamaindex", "txtai")}

        def theirs(name):
            documents, state = written(), self.folder / f"ingest-{name}"
            shutil.rmtree(state, ignore_errors=True)
            chosen = self.embedding_settings(project / "documents")
            run = self.script("peer_ingest", name, self.options.embedder, project / "documents", state, chosen["format"], chosen["batch"],
                              seconds=7200)
            shutil.rmtree(state, ignore_errors=True)
            return {"documents_per_second": documents / run["seconds"], "chunks": run["chunks"]}

        return Row("ingest", 3.0, ours, peers, unit="documents/s", figure="documents_per_second")

    def timed_ingest(self, project):
        """Some of the mixed files cannot be read, which `ingest` ends with status 1 for, once the others are in."""
        started = time.perf_counter()
        report = self.tunesmith("--project", project, "ingest", "--json", accepted=(0, 1))
        return report, time.perf_counter() - started

    def embedding_settings(self, documents):
        """{"format", "batch"} that sentence-transformers is fastest with here; tried out once."""
        if not self.settings:
            self.settings = self.script("peer_ingest", "settings", self.options.embedder, documents)
            say(f"embedding of the peers: {self.settings}")
        return self.settings

    # query/SIZE

    def query(self, size):
        def ours():
            return self.scale.queried(OURS, size, embed=True)

        def peers():
            queried = {name: partial(self.scale.queried, store, size, embed=True) for name, store in self.stores(size).items()}
            wanted = {name: peer(queried[name]) for name, store in self.stores(size).items() if store not in self.without}
            return {**{name: not_asked for name in queried}, **wanted}

        def extras(runs):
            # Speed counts only where the right chunks are found.
            return {} if median(runs, "recall_at_10") >= RECALL else {"met": False}

        search = Also(f"query-search/{size}", "ms", "search_p50_ms", 1 / 5)
        return Row(f"query/{size}", 5.0, ours, peers, unit="1/s", figure="per_second", extras=extras, also=(search,))

    def stores(self, size):
        """Those that take part. LanceDB scans small collections in any case; the largest it is spared to scan."""
        both = 50_000 <= self.scale.sizes[size] < SIZES["1m"]
        return {name: store for name, store in STORES.items() if both or store != "lancedb-exact"}

    # size and growth

    def size(self, size="100k"):
        def work(side):
            run = self.scale.queried(side, size, embed=False)
            return {"peak_mib": run["peak_mib"], "disk_mib": run["disk_mib"], "build_mib": run["build_mib"]}

        def peers():
            return {name: peer(partial(work, store)) for name, store in self.stores(size).items()}

        also = (Also("size/disk", "MiB", "disk_mib", 1.0), Also("size/build-memory", "MiB", "build_mib", 1.0))
        return Row("size/memory", 1.0, partial(work, OURS), peers, unit="MiB", figure="peak_mib", at_most=True, also=also, once=True)

    def growth(self):
        """Exponents of the power laws of building (vectors given) and of searching, over all sizes and over the large ones."""
        told = {}

        def ours():
            for size in GROWTH:
                built, found = self.scale.built(OURS, size), self.scale.queried(OURS, size, embed=False)
                told[size] = {"chunks": built["chunks"], "builds": [built["seconds"]], "search_p50_ms": found["search_p50_ms"]}
            # A small build takes a tenth of a second, which other users of a machine move by half.
            for _ in range(BUILDS - 1):
                for size in GROWTH[:-1]:
                    told[size]["builds"].append(self.scale.rebuilt(OURS, size))
            for costs in told.values():
                costs["build_seconds"] = statistics.median(costs["builds"])
            return {"ingest": law(told, GROWTH, "build_seconds"), "ingest_large": law(told, LARGE, "build_seconds"),
                    "query": law(told, GROWTH, "search_p50_ms"), "query_large": law(told, LARGE, "search_p50_ms")}

        def linear():
            return dict.fromkeys(("ingest", "ingest_large", "query", "query_large"), 1.0)

        also = (Also("growth/ingest-large", "exponent", "ingest_large", GROWTH_TARGET), Also("growth/query", "exponent", "query", 1.0),
                Also("growth/query-large", "exponent", "query_large", 1.0))
        return Row("growth/ingest", GROWTH_TARGET, ours, lambda: {"linear growth": linear}, unit="exponent", figure="ingest", at_most=True,
                   also=also, extras=lambda runs: {"costs": told}, once=True)

    def rows(self):
        """Every row by its name."""
        rows = [self.ndcg(name, tuned) for tuned in (False, True) for name in PUBLISHED]
        rows += [self.ndcg_tuned(), self.squad_top5(), self.ingest()]
        rows += [self.query(size) for size in ("5k", "100k", "1m")]
        rows += [self.size(), self.growth()]
        return {row.name: row for row in rows}


def not_asked():
    raise LeftOut("not asked for")


def law(costs, sizes, cost):
    return exponent([costs[size]["chunks"] for size in sizes], [costs[size][cost] for size in sizes])


def planned(rows):
    """Names of all entries that rows make, in the table's order."""
    return [name for row in rows for name in (row.name, *(also.name for also in row.also))]


def remark(entry):
    """What a row's figure is made of, and who is left out of it."""
    parts = []
    if "rankings" in entry:
        weight = f" with weight {entry['weight']}" if "weight" in entry else ""
        parts.append(", ".join(f"{ranking} {figure:.3f}" for ranking, figure in entry["rankings"].items()) + weight)
    parts += [f"without {name}: {reason}" for name, reason in entry.get("left_out", {}).items()]
    return "; ".join(parts).replace("|", "/")
