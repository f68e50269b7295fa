# Linux and macOS. On Windows, or for another environment, use the plain pip commands of the README.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed
WORKERS ?= 2
TESTS ?= tests
PIP_ARGS ?=
DEMO_INPUT ?= examples/chili.png
DEMO_ARGS ?=
DATASET ?= data/open
DATASET_ARGS ?=

# After installation nothing here but fetching art needs a network; these make that certain.
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE=offline
PYTEST := $(OFFLINE) OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(WORKERS) $(TESTS)

.DEFAULT_GOAL := help
.PHONY: help install demo dataset test test-all lint format

help: ## Show what can be made
	@echo "make TARGET, where TARGET is"
	@sed -n 's/^\([a-z-]*\):[^#]*## /  \1|/p' $(firstword $(MAKEFILE_LIST)) | awk -F'|' '{ printf "%-12s %s\n", $$1, $$2 }'

install: $(INSTALLED) ## Make or update .venv (PIP_ARGS=... is handed to pip)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ...")'
	@$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install $(PIP_ARGS) -c constraints.txt -e '.[app,dev]'
	@touch $@

demo: $(INSTALLED) ## Make the film of an example picture, anew each time (DEMO_INPUT=picture, DEMO_ARGS=options)
	@output=films/demo-$$(date +%Y%m%d-%H%M%S)-$$$$; \
	$(OFFLINE) $(RUN) infer.py 'input=$(DEMO_INPUT)' output=$$output $(DEMO_ARGS) \
	&& echo "The film is here:" && ls $$output/*/film.mp4

dataset: $(INSTALLED) ## Fetch open art and build the open data set into data/open (DATASET=folder, DATASET_ARGS=options)
	@test -f data/art/manifest.json || $(RUN) -m paintsundo.data fetch output=data/art
	$(OFFLINE) $(RUN) -m paintsundo.data build source=open input=data/art 'output=$(DATASET)' $(DATASET_ARGS)
	$(OFFLINE) $(RUN) -m paintsundo.data check 'data=$(DATASET)'
	$(OFFLINE) $(RUN) -m paintsundo.data show 'data=$(DATASET)' 'output=$(DATASET).html' overwrite=true
	@echo "The data set and its report are here: $(DATASET) $(DATASET).html"

test: $(INSTALLED) ## Run all but the slowest tests: 20 to 30 minutes on two cores (TESTS=path: some of them)
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED) ## Run all tests
	$(PYTEST)

lint: $(INSTALLED) ## Check style, format and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(INSTALLED) ## Mend style and format where that can be done without you
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .
