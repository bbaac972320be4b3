# Everything a person or CI does with this checkout. `make` alone lists the targets.
#
# The environment is .venv, made from requirements.lock with hashes checked; nothing outside it is used but make, git
# and a Python of at least 3.11. A changed lock file makes it anew, so that no left-over package hides a missing one.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

# A name on PATH proves little: pyenv leaves a shim `python3.11` that fails when that version is not selected. So run it.
USABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3.11 python3; do \
	"$$python" -c '$(USABLE)' >/dev/null 2>&1 && { echo "$$python"; break; }; done)

VENV := .venv
BIN := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
# The transport pyvoy brings an Envoy of its own, which cannot stand beside that of the tests.
PYVOY := .venv-pyvoy
PYVOY_LOCKED := $(PYVOY)/.locked
PYVOY_READY := $(PYVOY)/.ready
# Tests wait for processes more than they compute: three at a time keep two cores busy. In the order of the files the
# long ones, which begin alphabetically with e2e, come early and the short ones of tests/unit fill the end.
TESTING := --numprocesses 3 --dist loadfile --no-loadscope-reorder
TYPED := server tests $(wildcard bench) $(wildcard proto/generate.py)
COMPILING := --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url
COMPILE := $(BIN)/uv pip compile pyproject.toml $(COMPILING)

.PHONY: help demo run test check lint types stubs architecture bench soak lock gen fmt clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# By the environment: a URL may hold a password, and make prints the lines that it runs.
demo: export RATELIMITD_STORE := $(or $(STORE),$(RATELIMITD_STORE))
demo: $(READY) ## the limiter, a stub API and a real Envoy here, with curl lines to try; STORE=redis adds a Redis
	$(BIN)/ratelimitd dev --with-envoy

run: $(READY) ## serve the sample policy on loopback, counting in memory
	$(BIN)/ratelimitd serve --policy envoy/policy.yaml --store memory

test: $(READY) $(PYVOY_READY) ## every test but the soak
	$(BIN)/python -m pytest $(TESTING)

check: lint types stubs architecture ## what CI asks before the tests: style, types, generated code, architecture

lint: $(READY) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(READY) ## mypy, strict
	$(BIN)/mypy $(TYPED)

stubs: $(READY) ## are the generated stubs what proto/ says?
	$(BIN)/python proto/generate.py --check

architecture: $(READY) ## the rules about imports, clocks, I/O and sizes
	$(BIN)/python -m pytest tests/architecture --quiet

bench: $(READY) $(PYVOY_READY) ## measure on this machine, against the naive servicer
	$(BIN)/python -m bench

soak: $(READY) $(PYVOY_READY) ## the long runs
	@if compgen -G 'tests/soak/test_*.py' >/dev/null; \
	then echo 'make soak runs:' tests/soak/test_*.py && $(BIN)/python -m pytest tests/soak; \
	else echo 'make soak: tests/soak holds no test yet, so nothing ran'; fi

lock: $(READY) ## resolve the lock files again, from the ranges in pyproject.toml
	$(COMPILE) --upgrade --extra demo --extra test --group dev --output-file requirements.lock
	$(COMPILE) --constraint requirements.lock --output-file requirements-runtime.lock
	$(BIN)/uv pip compile --group build $(COMPILING) --constraint requirements.lock \
		--output-file requirements-build.lock
	$(COMPILE) --extra pyvoy --constraint requirements-runtime.lock --output-file requirements-pyvoy.lock

gen: $(READY) ## make the stubs from proto/ again, and docs/cli.md from the commands
	$(BIN)/python proto/generate.py
	$(BIN)/python -m ratelimitd.cli.reference docs/cli.md

fmt: $(READY) ## mend what ruff can mend
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean: ## remove the environment, caches and builds
	rm -rf $(VENV) $(PYVOY) .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(LOCKED): requirements.lock
	@test -n '$(PYTHON)' || { echo 'ratelimitd needs Python 3.11 or newer with venv and ensurepip (Debian: python3-venv);' \
		'install it, or name it: make PYTHON=/path/to/python' >&2; exit 1; }
	@echo 'installing into $(VENV), about a minute'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(PYVOY_LOCKED): requirements-pyvoy.lock requirements-build.lock $(LOCKED)
	@echo 'installing into $(PYVOY), about a minute'
	$(BIN)/python -m venv --clear $(PYVOY)
	$(PYVOY)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements-pyvoy.lock --requirement requirements-build.lock
	@touch $@

$(PYVOY_READY): $(PYVOY_LOCKED) pyproject.toml
	$(PYVOY)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
