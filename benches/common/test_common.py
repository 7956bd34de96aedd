"""Tests of what all benchmarks share; no peer is needed."""

import contextlib
import io
import json
import pathlib
import sys
import tempfile
import unittest

from common import driver, measure, table
from common.commands import Failed, LeftOut, last_json, output, output_and_peak, seconds_to_output
from common.packages import Packages


def quietly(work, *arguments):
    with contextlib.redirect_stderr(io.StringIO()):
        return work(*arguments)


def scripted(figures):
    """Work that gives one figure after the other and counts how often it was asked."""
    runs = iter(figures)
    return lambda: next(runs)


def speeds(*figures):
    return scripted([{"tokens_per_second": figure} for figure in figures])


class Measuring(unittest.TestCase):
    def test_the_ratio_is_of_medians_against_the_best_peer(self):
        peers = {"slow": speeds(9.0, 10.0, 11.0), "fast": speeds(10.0, 12.0, 11.0)}
        row = measure.Row("prefill/7", 1.3, speeds(22.0, 11.0, 44.0), lambda: peers)
        (entry,) = quietly(measure.measure, row, 3)
        self.assertEqual(("fast", 22.0, 11.0, 2.0), tuple(entry[key] for key in ("peer_name", "ours", "peer", "ratio")))
        self.assertEqual([22.0, 11.0, 44.0], entry["runs"]["ours"])
        self.assertTrue(entry["met"])

    def test_a_peer_far_behind_runs_once(self):
        peers = {"far": speeds(7.9), "near": speeds(8.1, 20.0), "best": speeds(10.0, 10.0)}
        row = measure.Row("decode/0", 1.1, speeds(5.0, 5.0), lambda: peers)
        (entry,) = quietly(measure.measure, row, 2)
        self.assertEqual({"ours": 2, "far": 1, "near": 2, "best": 2}, {name: len(runs) for name, runs in entry["runs"].items()})
        self.assertEqual("near", entry["peer_name"])
        self.assertFalse(entry["met"])

    def test_training_makes_a_row_of_memory_against_the_least_which_stays_in(self):
        def runs(*pairs):
            return scripted([{"tokens_per_second": speed, "peak_mib": mib, "trained_tokens_per_second": 1.0} for speed, mib in pairs])

        peers = {"lean": runs((1.0, 500), (1.0, 700)), "fast": runs((9.0, 2000), (9.0, 2000))}
        row = measure.Row("train/x", 3.0, runs((27.0, 300), (27.0, 300)), lambda: peers, also=(measure.Also("train-memory/x", "MiB", "peak_mib", 0.35),))
        speed, memory = quietly(measure.measure, row, 2)
        self.assertEqual(("fast", 3.0, True), (speed["peer_name"], speed["ratio"], speed["met"]))
        self.assertEqual({"ours": 1.0, "peer": 1.0}, speed["trained_tokens_per_second"])
        self.assertEqual(("train-memory/x", "lean", 0.5, False), tuple(memory[key] for key in ("row", "peer_name", "ratio", "met")))

    def test_of_times_the_shorter_is_better(self):
        peers = {"a": scripted([{"seconds": 0.2}]), "b": scripted([{"seconds": 0.1}])}
        row = measure.Row("start", 1.0, scripted([{"seconds": 0.05}]), lambda: peers, unit="1/s", figure="per_second")
        (entry,) = quietly(measure.measure, row, 1)
        self.assertEqual(("b", 2.0, 20), (entry["peer_name"], entry["ratio"], entry["ours"]))
        self.assertEqual({"ours": 0.05, "peer": 0.1}, entry["seconds"])

class LessIsBetter(unittest.TestCase):
    def test_the_least_peer_and_a_ratio_at_most(self):
        peers = {"small": scripted([{"mib": 10.0}] * 2), "large": scripted([{"mib": 20.0}]), "near": scripted([{"mib": 12.0}] * 2)}
        row = measure.Row("size", 1.0, scripted([{"mib": 5.0}] * 2), lambda: peers, unit="MiB", figure="mib", at_most=True)
        (entry,) = quietly(measure.measure, row, 2)
        self.assertEqual(("small", 0.5, True), (entry["peer_name"], entry["ratio"], entry["met"]))
        self.assertEqual({"ours": 2, "small": 2, "large": 1, "near": 2}, {name: len(runs) for name, runs in entry["runs"].items()})

    def test_a_ratio_to_a_figure_of_its_own(self):
        peers = {"published": scripted([{"ndcg": 0.7}])}
        row = measure.Row("ndcg", 1.0, scripted([{"ndcg": 0.72}]), lambda: peers, unit="nDCG@10", figure="ndcg", against=0.735, once=True)
        (entry,) = quietly(measure.measure, row, 3)
        self.assertEqual((0.98, False, 0.735), (entry["ratio"], entry["met"], entry["against"]))


class LeavingOut(unittest.TestCase):
    @staticmethod
    def cannot():
        raise LeftOut("has no words")

    def test_a_peer_that_cannot_is_named_with_its_reason(self):
        row = measure.Row("query", 1.0, speeds(2.0), lambda: {"a": self.cannot, "b": speeds(1.0)})
        (entry,) = quietly(measure.measure, row, 1)
        self.assertEqual(({"a": "has no words"}, "b", 2.0), (entry["left_out"], entry["peer_name"], entry["ratio"]))

    def test_a_row_whose_peers_all_cannot_has_no_figure(self):
        row = measure.Row("query", 1.0, speeds(2.0), lambda: {"a": self.cannot})
        with self.assertRaisesRegex(Failed, "has no words"):
            quietly(measure.measure, row, 1)


