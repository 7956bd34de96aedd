"""The rows: for each its work, our command and the peers'."""

import json
import os
from functools import cached_property, partial

from common.commands import THREADS, Failed, fingerprint, last_json, output, say, seconds_to_output, set_up
from common.measure import Also, Row, median
from engine import conversations, departed, limits, servers
from engine.peers import CONTEXT, HERE, MADE_OF, admitted

# Pairs of each set to train on, and the peers' batch sizes and pack lengths.
PAIRS = {"banking77": 128, "gsm8k": 48, "squad": 48, "squad-apart": 48}
LAYOUTS = [("batch", 1), ("batch", 4), ("batch", 8), ("pack", 1024)]
PREFILLS, DEPTHS = [256, 1024, 4096], [0, 1024]
# Weight formats of llama.cpp that may be peers; the file's own is always one.
KINDS = ["Q4_0", "Q4_1", "Q8_0"]
# Tokens decoded in one measurement of one stream, and of each of the concurrent ones.
DECODED, STREAMS, ANSWER = 64, 8, 128
# Tokens of the prompt that holds the quoted passage, where `speed` does not tell.
QUOTING_DEPTH = 400
CHUNKS, EMBED_BATCHES = 256, (8, 32)
# Passages of a conversation of some 4,000 tokens, and seconds that may pass until a client that left costs nothing more.
LONG, LEFT = 20, 0.05
TOPIC = "Explain in detail and at length what the passages say."
PROMPT = "The capital of France is"
# Our perplexities, by the products that they pass through.
SINGLE, WHOLE = "ours, token by token", "ours, reading windows whole"
# The format whose peak bounds our matrix products, where the machine has it.
FORMAT = "bf16"


