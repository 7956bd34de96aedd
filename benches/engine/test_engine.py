"""Tests of what the benchmark computes by itself; no peer is needed."""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import types
import unittest
from http.server import BaseHTTPRequestHandler, HTTPServer

from common.commands import Failed
from common.measure import Also, Row
from engine import conversations, departed, limits, servers
from engine.peers import CONTEXT, Peers, admitted
from engine.rows import SINGLE, WHOLE, Bench, perplexities, planned


class Plan(unittest.TestCase):
    def test_memory_stands_behind_all_training(self):
        def row(name, *also):
            return Row(name, 1.0, None, None, also=also)

        first, second = (Also(f"train-memory/{name}", "MiB", "peak_mib", 0.35) for name in "ab")
        rows = [row("train/a", first), row("start"), row("train/b", second)]
        self.assertEqual(["train/a", "train/b", "train-memory/a", "train-memory/b", "start"], planned(rows))


class Perplexities(unittest.TestCase):
    def test_formats_that_lose_are_no_peers(self):
        self.assertEqual(["Q8_0", "Q4_1"], admitted({"Q4_0": 19.6, "Q8_0": 16.37, "Q4_1": 16.5, "Q6_K": 16.6}, 16.4))

    def test_the_lowest_stands_first(self):
        self.assertEqual("", perplexities({}))
        self.assertEqual(["| b | 1.0000 |", "| a | 2.0000 |"], perplexities({"a": 2.0, "b": 1.0}).splitlines()[2:])

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
