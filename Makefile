# Every target sets up what it needs in .venv; nothing has to be installed by hand but Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

# stamps: rebuilt only when what they install from has changed, so that repeated calls are instant
SETUP := $(VENV)/.stamp-test
SETUP_DOCS := $(VENV)/.stamp-docs
SETUP_LINT := $(VENV)/.stamp-lint
REQUIREMENTS := pyproject.toml .ci/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast fuzz lint docs clean

help:  ## show this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */  make \1\t/' | expand -t 20

demo: $(SETUP)  ## fit and plot a small translation, from nothing to figures
	$(BIN)/python -m scgenot

test: $(SETUP)  ## all tests
	$(BIN)/python -m pytest -n 2

test-fast: $(SETUP)  ## the tests that take seconds
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"  # a file's fits are made once

fuzz: $(SETUP)  ## 2,000 generated calls, and 500 damaged files and entries
	$(BIN)/python tests/fuzz/calls.py --n 2000 --seed 0
	$(BIN)/python tests/fuzz/damage.py --n 500 --seed 0

lint: $(SETUP_LINT)  ## style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: $(SETUP_DOCS)  ## the documentation, warnings are errors
	rm -rf docs/generated docs/tutorials  # pages of functions that are gone would stay
	cp -r tutorials docs/tutorials
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

clean:  ## remove what was built; .venv stays
	rm -rf docs/_build docs/generated docs/tutorials dist .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# the interpreter is checked before anything is installed: pip's own message for this is hard to read
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "error: $(PYTHON) not found; name one with: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and \
		"error: scgenot needs Python 3.11 or newer, found %d.%d; name one with: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)

# order-only: the interpreter's own date says nothing about what is installed
$(SETUP): $(REQUIREMENTS) | $(BIN)/python
	$(PIP) install -q -c .ci/constraints.txt -e ".[test]"
	@touch $@

$(SETUP_DOCS): $(SETUP)
	$(PIP) install -q -c .ci/constraints.txt -e ".[docs]"
	@touch $@

$(SETUP_LINT): $(SETUP)
	$(PIP) install -q -c .ci/constraints.txt -e ".[dev]"
	@touch $@
