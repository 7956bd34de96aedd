# make demo runs the product once on examples/; make test proves it. Everything else is a part of these two or a benchmark.

CARGO  ?= cargo
PYTHON ?= python3
EXAMPLE ?= examples/tarrowmere
VENV   := target/venv
TUNESMITH := target/release/tunesmith
DEBUG_TUNESMITH := target/debug/tunesmith
DATA   ?= ../shared/data
# Runs a module of benches/.
BENCH  := PYTHONPATH=benches $(PYTHON) -m

.PHONY: help demo test check models bench-public bench-decision bench-verdict bench-retrieval bench-parity bench-training bench-engine

help:
	@echo 'make demo   set up and run the whole product once on $(EXAMPLE)'
	@echo 'make test   formatting, lints, unit and integration tests, documentation'
	@echo 'make check  the quick part of make test: formatting, lints, tests without models'
	@echo 'make bench-public      arms and decisions on squad, banking77 and pubmedqa (DATA=folder)'
	@echo 'make bench-decision    error rates of the decision on simulated measurements (DECISION_RUNS=1000 a row)'
	@echo 'make bench-retrieval   ingesting and finding beside its peers (ROW=query for one kind; docs/performance.md)'
	@echo 'make bench-parity      tokens, logits and vectors against transformers and sentence-transformers'
	@echo 'make bench-training    gradients and loss curves against PyTorch: LoRA (PEFT) and the embedder (sentence-transformers)'
	@echo 'make bench-engine      every row of speed and memory beside its peers (ROW=train for one kind; docs/performance.md)'

$(TUNESMITH): FORCE
	$(CARGO) build --release --locked
FORCE:

demo: $(TUNESMITH)
	@scripts/demo $(TUNESMITH) $(EXAMPLE)

# Cheapest check first.
check:
	$(CARGO) fmt --all --check
	$(BENCH) unittest discover --start-directory benches --top-level-directory benches
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	$(CARGO) test --workspace --locked

models:
	$(CARGO) build --locked
	$(DEBUG_TUNESMITH) model pull

# The engine's arithmetic with the standard library's pointer checks and debug assertions on, which other test builds leave off.
CHECKED := --config 'profile.dev.package.tunesmith-lm.debug-assertions=true'

test: models $(VENV)/ready
	$(CARGO) fmt --all --check
	$(BENCH) unittest discover --start-directory benches --top-level-directory benches
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	TUNESMITH_REQUIRE_MODELS=1 TUNESMITH_PYTHON=$(CURDIR)/$(VENV)/bin/python $(CARGO) test --workspace --locked
	TUNESMITH_KERNELS=portable $(CARGO) test -p tunesmith-lm --lib --locked $(CHECKED) -- kernels:: ops:: decoder:: encoder:: kv_cache::
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --workspace --no-deps --locked --quiet

# The official clients that tests hold conversations with.
$(VENV)/ready: requirements-test.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --requirement requirements-test.txt
	touch $@

bench-public: $(TUNESMITH)
	benches/public/run $(TUNESMITH) $(DATA) target/bench/public

DECISION_RUNS ?= 1000

# Some six minutes; the exit status is 1 when a row misses its target.
bench-decision:
	$(CARGO) build --release --locked --example error_rates --workspace
	target/release/examples/error_rates $(DECISION_RUNS) | $(BENCH) decision.table target/bench/decision.json

# Hours on two cores: every setup on the whole test split of each public set. SETS="squad" takes one of them.
bench-verdict: $(TUNESMITH)
	$(CARGO) build --release --locked --example verdict --workspace
	benches/public/verdict $(TUNESMITH) target/release/examples/verdict $(DATA) target/bench/verdict $(SETS)

# These compare with transformers, sentence-transformers and PEFT, which PYTHON must have (see benches/*/README.md).
MODEL ?= $(shell $(TUNESMITH) model show smollm2-135m-instruct --json | $(PYTHON) -c 'import json, sys; m = json.load(sys.stdin); print(m["folder"] + "/" + m["model"]["entry_point"])')

EMBEDDER ?= $(shell $(TUNESMITH) model show all-minilm-l6-v2 --json | $(PYTHON) -c 'import json, sys; print(json.load(sys.stdin)["folder"])')

bench-parity: $(TUNESMITH)
	$(CARGO) build --release --locked -p tunesmith-lm --example parity
	for part in convert logits 'tokens $(DATA)/squad/docs/*.md' embeddings; do \
	    $(PYTHON) benches/parity/parity.py $$part || exit 1; done

bench-training: $(TUNESMITH)
	PYTHON=$(PYTHON) benches/training/run '$(MODEL)' $(DATA)/squad/pairs.train.jsonl '$(EMBEDDER)' $(DATA)/scifact target/bench/training

RUNS ?= 3

# These set their peers up by themselves, into a virtual environment, unless PEERS names a Python that has them.
BENCH_OPTIONS = --embedder '$(EMBEDDER)' --data $(DATA) --tunesmith $(TUNESMITH) --out target/bench --row '$(ROW)' --runs $(RUNS) \
    $(if $(QUICK),--quick) $(if $(PEERS),--python $(PEERS))

bench-engine: $(TUNESMITH)
	$(TUNESMITH) model pull
	$(BENCH) engine.run --model '$(MODEL)' $(BENCH_OPTIONS)

bench-retrieval: $(TUNESMITH)
	$(TUNESMITH) model pull all-minilm-l6-v2
	$(BENCH) retrieval.run $(BENCH_OPTIONS) $(if $(PRECISION),--precision $(PRECISION)) $(if $(WITHOUT),--without $(WITHOUT))
