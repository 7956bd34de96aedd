#!/usr/bin/env python3
"""The engine beside its peers: same machine, same weights, same work, in turn.

    run.py --model FILE.gguf --data DATA --out OUT [--row PREFIX] [--runs 3] [--python PYTHON]

Sets the peers up below OUT (PyTorch, transformers and PEFT from packages; llama.cpp built from the source inside the package
llama-cpp-python), runs every row's commands in turn and writes OUT/engine.json: a list of {row, ours, peer, peer_name, unit,
ratio, runs}, medians and the ratio of medians against the best peer. More is better, but for memory. OUT/engine.md holds the same as
a table. Rows that are there and not asked for stay. Standard library only.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tarfile
from functools import partial

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LLAMA = "llama-cpp-python==0.3.36"
# Pairs of each set to train on.
PAIRS = {"banking77": 128, "gsm8k": 48, "squad": 48}
THREADS = str(os.cpu_count() or 1)


def say(text):
    print(text, file=sys.stderr, flush=True)


def run(command, **options):
    return subprocess.run([str(part) for part in command], check=True, text=True, **options)


def output(command, **options):
    return run(command, stdout=subprocess.PIPE, **options).stdout


def rows_of(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Peers:
    """What the engine is measured against, set up on first use."""

    def __init__(self, model, out, python):
        self.model, self.out, self.given = model, out, python

    def python(self):
        if self.given:
            return self.given
        python = self.out / "venv/bin/python"
        if not (self.out / "venv/ready").exists():
            say("peers: PyTorch, transformers, PEFT")
            run([sys.executable, "-m", "venv", self.out / "venv"])
            run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], stdout=sys.stderr)
            (self.out / "venv/ready").touch()
        return python

    def weights(self):
        """The model's weights, dequantised, as transformers reads them."""
        folder = self.out / "hf"
        if not (folder / "config.json").exists():
            run([self.python(), ROOT / "benches/convert.py", self.model, folder], stdout=sys.stderr)
        return folder

    def llama(self, program):
        build = self.out / "llama/build"
        if not (build / "bin" / program).exists():
            say("peers: building llama.cpp")
            pip = [self.python(), "-m", "pip", "--quiet"]
            run([*pip, "install", "cmake"], stdout=sys.stderr)
            run([*pip, "download", "--no-deps", "--no-binary", LLAMA.split("==")[0], "-d", self.out / "llama", LLAMA],
                stdout=sys.stderr)
            with tarfile.open(next((self.out / "llama").glob("*.tar.gz"))) as archive:
                archive.extractall(self.out / "llama/source", filter="data")
            source = next((self.out / "llama/source").glob("*/vendor/llama.cpp"))
            cmake = self.out / "venv/bin/cmake"
            flags = ["-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DLLAMA_CURL=OFF", "-DLLAMA_BUILD_TESTS=OFF"]
            run([cmake, "-S", source, "-B", build, *flags], stdout=sys.stderr)
            targets = ["llama-bench", "llama-quantize", "llama-perplexity"]
            run([cmake, "--build", build, "-j", THREADS, "--target", *targets], stdout=sys.stderr)
        return build / "bin" / program

    def quantised(self, kind):
        """The model in another of llama.cpp's weight formats; its own is taken as it is."""
        if kind in self.model.name:
            return self.model
        file = self.out / f"{kind}.gguf"
        if not file.exists():
            run([self.llama("llama-quantize"), "--allow-requantize", self.model, file, kind], stdout=sys.stderr)
        return file


