# `make run` and `make test` are all that a newcomer needs; each installs what it uses into .venv.
VENV := .venv
# The stamp of .venv carries the version of the Python that made it. With PYTHON=python3.13 the environment is made anew
# if another version made it; without PYTHON an existing one is used as it is.
STAMP := $(if $(PYTHON),,$(firstword $(wildcard $(VENV)/.made-*)))
PYTHON := $(or $(PYTHON),python3)
ifndef STAMP
STAMP := $(VENV)/.made-$(shell $(PYTHON) -c 'import platform; print(platform.python_version())')
endif
BIN := $(VENV)/bin
PORT ?= 8080
# With extras: pip 23.2, which Python 3.11 brings, does not hold `coverage[toml]` to a pin of `coverage`.
LOCK := --quiet --upgrade --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-emit-find-links

# A test that was only late, with others running on the same cores, runs again: a hang is late each time.
AGAIN_IF_LATE := --reruns 2 --reruns-delay 1 --only-rerun LateError

.PHONY: help run test coverage test-fast test-faults check bench scale soak fuzz mutation audit docs wheel release lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# A single command without shell syntax: make runs it directly, so that a signal reaches the demo.
run: export PORT := $(PORT)
run: $(VENV)/.runtime ## Start the function against a simulated ROMA Connect on 127.0.0.1:8080
	@$(BIN)/python -m simulator.demo

# By default pytest-xdist starts the modules with the fewest tests last, and those take longest: tests/conftest.py sorts.
test: check ## Check style, types and imports, and run every test
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder $(AGAIN_IF_LATE)

# In a run of its own: measuring takes as long again as the tests do.
coverage: $(VENV)/.dev ## Check that the tests cover every line and branch
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not repetitive" --cov --cov-report=term-missing $(AGAIN_IF_LATE)

test-fast: $(VENV)/.dev ## Run the tests that are not marked slow (takes less than a minute)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-faults: $(VENV)/.dev ## Run every combination of faults (takes a quarter of an hour)
	ALL_FAULTS=1 $(BIN)/python -m pytest -n 2 -q tests/faults -p no:cacheprovider $(AGAIN_IF_LATE)

check: $(VENV)/.dev ## Check style, types and imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

bench: $(VENV)/.dev ## Measure against reference programs and print ratios
	$(BIN)/python -m benchmarks

scale: $(VENV)/.dev ## Measure checks of thousands of instances in several targets and write docs/scale.md
	$(BIN)/python -m benchmarks.scale

soak: $(VENV)/.dev ## Send requests for ten minutes while every dependency fails and recovers
	$(BIN)/python -m tests.soak

fuzz: $(VENV)/.dev ## Feed a fuzzer's bytes to every parser
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-fuzz.txt
	$(BIN)/python -m tests.fuzz

mutation: $(VENV)/.dev ## Change the code in thousands of places and count the changes that tests find (takes an hour)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-mutation.txt
	$(BIN)/python -m tests.mutation

audit: $(VENV)/.dev ## Look up every pinned package in PyPI's vulnerability database
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-audit.txt
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt -r deploy/lambda/requirements.txt -r deploy/functiongraph/requirements.txt -r deploy/azure/requirements.txt -r deploy/oracle/requirements.txt -r deploy/container/requirements.txt -r requirements-dev.txt

docs: $(VENV)/.dev ## Write the generated pages
	$(BIN)/python docs/build_integrations.py
	$(BIN)/python docs/build_cases.py
	PYTHONPATH=. $(BIN)/python docs/build_openapi.py
	PYTHONPATH=. $(BIN)/python docs/build_verdicts.py
	PYTHONPATH=. $(BIN)/python docs/build_configuration.py
	PYTHONPATH=. $(BIN)/python docs/build_disclosure.py
	PYTHONPATH=. $(BIN)/python deploy/monitoring/build_dashboard.py

wheel: $(VENV)/.dev ## Build the package into dist/
	$(BIN)/hatchling build -t wheel -d dist

# The same source gives the same bytes: the builders of the wheel and of the zips write fixed times.
release: wheel ## Build what a release has into dist/: the wheel, the zips, and a parts list (SBOM) of each
	@[ -x node_modules/.bin/osls ] || npm ci --silent
	rm -rf .serverless
	node_modules/.bin/osls package --stage=prod
	cp .serverless/fdi-health.zip dist/lambda.zip
	$(BIN)/python deploy/build.py functiongraph dist/functiongraph.zip
	$(BIN)/python deploy/build.py azure dist/azure.zip
	$(BIN)/python deploy/build.py oracle dist/oracle.zip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements-release.txt
	$(BIN)/cyclonedx-py requirements requirements.txt --output-reproducible --of JSON -o dist/fdi-health.cdx.json
	$(BIN)/cyclonedx-py requirements deploy/lambda/requirements.txt --output-reproducible --of JSON -o dist/lambda.cdx.json
	$(BIN)/cyclonedx-py requirements deploy/functiongraph/requirements.txt --output-reproducible --of JSON -o dist/functiongraph.cdx.json
	$(BIN)/cyclonedx-py requirements deploy/azure/requirements.txt --output-reproducible --of JSON -o dist/azure.cdx.json
	$(BIN)/cyclonedx-py requirements deploy/oracle/requirements.txt --output-reproducible --of JSON -o dist/oracle.cdx.json
	$(BIN)/cyclonedx-py requirements deploy/container/requirements.txt --output-reproducible --of JSON -o dist/container.cdx.json

lock: $(VENV)/.dev ## Pin and hash the dependencies of pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --extra aws --extra gcp $(LOCK) -o requirements.txt
	$(BIN)/uv pip compile deploy/lambda/requirements.in -c requirements.txt $(LOCK) -o deploy/lambda/requirements.txt
	$(BIN)/uv pip compile deploy/functiongraph/requirements.in -c requirements.txt $(LOCK) -o deploy/functiongraph/requirements.txt
	$(BIN)/uv pip compile deploy/azure/requirements.in -c requirements.txt $(LOCK) -o deploy/azure/requirements.txt
	$(BIN)/uv pip compile deploy/oracle/requirements.in -c requirements.txt $(LOCK) -o deploy/oracle/requirements.txt
	$(BIN)/uv pip compile deploy/container/requirements.in -c requirements.txt $(LOCK) -o deploy/container/requirements.txt
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra aws --extra gcp -c requirements.txt -c deploy/azure/requirements.txt -c deploy/oracle/requirements.txt -c deploy/container/requirements.txt $(LOCK) -o requirements-dev.txt
	echo 'atheris<3.1' | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-fuzz.txt
	echo cyclonedx-bom | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-release.txt
	echo mutmut | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-mutation.txt
	echo pip-audit | $(BIN)/uv pip compile - -c requirements-dev.txt $(LOCK) -o tests/requirements-audit.txt

clean: ## Remove .venv and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .import_linter_cache

# Stamps: an interrupted or outdated installation is done again.
$(VENV)/.runtime: requirements.txt $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

$(STAMP):
	@$(PYTHON) -c 'import sys; sys.exit("fdi-health needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.13 $(MAKECMDGOALS)" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "Setting up $(VENV) (once; takes about half a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@
