# Works from a fresh clone: each target makes the virtual environment that it needs and keeps it
# until pyproject.toml changes. Both are editable installs, so they follow the source as it changes.
# The venue's official packages cannot be installed beside ours: each has an environment of its own.

PYTHON ?= python3
ARGS ?=

TEST_ENV := .venv-test
DEMO_ENV := .venv
CLEAN_ENV := .venv-clean
OFFICIAL_ENVS := .venv-polymarket-client .venv-py-clob-client-v2
# Two files at a time, in their order: the longest are single tests, and must not begin last. Many tests
# use real sockets, processes and time: one that fails is tried once more, and both tries are shown.
PYTEST := $(TEST_ENV)/bin/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --reruns 1 -r fEsR
# Most of what is installed is never imported: no need to compile all of it.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile

# Many tests start programs: without compiled files each of them takes twice as long to begin.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help test explore guards demo official wheel clean check-python

help: ## say what there is (this text)
	@echo "make TARGET [PYTHON=python3.12] [ARGS=\"...\"]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 10

test: ## lint, formatting, types, import contracts and tests; stops at the first failure
	@$(MAKE) --no-print-directory -j 4 $(TEST_ENV)/.installed official wheel
	@echo "== ruff check"
	@$(TEST_ENV)/bin/ruff check
	@echo "== ruff format --check"
	@$(TEST_ENV)/bin/ruff format --check
	@echo "== mypy"
	@$(TEST_ENV)/bin/mypy
	@echo "== lint-imports"
	@$(TEST_ENV)/bin/lint-imports
	@echo "== pytest"
	@POLYFRAME_CLEAN_PYTHON=$(abspath $(CLEAN_ENV))/bin/python $(PYTEST)

explore: $(TEST_ENV)/.installed ## the property tests with new cases, other ones each time
	@$(PYTEST) --hypothesis-profile explore -m hypothesis $(ARGS)

guards: $(TEST_ENV)/.installed ## take each guard of the core away and see that a test notices; some five minutes
	@$(TEST_ENV)/bin/python tools/remove_guards.py $(ARGS)

demo: $(DEMO_ENV)/.installed ## run `polyframe demo`; ARGS="..." passes options to it
	@$(DEMO_ENV)/bin/polyframe demo $(ARGS)

official: $(OFFICIAL_ENVS:%=%/.installed) ## install the venue's official packages, which tests compare with

wheel: $(TEST_ENV)/.installed $(CLEAN_ENV)/.installed ## install the built wheel, for the tests of examples, notebooks and new projects
	@echo "== install the wheel into $(CLEAN_ENV)"
	@rm -rf build/wheel
	@$(TEST_ENV)/bin/python -m hatchling build -t wheel -d build/wheel
	@$(CLEAN_ENV)/bin/python $(PIP_INSTALL) --force-reinstall --no-deps build/wheel/*.whl

clean: ## remove the virtual environments, caches and builds
	rm -rf $(TEST_ENV) $(DEMO_ENV) $(CLEAN_ENV) $(OFFICIAL_ENVS) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find polyframe tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(TEST_ENV)/.installed: pyproject.toml | check-python
	@echo "== install into $(TEST_ENV)"
	@$(PYTHON) -m venv $(TEST_ENV)
	@$(TEST_ENV)/bin/python $(PIP_INSTALL) -e '.[dev]'
	@touch $@

$(DEMO_ENV)/.installed: pyproject.toml | check-python
	@echo "== install into $(DEMO_ENV)"
	@$(PYTHON) -m venv $(DEMO_ENV)
	@$(DEMO_ENV)/bin/python $(PIP_INSTALL) -e '.[venue,data]'
	@touch $@

# What polyframe depends on; polyframe itself comes as a wheel, anew each time.
$(CLEAN_ENV)/.installed: pyproject.toml | check-python
	@echo "== install into $(CLEAN_ENV)"
	@$(PYTHON) -m venv $(CLEAN_ENV)
	@$(CLEAN_ENV)/bin/python $(PIP_INSTALL) '.[venue,data,live,report,dask]' pytest jupytext
	@touch $@

.venv-%/.installed: tests/conformance/clients/%.txt | check-python
	@echo "== install into .venv-$*"
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python $(PIP_INSTALL) -r $<
	@touch $@

check-python:
	@command -v $(PYTHON) >/dev/null || \
		{ echo "PYTHON: $(PYTHON) was not found; name a Python of 3.11 or later: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "PYTHON: $(PYTHON) is `$(PYTHON) --version 2>&1`; 3.11 or later is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo "PYTHON: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu that is a package of its own: apt install python3-venv" >&2; exit 1; }
