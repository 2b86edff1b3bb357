# Three commands matter: make demo, make dev, make test. Each works alone, straight after the clone.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

export DO_NOT_TRACK := true
# Dagster, dbt and the tests start many processes; without bytecode each of them would parse its imports again.
export PYTHONDONTWRITEBYTECODE :=
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
export ML_PLATFORM_HOME ?= $(CURDIR)/var
export DAGSTER_HOME := $(CURDIR)
export ML_PLATFORM_DAGSTER_DIR := $(ML_PLATFORM_HOME)/dagster

.PHONY: help setup demo dev test lint fast docs check smoke comment deploy bench lock clean-demo clean schema

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" bash scripts/setup.sh

setup: $(STAMP)  ## Make .venv from the lock

demo: $(STAMP)  ## Play the whole lifecycle on real flights
	@$(BIN)/ml-platform demo

dev: $(STAMP)  ## Open the Dagster UI on 127.0.0.1:3000, and the pages it links to
	@mkdir -p "$(ML_PLATFORM_DAGSTER_DIR)"
	@$(BIN)/ml-platform prepare
	@$(BIN)/ml-platform pages & pages=$$!; trap "kill $$pages 2>/dev/null" EXIT; \
		PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $${PORT:-3000}

test: $(STAMP)  ## Lint, type-check, layers, and all tests
	@bash scripts/test.sh

lint: $(STAMP)  ## ruff, mypy, import-linter
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

fast: $(STAMP)  ## The tests that need no server, browser or full lifecycle
	@$(BIN)/pytest -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder

docs: $(STAMP)  ## Build the documentation into build/docs; a warning is an error
	@$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs && echo "build/docs/index.html"

check: $(STAMP)  ## Every use case: settings, contracts and SQL, then whether its feed code can be imported
	@$(BIN)/ml-platform prepare
	@$(BIN)/ml-platform use-case check --no-data
	@$(BIN)/ml-platform use-case list

smoke: $(STAMP)  ## A few drills on a sample of each use case's data; MODELS= and DRILLS= choose
	@$(BIN)/ml-platform smoke $(MODELS) $(foreach d,$(DRILLS),--drill $(d)) --markdown build/smoke.md

comment:  ## Put what smoke found on the pull request PULL_REQUEST (needs gh)
	@bash scripts/comment.sh

deploy: $(STAMP)  ## On the machine that serves: migrate, check, reload the code location
	@bash scripts/deploy.sh

bench: $(STAMP)  ## Speed: ratios, measured in turn in one run
	@$(BIN)/python -m benchmarks

lock:  ## Renew requirements.lock (needs uv)
	@uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --quiet -o requirements.lock

schema: $(STAMP)  ## Write the JSON schema of use_case.yaml
	@$(BIN)/ml-platform schema > ml_platform/use_cases/use_case.schema.json

clean-demo:  ## Forget what the demo did (lake, ledger, cache, runs)
	@bash scripts/clean_demo.sh

clean: clean-demo  ## Also remove the virtual environment
	@rm -rf .venv
