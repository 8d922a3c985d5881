# `make run` and `make test` are all a newcomer needs; each sets up what it uses.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 8080
# With extras: pip 23.2, which Python 3.11 brings, does not hold `coverage[toml]` to a pin of `coverage`.
LOCK := --quiet --upgrade --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

.PHONY: help run test check bench prove soak fuzz mutants audit docs lock clean

help: ## Say what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-7s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# No shell in between: what ends make ends the demo.
run: export PORT := $(PORT)
run: $(VENV)/.runtime ## Start the function against a simulated ROMA Connect on 127.0.0.1:8080
	@$(BIN)/python -m simulator.demo

test: check ## Check style, types and imports, and run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term-missing

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## Measure, side by side, and print ratios
	$(BIN)/python -m benchmarks

prove: $(VENV)/.dev ## Run every combination of faults (takes a quarter of an hour)
	PROVE=1 $(BIN)/python -m pytest -n 2 -q tests/faults -p no:cacheprovider

soak: $(VENV)/.dev ## Ask for ten minutes while everything flaps
	$(BIN)/python -m tests.soak

fuzz: $(VENV)/.dev ## Feed bytes that a fuzzer thinks up to everything that reads
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-fuzz.txt
	$(BIN)/python -m tests.fuzz

mutants: $(VENV)/.dev ## Change the code that decides, and name what no test notices (takes an hour)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-mutants.txt
	$(BIN)/python -m tests.mutation

audit: $(VENV)/.dev ## Ask the vulnerability service of PyPI about every pinned package
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-audit.txt
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r deploy/lambda/requirements.txt -r deploy/functiongraph/requirements.txt -r deploy/container/requirements.txt -r requirements-dev.txt

docs: $(VENV)/.dev ## Write the pages that are made from data
	$(BIN)/python docs/build_integrations.py
	$(BIN)/python docs/build_cases.py

lock: $(VENV)/.dev ## Pin and hash the dependencies that pyproject.toml names
	$(BIN)/uv pip compile pyproject.toml $(LOCK) -o requirements.txt
	$(BIN)/uv pip compile deploy/lambda/requirements.in -c requirements.txt $(LOCK) -o deploy/lambda/requirements.txt
	$(BIN)/uv pip compile deploy/functiongraph/requirements.in -c requirements.txt $(LOCK) -o deploy/functiongraph/requirements.txt
	$(BIN)/uv pip compile deploy/container/requirements.in -c requirements.txt $(LOCK) -o deploy/container/requirements.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev -c requirements.txt -c deploy/container/requirements.txt $(LOCK) -o requirements-dev.txt
	echo 'atheris<3.1' | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-fuzz.txt
	echo mutmut | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-mutants.txt
	echo pip-audit | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-audit.txt

clean: ## Remove what make made
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .import_linter_cache

# The stamps: an interrupted or outdated set-up is done again.
$(VENV)/.runtime: requirements.txt | $(VENV)/.made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(VENV)/.made
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit("fdi-health needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) (once; takes about half a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
