# Everything runs in its own environment in .venv, made on first use. Needed: make, and Python 3.11 or newer.
PYTHON ?= python3
SEED ?= 0
MODE ?= buffered
CHAOS ?=
BENCH ?=
# Tests at once: most wait for processes and sockets rather than for a core.
WORKERS ?= 3
# LOCKED=1 installs the versions in dev.lock, with which the tests last passed; else the newest that pyproject.toml allows.
LOCKED ?=
CONSTRAINT := $(if $(LOCKED),--constraint dev.lock)

VENV := .venv
RUN := $(VENV)/bin
STAMPS := $(VENV)/.stamps
# NVIDIA FLARE pins what it needs: it has an environment of its own, so that turnout is not tested with that only.
FLARE := .venv-flare

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-flare torch mlflow lint format coverage lock bench reference sim chaos clean

help:  ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

install: $(STAMPS)/base  ## install turnout and its dashboard into .venv, from where you may activate it

demo: $(STAMPS)/base  ## train a model on 500 simulated devices (MODE=sync|buffered, SEED=n)
	@$(RUN)/turnout demo --mode $(MODE) --seed $(SEED)

test: $(STAMPS)/test  ## run the tests, in less than five minutes
	@$(RUN)/pytest -n $(WORKERS) --dist worksteal -m "not slow"

test-all: $(STAMPS)/test  ## run the long tests too
	@$(RUN)/pytest -n $(WORKERS) --dist worksteal

test-flare: $(FLARE)/.installed  ## run NVIDIA FLARE's own classes and device simulator against turnout
	@$(FLARE)/bin/pytest -n $(WORKERS) --dist worksteal tests/flare

torch: $(STAMPS)/torch  ## install PyTorch too, of which make test then tests the trainer; large

mlflow: $(STAMPS)/mlflow  ## install MLflow's client too, to which make test then tracks a job

lint: $(STAMPS)/lint  ## check style, format, types, which way imports point, and how much of the code a request passes
	@$(RUN)/ruff check
	@$(RUN)/ruff format --check
	@$(RUN)/mypy
	@$(RUN)/lint-imports --no-logo
	@$(RUN)/python -m tools.walk --check

format: $(STAMPS)/lint  ## put imports in order and format
	@$(RUN)/ruff check --fix
	@$(RUN)/ruff format

coverage: $(STAMPS)/test  ## say which lines the tests of one process run (unit and contract tests; processes they start are not seen)
	@$(RUN)/coverage run --data-file=.coverage -m pytest -m "not slow" tests/unit tests/contract
	@$(RUN)/coverage report --data-file=.coverage --sort=cover

lock: $(STAMPS)/test $(STAMPS)/lint  ## write the versions that are installed into dev.lock
	@{ echo "# Written by make lock: the versions with which the tests last passed. LOCKED=1 make test installs them."; \
		$(RUN)/python -m pip --disable-pip-version-check list --format freeze --exclude-editable \
		| grep -v -i -E '^(pip|setuptools|torch|triton|nvidia-|cuda-)' ; } > dev.lock

bench: $(STAMPS)/base  ## measure all that docs/BENCHMARKS.md shows, in half an hour (BENCH="million --quick", BENCH=--check)
	@$(RUN)/python -m bench $(BENCH)

reference: $(STAMPS)/base  ## write docs/REFERENCE.md, and the states in docs/ARCHITECTURE.md, from the code
	@$(RUN)/python -m tools.reference
	@$(RUN)/python -m tools.states

sim: $(STAMPS)/base  ## run one seed of the simulation (SEED=n)
	@$(RUN)/python -m turnout.sim --seed $(SEED)

chaos: $(STAMPS)/base  ## kill a server's processes 200 times and check that no result is lost or doubled (CHAOS="--seed n")
	@$(RUN)/python -m tests.chaos $(CHAOS)
	@$(RUN)/python -m tests.chaos --workflow rounds --kills-min 60 --each-min 5 --acknowledged-min 8000 $(CHAOS)

clean:  ## remove the environment and all that was made here
	rm -rf $(VENV) $(FLARE) .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist src/*.egg-info turnout-demo
	find src tests bench tools -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp for each set of dependencies: installed again when pyproject.toml changes.
$(STAMPS)/base: pyproject.toml | $(RUN)/python
	@echo "installing turnout into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINT) --editable ".[dashboard]"
	@mkdir -p $(@D) && touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/base
	@echo "installing what the tests need into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINT) --editable ".[test]"
	@mkdir -p $(@D) && touch $@

$(STAMPS)/torch: pyproject.toml $(STAMPS)/base
	@echo "installing PyTorch into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable ".[test-torch]"
	@mkdir -p $(@D) && touch $@

$(STAMPS)/mlflow: pyproject.toml $(STAMPS)/base
	@echo "installing MLflow's client into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINT) --editable ".[mlflow]"
	@mkdir -p $(@D) && touch $@

$(STAMPS)/lint: pyproject.toml $(STAMPS)/base
	@echo "installing what the checks need into $(VENV)"
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check $(CONSTRAINT) --editable ".[lint]"
	@mkdir -p $(@D) && touch $@

$(FLARE)/.installed: pyproject.toml | $(FLARE)/bin/python
	@echo "installing turnout and NVIDIA FLARE into $(FLARE)"
	@$(FLARE)/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[grpc,test-flare]"
	@$(FLARE)/bin/python -m pip --quiet --disable-pip-version-check check
	@touch $@

$(RUN)/python $(FLARE)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
		echo 'no "$(PYTHON)" here: install Python 3.11 or newer, or name it: make PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "turnout needs Python 3.11 or newer, this is $$($(PYTHON) --version 2>&1);" \
			"name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(@:/bin/python=) || { rm -rf $(@:/bin/python=); \
		echo 'cannot make an environment in $(@:/bin/python=); on Debian or Ubuntu: apt install python3-venv' >&2; exit 1; }
