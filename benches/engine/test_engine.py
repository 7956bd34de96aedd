"""Tests of what the benchmark computes by itself; no peer is needed."""

import contextlib
import io
import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import types
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

import conversations
import departed
import limits
import measure
import run
import servers
import table
from commands import Failed, last_json, output, seconds_to_output
from peers import CONTEXT, Peers, admitted
from rows import SINGLE, WHOLE, Bench


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
        row = measure.Row("train/x", 3.0, runs((27.0, 300), (27.0, 300)), lambda: peers, memory_target=0.35)
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

    def test_formats_that_lose_are_no_peers(self):
        self.assertEqual(["Q8_0", "Q4_1"], admitted({"Q4_0": 19.6, "Q8_0": 16.37, "Q4_1": 16.5, "Q6_K": 16.6}, 16.4))


class Perplexities(unittest.TestCase):
    def test_ours_is_measured_anew_when_program_model_or_text_change(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            model, program, text = out / "model", out / "perplexity", out / "text"
            options = types.SimpleNamespace(model=model, examples=out, out=out, data=out, quick=False)
            peers = Peers(model, out, None, text)
            peers.keep({"llama.cpp Q4_1": 16.5})
            for file in (model, text, program):
                file.write_text("one", encoding="utf-8")
            asked = []

            def example(*arguments):
                asked.append(arguments)
                return {"context": CONTEXT, "precision": "bf16", "perplexity": 16.0 + len(asked)}

            def known():
                bench = Bench(options, peers)
                bench.example = example
                return bench.perplexity

            self.assertEqual((18.0, 18.0, 2), (known(), known(), len(asked)))
            self.assertEqual({"llama.cpp Q4_1": 16.5, WHOLE: 17.0, SINGLE: 18.0}, peers.perplexities())
            for count, file in enumerate((model, text, program), 2):
                file.write_text("another", encoding="utf-8")
                self.assertEqual((known(), len(asked)), (16.0 + 2 * count, 2 * count))


class Limits(unittest.TestCase):
    SIZES = {"layer_parameters": 100, "head_parameters": 10, "layers": 2, "width": 3, "kv_width": 1, "bytes": 1000}

    def test_operations_and_bytes(self):
        self.assertEqual(4 * (100 * 5 + 10 * 2), limits.train_operations(self.SIZES, 5, 8, 2))
        # Token t looks at t positions: two products of width 3 in 2 layers.
        attention = sum(2 * 2 * 3 * 2 * t for t in range(1, 5))
        self.assertEqual(2 * 100 * 4 + 2 * 10 + attention, limits.prefill_operations(self.SIZES, 4))
        self.assertEqual(1000 + 2 * 2 * 1 * 7 * 2, limits.decode_bytes(self.SIZES, 7))
        with self.assertRaises(Failed):
            limits.train_operations(self.SIZES, 9, 8, 2)

    def test_without_bf16_the_peak_is_that_of_f32(self):
        self.assertEqual({"share_of_peak": 0.5, "peak": "bf16"}, limits.share(1e11, {"f32": 100.0, "bf16": 200.0}, "bf16"))
        self.assertEqual({"share_of_peak": 1.0, "peak": "f32"}, limits.share(1e11, {"f32": 100.0}, "bf16"))


class Tables(unittest.TestCase):
    ENTRY = {
        "row": "train/x", "ours": 3000, "peer": 990.5, "peer_name": "PEFT", "unit": "tokens/s", "ratio": 3.03, "runs": {},
        "target": 3.0, "met": True, "share_of_peak": 0.5, "peak": "bf16", "measured": "2026-01-02",
        "trained_tokens_per_second": {"ours": 300, "peer": 99.0},
    }

    def test_rows_in_order_and_those_without_figures(self):
        lines = table.table(["decode/0", "train/x"], [self.ENTRY]).splitlines()
        self.assertEqual("| `decode/0` | not measured | | | | | | |", lines[2])
        self.assertEqual(
            "| `train/x` | 3,000 tokens/s (300 trained) | 990 tokens/s (99 trained) | PEFT | **3.03** | ≥ 3.00 | 50% of bf16 | 2026-01-02 |",
            lines[3])

    def test_missed_memory_and_times(self):
        memory = {**self.ENTRY, "unit": "MiB", "target": 0.35, "met": False}
        self.assertIn("≤ 0.35 (missed)", table.line(memory))
        start = {**self.ENTRY, "unit": "1/s", "seconds": {"ours": 0.0504, "peer": 0.1}}
        self.assertIn("| 50 ms | 100 ms |", table.line(start))

    def test_only_what_is_between_the_markers_is_written(self):
        page = f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n"
        self.assertEqual(f"before\n{table.BEGIN}\n\nnew\n\n{table.END}\nafter\n", table.between_markers(page, "new\n"))
        with self.assertRaises(ValueError):
            table.between_markers("no markers", "new")

    def test_the_page_has_its_markers(self):
        page = run.PAGE.read_text(encoding="utf-8")
        self.assertIn("figures", table.between_markers(page, "figures"))

    def test_results_stay_when_others_are_added(self):
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder)
            run.Results(out, ["train/x"]).add([self.ENTRY])
            run.Results(out, ["train/x"]).add([{**self.ENTRY, "row": "decode/0"}])
            entries = json.loads((out / "engine.json").read_text(encoding="utf-8"))
            self.assertEqual(["decode/0", "train/x"], [entry["row"] for entry in entries])


