"""Tests of what the benchmark computes by itself; no peer is needed."""

import contextlib
import io
import json
import pathlib
import stat
import sys
import tempfile
import types
import unittest

from common.commands import Failed, LeftOut
from common.measure import measure
from retrieval import projects, scale
from retrieval.rows import Bench, planned, remark

# A program with the words of `scale`: an index is a file as large as the collection, found at once or not at all.
STUB = """#!{python}
import json, pathlib, sys
work, folder, state = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
chunks = len((folder / "texts.jsonl").read_text().splitlines())
if work == "build":
    state.mkdir(parents=True)
    (state / "index").write_bytes(b"x" * 1000 * chunks)
    with open(folder.parent.parent / "built", "a") as built:
        built.write(folder.parent.name + "\\n")
    print(json.dumps({{"seconds": chunks / 1000, "peak_bytes": 1, "disk_bytes": 2, "chunks": chunks}}))
else:
    assert (state / "index").exists() and sys.argv[4:6] == ["--k", "10"]
    embed = 1.0 if "--embedder" in sys.argv else 0.0
    search = chunks ** 0.5 / 100
    print(json.dumps({{"p50_ms": search + embed, "p99_ms": 9, "embed_p50_ms": embed, "search_p50_ms": search, "search_p99_ms": 8,
                      "recall_at_10": {recall}, "queries": 3}}))
"""


class NoPackages:
    """A Python without any peer."""

    def python(self):
        return sys.executable

    def environment(self):
        return {}

    def requirements(self):
        return pathlib.Path(scale.__file__).parent / "requirements.txt"

    def wanted(self):
        return ""


def quietly(work, *arguments):
    with contextlib.redirect_stderr(io.StringIO()):
        return work(*arguments)


