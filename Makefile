# Two commands matter: `make demo` and `make test`. Everything they need is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
TESTS ?= tests
# How many processes run the tests; each starts the servers it needs.
WORKERS ?= 2

.PHONY: help demo test check format types lint contracts bench golden serve clean
help:                       ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "rpm-claims needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 2; }
	@echo "Preparing $(VENV) (once)…"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$$(sed -n 's/^# uv==//p' requirements.lock)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.lock \
	  || $(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e . \
	  || $(BIN)/python -m pip install --disable-pip-version-check --no-deps -e .
	@touch $(READY)

demo: $(READY)              ## a whole month on this machine, from nothing
	@$(BIN)/python -m infra.sandbox.run

test: $(READY)              ## the whole test suite, its servers included
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(TESTS)

check: $(READY) format lint types contracts test  ## what CI runs

format: $(READY)
	$(BIN)/ruff format --check .

lint: $(READY)
	$(BIN)/ruff check .

types: $(READY)
	$(BIN)/mypy

contracts: $(READY)
	$(BIN)/lint-imports

bench: $(READY)             ## the benchmarks, as a table with ratios of this run
	$(BIN)/python -m tests.benchmarks.table

golden: $(READY)            ## rewrite the golden month; read the diff
	$(BIN)/pytest tests/golden --rewrite-golden

serve: $(READY)             ## a Prefect server and a worker with the schedules, on this machine
	@$(BIN)/python -m infra.serve

clean:                      ## forget what the demo and the tests left behind
	rm -rf .rpmclaims .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
