# Every target calls the `harness` command, in a virtual environment that it sets up when needed.
# Values given on the command line (NAME=…, SCALE=…) reach the shell only as quoted environment
# variables, never as text of a command.

PYTHON ?= python3
VENV := .venv
HARNESS := $(VENV)/bin/harness

override NAME := $(value NAME)
override SCALE := $(value SCALE)
ifeq ($(SCALE),)
override SCALE := default
endif
export NAME SCALE
# Some containers set it, and then every start of Ray and MLflow compiles what it imports once more.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup study report book list ui test check soak bench vouch gpu calibration clean

help: ## print these targets
	@echo "Usage: make TARGET [NAME=study] [SCALE=smoke|default|evening|paper]"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-14s%s\n", $$1, $$2}'

# What is asked for first is installed at once: pip takes long to find out that most is there.
install = @$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "error: $(PYTHON) is older than Python 3.11; give a newer one: make PYTHON=python3.12 …" >&2; exit 2; }; \
	echo "setting up $(VENV) (once; a few minutes)"; \
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV) && \
	$(VENV)/bin/python -m pip install -q --disable-pip-version-check --no-compile -c constraints.txt -e $(1)

$(VENV)/.run: pyproject.toml constraints.txt
	$(call install,.)
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt
	$(call install,'.[dev]')
	@touch $(VENV)/.run $@

setup: $(VENV)/.run ## create .venv and install the tested versions

study: $(VENV)/.run ## run a study and write its report: make study NAME=optimizers
	@test -n "$$NAME" || { echo "error: give a study, as in: make study NAME=optimizers" >&2; exit 2; }
	@$(HARNESS) run --scale "$$SCALE" -- "$$NAME"

report: $(VENV)/.run ## rebuild a report from the ledger: make report NAME=optimizers
	@test -n "$$NAME" || { echo "error: give a study, as in: make report NAME=optimizers" >&2; exit 2; }
	@$(HARNESS) report --scale "$$SCALE" -- "$$NAME"

book: $(VENV)/.run ## every lecture's claims and all studies, as one page and as a PDF
	@$(HARNESS) book

list: $(VENV)/.run ## list the studies
	@$(HARNESS) list

ui: $(VENV)/.run ## open MLflow's UI on 127.0.0.1:5000
	@$(HARNESS) ui

licences: $(VENV)/.run ## list the licence of every package that is used
	@$(HARNESS) doctor --licences

# One more process than cores, as many a test waits for what it has started; each on one thread.
test: $(VENV)/.dev ## run all tests, in up to four processes
	@OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest --dist worksteal \
		-n $$($(VENV)/bin/python -c 'import os; print(min(4, 1 + (os.cpu_count() or 1)))')

check: $(VENV)/.dev ## ruff, mypy, the rule of imports, and known vulnerabilities of packages
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(VENV)/bin/python -m pytest tests/test_layers.py
	@.ci/audit $(VENV)/bin/pip-audit

faults: $(VENV)/.dev ## interrupt a study at random moments in every way, and see that nothing is lost
	@$(VENV)/bin/python -m benchmarks.faults

soak: $(VENV)/.dev ## ten thousand tiny trials through Ray and MLflow: rate, flat memory; rates of other stores
	@$(VENV)/bin/python -m benchmarks.soak
	@$(VENV)/bin/python -m benchmarks.tracking

bench: $(VENV)/.run ## measure speed beside plain loops, Ray Tune and Optuna
	@$(VENV)/bin/python -m benchmarks

vouch: $(VENV)/.run ## hold 99 kinds of modules, trained fused or alone, to a plain PyTorch loop
	@$(VENV)/bin/python -m benchmarks.vouch

gpu: $(VENV)/.dev ## tests, benchmark and studies on a GPU, in ten minutes, into gpu-results/
	@$(VENV)/bin/python -m benchmarks.gpu --out gpu-results

calibration: $(VENV)/.run ## simulate how often the intervals and verdicts are right
	@$(VENV)/bin/python -m benchmarks.calibration

clean: ## remove caches (keeps .venv, reports and the ledger)
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .harness/listings build *.egg-info