class Commands(unittest.TestCase):
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


class Answers(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        word = asked["messages"][-1]["content"]
        events = [{"choices": [{"delta": {"role": "assistant", "content": ""}}]}]
        events += [{"choices": [{"delta": {"content": piece}}]} for piece in (word, "!")]
        events += [{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}]
        if word == "fail":
            events = [{"error": {"message": "no"}}]
        body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


class Servers(unittest.TestCase):
    def setUp(self):
        self.server = HTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)

    def ask(self, *words):
        conversations_ = [[{"role": "user", "content": word}] for word in words]
        return servers.chat_together(self.server.server_port, "m", conversations_, 8)

    def test_streams_are_read_whole(self):
        answers, seconds = self.ask("one", "two")
        self.assertEqual(["one!", "two!"], [answer["text"] for answer in answers])
        self.assertEqual([(5, 2)] * 2, [(answer["prompt_tokens"], answer["completion_tokens"]) for answer in answers])
        self.assertGreater(seconds, 0)

    def test_an_error_of_one_stream_is_the_callers(self):
        with self.assertRaisesRegex(Failed, "the server answers"):
            self.ask("one", "fail")

    def test_a_server_is_ended_and_one_that_dies_is_named(self):
        with tempfile.TemporaryDirectory() as folder:
            log, port = pathlib.Path(folder) / "log", servers.free_port()
            script = ("import http.server as h, sys\nclass H(h.BaseHTTPRequestHandler):\n def do_GET(s): s.send_response(200); s.end_headers()\n"
                      "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), H).serve_forever(0.01)")
            with servers.serving([sys.executable, "-c", script, port], port, log):
                pass
            with self.assertRaises(Failed), servers.serving([sys.executable, "-c", "raise SystemExit('gone')"], port, log):
                self.fail("it never served")
            self.assertIn("gone", log.read_text(encoding="utf-8"))


class Departed(unittest.TestCase):
    def test_a_process_is_watched_until_it_rests(self):
        script = "import time\nwhile time.process_time() < 0.4: pass\ntime.sleep(60)"
        with subprocess.Popen([sys.executable, "-c", script]) as process:
            try:
                self.assertGreater(departed.seconds_until_rest(process), 0)
                self.assertGreater(departed.processor_seconds(process), 0.4)
            finally:
                process.kill()


class Conversations(unittest.TestCase):
    def test_both_sides_get_the_same_but_for_the_note(self):
        material = [(f"passage {i}", [("a?", "A"), ("b?", "B"), ("c?", "C")]) for i in range(4)]
        before, others = conversations.conversation(material, 3)
        self.assertEqual(["b?", "c?"], others)
        self.assertIn("passage 3\n\npassage 0\n\npassage 1\n\nAnswer", before[1]["content"])
        ours, theirs = conversations.asked(before, "b?"), conversations.finished(before, "b?")
        self.assertEqual(ours[:-1], theirs[:-1])
        self.assertEqual(theirs[-1]["content"], f"Passages:\n{conversations.NOTE}\n\nAnswer from the passages above.\nQuestion: b?")


if __name__ == "__main__":
    unittest.main()
