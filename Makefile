# make help lists what there is. Everything runs in .venv, which `make setup` makes.
PYTHON ?= python3
JOBS ?= 2
GPUS ?=
TORCH ?=
SLOW ?=
TABLE ?= table_cifar10_resnet34
RUN := .venv/bin/python -m
export PYTHONDONTWRITEBYTECODE =  # many containers set it: then each start compiles torch's sources anew, 4 s of 6
comma := ,
UV := $(shell command -v uv 2>/dev/null)

.PHONY: help setup demo test reproduce-table lint docs lock audit clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  options: TABLE=table_cifar10_compact (for a CPU), JOBS=2 (processes on a CPU), GPUS=0,1 (GPUs to share runs), TORCH=cpu|cu126|... (torch build), SLOW=1 (slow tests too)"

setup: .venv/.done ## make .venv from requirements.lock (TORCH=cpu: without CUDA)

OLD := noisygce needs Python 3.11 or later: make clean setup PYTHON=python3.13
NEW_ENOUGH = -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(OLD)")'

.venv/.done: requirements.lock pyproject.toml
ifneq ($(TORCH),)
	@[ -n "$(UV)" ] || { echo "TORCH=$(TORCH) needs uv (pip install uv)" >&2; exit 2; }
	uv venv -q --allow-existing --python $(PYTHON) .venv
	@.venv/bin/python $(NEW_ENOUGH)
	uv pip install --python .venv --torch-backend=$(TORCH) --no-verify-hashes -c requirements.lock --group dev -e .
else ifneq ($(UV),)
	uv venv -q --allow-existing --python $(PYTHON) .venv
	@.venv/bin/python $(NEW_ENOUGH)
	uv pip install -q --python .venv --require-hashes -r requirements.lock
	uv pip install -q --python .venv --no-deps --no-build-isolation -e .
else
	@$(PYTHON) $(NEW_ENOUGH)
	$(PYTHON) -m venv .venv
	.venv/bin/pip install -q --require-hashes -r requirements.lock
	.venv/bin/pip install -q --no-deps --no-build-isolation -e .
endif
	@touch $@

demo: setup ## train a small benchmark on the embedded digits; about 2 minutes
	@scripts/workers $(JOBS) "$(GPUS)" experiment=demo; code=$$?; \
	$(RUN) noisygce.table experiment=demo && $(RUN) noisygce.figure experiment=demo && exit $$code

reproduce-table: setup ## fill the table of TABLE; start it again, or on more machines, to continue
	@workers=$$(.venv/bin/python scripts/before_table $(TABLE) $(JOBS) "$(GPUS)") || exit; \
	scripts/workers $$workers "$(GPUS)" experiment=$(TABLE) runtime.concurrent=2; code=$$?; \
	$(RUN) noisygce.table experiment=$(TABLE) $(if $(filter %_compact,$(TABLE)),,against=published) && exit $$code

test: setup lint ## lint, import rules, types, tests (SLOW=1: the slow ones too)
	$(RUN) pytest -n 2 $(if $(SLOW),,-m "not slow")

lint: setup ## lint, import rules and types only
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports --no-logo --no-cache
	@.venv/bin/mypy

docs: setup ## build the site of docs/ into docs/_build; a warning is an error
	$(RUN) sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

lock: ## pin the newest versions that pyproject.toml allows (needs uv)
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url \
		--upgrade --group dev pyproject.toml -o requirements.lock

audit: ## look for known weaknesses of the pinned packages (needs uv and a network)
	uvx pip-audit --strict --disable-pip --require-hashes -r requirements.lock

clean: ## remove .venv, caches and builds; results and data stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache build dist docs/_build docs/generated *.egg-info
	find $(wildcard noisygce hydra_plugins tests docs) -depth -name __pycache__ -exec rm -rf {} +