class Tables(unittest.TestCase):
    ENTRY = {
        "row": "train/x", "ours": 3000, "peer": 990.5, "peer_name": "PEFT", "unit": "tokens/s", "ratio": 3.03, "runs": {},
        "target": 3.0, "met": True, "share_of_peak": 0.5, "peak": "bf16", "measured": "2026-01-02",
        "trained_tokens_per_second": {"ours": 300, "peer": 99.0},
    }

    REMARK = ("share of the peak", table.share_of_peak)

    def test_rows_in_order_and_those_without_figures(self):
        lines = table.table(["decode/0", "train/x"], [self.ENTRY], self.REMARK).splitlines()
        self.assertEqual("| `decode/0` | not measured | | | | | | |", lines[2])
        self.assertEqual(
            "| `train/x` | 3,000 tokens/s (300 trained) | 990 tokens/s (99 trained) | PEFT | **3.03** | ≥ 3.00 | 50% of bf16 | 2026-01-02 |",
            lines[3])

    def test_missed_memory_and_times(self):
        memory = {**self.ENTRY, "unit": "MiB", "target": 0.35, "met": False}
        self.assertIn("≤ 0.35 (missed)", table.line(memory, table.share_of_peak))
        start = {**self.ENTRY, "unit": "1/s", "seconds": {"ours": 0.0504, "peer": 0.1}}
        self.assertIn("| 50 ms (300 trained) | 100 ms (99 trained) |", table.line(start, table.share_of_peak))

    def test_only_what_is_between_the_markers_is_written(self):
        first, last = table.markers("engine")
        page = f"before\n{first}\nold\n{last}\nbetween\n{table.markers('retrieval')[0]}\n"
        written = table.between_markers(page, "engine", "new\n")
        self.assertEqual(page.replace("\nold\n", "\n\nnew\n\n"), written)
        with self.assertRaises(ValueError):
            table.between_markers(page, "retrieval", "new")

    def test_the_page_has_the_markers_of_every_benchmark(self):
        page = driver.PAGE.read_text(encoding="utf-8")
        for name in ("engine", "retrieval"):
            self.assertIn("figures", table.between_markers(page, name, "figures"))

    def test_a_ratio_to_a_target_says_so_and_times_stand_beside(self):
        entry = {**self.ENTRY, "ours": 0.7237, "peer": 0.679, "unit": "nDCG@10", "against": 0.735, "target": 1.0, "at_most": False,
                 "p99_ms": {"ours": 12.4, "peer": 0.512}}
        del entry["trained_tokens_per_second"]
        self.assertIn("| 0.7237 nDCG@10 (p99 12 ms) | 0.679 nDCG@10 (p99 0.51 ms) |", table.line(entry, table.share_of_peak))
        self.assertIn("≥ 1.00 of 0.735 |", table.line(entry, table.share_of_peak))

    def test_results_stay_when_others_are_added(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            driver.Results(out, "engine", ["train/x"], self.REMARK).add([self.ENTRY])
            driver.Results(out, "engine", ["train/x"], self.REMARK).add([{**self.ENTRY, "row": "decode/0"}])
            entries = json.loads((out / "engine.json").read_text(encoding="utf-8"))
            self.assertEqual(["decode/0", "train/x"], [entry["row"] for entry in entries])


class Environments(unittest.TestCase):
    def test_a_change_of_an_included_file_is_seen(self):
        with tempfile.TemporaryDirectory() as folder:
            packages = Packages("retrieval", pathlib.Path(folder), None, [])
            included = (packages.requirements().parent.parent / "engine/requirements.txt").read_text(encoding="utf-8")
            self.assertIn(included, packages.wanted())
            self.assertEqual([], packages.versions())


class Commands(unittest.TestCase):
    def test_the_peak_of_memory_is_told(self):
        script = "import sys, time; held = b'x' * int(sys.argv[1]); print('done'); time.sleep(0.3)"
        (text, small), (_, large) = (output_and_peak(sys.executable, "-c", script, size) for size in (1, 64 << 20))
        self.assertEqual("done", text.strip())
        self.assertTrue(60 < large - small < 70, (small, large))
        with self.assertRaisesRegex(Failed, "exit status 3: reason"):
            output_and_peak(sys.executable, "-c", "import sys; print('reason', file=sys.stderr); sys.exit(3)")
        with self.assertRaisesRegex(Failed, "not done after 0.2 s"):
            output_and_peak(sys.executable, "-c", "import time; time.sleep(30)", seconds=0.2)

    def test_an_exit_status_may_be_accepted(self):
        self.assertEqual("x\n", output(sys.executable, "-c", "print('x'); raise SystemExit(1)", accepted=(0, 1)))

    def test_failures_name_the_command_and_its_last_words(self):
        script = "import sys; print('reason', file=sys.stderr); sys.exit(3)"
        with self.assertRaisesRegex(Failed, "exit status 3: reason"):
            output(sys.executable, "-c", script)
        with self.assertRaisesRegex(Failed, "not done after 0.2 s"):
            output(sys.executable, "-c", "import time; time.sleep(30)", seconds=0.2)
        with self.assertRaisesRegex(Failed, "no-such-program"):
            output("no-such-program")
        with self.assertRaisesRegex(Failed, "no JSON"):
            last_json("nothing", "x")

    def test_the_first_byte_behind_the_prompt_is_timed(self):
        script = "import time; print('abc', end='', flush=True); time.sleep(0.4); print('d', flush=True)"
        command = [sys.executable, "-c", script]
        self.assertLess(seconds_to_output(command), seconds_to_output(command, skip=3))
        with self.assertRaises(Failed):
            seconds_to_output(command, skip=50)
        with self.assertRaises(Failed):
            seconds_to_output([sys.executable, "-c", "import time; time.sleep(30)"], limit=0.3)


if __name__ == "__main__":
    unittest.main()