class WithStub(unittest.TestCase):
    RECALL = 0.99

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.out = pathlib.Path(folder.name)
        self.options = types.SimpleNamespace(
            out=self.out, examples=self.out, data=self.out, embedder=self.out, tunesmith=self.out / "tunesmith", quick=True, precision="auto", without="")
        self.write_program(self.RECALL)
        self.bench = Bench(self.options, NoPackages())
        for size, chunks in self.bench.scale.sizes.items():
            collection = self.bench.scale.folder / size / "collection"
            collection.mkdir(parents=True)
            (collection / "texts.jsonl").write_text("{}\n" * chunks, encoding="utf-8")
            (collection / "exact.json").write_text("[]", encoding="utf-8")

    def write_program(self, recall):
        program = self.out / "scale"
        program.write_text(STUB.format(python=sys.executable, recall=recall), encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def builds(self):
        return (self.bench.scale.folder / "built").read_text(encoding="utf-8").split()


class Scales(WithStub):
    def test_an_index_is_built_once_and_anew_when_the_program_is_another(self):
        once = quietly(self.bench.scale.built, scale.OURS, "1k")
        self.assertEqual(once, self.bench.scale.built(scale.OURS, "1k"))
        self.assertEqual(["1k"], self.builds())
        self.assertTrue(0.4 < once["disk_mib"] < 0.6, once)
        self.assertGreater(once["peak_mib"], 1)
        self.write_program(0.5)
        quietly(self.bench.scale.built, scale.OURS, "1k")
        self.assertEqual(["1k", "1k"], self.builds())

    def test_queries_are_asked_with_the_embedder_or_without(self):
        embedded, alone = (quietly(self.bench.scale.queried, scale.OURS, "10k", embed) for embed in (True, False))
        self.assertAlmostEqual(1.0, embedded["p50_ms"] - alone["p50_ms"])
        self.assertAlmostEqual(embedded["p50_ms"] / 1000, embedded["seconds"])

    def test_growth_is_the_exponent_of_what_the_program_tells(self):
        entries = quietly(measure, self.bench.growth(), 3)
        found = {entry["row"]: (entry["ratio"], entry["met"]) for entry in entries}
        self.assertEqual({"growth/ingest": (1.0, True), "growth/ingest-large": (1.0, True), "growth/query": (0.5, True),
                          "growth/query-large": (0.5, True)}, found)
        self.assertEqual(4_000, entries[0]["costs"]["1m"]["chunks"])
        self.assertEqual([5, 5, 5, 1], [len(costs["builds"]) for costs in entries[0]["costs"].values()])

    def test_a_peer_that_fails_is_left_out_with_its_last_words(self):
        row = self.bench.query("5k")
        with self.assertRaisesRegex(Failed, "no peer has a figure: .*No module named"):
            quietly(measure, row, 1)

    def test_a_peer_that_is_not_wanted_is_left_out_and_named(self):
        self.options.without = "txtai,lancedb"
        peers = Bench(self.options, NoPackages()).query("10k").peers()
        self.assertEqual({"LanceDB", "Chroma, vectors alone", "txtai"}, set(peers))
        for name in ("LanceDB", "txtai"):
            with self.assertRaisesRegex(LeftOut, "not asked for"):
                peers[name]()
        with self.assertRaisesRegex(LeftOut, "No module named"):
            peers["Chroma, vectors alone"]()

    def test_speed_counts_only_with_recall(self):
        for recall, met in ((0.99, True), (0.97, False)):
            self.write_program(recall)
            row = self.bench.query("100k")
            row.peers = lambda: {"slow": lambda: {"seconds": 1.0, "search_p50_ms": 500.0, "recall_at_10": 1.0}}
            query, search = quietly(measure, row, 1)
            self.assertEqual(("query/100k", met, "query-search/100k", True), (query["row"], query["met"], search["row"], search["met"]))

    def test_what_is_missing_is_named(self):
        (self.out / "scale").unlink()
        with self.assertRaisesRegex(Failed, "no example program `scale`"):
            quietly(self.bench.scale.built, scale.OURS, "1k")
        with self.assertRaisesRegex(Failed, "GiB of free disk are needed"):
            self.bench.scale.need_disk(1 << 60)

    def test_a_quick_run_leaves_nothing(self):
        self.bench.scale.tidy()
        self.assertFalse(self.bench.scale.folder.exists())

    def test_the_largest_collection_goes_with_the_run_that_used_it(self):
        largest = self.bench.scale.folder / scale.LARGEST / "collection"
        self.bench.scale.options.quick = False
        largest.mkdir(parents=True, exist_ok=True)
        (largest / "exact.json").write_text("{}", encoding="utf-8")
        self.bench.scale.tidy()
        self.assertTrue(largest.exists())
        self.bench.scale.collection(scale.LARGEST)
        self.bench.scale.tidy()
        self.assertFalse(largest.exists())

    def test_exponents(self):
        self.assertAlmostEqual(1.0, scale.exponent([1, 10, 100], [3, 30, 300]))
        self.assertAlmostEqual(0.0, scale.exponent([1, 10], [7, 7]))
        self.assertAlmostEqual(0.5, scale.exponent([1, 100], [1, 10]))

    def test_reasons_are_short(self):
        def fails():
            raise Failed("command: exit status 1: first\n" + 300 * "x")

        with self.assertRaises(LeftOut) as raised:
            scale.peer(fails)()
        self.assertEqual(161, len(str(raised.exception)))


class Rows(WithStub):
    def test_every_entry_is_planned_and_named_once(self):
        names = planned(self.bench.rows().values())
        self.assertEqual(len(names), len(set(names)))
        for name in ("ndcg-scifact", "ndcg-cranfield", "ndcg-scifact-tuned", "squad-top5", "ingest", "query/5k", "query/100k", "query/1m",
                     "size/memory", "size/disk", "growth/ingest", "growth/query"):
            self.assertIn(name, names)

    def test_the_weight_with_the_best_ndcg_on_train_is_taken(self):
        asked = []

        def ranked(name, split, weights):
            asked.append((name, split, weights))
            return [{"name": "bm25", "lexical_weight": 1.0, "ndcg_at_10": 0.99, "recall_at_100": 1.0}] + [
                {"name": "fusion", "lexical_weight": w, "ndcg_at_10": 1 - abs(w - 0.6), "recall_at_100": 1.0} for w in weights]

        self.bench.ranked = ranked
        (entry,) = quietly(measure, self.bench.ndcg("cranfield", True), 3)
        self.assertEqual([("scifact", "train"), ("cranfield", "test")], [call[:2] for call in asked])
        self.assertEqual((0.6, 1.0, 0.43), (entry["weight"], entry["ours"], entry["against"]))
        self.assertEqual("bm25 0.990, fusion 1.000 with weight 0.6", remark(entry))

    def test_remarks_say_who_is_left_out(self):
        self.assertEqual("without a: it / b", remark({"left_out": {"a": "it | b"}}))
        self.assertEqual("", remark({}))


class Projects(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.data, self.project = pathlib.Path(folder.name) / "data", pathlib.Path(folder.name) / "project"
        self.project.mkdir()
        self.write("scifact/corpus.jsonl", *({"_id": str(n), "title": f"title {n}", "text": "text"} for n in range(3)))
        self.write("squad/docs/A.md", "# A")
        self.write("documents/files/a.pdf", "%PDF")
        self.write("squad/passages.jsonl", {"_id": "A#0", "doc": "docs/A.md", "text": "words of A"})
        for split in ("train", "valid", "test"):
            questions = ({"id": f"{split}{n}", "passage_id": "A#0", "question": "?", "answers": ["words"]} for n in range(3))
            self.write(f"squad/questions.{split}.jsonl", *questions)

    def write(self, name, *rows):
        file = self.data / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def test_documents_are_written_once_and_counted(self):
        self.assertEqual(5, projects.write_mixed(self.project, self.data, "model"))
        file = self.project / "documents/scifact/2.txt"
        self.assertEqual("title 2\n\ntext\n", file.read_text(encoding="utf-8"))
        written = file.stat().st_mtime_ns
        self.assertEqual(5, projects.write_mixed(self.project, self.data, "model"))
        self.assertEqual(written, file.stat().st_mtime_ns)

    def test_test_questions_name_their_passage(self):
        projects.write_squad(self.project, self.data, "model", questions=2)
        rows = projects.rows_of(self.project / "questions.jsonl")
        self.assertEqual(["train", "dev", "test", "test"], [row["split"] for row in rows])
        self.assertEqual([{"document": "documents/A.md", "quote": "words of A"}], rows[3]["evidence"])


if __name__ == "__main__":
    unittest.main()
