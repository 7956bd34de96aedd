"""What the engine is measured against: set up below a folder, each part on its first use."""

import json
import pathlib
import re
import shutil

from common.commands import THREADS, Failed, completed, last_json, output, say, set_up
from common.packages import Packages

HERE = pathlib.Path(__file__).resolve().parent
BENCHES = HERE.parent
# The package whose source holds that of llama.cpp.
LLAMA = "llama-cpp-python==0.3.36"
PROGRAMS = ["llama-bench", "llama-quantize", "llama-perplexity", "llama-server", "llama-completion", "llama-simple"]
FLAGS = ["CMAKE_BUILD_TYPE=Release", "GGML_NATIVE=ON", "BUILD_SHARED_LIBS=OFF", "LLAMA_OPENSSL=OFF", "LLAMA_BUILD_TESTS=OFF",
         "LLAMA_BUILD_UI=OFF", "LLAMA_USE_PREBUILT_UI=OFF"]
PACKAGES = ["torch", "transformers", "peft", "sentence-transformers", "onnxruntime"]
# A weight format counts as no worse than ours up to this relative difference in perplexity: a third of its standard error on
# the text. Eight bits, made from the same weights, are within it.
EQUAL = 1e-2
# Where the file of perplexities says what ours were measured with.
MADE_OF = "ours, made of"
# Tokens of one piece of the text that perplexity is measured on; the second half of each piece counts.
CONTEXT = 512


class Peers:
    def __init__(self, model, out, python, text):
        """`text`: a file to measure perplexity on; `python`: one that has the packages, or `None` to set one up."""
        self.model, self.out, self.text = model, out, text
        self.packages = Packages("engine", out, python, PACKAGES)
        self.python = self.packages.python

    def script(self, name, *arguments):
        """The last line of one of the peers' scripts here, as JSON."""
        return last_json(output(self.python(), HERE / name, *arguments, env=self.packages.environment()), name)

    def weights(self):
        """The model's weights, dequantised, as transformers reads them."""
        folder = self.out / "hf"
        # Written last, so that an interrupted conversion is made again.
        if not (folder / "tokenizer.json").exists():
            set_up(self.python(), BENCHES / "convert.py", self.model, folder)
        return folder

    def llama(self, program):
        """A program of llama.cpp."""
        programs = self.out / "llama/build/bin"
        if not (programs / program).exists():
            say("peers: building llama.cpp")
            build, source = programs.parent, self.llama_source()
            python = self.python()
            set_up(python, "-m", "pip", "install", "--quiet", "cmake")
            cmake = pathlib.Path(python).parent / "cmake"
            set_up(cmake, "-S", source, "-B", build, *(f"-D{flag}" for flag in FLAGS))
            set_up(cmake, "--build", build, "-j", THREADS, "--target", *PROGRAMS)
        return programs / program

    def llama_source(self):
        folder = self.out / "llama"
        found = list((folder / "source").glob("*/vendor/llama.cpp"))
        if not found:
            package = LLAMA.split("==", maxsplit=1)[0]
            set_up(self.python(), "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", package, "-d", folder, LLAMA)
            archive = next(folder.glob("*.tar.gz"))
            part = folder / "part"
            shutil.rmtree(part, ignore_errors=True)
            shutil.unpack_archive(archive, part, filter="data")
            part.rename(folder / "source")
            found = list((folder / "source").glob("*/vendor/llama.cpp"))
        if not found:
            raise Failed(f"{LLAMA}: no vendor/llama.cpp in its source")
        return found[0]

    def own_kind(self):
        """The weight format of the model's file as llama.cpp calls it: `Q4_1`."""
        kind = re.search(r"I?Q\d_\w+|BF16|F16|F32", self.model.stem, re.IGNORECASE)
        return kind.group(0).upper() if kind else self.model.stem

    def quantised(self, kind):
        """The model in another of llama.cpp's weight formats; its own is taken as it is."""
        if kind == self.own_kind():
            return self.model
        file = self.out / f"{kind}.gguf"
        if not file.exists():
            part = file.with_suffix(".part")
            completed(self.llama("llama-quantize"), "--allow-requantize", self.model, part, kind)
            part.rename(file)
        return file

    def perplexity(self, kind):
        """llama.cpp's perplexity on the text with weights of a kind; measured once, for nothing about it changes between runs."""
        name = f"llama.cpp {kind}"
        known = self.perplexities()
        if name not in known:
            known[name] = self.measured_perplexity(kind)
            self.keep({name: known[name]})
        return known[name]

    def measured_perplexity(self, kind):
        say(f"perplexity: llama.cpp {kind}")
        command = [self.llama("llama-perplexity"), "-m", self.quantised(kind), "-f", self.text, "-c", CONTEXT, "-t", THREADS]
        done = completed(*command)
        found = re.search(r"Final estimate: PPL = ([\d.]+)", done.stdout + done.stderr)
        if not found:
            raise Failed("llama-perplexity: no final estimate in its output")
        return float(found.group(1))

    def perplexities(self):
        """What is known by now, by name."""
        return {name: perplexity for name, perplexity in self.kept().items() if name != MADE_OF}

    def ours_made_of(self):
        """The fingerprint of what our perplexities were measured with."""
        return self.kept().get(MADE_OF)

    def kept(self):
        file = self.out / "perplexity.json"
        return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}

    def keep(self, more):
        (self.out / "perplexity.json").write_text(json.dumps({**self.kept(), **more}, indent=1) + "\n", encoding="utf-8")

    def versions(self):
        """What the peers are, for the table: only what is there already is asked."""
        lines = []
        sources = list((self.out / "llama/source").glob("*/CHANGELOG.md"))
        if sources:
            revision = re.search(r"llama\.cpp@(\w+)", sources[0].read_text(encoding="utf-8"))
            lines.append(f"llama.cpp {revision.group(1) if revision else 'of unknown revision'} (in {LLAMA})")
        return lines + self.packages.versions()


def admitted(perplexities, ours):
    """The kinds whose perplexity is equal to ours or better."""
    return [kind for kind, perplexity in perplexities.items() if perplexity <= ours * (1 + EQUAL)]