class Bench:
    def __init__(self, arguments):
        self.model, self.data, self.out = arguments.model, arguments.data, arguments.out
        self.peers = Peers(self.model, self.out, arguments.python)
        self.speed = ROOT / "target/release/examples/speed"

    def ours(self, *work):
        return json.loads(output([self.speed, self.model, *work]))

    def rows(self):
        """Row -> (unit, figure, our run, {peer: its run})."""
        rows = {}

        def row(name, ours, peers):
            rows[name] = ("tokens/s", "tokens_per_second", ours, peers)

        for name, count in PAIRS.items():
            pairs = self.pairs(name)
            peers = {
                f"PEFT {mode}, batch {size}": partial(self.peft, pairs, count, mode, size)
                for mode in ("f32", "bf16")
                for size in (1, 4)
            }
            row(f"train/{name}", partial(self.ours, "train", pairs, count), peers)
        for tokens in (256, 1024, 4096):
            peers = {f"llama.cpp {kind}": partial(self.llama, kind, tokens, 0, 0) for kind in ("Q4_0", "Q8_0")}
            peers["transformers bf16"] = partial(self.transformers, "prefill", tokens)
            row(f"prefill/{tokens}", partial(self.ours, "prefill", tokens), peers)
        for depth in (0, 1024):
            # Q4_0 is left out: made from these weights it loses more than ours do.
            peers = {f"llama.cpp {kind}": partial(self.llama, kind, 0, 64, depth) for kind in ("Q4_1", "Q8_0")}
            peers["transformers bf16"] = partial(self.transformers, "decode", depth)
            row(f"decode/{depth}", partial(self.ours, "decode", depth), peers)
        return rows

    def pairs(self, name):
        """Training pairs of a set; those of squad with their passage in the prompt."""
        if name != "squad":
            return self.data / name / "train.jsonl"
        file = self.out / "squad/train.jsonl"
        if not file.exists():
            passages = {p["_id"]: p["text"] for p in rows_of(self.data / "squad/passages.jsonl")}
            lines = []
            for q in rows_of(self.data / "squad/questions.train.jsonl"):
                user = f"Passages:\n{passages[q['passage_id']]}\n\nAnswer from the passages above.\nQuestion: {q['question']}"
                turns = [("system", "Answer in a few words."), ("user", user), ("assistant", q["answers"][0])]
                lines.append(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}))
            file.parent.mkdir(exist_ok=True)
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return file

    def peft(self, pairs, count, mode, size):
        rendered = self.out / f"{pairs.parent.name}.{count}.jsonl"
        if not rendered.exists():
            rendered.write_text(output([self.speed, self.model, "render", pairs, count]), encoding="utf-8")
        script = HERE / "peer_training.py"
        return self.python_json([script, self.peers.weights(), rendered, mode, size])

    def transformers(self, work, size):
        return self.python_json([HERE / "peer_inference.py", self.peers.weights(), work, size])

    def python_json(self, command):
        env = {**os.environ, "OMP_NUM_THREADS": THREADS, "HF_HUB_OFFLINE": "1"}
        return json.loads(output([self.peers.python(), *command], env=env).splitlines()[-1])

    def llama(self, kind, prompt, decoded, depth):
        file, program = self.peers.quantised(kind), self.peers.llama("llama-bench")
        figures = json.loads(output([
            program, "-m", file, "-t", THREADS, "-p", prompt, "-n", decoded, "-d", depth, "-r", 1, "-o", "json"]))
        return {"tokens_per_second": figures[0]["avg_ts"]}


def measure(bench, row, unit, figure, ours, peers, runs):
    """The rows of one kind of work: its speed and, in training, its memory."""
    found = {name: [] for name in ("ours", *peers)}
    for turn in range(runs):
        for name, work in {"ours": ours, **peers}.items():
            found[name].append(work())
            say(f"{row} {turn + 1}/{runs}: {name}: {found[name][-1][figure]:.1f} {unit}")
    def medians(figure):
        return {name: statistics.median(run[figure] for run in runs) for name, runs in found.items()}
    speeds = medians(figure)
    best = max(peers, key=lambda name: speeds[name])
    rows = [entry(row, unit, speeds, best, {name: [run[figure] for run in found[name]] for name in found})]
    if row.startswith("train/"):
        sizes = medians("peak_mib")
        least = min(peers, key=lambda name: sizes[name])
        runs_of = {name: [run["peak_mib"] for run in found[name]] for name in found}
        rows.append(entry(row.replace("train/", "train-memory/"), "MiB", sizes, least, runs_of))
    return rows


def entry(row, unit, medians, peer, runs):
    ratio = medians["ours"] / medians[peer]
    return {
        "row": row, "ours": round(medians["ours"], 1), "peer": round(medians[peer], 1), "peer_name": peer, "unit": unit,
        "ratio": round(ratio, 2), "runs": {name: [round(run, 1) for run in of] for name, of in runs.items()},
    }


def table(rows):
    lines = ["| row | unit | ours | best peer | | ratio |", "|---|---|---|---|---|---|"]
    for row in rows:
        lines.append("| `{row}` | {unit} | {ours} | {peer} | {peer_name} | {ratio} |".format(**row))
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=pathlib.Path, required=True)
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--row", default="", help="rows that begin so; all when left out")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--python", type=pathlib.Path, help="one that has the packages of requirements.txt; set up when left out")
    arguments = parser.parse_args()
    for name in ("model", "data", "out"):
        setattr(arguments, name, getattr(arguments, name).resolve())
    arguments.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(arguments)
    chosen = {row: work for row, work in bench.rows().items() if row.startswith(arguments.row)}
    if not chosen:
        parser.error(f"no row begins with {arguments.row!r}; there are {', '.join(bench.rows())}")
    run(["cargo", "build", "--release", "--locked", "-p", "tunesmith-lm", "--example", "speed"], cwd=ROOT, stdout=sys.stderr)
    file = arguments.out / "engine.json"
    known = {row["row"]: row for row in json.loads(file.read_text())} if file.exists() else {}
    for row, work in chosen.items():
        known.update({found["row"]: found for found in measure(bench, row, *work, arguments.runs)})
        rows = [known[name] for name in sorted(known)]
        file.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
        (arguments.out / "engine.md").write_text(table(rows), encoding="utf-8")
    print(table(rows), end="")


if __name__ == "__main__":
    main()
