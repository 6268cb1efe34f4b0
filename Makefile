# Everything that a person or a CI runs. `make` alone lists it.
PYTHON ?= python3
VENV   ?= .venv
READY  := $(VENV)/.ready

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS   += --no-print-directory
export PATH := $(abspath $(VENV))/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run check test test-long test-pythons test-slurm bench lab lock export readme clean

help: ## this list
	@echo "mlops_kit: write it in a notebook, run it anywhere, and prove it"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(READY) ## run the flights pipeline; a second time, nothing is left to run
	@mlops run pipeline=flights

check: $(READY) ## a quick check while you work: shape, ruff, types, and the packages that your change touches
	@python tools/check.py $(base)

test: $(READY) ## every check of a change, the cheap ones first
	@python -m compileall -q mlops_kit tests  # once, instead of at each of a thousand starts where Python may write no byte code
	@echo "== shape: generated modules, clean notebooks, README, imports between packages"
	@pytest -q tests/test_shape.py
	@echo "== ruff"
	@ruff check --quiet
	@echo "== types of the public faces"
	@basedpyright --level error
	@echo "== lessons: the notebooks themselves"
	@nbdev-test --n-workers 2 --skip-folder-re '^([_.]|steps$$)'
	@echo "== tests: processes, command line, wheel"
	@pytest -q tests --ignore tests/test_shape.py --ignore tests/engine/test_truth.py -n 3 --dist loadfile --no-loadscope-reorder
	@pytest -q tests/engine/test_truth.py

test-long: $(READY) ## the tests that take minutes
	@pytest -q tests -m long

test-pythons: ## the tests of the core on Python 3.12 and 3.13, as far as they are found
	@tools/test_pythons.sh

test-slurm: $(READY) ## the tests on a real Slurm of one node; as root on Debian, installs what it takes
	@if tests/cluster/slurm_node.sh install; then timeout -k 30 600 pytest -q -m slurm tests/cluster/test_executors.py; fi

bench: $(READY) ## measure; prints tables, asserts nothing
	@for script in tests/bench/*.py; do echo "== $$script"; python "$$script"; done

lab: $(READY) ## JupyterLab in this project, for this machine only (more options: make lab args=--no-browser)
	@mlops lab $(args)

export: $(READY) ## notebooks -> mlops_kit/*.py
	@nbdev-export

readme: $(READY) ## nbs/index.ipynb -> README.md
	@python tools/readme.py

lock: ## renew requirements.lock: the newest versions that settings.ini allows
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "The lock is made with Python 3.11, the oldest \
	that we support: make lock PYTHON=/path/to/python3.11" >&2; exit 1; }
	@work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; $(PYTHON) -m venv "$$work"; \
	"$$work/bin/pip" install -qq setuptools; \
	"$$work/bin/pip" install -qq -e '.[all]'; \
	{ grep '^#' requirements.lock; "$$work/bin/pip" freeze --all --exclude-editable | grep -Ev '^(pip|triton|(cuda|nvidia)-.*)==' \
	| sed 's/^\(torch==[^+]*\)+.*/\1/'; } > "$$work/lock"; \
	mv "$$work/lock" requirements.lock

clean: ## remove what builds and tests leave behind; your records (.mlops) and .venv stay
	@rm -rf build dist *.egg-info _proc _docs .pytest_cache .ruff_cache
	@find mlops_kit nbs tests tools -name __pycache__ -prune -exec rm -rf {} + -o -name .ipynb_checkpoints -prune -exec rm -rf {} +

$(READY): requirements.lock settings.ini setup.py pyproject.toml mlops_kit/engine/access_log.c
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "mlops_kit needs Python 3.11 or newer; \
	$(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo missing). Name another one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments (ensurepip is missing). \
	On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@"$(VENV)/bin/python" -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv "$(VENV)"
	@echo "installing the locked packages into $(VENV) (about a minute the first time)" >&2
	@"$(VENV)/bin/python" -m pip install -qq -r requirements.lock
	@"$(VENV)/bin/python" -m pip install -qq --no-deps --no-build-isolation -e .
	@touch "$@"