class Bench:
    """Commands of both sides; everything is found or made on first use."""

    def __init__(self, options, peers):
        self.options, self.peers = options, peers
        self.model, self.out, self.data = options.model, options.out, options.data
        # A row's work, cut down to show that it runs at all.
        self.quick = options.quick

    # Our side.

    def speed(self, *work):
        """`speed MODEL work…`"""
        return self.example("speed", self.model, *work)

    def example(self, name, *arguments, **environment):
        program = self.options.examples / name
        if not program.exists():
            raise Failed(f"there is no example `{name}` in crates/lm")
        try:
            return last_json(output(program, *arguments, env={**os.environ, **environment}), name)
        except Failed as error:
            if "usage: speed" in str(error):
                raise Failed(f"`speed` has no work called `{arguments[1]}`") from error
            raise

    @cached_property
    def perplexity(self):
        """Ours on the text that the peers' formats are judged on, through the products that decoding uses: a token at a time. Measured
        anew when the program, the model or the text is another."""
        files = [self.options.examples / "perplexity", self.model, self.peers.text]
        made_of = fingerprint(*files, os.environ.get("TUNESMITH_KERNELS", ""))
        known = self.peers.perplexities()
        if SINGLE in known and self.peers.ours_made_of() == made_of:
            return known[SINGLE]
        whole = self.example("perplexity", self.model, self.peers.text)
        if whole["context"] != CONTEXT:
            raise Failed(f"`perplexity` reads {whole['context']} tokens at once, llama.cpp {CONTEXT}")
        rows = 1
        single = self.example("perplexity", self.model, self.peers.text, whole["precision"], CONTEXT, 0, rows)
        self.peers.keep({WHOLE: whole["perplexity"], SINGLE: single["perplexity"], MADE_OF: made_of})
        return single["perplexity"]

    # What both sides need.

    @cached_property
    def peak(self):
        return limits.measured_peak(self.out / "peak", HERE / "peak.c")

    @cached_property
    def sizes(self):
        return self.peers.script("peer_weights.py", self.model)

    @cached_property
    def kinds(self):
        """llama.cpp's weight formats that lose no more than ours."""
        kinds = {self.peers.own_kind(): None, **dict.fromkeys(KINDS)}
        found = {kind: self.peers.perplexity(kind) for kind in kinds}
        chosen = admitted(found, self.perplexity)
        say(f"perplexity: ours {self.perplexity:.4f}, {found}: peers are {', '.join(chosen)}")
        if not chosen:
            raise Failed(f"no format of llama.cpp has a perplexity as low as ours, {self.perplexity}: {found}")
        return chosen

    @cached_property
    def material(self):
        return conversations.passages_and_questions(self.data / "squad")

    def pairs(self, name):
        """Training pairs of a set; those of squad with their passage in the prompt."""
        if not name.startswith("squad"):
            return self.data / name / "train.jsonl"
        file = self.out / f"{name}.jsonl"
        file.write_text(conversations.squad_pairs(self.data / "squad", apart=name == "squad-apart"), encoding="utf-8")
        return file

    # train/SET

    def train(self, name, count):
        count = 32 if self.quick else count
        layouts = [("batch", 4), ("pack", 1024)] if self.quick else LAYOUTS
        peers = {
            f"PEFT {mode}, {layout} {size}": partial(self.peft, name, count, mode, layout, size)
            for mode in ("f32", "bf16") for layout, size in layouts
        }

        def ours():
            return self.speed("train", self.pairs(name), count)

        memory = Also(f"train-memory/{name}", "MiB", "peak_mib", 0.35)
        return Row(f"train/{name}", 3.0, ours, lambda: peers, extras=self.train_share, also=(memory,))

    def peft(self, name, count, mode, layout, size):
        rendered = self.out / f"{name}.{count}.jsonl"
        command = [self.options.examples / "speed", self.model, "render", self.pairs(name), count]
        rendered.write_text(output(*command), encoding="utf-8")
        return self.peers.script("peer_training.py", self.peers.weights(), rendered, mode, layout, size)

    def train_share(self, runs):
        run = runs[0]
        operations = limits.train_operations(self.sizes, run["run_tokens"], run["tokens"], run["trained_tokens"])
        return limits.share(operations / run["tokens"] * median(runs, "tokens_per_second"), self.peak, FORMAT)

    # prefill/N and decode/DEPTH

    def prefill(self, tokens):
        def peers():
            kinds = dict.fromkeys([*KINDS, self.peers.own_kind()])
            found = {f"llama.cpp {kind}": partial(self.llama_bench, kind, tokens, 0, 0) for kind in kinds}
            return {**found, "transformers bf16": partial(self.transformers, "prefill", tokens)}

        def extras(runs):
            operations = limits.prefill_operations(self.sizes, tokens) / tokens
            return limits.share(operations * median(runs, "tokens_per_second"), self.peak, FORMAT)

        return Row(f"prefill/{tokens}", 1.3, partial(self.speed, "prefill", tokens), peers, extras=extras)

    def decode(self, depth):
        def peers():
            found = {f"llama.cpp {kind}": partial(self.llama_bench, kind, 0, DECODED, depth) for kind in self.kinds}
            return {**found, "transformers bf16": partial(self.transformers, "decode", depth)}

        def extras(runs):
            bytes_read = limits.decode_bytes(self.sizes, depth) * median(runs, "tokens_per_second")
            return limits.share(bytes_read, self.peak, "read")

        return Row(f"decode/{depth}", 1.1, partial(self.speed, "decode", depth), peers, extras=extras)

    def llama_bench(self, kind, prompt, decoded, depth):
        program = self.peers.llama("llama-bench")
        command = [program, "-m", self.peers.quantised(kind), "-t", THREADS, "-p", prompt, "-n", decoded, "-d", depth,
                   "-r", 1, "-o", "json"]
        return {"tokens_per_second": json.loads(output(*command))[0]["avg_ts"]}

    def transformers(self, work, size):
        return self.peers.script("peer_inference.py", self.peers.weights(), work, size)

    def decode_quoting(self):
        """Ours tells how many tokens it decoded behind how many; the peer decodes as many there, whichever they are."""
        told = {}

        def ours():
            told.update(self.speed("decode-quoting", self.peers.text))
            return dict(told)

        def plain(kind):
            return self.llama_bench(kind, 0, told["tokens"], told.get("prompt_tokens", QUOTING_DEPTH))

        return Row("decode-quoting", 2.0, ours, lambda: {f"llama.cpp {kind}": partial(plain, kind) for kind in self.kinds})

    # concurrent and first-token

    def concurrent(self):
        streams, tokens = (2, 16) if self.quick else (STREAMS, ANSWER)

        def work(render, _process, port, model):
            begun = [conversations.conversation(self.material, number)[0] for number in range(streams + 1)]
            servers.chat(port, model, render(begun[streams], TOPIC), 4)
            chats = [render(before, TOPIC) for before in begun[:streams]]
            answers, seconds = servers.chat_together(port, model, chats, tokens)
            written = sum(answer["completion_tokens"] for answer in answers)
            return {"tokens_per_second": written / seconds, "prompt_tokens": [answer["prompt_tokens"] for answer in answers]}

        return self.served("concurrent", 1.2, work, streams)

    def first_token(self):
        count = 1 if self.quick else 5

        def work(render, _process, port, model):
            waits, prompts = [], []
            for number in range(count):
                before, (first, second) = conversations.conversation(self.material, number)
                servers.chat(port, model, render(before, first), 8)
                answer = servers.chat(port, model, render(before, second), 8)
                waits.append({"seconds": answer["first"]})
                prompts.append(answer["prompt_tokens"])
            return {"seconds": median(waits, "seconds"), "prompt_tokens": prompts}

        return self.served("first-token", 1.3, work, 1, unit="1/s", figure="per_second")

    def cancel(self, part):
        """The longest of several times: the client leaves while its prompt is read, or while it is answered."""
        waits = [0.3 + 0.35 * n for n in range(2 if self.quick else 8)]

        def work(render, process, port, model):
            found = []
            for number, wait in enumerate(waits):
                before, (question, *_) = conversations.conversation(self.material, number, LONG if part == "prompt" else conversations.PASSAGES)
                leave = departed.after(wait) if part == "prompt" else departed.after_text(wait / 4)
                messages = render(before, question if part == "prompt" else TOPIC)
                found.append(departed.seconds_after_leaving(process, port, model, messages, 4 * ANSWER, leave))
            say(f"cancel/{part}: {', '.join(f'{1000 * seconds:.0f}' for seconds in found)} ms")
            return {"seconds": max(found), "prompt_tokens": []}

        def extras(runs):
            return {"met": median(runs, "seconds") <= LEFT}

        return self.served(f"cancel/{part}", 1.0, work, 1, context=8192, unit="1/s", figure="per_second", extras=extras)

    def served(self, name, target, work, slots, context=2048, **row):
        """A row over HTTP. Both sides must have read prompts of the same lengths."""
        told = {}

        def ours():
            port = servers.free_port()
            with servers.serving(self.our_server(port), port, self.out / "serve.log") as process:
                told["ours"] = work(conversations.asked, process, port, conversations.SET)
            return dict(told["ours"])

        def llama(kind):
            port = servers.free_port()
            command = [self.peers.llama("llama-server"), "-m", self.peers.quantised(kind), "--host", "127.0.0.1", "--port", port,
                       "-t", THREADS, "-np", slots, "-c", context * slots]
            with servers.serving(command, port, self.out / "llama-server.log") as process:
                run = work(conversations.finished, process, port, "any")
            if run["prompt_tokens"] != told["ours"]["prompt_tokens"]:
                raise Failed(f"prompts differ: {told['ours']['prompt_tokens']} tokens and llama.cpp's {run['prompt_tokens']}")
            return run

        return Row(name, target, ours, lambda: {f"llama.cpp {kind}": partial(llama, kind) for kind in self.kinds}, **row)

    def our_server(self, port):
        """Our server's command, its project written and ingested."""
        project, tunesmith = self.out / "project", self.options.tunesmith
        conversations.write_project(project, self.model, self.options.embedder)
        set_up(tunesmith, "--project", project, "ingest")
        return [tunesmith, "--project", project, "serve", "--address", f"127.0.0.1:{port}"]

    # embed

    def embed(self):
        folder, encoder = self.out / ("embed-quick" if self.quick else "embed"), self.options.embedder
        formats = [("sentence-transformers", "bf16"), ("onnxruntime", "f32"), ("onnxruntime", "int8")]

        def ours():
            if not (folder / "int8.onnx").exists():
                count = 32 if self.quick else CHUNKS
                self.peers.script("peer_embedding.py", "prepare", encoder, self.data / "squad/docs", folder, count)
            # `embedder_precision = "int8"` of a project.
            return self.example("speed", encoder, "embed", folder / "chunks.txt", PRECISION="int8")

        def peer(library, number_format, batch):
            return self.peers.script("peer_embedding.py", "time", encoder, folder, library, number_format, batch)

        def peers():
            batches = EMBED_BATCHES[:1] if self.quick else EMBED_BATCHES
            return {f"{l} {f}, batch {b}": partial(peer, l, f, b) for l, f in formats for b in batches}

        def extras(runs):
            # Speed counts only where the vectors are right.
            return {} if median(runs, "cosine_min") >= 0.999 else {"met": False}

        return Row("embed", 2.0, ours, peers, unit="chunks/s", figure="chunks_per_second", extras=extras)

    # start

    def start(self):
        speed = self.options.examples / "speed"

        def llama(kind, program):
            flags = ["-no-cnv", "--no-warmup", "--no-display-prompt", "-t", THREADS, "-p", PROMPT]
            simple = program == "llama-simple"
            command = [self.peers.llama(program), "-m", self.peers.quantised(kind), "-n", 1, *([PROMPT] if simple else flags)]
            # llama-simple writes the prompt first.
            return {"seconds": seconds_to_output(command, len(PROMPT) if simple else 0)}

        def peers():
            programs = ("llama-completion", "llama-simple")
            return {f"{program} {kind}": partial(llama, kind, program) for kind in self.kinds for program in programs}

        def ours():
            return {"seconds": seconds_to_output([speed, self.model, "first", PROMPT])}

        return Row("start", 1.0, ours, peers, unit="1/s", figure="per_second")

    def rows(self):
        """Every row by its name."""
        rows = [self.train(name, count) for name, count in PAIRS.items()]
        rows += [self.prefill(tokens) for tokens in PREFILLS]
        rows += [self.decode(depth) for depth in DEPTHS]
        rows += [self.decode_quoting(), self.concurrent(), self.first_token(), self.embed(), self.start()]
        rows += [self.cancel(part) for part in ("prompt", "answer")]
        return {row.name: row for row in rows}


def planned(rows):
    """Names of all entries that rows make, in the table's order: training, its memory, the others."""
    rows = list(rows)
    training = [row for row in rows if row.also]
    memory = [also.name for row in training for also in row.also]
    return [*(row.name for row in training), *memory, *(row.name for row in rows if not row.also)]


def perplexities(known):
    """Perplexity by weight format."""
    if not known:
        return ""
    lines = ["| weights | perplexity |", "|---|--:|"]
    lines += [f"| {name} | {value:.4f} |" for name, value in sorted(known.items(), key=lambda item: item[1])]
    return "\n".join(lines) + "\n"
