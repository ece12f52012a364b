# The two commands a newcomer needs are `make demo` and `make test`; `make help` lists the rest.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install servers demo playground test test-fast lint bench chaos dashboards requirements clean tools generate relock dist pictures

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.installed: requirements-dev.txt pyproject.toml testbed/install_venv.sh
	@PYTHON=$(PYTHON) testbed/install_venv.sh $(VENV)
	@touch $@

install: $(VENV)/.installed ## the virtual environment with everything for development

servers: ## Redis, Prometheus and the Pushgateway from the system's packages, if they are missing
	@testbed/install_servers.sh

tools: install ## helm and kubectl, which render the chart and the manifests for the tests
	@testbed/install_tools.sh $(VENV)

demo: install servers ## a small shop on real services: push once, then the dashboard queries' answers (a minute)
	@$(BIN)/python -m testbed.demo

playground: install servers ## the same kept running, a push every few seconds, until Ctrl-C
	@$(BIN)/python -m testbed.playground

# More than there are cores: most of a test's time is waiting for a server. In their order the files with few and long
# tests come early; by the number of tests, the longest would be left for one process at the end.
TEST_PROCESSES ?= 4
test: install servers tools lint ## everything: ruff, mypy, and the tests on real services
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

test-fast: install tools ## ruff, mypy, and the tests that need no services (half a minute)
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile -m "not services"

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: install servers ## measure against the simple exporter and the bare download; writes bench/RESULTS.md
	@$(BIN)/python -m bench

RUNS ?= 1000
chaos: install servers ## break connections at random, RUNS times: no false push, no run past its deadline
	@$(BIN)/python -m tests.chaos --runs $(RUNS)

dashboards: install ## write grafana/dashboards/*.json from their generator
	@$(BIN)/python -m grafana.generate

# A release names its TAG, IMAGE and HOME_URL; without them the chart says what the sources say.
dist: install tools ## wheel, sdist, chart package and SBOM in dist/, checked
	@$(BIN)/python -m release.dist dist --tag "$(TAG)" --image "$(IMAGE)" --home-url "$(HOME_URL)"

pictures: install servers ## draw docs/pictures: what show and check print for the testbed's shop
	@$(BIN)/python -m release.pictures

generate: install tools ## write what is made from other files: tables in docs, the chart's schema, the PrometheusRule
	@$(BIN)/python -m release.generated

# The runtime lock covers every Python that the job supports; the development one starts at 3.11,
# the oldest that grafana-foundation-sdk supports.
COMPILE = $(BIN)/uv pip compile -q --universal --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make requirements"
# What is locked stays as it is: for a dependency that was added to the development group.
relock: install ## add what is new in pyproject.toml to requirements-dev.txt, upgrading nothing
	@$(subst --upgrade,,$(COMPILE)) --python-version 3.11 -c requirements.txt --group dev -o requirements-dev.txt pyproject.toml

requirements: install ## lock requirements*.txt anew from pyproject.toml
	@$(COMPILE) --python-version 3.10 -o requirements.txt pyproject.toml
	@$(COMPILE) --python-version 3.11 -c requirements.txt --group dev -o requirements-dev.txt pyproject.toml
	@$(COMPILE) --python-version 3.10 --group build -o requirements-build.txt

clean: ## remove what make made
	rm -rf $(VENV) .venvs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
