# Start with `make demo` and `make test`; `make help` lists all targets. CONTRIBUTING.md says what each of them needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install servers tools demo playground test test-fast test-random test-lowest test-pythons test-newest lint format bench chaos soak truth dashboards states generate pictures dist relock requirements clean

help: ## list all targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

$(VENV)/.installed: requirements-dev.txt pyproject.toml testbed/install_venv.sh
	@PYTHON=$(PYTHON) testbed/install_venv.sh $(VENV)
	@touch $@

install: $(VENV)/.installed ## create the virtual environment for development

servers: ## install missing servers (Redis, Prometheus, Pushgateway) from the system's packages
	@testbed/install_servers.sh

tools: install ## install helm and kubectl, with which the tests render chart and manifests
	@testbed/install_tools.sh $(VENV)

demo: install servers ## run a demo shop on real services, push, and print the dashboards' queries with their results
	@$(BIN)/python -m testbed.demo

BROKER ?= redis
playground: install servers ## run the demo shop with a push every few seconds, until Ctrl-C (BROKER=rabbitmq for RabbitMQ)
	@$(BIN)/python -m testbed.playground --broker $(BROKER)

# More processes than cores, because tests mostly wait for servers. Files run in alphabetical order: ordered by their number of
# tests, files with few but long tests would run last.
TEST_PROCESSES ?= 4
test: install servers tools lint ## run ruff, mypy and all tests on real services
	@$(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

# Two processes, because each of them imports all tests, which takes longer than the tests wait.
test-fast: install tools ## run ruff, mypy and the tests that take less than half a minute together
	@$(MAKE) --no-print-directory lint
	@$(BIN)/python -m pytest --numprocesses 2 --dist worksteal -m "not services and not slow"

test-random: install servers ## run the tests of properties with random examples (other targets draw the same ones every time)
	@HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest --numprocesses $(TEST_PROCESSES) --dist loadfile -m properties

# The command runs with the lowest versions that pyproject.toml allows, on the oldest Python that is installed. The tests
# themselves run in the usual environment.
LOWEST := .venvs/lowest
OLDEST_PYTHON ?= $(or $(lastword $(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python)),3.10)
test-lowest: export UV_PYTHON_DOWNLOADS = never
test-lowest: install servers ## run a few tests with the lowest versions of all dependencies that pyproject.toml allows
	@rm -rf $(LOWEST)
	@$(BIN)/uv venv -q --python $(OLDEST_PYTHON) $(LOWEST) 2>/dev/null || $(BIN)/uv venv -q --python 3.11 $(LOWEST)
	@$(BIN)/uv pip install -q --python $(LOWEST) --resolution lowest-direct -r pyproject.toml
	@$(BIN)/uv pip list --python $(LOWEST)
	@TEST_PYTHON=$(LOWEST)/bin/python $(BIN)/python -m pytest tests/test_end_to_end.py tests/test_sign_in.py

# A Python that is not installed is left out, with a line that says so.
PYTHONS ?= 3.10 3.11 3.12 3.13 3.14
test-pythons: export UV_PYTHON_DOWNLOADS = never
test-pythons: install servers ## run a few tests on each Python that is installed, with the locked dependencies
	@for version in $(PYTHONS); do \
	  python=$$(ls $(HOME)/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); \
	  rm -rf .venvs/$$version; \
	  $(BIN)/uv venv -q --python $${python:-$$version} .venvs/$$version 2>/dev/null || { echo "Python $$version: not installed"; continue; }; \
	  echo "Python $$version"; \
	  $(BIN)/uv pip install -q --python .venvs/$$version --require-hashes -r requirements.txt && \
	  TEST_PYTHON=.venvs/$$version/bin/python $(BIN)/python -m pytest -q tests/test_end_to_end.py tests/test_sign_in.py || exit 1; \
	done

# Debian's servers are old. Go builds newer ones; a program in .servers comes before Debian's of the same name.
SERVERS := $(CURDIR)/.servers
PUSHGATEWAY_VERSION ?= v1.11.1
VICTORIAMETRICS_VERSION ?= v1.93.0
VICTORIAMETRICS := github.com/VictoriaMetrics/VictoriaMetrics
# $(1): program; $(2): package; $(3): module and version; $(4): variable that holds the version
BUILD = rm -f go.mod go.sum && go mod init servers 2>/dev/null && go mod edit -require $(3) && \
	go build -mod=mod -ldflags "-X $(4)=$(lastword $(subst @v, ,$(3)))" -o ../$(1) $(2)
test-newest: install servers ## run the tests of pushes on a newer Pushgateway, VictoriaMetrics and vmagent, which Go builds
	@mkdir -p $(SERVERS)/src
	@cd $(SERVERS)/src && $(call BUILD,prometheus-pushgateway,github.com/prometheus/pushgateway,github.com/prometheus/pushgateway@$(PUSHGATEWAY_VERSION),github.com/prometheus/common/version.Version)
	@cd $(SERVERS)/src && for program in victoria-metrics vmagent; do \
	  $(call BUILD,$$program,$(VICTORIAMETRICS)/app/$$program,$(VICTORIAMETRICS)@$(VICTORIAMETRICS_VERSION),$(VICTORIAMETRICS)/lib/buildinfo.Version) || exit 1; done
	@PATH="$(SERVERS):$$PATH" $(BIN)/python -m pytest --numprocesses 2 --dist loadfile tests/pushgateway tests/test_push.py \
	  tests/test_show_and_delete.py tests/test_gateway.py tests/test_check_pushgateway.py tests/faults/test_cut_pushes.py \
	  tests/newest_victoriametrics.py

lint: install ## run ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install ## fix what ruff can fix, and format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install servers ## measure the cost of a push, and write bench/RESULTS.md
	@$(BIN)/python -m bench

RUNS ?= 1000
chaos: install servers ## break connections at random in RUNS runs, and check every push
	@$(BIN)/python -m tests.chaos --runs $(RUNS)

truth: RUNS = 10
truth: install servers ## compare the totals of RUNS runs of 20,000 tasks with what the workers counted, with restarts in between
	@$(BIN)/python -m tests.truth --runs $(RUNS)

MINUTES ?= 10
soak: install servers ## run a healthy busy system on RabbitMQ and Redis for MINUTES minutes, and expect no finding and no alert
	@$(BIN)/python -m tests.explain.soak --minutes $(MINUTES)

dashboards: install ## generate grafana/dashboards/*.json
	@$(BIN)/python -m grafana.generate

states: install servers ## generate the twelve states in docs/panels.md, on a real Prometheus
	@$(BIN)/python -m tests.panels.first_screen

# A release sets TAG, IMAGE and HOME_URL. Without them, the chart contains the values of the sources.
dist: install tools ## build and check wheel, sdist, chart package and SBOM in dist/
	@$(BIN)/python -m release.dist dist --tag "$(TAG)" --image "$(IMAGE)" --home-url "$(HOME_URL)"

pictures: install servers ## draw docs/pictures from the output of show and check
	@$(BIN)/python -m release.pictures

generate: install tools ## generate tables in the docs, the chart's schema and the PrometheusRule
	@$(BIN)/python -m release.generated

# The runtime lock covers every supported Python. The development lock starts at 3.11, the oldest version that
# grafana-foundation-sdk supports.
COMPILE = $(BIN)/uv pip compile -q --universal --upgrade --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-annotate --custom-compile-command "make requirements"
relock: install ## add new dependencies to requirements-dev.txt without upgrading others
	@$(subst --upgrade,,$(COMPILE)) --python-version 3.11 -c requirements.txt --group dev -o requirements-dev.txt pyproject.toml

requirements: install ## upgrade and lock all dependencies in requirements*.txt
	@$(COMPILE) --python-version 3.10 -o requirements.txt pyproject.toml
	@$(COMPILE) --python-version 3.11 -c requirements.txt --group dev -o requirements-dev.txt pyproject.toml
	@$(COMPILE) --python-version 3.10 --group build -o requirements-build.txt

clean: ## remove everything that make created
	rm -rf $(VENV) .venvs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
