# Calejo's commands. A fresh clone needs python3 (3.11 to 3.13) and make; everything else is installed into
# .venv from requirements*.txt, whose hashes pip checks.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PACKAGES := actors supervisors protocols api storage ops
UV := uv==0.13.8

# Ray starts one Python per actor: without compiled bytecode each of them takes twice as long.
unexport PYTHONDONTWRITEBYTECODE
# A variable of the caller's shell must not lead another Python into our environment.
unexport PYTHONHOME
unexport PYTHONPATH

COMPILE := $(BIN)/python -m compileall -q $(PACKAGES)
# One of them has the trees of real processes, see tests/conftest.py; all of them wait more than they compute.
WORKERS ?= 3
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test check pytest services lint format bench prove lock clean distclean

help: ## this list
	@printf 'Calejo. Commands:\n'
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: $(VENV)/runtime.stamp ## install what is missing, then run the demo in the foreground; ARGS='--config x.yaml'
	@$(COMPILE)
	@exec $(BIN)/calejo run --demo $(ARGS)

test: lint ## lint, then every test but the long searches, by WORKERS=3 processes
	@$(COMPILE)
	@exec $(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder $(ARGS)

pytest: $(VENV)/dev.stamp ## tests one after the other; ARGS='tests/unit -k kernel'
	@exec $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/dev.stamp ## ruff, mypy and the direction of imports
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(VENV)/dev.stamp ## let ruff format and repair what it can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

services: ## install the foreign programs that tests talk to (Debian, Ubuntu)
	@ops/services.sh

bench: $(VENV)/runtime.stamp ## measure on this machine what the documents claim
	@$(COMPILE)
	@exec $(BIN)/calejo bench $(ARGS)

prove: $(VENV)/dev.stamp ## search far (some 20 minutes on two idle cores) and write ops/docs/proof.md; LONG=1: all of it
	@exec $(BIN)/python -m pytest -m '(prove or proof$(if $(LONG), or endless))$(if $(LONG),, and not endless)' --timeout 14400 \
	  -p tests.proof.report --proof-report ops/docs/proof.md $(ARGS)

lock: $(BIN)/python ## compile requirements*.txt anew; UPGRADE=1 takes newer releases
	@$(PIP) install '$(UV)'
	@for set in '' dev; do \
	  name=requirements$${set:+-$$set}; \
	  printf 'compiling %s.txt\n' $$name; \
	  env -u UV_INDEX -u UV_DEFAULT_INDEX -u UV_INDEX_URL -u UV_EXTRA_INDEX_URL -u UV_FIND_LINKS \
	  $(BIN)/uv pip compile --quiet --no-config --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
	    --universal --python-version 3.11 --generate-hashes $(if $(UPGRADE),--upgrade) \
	    pyproject.toml requirements.in $${set:+--extra $$set --constraint requirements.txt} --output-file $$name.txt || exit; \
	done
	@! grep -nE '://|^ *-(i|f)|--(extra-)?index|--find-links' requirements.txt requirements-dev.txt

clean: ## remove what the tools have cached
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov build dist *.egg-info
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## and the environment
	rm -rf $(VENV) tests/peers/node_modules

# --- The environment ------------------------------------------------------------------------------------------

$(BIN)/python:
	@command -v '$(PYTHON)' >/dev/null || { echo 'Calejo needs Python 3.11 to 3.13, and there is no $(PYTHON) here. Elsewhere? make PYTHON=/path/to/python3' >&2; exit 1; }
	@'$(PYTHON)' -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Calejo needs Python 3.11 to 3.13; $(PYTHON) is $$('$(PYTHON)' -V 2>&1). Another one? make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "calejo: making $(VENV) with $$('$(PYTHON)' -V)"
	@'$(PYTHON)' -m venv --clear $(VENV) || \
	  { rm -rf $(VENV); echo 'Calejo: $(PYTHON) cannot make an environment (Debian: apt-get install python3-venv)' >&2; exit 1; }

$(VENV)/runtime.stamp: requirements.txt pyproject.toml | $(BIN)/python
	@echo "calejo: installing $$(grep -c == requirements.txt) packages, once (some 130 MB; a minute or so)"
	@$(PIP) install --progress-bar off --require-hashes -r requirements.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/runtime.stamp
	@echo 'calejo: installing what the tests need'
	@$(PIP) install --progress-bar off --require-hashes -r requirements-dev.txt
	@touch $@
