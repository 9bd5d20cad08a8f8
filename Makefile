# The order worker. `make help` lists the commands; the README tells the rest.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON3 ?= python3
export PYTHON3
# Where it is set, every process compiles every module again: a run of all tests starts a thousand.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
PYTHON := $(VENV)/bin/python
LOGISTICS := $(VENV)/bin/logistics
INSTALLED := $(VENV)/.installed
CHAOS_TEST := tests/chaos/test_chaos.py

.PHONY: help install install-servers install-test-tools demo up down test test-chaos unit chaos fuzz bench check audit format clean

help: ## List these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: install install-servers ## Show everything in about a minute, in the console, too; KEEP=1 keeps serving afterwards
	@$(LOGISTICS) demo $(if $(KEEP),--keep)

up: install install-servers ## Start the same stack and leave it running, to play with
	@$(LOGISTICS) demo up

down: install ## Stop what `make up` started
	@$(LOGISTICS) demo down

test: install install-test-tools ## Run every check and every tier of tests, on real servers
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line check test-chaos unit
	$(PYTHON) -m pytest -m "alone and not long"
	$(PYTHON) -m pytest -m "not alone and not long" --ignore $(CHAOS_TEST) --ignore tests/unit --numprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25

test-chaos: install
	$(PYTHON) -m pytest $(CHAOS_TEST)

unit: install ## Run the unit tests alone: no servers, less than a minute
	$(PYTHON) -m pytest tests/unit

chaos: install install-servers ## Orders flow, faults strike, every order is looked for: make chaos CHAOS='--orders 100000 --faults 200'
	$(PYTHON) -m tests.chaos $(CHAOS)

fuzz: install ## Fuzz for an hour, or for LOGISTICS_FUZZ_MINUTES; no servers
	$(PYTHON) -m tests.fuzz

bench: install install-servers ## Measure the worker beside the same job written plainly: make bench BENCH='--orders 20000 --rounds 5'
	$(PYTHON) -m benchmarks $(BENCH)

check: install ## Format, lint, types, import rules, the Compose file: what CI checks
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-logo
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

audit: ## Ask a public database for known flaws of the pinned packages: needs the network, so not in check
	@$(PYTHON3) -m venv .audit
	@.audit/bin/python -m pip install -qq --disable-pip-version-check pip-audit==2.10.1
	.audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

format: install ## Format the code and mend what the linter can mend
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

install: $(INSTALLED) ## Make the virtualenv with pinned packages; the command is .venv/bin/logistics

$(INSTALLED): pyproject.toml constraints.txt
	@infra/local/install.sh venv
	@echo "install: making $(VENV) with pinned packages (about half a minute)"
	@$(PYTHON3) -m venv $(VENV)
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable '.[console,dev,local,otel]'
	@touch $(INSTALLED)

install-servers: ## Install RabbitMQ and libcurl from the distribution, for demo and tests (root or sudo)
	@infra/local/install.sh

install-test-tools: ## The same, and what else the tests need: Chromium and Prometheus
	@infra/local/install.sh tests

clean: down ## Stop the stack and remove everything that was made here
	rm -rf $(VENV) .audit .logistics .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info build
