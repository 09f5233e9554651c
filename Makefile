# `make demo` and `make test` set up what they need in .venv and run; `make` lists the targets.
# An installed torch is kept: one in .venv, else one that $(PYTHON) can import.

PYTHON ?= python3
DEMO_ENV ?= RAMClutteredMNIST-v0
DEMO_FLAGS ?= --dataset digits --episodes 330000
PYTEST_FLAGS ?=
# Processes that run the tests.
TEST_JOBS ?= 2

VENV := .venv
RLLIB_VENV := .venv-rllib
PY = $(VENV)/bin/python
DEMO_RUN := runs/demo-$(shell date +%Y%m%d-%H%M%S)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# $(VENV) may see the packages of $(PYTHON); their pytest plugins must not break the tests.
export PYTEST_DISABLE_PLUGIN_AUTOLOAD := 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-examples test-rllib coverage docs pictures release lint types format clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.installed-demo ## train an agent on embedded data and draw what it looks at
	@echo "demo: training in $(DEMO_RUN)"
	@$(VENV)/bin/ram train $(DEMO_ENV) $(DEMO_FLAGS) --out $(DEMO_RUN)
	@echo "demo: drawing $(DEMO_RUN)/watch.gif"
	@$(VENV)/bin/ram watch $(DEMO_RUN) --save $(DEMO_RUN)/watch.gif

test: $(VENV)/.installed-dev ## run the quick tests (PYTEST_FLAGS="-k catch" for some of them)
	@$(PY) -m pytest -p xdist -n $(TEST_JOBS) -m "not slow" $(PYTEST_FLAGS)

test-slow: $(VENV)/.installed-dev ## run the slow tests
	@$(PY) -m pytest -p xdist -n $(TEST_JOBS) -m slow $(PYTEST_FLAGS)

coverage: $(VENV)/.installed-dev ## list lines, branches and errors that no test covers
	@$(PY) -m coverage erase
	@$(PY) -m coverage run -m pytest $(PYTEST_FLAGS)
	@$(PY) -m coverage combine -q
	@$(PY) -m coverage report
	@$(PY) tools/nightly/unraised.py

test-examples: $(VENV)/.installed-examples ## test the examples of other libraries, Atari and MiniGrid
	@$(PY) -m pytest tests/test_examples.py tests/test_more_examples.py tests/test_making.py \
		tests/test_foreign_envs.py $(PYTEST_FLAGS)

test-rllib: $(RLLIB_VENV)/.installed-rllib ## test the example of RLlib, with the Gymnasium that it needs
	@$(PY) -m pytest tests/test_rllib_example.py @tests/environments.txt $(PYTEST_FLAGS)

docs: $(VENV)/.installed-docs ## make a site of docs/ and the docstrings, in build/docs
	@$(PY) -m sphinx -W --keep-going -n -q docs build/docs
	@echo "docs: open build/docs/index.html"

pictures: $(VENV)/.installed-dev ## draw the pictures of README and docs again, by the trained agents
	@$(PY) tools/draw_showcase.py
	@$(PY) tools/draw_environments.py
	@$(VENV)/bin/ram figures pretrained:cluttered-mnist-8 --num-images 10000 --out docs/images/looks
	@rm -f docs/images/looks/report.html
	@$(VENV)/bin/ram play RAMCatch-v0 --agent pretrained:catch --seed 0 --gif docs/images/catch.gif

release: ## build the packages and test the wheel in an empty environment
	@PYTHON=$(PYTHON) tools/release.sh

lint: $(VENV)/.installed-dev ## check style and format with ruff
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: $(VENV)/.installed-dev ## check the types with mypy
	@$(PY) -m mypy
	@$(PY) -m mypy --python-version 3.10 --cache-dir .mypy_cache/oldest \
		--disable-error-code no-any-return --no-warn-unused-ignores # NumPy's hints need a newer one

format: $(VENV)/.installed-dev ## format, and apply ruff's fixes
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

