# make sweep   install, then the first sweep      make test       the tests, the slow ones left out
# make ui      the record in a browser            make test-full  every test
# make lint    ruff, mypy and the order of the imports      make docs   the documentation, into site/
# make nightly a night of trainings against baselines/      make baselines REASON="..."  new ones, of ten seeds each
# make test-services  the tests that need PostgreSQL; `make services` installs it from the system's packages
# make test-gpu the tests that need an NVIDIA GPU, with a torch that finds it
# make browser installs Debian's chromium, which the tests marked `browser` drive
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Asked for by name and version, torch comes as a CPU build where one is provided.
TORCH := torch==2.13.0
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt

.PHONY: sweep nightly baselines test test-full services test-services test-browser test-gpu ui lint docs browser clean
.DEFAULT_GOAL := sweep

sweep: $(VENV)/installed
	$(BIN)/python -m sweeplora +sweep=rank_alpha

nightly: $(VENV)/installed
	$(BIN)/python -m sweeplora +sweep=nightly

# Killed, it goes on where it was. What a night calls REGRESSED is refused: say MEANT=--although-regressed if it is meant.
TEN_SEEDS ?= baseline-$(shell git rev-parse --short HEAD)
baselines: $(VENV)/installed
	@test -n "$$REASON" || { echo 'say why: make baselines REASON="noise offset is per channel now"'; exit 2; }
	@git diff --quiet HEAD || { echo "a baseline names its commit: commit your changes first"; exit 2; }
	$(BIN)/python -m sweeplora +sweep=nightly nightly.seeds=10 nightly.stop_at_canary=false sweep.name=$(TEN_SEEDS) || \
	  test $$? -le 2
	$(BIN)/python -m sweeplora baseline accept $(TEN_SEEDS) --reason "$$REASON" $(MEANT)

# Tests train with one thread each and often wait for processes of their own, so there is one worker more than there are
# cores, at most four; a file stays in one worker, and the files keep the order of tests/conftest.py.
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4)))
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

test: $(VENV)/installed-test
	$(PYTEST) -m "not slow and not services and not browser and not gpu" --durations 10

test-full: $(VENV)/installed-test
	$(PYTEST)

SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
services: $(VENV)/installed-test
	ls /usr/lib/postgresql/*/bin/initdb || command -v initdb || { \
	  $(SUDO) apt-get update --quiet && $(SUDO) apt-get install --quiet --yes postgresql; }
	$(PIP) --editable '.[postgresql]'

# What is missing is a failure here, and a skipped test in test-full.
test-services: services
	SWEEPLORA_SERVICES=required $(BIN)/python -m pytest -m services

test-browser: browser $(VENV)/installed-test
	SWEEPLORA_BROWSER=required $(BIN)/python -m pytest -m "browser and not slow"

test-gpu: $(VENV)/installed-test
	$(BIN)/python -m pytest -m gpu

ui: $(VENV)/installed
	$(BIN)/python -m sweeplora ui

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Needs no network once its packages are there; a warning, a dead link or a dead anchor is an error.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "site/index.html; with a search box: $(BIN)/python -m http.server --bind 127.0.0.1 --directory site"

# The tests speak to it over its debugging pipe: no driver and no Python package beside it.
browser:
	@command -v chromium || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; } || \
	    { echo "chromium is missing, and only root on Debian or Ubuntu can install it here: install it yourself"; exit 1; }
	@command -v chromium > /dev/null || { apt-get update -qq && \
	    DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends -qq chromium fonts-dejavu-core; }
	chromium --version --no-sandbox

clean:
	rm -rf $(VENV) build dist site

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(TORCH)
	$(PIP) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) --editable '.[test]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(PIP) --editable '.[docs]'
	touch $@
