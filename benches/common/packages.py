"""The peers' Python packages, in an environment of their own unless one is named."""

import os
import pathlib
import sys

from common.commands import THREADS, output, say, set_up

BENCHES = pathlib.Path(__file__).resolve().parent.parent


class Packages:
    def __init__(self, name, out, given, distributions):
        """`name`: the folder below benches/ with requirements.txt; `given`: a Python that has them, or `None` to set one up below `out`,
        where all benchmarks share one; `distributions`: those whose versions are told."""
        self.name, self.out, self.given, self.distributions = name, out, given, distributions

    def python(self):
        if self.given:
            return self.given
        python = self.out / "venv/bin/python"
        wanted = self.wanted()
        ready = self.out / f"venv/ready-{self.name}"
        if not ready.exists() or ready.read_text(encoding="utf-8") != wanted:
            say(f"peers: {', '.join(self.distributions)}")
            set_up(sys.executable, "-m", "venv", self.out / "venv")
            set_up(python, "-m", "pip", "install", "--quiet", "-r", self.requirements())
            ready.write_text(wanted, encoding="utf-8")
        return python

    def requirements(self):
        return BENCHES / self.name / "requirements.txt"

    def wanted(self):
        """The requirements, and those of the files that they include."""
        text = self.requirements().read_text(encoding="utf-8")
        included = [line.split()[1] for line in text.splitlines() if line.startswith("-r ")]
        return text + "".join((self.requirements().parent / file).read_text(encoding="utf-8") for file in included)

    def environment(self):
        """What a peer's process finds in its environment: as many threads as ours, the modules here, and no hub."""
        return {
            **os.environ, "OMP_NUM_THREADS": THREADS, "RAYON_NUM_THREADS": THREADS, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(BENCHES),
        }

    def versions(self):
        """A line each; only what is there already is asked."""
        python = self.given or self.out / "venv/bin/python"
        code = "import sys; from importlib.metadata import version; print(*(f'{p} {version(p)}' for p in sys.argv[1:]), sep='\\n')"
        return output(python, "-c", code, *self.distributions).splitlines() if pathlib.Path(python).exists() else []
