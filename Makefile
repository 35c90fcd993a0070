# Everything below sets itself up: Python 3.11 or newer and make are enough. `make` lists what there is.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-from-pyproject

# No library in use here reports home: not ONNX Runtime, not Chroma.
export ORT_DISABLE_TELEMETRY := 1
export ANONYMIZED_TELEMETRY := False

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv lint format test test-slow demo bench-speed bench-learning clean

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
		uv pip install --quiet --python $(BIN)/python -e '.[dev]'; \
	else \
		echo "Installing with pip into $(VENV); this takes a minute or two (uv, where it is installed, is faster) ..."; \
		{ test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV); } && \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'; \
	fi
	@touch $@

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP) ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: $(STAMP) ## all but the slow tests; the pure core must be covered to the last branch
	$(BIN)/python -m pytest -m "not slow" --cov $(ARGS)

test-slow: $(STAMP) ## the slow tests
	$(BIN)/python -m pytest -m slow $(ARGS)

demo: $(STAMP) ## watch a user's thumbs change their ranking: real data, no key
	$(BIN)/python -m demo $(ARGS)

bench-speed: $(STAMP) ## what personalisation costs, beside plain Chroma
	$(BIN)/python -m benchmarks.speed $(ARGS)

bench-learning: $(STAMP) ## what it learns, beside plain Chroma and the published rules
	$(BIN)/python -m benchmarks.learning $(ARGS)

clean: ## remove caches and what was built (.venv stays)
	rm -rf build dist .benchmarks .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .langgraph_api
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
