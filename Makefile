# Everything that is done with this project; `make` alone lists it.
# A target installs what it needs first, says so on stderr, and does nothing the second time.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV_VERSION := 0.13.9
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
  "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$$name"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/tools/bin/uv
INSTALLED := $(VENV)/.installed
STAND_INS := tests/emulators/node_modules/.installed
ORIGINAL := $(patsubst %/package-lock.json,%/node_modules/.installed,$(wildcard tests/parity/package-lock.json))
CLUSTER := $(BIN)/python tests/cluster/cluster
CODE := workers/src operator/src tests benchmarks scripts examples

say = printf '%s\n' "$(1)" >&2

.PHONY: help
help: ## list the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)$$/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

# ---- what is installed ----

.PHONY: setup
setup: $(INSTALLED) ## install Python packages into .venv, exactly those of requirements.lock

$(UV):
	@test -n "$(PYTHON)" || { $(call say,Python 3.11 or later is needed: install it or give PYTHON=/path/to/python3); exit 1; }
	@$(call say,installing uv $(UV_VERSION) into $(VENV) ...)
	@$(PYTHON) -m venv $(VENV) >/dev/null || { $(call say,installing python3-venv (apt-get) ...); \
	  apt-get install -qq -y python3-venv >/dev/null && $(PYTHON) -m venv --clear $(VENV); }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $(VENV)/tools --upgrade uv==$(UV_VERSION)

$(INSTALLED): requirements.lock pyproject.toml workers/pyproject.toml operator/pyproject.toml | $(UV)
	@$(call say,installing $$(grep -c == requirements.lock) pinned Python packages into $(VENV) ...)
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e workers -e operator
	@ln -sf ../tools/bin/uv $(BIN)/uv
	@touch $@

tests/%/node_modules/.installed: tests/%/package-lock.json tests/%/package.json
	@$(call say,installing npm packages of tests/$* ...)
	@npm ci --prefix tests/$* --no-audit --no-fund --loglevel=error >&2
	@touch $@

.PHONY: lock
lock: $(UV) ## pin the newest allowed versions of all packages in requirements.lock
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --python-version 3.11 \
	  --no-emit-package flowcraft-runtime --no-emit-package flowcraft-operator \
	  --group dev pyproject.toml -o requirements.lock

# ---- using it ----

.PHONY: demo
demo: setup ## run the shop example on this machine, without any server
	@# One of the four runs is made to fail, and `flowcraft run` says so with exit code 1.
	@cd examples/shop && ../../$(BIN)/flowcraft run -f runs.yaml --app shop.flows:app || test $$? -eq 1
	@echo 'Go on: . .venv/bin/activate && cd examples/shop; `flowcraft decide` as above; then flowcraft worker --app shop.flows:app' >&2

.PHONY: emulators emulators-down
emulators: setup $(STAND_INS) ## start stand-ins for queue, Cosmos DB and Redis; `. .emulators/env` finds them
	@$(BIN)/python -m tests.emulators up
emulators-down: setup ## end the stand-ins
	@$(BIN)/python -m tests.emulators down

.PHONY: bench
bench: setup $(STAND_INS) $(ORIGINAL) ## measure and print a table; OUT=file.json writes the figures
	@$(BIN)/python -m benchmarks $(if $(OUT),--out $(OUT))

# ---- testing it ----

.PHONY: lint
lint: setup ## style, types, layers, generated files
	@$(call say,lint: style ...)
	@$(BIN)/ruff check --quiet $(wildcard $(CODE))
	@$(BIN)/ruff format --quiet --check $(wildcard $(CODE))
	@$(call say,lint: types ...)
	@$(BIN)/mypy --no-error-summary $(wildcard $(CODE))
	@$(call say,lint: layers and generated files ...)
	@layers=$$($(BIN)/lint-imports --no-cache 2>&1) || { printf '%s\n' "$$layers"; exit 1; }
	@$(BIN)/python -m flowcraft_operator.crdgen --check
	@$(BIN)/python scripts/reference.py --check

.PHONY: test
test: lint $(STAND_INS) $(ORIGINAL) ## lint, and every test that needs no cluster
	@$(BIN)/pytest -m "not cluster" -n 2 --dist loadfile

N ?= 10000
SEED ?= 1000000
.PHONY: simulate
simulate: setup ## N=100000 SEED=1: simulate so many schedules of faults, from that one on, on all cores
	@$(BIN)/python -m tests.simulation campaign --from $(SEED) --count $(N)

.PHONY: chaos
chaos: setup $(STAND_INS) ## N=1000 SEED=1: so many runs while workers and servers are killed; then an audit
	@nice $(BIN)/python -m tests.chaos $(if $(filter file,$(origin N)),1000,$(N)) \
	  $(if $(filter file,$(origin SEED)),,--seed $(SEED)) $(if $(BACKEND),--backend $(BACKEND))

# Its own cluster, so that one that somebody works with is not disturbed; ended in any case.
.PHONY: e2e
e2e: export FLOWCRAFT_CLUSTER_STATE = $(CURDIR)/.cluster-e2e
e2e: setup $(STAND_INS) ## the tests on a real cluster, through helm and kubectl
	@trap '$(CLUSTER) down' EXIT; \
	  $(CLUSTER) up && $(BIN)/python tests/cluster/images && $(CLUSTER) exec $(CURDIR)/$(BIN)/pytest -m cluster

# ---- a cluster to work with ----

.PHONY: cluster cluster-demo cluster-down
cluster: setup ## bring up a Kubernetes cluster: kind where Docker runs, else a local one
	@$(CLUSTER) up
cluster-demo: cluster $(STAND_INS) ## operator, stand-ins, a pool and runs on it; then `kubectl get workflowruns`
	@$(BIN)/python tests/cluster/images
	@PYTHONPATH=$(CURDIR) $(CLUSTER) exec $(CURDIR)/$(BIN)/python scripts/cluster_demo.py
cluster-down: setup ## end the cluster
	@emulators="$${FLOWCRAFT_CLUSTER_STATE:-.cluster}/emulators"; \
	  test ! -d "$$emulators" || $(BIN)/python -m tests.emulators --state "$$emulators" down
	@$(CLUSTER) down
