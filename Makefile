# Every target sets itself up; a machine needs Python 3.11+ and make, nothing else.
#   make test PYTHON=python3.13     another Python (after `make clean`: the environment is made once)
#   make test ARGS="-k retry -x"    extra arguments for pytest

PYTHON ?= python3
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
export PYTHONUNBUFFERED = 1

.DEFAULT_GOAL := help
.PHONY: help install demo services test coverage again check ui screenshots crash bench docs clean

help: ## list what make can do
	@echo "TaskBus: make TARGET"
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/dev.stamp ## make the environment .venv with everything for development, and the web page
	@$(BIN)/python hatch_build.py build
	@echo "Ready: source $(VENV)/bin/activate"

demo: $(VENV)/user.stamp ## count every line of Python's standard library, with a worker and two runners
	@$(BIN)/python examples/stdlib_census

services: ## install what the tests start: Redis, RabbitMQ, PostgreSQL, MariaDB, Chromium, cc, openssl (apt-get, as root or by sudo)
	@.ci/services

test: $(VENV)/dev.stamp ## run the tests, the fast part of the crash suite included
	@.ci/services --soft
	@$(BIN)/python hatch_build.py build
	$(BIN)/pytest -n 2 --dist loadfile -m "not slow" $(ARGS)

coverage: $(VENV)/dev.stamp ## the same, and which lines were run, in every process; takes more than half as long again
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory test ARGS='--cov --cov-report=term:skip-covered $(ARGS)'

again: $(VENV)/dev.stamp ## play what failed last once more, one test at a time
	$(BIN)/pytest --last-failed --last-failed-no-failures none -m "not slow" $(ARGS)

check: $(VENV)/dev.stamp ## lint, format, types (mypy, pyright), import layers, and the page's own; changes nothing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests/typing
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/python hatch_build.py check

ui: $(VENV)/dev.stamp ## build the web page, if ui/ changed since; node comes with the environment
	@TASKBUS_UI=require $(BIN)/python hatch_build.py build

screenshots: $(VENV)/dev.stamp ## take the pictures of the page that the docs show, with Chromium
	@$(BIN)/python hatch_build.py build
	$(BIN)/python tests/browser/screenshots.py docs/images

crash: $(VENV)/dev.stamp ## run the whole crash suite: kill everything at every step, count what was lost; and the slow tests
	$(BIN)/python -m tests.crash $(ARGS)
	$(BIN)/pytest -n 2 --dist loadfile -m slow --ignore-glob 'tests/crash/test_suite*'

bench: $(VENV)/dev.stamp ## measure tasks a second and latency on this machine
	$(BIN)/taskbus bench --broker sqlite:///bench.db $(ARGS)

docs: $(VENV)/dev.stamp ## regenerate the reference pages, check every link and run the README's and tutorial's code
	$(BIN)/python docs/generate.py
	$(BIN)/pytest tests/shape/test_docs.py tests/shape/test_pages_run.py $(ARGS)

clean: ## remove the environment and everything that can be made again
	rm -rf $(VENV) build dist ui/node_modules taskbus/web/page .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f *.db *.db-wal *.db-shm examples/*.db* examples/*/*.db* examples/*/*.log

# --- the environment: made once, brought up to date when pyproject.toml changes --------------------------------------

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "TaskBus needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12"; exit 1; }
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/user.stamp: pyproject.toml | $(VENV)/bin/python
	@test -e $(VENV)/dev.stamp || { echo "Installing TaskBus into $(VENV) ..."; $(PIP) install --editable .; }
	@touch $@

$(VENV)/dev.stamp: pyproject.toml $(wildcard contrib/*/pyproject.toml) | $(VENV)/bin/python
	@echo "Installing TaskBus and its development tools into $(VENV) ..."
	@$(PIP) install --upgrade "pip>=25.1"
	@$(PIP) install --editable . --group dev
	@$(PIP) install --editable contrib/taskbus_celery --editable contrib/taskbus_opentelemetry
	@touch $@
