# `make` or `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
PY := .venv/bin/python
export NO_ALBUMENTATIONS_UPDATE := 1

.PHONY: help setup demo test test-long test-hydra-next torture lint format clean

help:  ## Lists the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-16s %s\n", $$1, $$2}'

setup: .venv/installed  ## Creates .venv from requirements.txt

.venv/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "segsweep needs Python 3.11 or newer, found $$($(PYTHON) --version); name another: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

demo: setup  ## Runs a small real sweep on synthetic images and reports it (minutes on a CPU)
	$(PY) -m src.train experiment=demo hydra.launcher.jobs=2
	$(PY) -m src.aggregate sweep=multirun_outputs/demo

test: setup  ## Runs the tests, under 5 minutes on 2 cores
	$(PY) -m pytest -q -n 2

test-long: setup  ## Runs the long tests, at most 30 minutes
	$(PY) -m pytest -q -n 2 -m long

test-hydra-next: setup  ## Runs the tests of the command line with the newest pre-release of Hydra, kept in .hydra-next
	$(PY) -m pip install --quiet --disable-pip-version-check --upgrade --pre --target .hydra-next hydra-core
	PYTHONPATH=.hydra-next $(PY) -c 'import hydra; print("hydra-core", hydra.__version__)'
	PYTHONPATH=$(CURDIR)/.hydra-next $(PY) -m pytest -q -n 2 tests/cli tests/sweep/test_compose.py tests/test_train.py

torture: setup  ## Kills runs 200 times, resumes them and compares the results bit for bit
	SEGSWEEP_KILLS=200 $(PY) -m pytest -q -n 2 -m long tests/training/test_kills.py

lint: setup  ## Checks style, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: setup  ## Formats the code
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean:  ## Removes caches; runs, data and .venv stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
