# Pellucid from a fresh checkout: `make demo` or `make test`. Needs Python 3.11 or newer and make, nothing else.
# Every package comes at the version and with the hash that requirements/ names.

PYTHON ?= python3
DIR ?= demo

BIN := .venv/bin
VERIFY_BIN := .venv-verify/bin

# Errors are shown; the resolver's chatter and its notes about indexes that are not there are not.
PIP_INSTALL := -m pip install -qq --disable-pip-version-check --no-deps
PIP_COMPILE := CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/pip-compile --quiet --generate-hashes --strip-extras \
	--build-deps-for editable --unsafe-package torch --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test test-all lint format bench bench-train bench-accuracy bench-explain report lock clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/installed .venv-verify/installed ## make both environments: the whole, and the verifier's

demo: .venv/installed ## walk the whole corridor on real data, into DIR (default: demo/, made anew)
ifeq ($(DIR),demo)
	@rm -rf demo
endif
	@$(BIN)/pellucid demo "$(DIR)"

test: setup ## run the tests, without the slow ones, on two cores
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" --numprocesses 2 --dist loadfile

test-all: setup ## run every test
	$(BIN)/python -m pytest

lint: .venv/installed ## format, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed ## lay out the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed ## measure beside peers and print ratios
	$(BIN)/python benchmarks/corridor.py

bench-train: .venv/installed ## time and memory of private training, beside plain torch and Opacus (half an hour)
	$(BIN)/python benchmarks/training.py

bench-accuracy: .venv/bench ## accuracy at a given epsilon, beside published figures (an hour)
	$(BIN)/python benchmarks/accuracy.py

bench-explain: .venv/bench ## explanations and slices beside captum, shap and sliceline (a quarter of an hour)
	$(BIN)/python benchmarks/attribution.py
	$(BIN)/python benchmarks/shapley.py
	$(BIN)/python benchmarks/slices.py

report: .venv/installed ## make the committed sample report anew
	$(BIN)/python scripts/sample_report.py

lock: .venv/installed ## resolve requirements/ anew; UPGRADE=1 moves to the newest versions
	$(PIP_COMPILE) $(if $(UPGRADE),--upgrade) --extra dev --constraint requirements/torch.txt \
		--output-file requirements/lock.txt pyproject.toml
	$(PIP_COMPILE) $(if $(UPGRADE),--upgrade) --constraint requirements/lock.txt \
		--output-file requirements/base.txt pyproject.toml

clean: ## remove the environments, the demo and every cache
	rm -rf .venv .venv-verify demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .grimp_cache .hypothesis
	find src tests benchmarks examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The whole environment. The packages are one step and the project's own entry another, so that an edit of
# pyproject.toml does not install everything again. PyTorch comes first and alone: its build differs from platform to
# platform (CPU or CUDA), so it is pinned by version and has no hash, and what only a CUDA build needs stays out.
.venv/packages: requirements/torch.txt requirements/lock.txt requirements/demo-data.txt requirements/browser-tests.txt
	@$(PYTHON) -c 'import sys; sys.exit("Pellucid needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "Making .venv (two to four minutes the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python $(PIP_INSTALL) -r requirements/torch.txt
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/lock.txt
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/demo-data.txt
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/browser-tests.txt
	@touch $@

.venv/installed: .venv/packages pyproject.toml
	@$(BIN)/python $(PIP_INSTALL) --no-build-isolation -e .
	@touch $@

.venv/bench: .venv/installed requirements/bench.txt
	@$(BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/bench.txt
	@touch $@

# The verifier's environment: what `pip install pellucid` brings and nothing more, so that the tests can prove that
# verifying needs no PyTorch and no Arrow. Made empty each time: a package left over would make that proof worthless.
.venv-verify/installed: requirements/base.txt pyproject.toml
	@echo "Making .venv-verify ..."
	@$(PYTHON) -m venv --clear .venv-verify
	@$(VERIFY_BIN)/python $(PIP_INSTALL) --require-hashes -r requirements/base.txt
	@$(VERIFY_BIN)/python $(PIP_INSTALL) --no-build-isolation -e .
	@touch $@
