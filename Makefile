# Every target sets up what it needs in .venv; nothing has to be installed by hand but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install -q -c .ci/constraints.txt -e .

# stamps: rebuilt only when what they install from has changed, so that repeated calls are instant
SETUP := $(VENV)/.stamp-test
SETUP_DOCS := $(VENV)/.stamp-docs
SETUP_LINT := $(VENV)/.stamp-lint
REQUIREMENTS := pyproject.toml .ci/constraints.txt

# the oldest and the newest stack: each in an environment of its own, filled by uv, since pip cannot choose the oldest
NEWEST ?= 3.13
VENV_LOWEST := .venv-lowest
VENV_NEWEST := .venv-newest-$(NEWEST)
# neighbours that results are passed on to; their newest releases need Python 3.12
CHAINS := annbatch cellrank mudata pertpy
CHAIN_PYTHON ?= 3.12
# peers that scgenot is timed beside
VENV_BENCH := .venv-bench
# what a release is built and checked in, and an empty one to install its wheel in
VENV_RELEASE := .venv-release
VENV_WHEEL := .venv-wheel
RELEASE := $(VENV_RELEASE)/bin
SCHEMA := $(RELEASE)/check-jsonschema --builtin-schema vendor
UV = $(1)/bin/python -m uv pip install -q --python $(1)/bin/python --compile-bytecode --group test -e .
# an interpreter of some version: on the path, where a shim of pyenv may start nothing, or else of pyenv
FIND = $(or $(shell for python in python$(1) $(HOME)/.pyenv/versions/$(1)*/bin/python; do \
	$$python -c "" 2>/dev/null && echo $$python && break; done),$(error Python $(1) not found))

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast test-lowest test-newest test-chains mutants fuzz bench lint docs check-release clean

help:  ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 22

demo: $(SETUP)  ## fit and plot a small translation, from nothing to figures
	$(BIN)/python -m scgenot demo

test: $(SETUP)  ## all tests
	$(BIN)/python -m pytest -n 2

test-fast: $(SETUP)  ## the tests that take less than a second each
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not medium and not slow"  # a file's fits are made once

test-lowest: $(VENV_LOWEST)/.stamp  ## all but the slow tests on Python 3.11 with the oldest releases of pyproject.toml
	$(VENV_LOWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

test-newest: $(VENV_NEWEST)/bin/uv  ## all but the slow tests with the newest releases, on Python 3.13 (NEWEST=3.12: on that)
	$(call UV,$(VENV_NEWEST)) --upgrade
	$(VENV_NEWEST)/bin/python -m pytest -n 2 --dist loadfile -m "not slow"

test-chains: $(CHAINS:%=test-chain-%)  ## results passed on to CellRank, pertpy, MuData and annbatch, each in its own environment

test-chain-%: .venv-chain-%/.stamp
	.venv-chain-$*/bin/python -c "import $*"  # or else the test would be skipped
	.venv-chain-$*/bin/python -m pytest tests/chains/test_$*.py

mutants: $(SETUP)  ## what the tests of the arrays half miss: 150 small faults, half an hour
	$(BIN)/python tests/mutation.py --n 150 --seed 0

fuzz: $(SETUP)  ## 2,000 generated calls, and 500 damaged files and entries
	$(BIN)/python tests/fuzz/calls.py --n 2000 --seed 0
	$(BIN)/python tests/fuzz/damage.py --n 500 --seed 0

bench: $(VENV_BENCH)/.stamp  ## seconds beside POT, ott-jax and moscot, in an environment of its own; twenty minutes
	$(VENV_BENCH)/bin/python tests/benchmarks/speed.py
	$(VENV_BENCH)/bin/python tests/benchmarks/peers.py

lint: $(SETUP_LINT)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(SETUP_DOCS)  ## the documentation, warnings are errors
	rm -rf docs/generated docs/tutorials  # pages of functions that are gone would stay
	cp -r tutorials docs/tutorials
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	$(BIN)/python docs/check.py docs/_build/html  # stray markup, broken links

check-release: $(VENV_RELEASE)/.stamp  ## what a release needs: metadata, workflows, wheel and sdist, the demo from the wheel
	$(RELEASE)/validate-pyproject pyproject.toml
	$(SCHEMA).github-workflows .github/workflows/*.yaml
	$(SCHEMA).github-issue-forms .github/ISSUE_TEMPLATE/bug.yml .github/ISSUE_TEMPLATE/feature.yml
	$(SCHEMA).github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(SCHEMA).dependabot .github/dependabot.yml
	$(SCHEMA).readthedocs .readthedocs.yaml
	$(SCHEMA).citation-file-format CITATION.cff
	rm -rf dist $(VENV_WHEEL)
	$(RELEASE)/python -m build
	$(RELEASE)/twine check --strict dist/*
	$(PYTHON) -m venv $(VENV_WHEEL)
	$(VENV_WHEEL)/bin/python -m pip install -q -c .ci/constraints.txt dist/*.whl
	cd $(VENV_WHEEL) && bin/python -m scgenot info && bin/python -m scgenot demo  # not from the source tree

clean:  ## remove what was built; the environments stay
	rm -rf docs/_build docs/generated docs/tutorials dist .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './.venv*/*' -prune -exec rm -rf {} +

# the interpreter is checked before anything is installed: pip's own message for this is hard to read
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; name one with: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
		"error: scgenot needs Python 3.11 or newer, found %d.%d; name one with: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)

# order-only: the interpreter's own date says nothing about what is installed
$(SETUP): $(REQUIREMENTS) | $(BIN)/python
	$(PIP) install -q --upgrade "pip>=25.1"  # the first that knows dependency groups
	$(INSTALL) --group test
	@touch $@

$(SETUP_DOCS): $(SETUP)
	$(INSTALL) --group docs
	@touch $@

$(SETUP_LINT): $(SETUP)
	$(INSTALL) --group lint
	@touch $@

.venv-chain-%/.stamp: $(REQUIREMENTS)
	$(call FIND,$(CHAIN_PYTHON)) -m venv .venv-chain-$*
	.venv-chain-$*/bin/python -m pip install -q uv
	$(call UV,.venv-chain-$*) -c .ci/constraints.txt $*
	@touch $@

$(VENV_RELEASE)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV_RELEASE)
	$(RELEASE)/python -m pip install -q --upgrade "pip>=25.1"
	$(RELEASE)/python -m pip install -q --group release
	@touch $@

$(VENV_BENCH)/.stamp: $(REQUIREMENTS)
	$(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/python -m pip install -q --upgrade "pip>=25.1"
	$(VENV_BENCH)/bin/python -m pip install -q -c .ci/constraints.txt -e . --group bench
	@touch $@

$(VENV_LOWEST)/bin/uv:
	$(call FIND,3.11) -m venv $(VENV_LOWEST)
	$(VENV_LOWEST)/bin/python -m pip install -q uv

$(VENV_NEWEST)/bin/uv:
	$(call FIND,$(NEWEST)) -m venv $(VENV_NEWEST)
	$(VENV_NEWEST)/bin/python -m pip install -q uv

$(VENV_LOWEST)/.stamp: pyproject.toml | $(VENV_LOWEST)/bin/uv
	$(call UV,$(VENV_LOWEST)) --resolution lowest-direct
	@touch $@