clean: ## remove builds and caches; .venv, .venv-rllib and runs/ stay
	@rm -rf build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find . -path './$(VENV)*' -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove .venv and .venv-rllib too; runs/ stays
	@rm -rf $(VENV) $(RLLIB_VENV)

# --- Set-up -----------------------------------------------------------------------------------
# Each stamp is written last, so a failed set-up leaves none and the next call tries again.

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(call install,agent$(comma)play)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(call install,dev)
	@touch $@ $(VENV)/.installed-demo

$(VENV)/.installed-examples: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(call install,dev$(comma)examples)
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed-demo

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/pyvenv.cfg
	$(call install,dev$(comma)docs)
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed-demo

# RLlib needs one older Gymnasium, so it has an environment of its own without our pin, which uses
# the torch of $(VENV) if there is one.
$(RLLIB_VENV)/%: PYTHON := $(firstword $(wildcard $(PY)) $(PYTHON))
$(RLLIB_VENV)/%: UNPINNED := gymnasium
test-rllib $(RLLIB_VENV)/%: VENV := $(RLLIB_VENV)

$(RLLIB_VENV)/.installed-rllib: pyproject.toml constraints.txt | $(RLLIB_VENV)/pyvenv.cfg
	$(call install,dev$(comma)rllib)
	@touch $@

comma := ,

# Prints the version of an installed torch that the agent can use; fails where there is none.
TORCH := import importlib.metadata, torch; \
	version = importlib.metadata.version("torch"); \
	assert tuple(map(int, version.split(".")[:2])) >= (2, 4); \
	print(version)

# $(call check_python,PYTHON): stop with a clear message if it is missing or too old.
define check_python
@$(1) -c '' 2>/dev/null || { \
	echo "set-up: '$(1)' does not run; name a Python of 3.10 or newer: make PYTHON=python3.12 ..." >&2; exit 1; }
@$(1) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "set-up: ram-gym needs Python 3.10 or newer, and '$(1)' is $$($(1) -V 2>&1)." >&2; \
	echo "        Remove $(VENV) if there is one, and name another: make PYTHON=python3.12 ..." >&2; exit 1; }
endef

# A torch of $(PYTHON) is seen from $(VENV) as one of the system's packages; where $(PYTHON) is
# itself from a virtual environment, through a .pth file that names that environment's packages.
$(VENV)/pyvenv.cfg $(RLLIB_VENV)/pyvenv.cfg:
	$(call check_python,$(PYTHON))
	@set -e; trap 'rm -rf $(VENV)' EXIT; trap 'exit 1' INT TERM; \
	if $(PYTHON) -c '$(TORCH)' >/dev/null 2>&1; then \
		echo "set-up: making $(VENV), which sees the torch of $(PYTHON)"; \
		$(PYTHON) -m venv --system-site-packages $(VENV); \
		$(PY) -c '$(TORCH)' >/dev/null 2>&1 || \
			$(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("platlib"))' \
				> "$$(echo $(VENV)/lib/python3*/site-packages)/packages_with_torch.pth"; \
	else \
		echo "set-up: making $(VENV)"; \
		$(PYTHON) -m venv $(VENV); \
	fi; \
	trap - EXIT

# $(call install,EXTRAS): install the project, editable, as constraints.txt says, all but
# UNPINNED. An installed torch is pinned to its version, so that pip downloads no other.
define install
$(call check_python,$(PY))
@set -e; \
$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null; \
if version=$$($(PY) -c '$(TORCH)' 2>/dev/null); then \
	sed '/^$(UNPINNED)==/d; /^# torch/,$$d' constraints.txt > $(VENV)/constraints.txt; \
	echo "torch==$$version" >> $(VENV)/constraints.txt; \
	echo "set-up: installing ram-gym[$(1)], keeping torch $$version"; \
else \
	sed '/^$(UNPINNED)==/d' constraints.txt > $(VENV)/constraints.txt; \
	echo "set-up: installing ram-gym[$(1)] and torch, which can be a large download"; \
fi; \
$(PY) -m pip install -qq --editable '.[$(1)]' --constraint $(VENV)/constraints.txt
endef
