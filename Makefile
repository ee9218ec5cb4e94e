# liveedge: `make run` and `make test` set up all that they need from a bare checkout (Debian or alike, Python >= 3.11).
# Each set-up step leaves a stamp, and runs again only when a file that it depends on changes.
# Python packages have the versions of constraints.txt on every machine; npm packages those of package-lock.json.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Without bytecode on disk, each worker of pytest compiles 17 s long what it imports, and so does each program that a test starts.
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
UV := .tools/bin/uv
BIN := .venv/bin
# --exact removes packages that are no longer declared.
PINNED := --constraints constraints.txt --build-constraints constraints.txt
# What only some settings need: make run EXTRAS=postgres,s3. It stays installed; EXTRAS= removes it.
KEPT_EXTRAS := $(shell cat .venv/.extras 2>/dev/null)
EXTRAS ?= $(KEPT_EXTRAS)
INSTALL := $(UV) pip install --quiet --exact --editable '.$(if $(EXTRAS),[$(EXTRAS)])'
TELL_PURE := $(BIN)/python -c 'from gateway.compiled import pure_reason as why; why() and print("liveedge: runs as pure Python:", why())' >&2
# Three workers on two cores: tests with real cameras and players spend half of their time waiting. Four are not quicker.
# tests/support/order.py mixes the files, so that tests in browsers do not all run at the same time.
XDIST := -n 3 --dist loadfile
PYTEST := $(BIN)/pytest $(XDIST)
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
# The player is built with the package; see web/player/hatch_build.py.
PLAYER := $(wildcard web/player/*.json web/player/*.py web/player/*.ts) $(shell find web/player/src -type f)
# What is compiled with the package; see compiled/hatch_build.py. LIVEEDGE_COMPILE=no make run leaves it out.
COMPILED := hatch_build.py $(wildcard compiled/*) $(shell grep -v '^\#' compiled/modules.txt)
# A WHEP client of the tests, in Go.
PION := .tools/bin/pion-whep-client
# An S3 server of the tests, in Go.
GOFAKES3 := .tools/bin/gofakes3

.PHONY: help run test test-unit test-integration test-browser test-faults test-newest check format types settings-docs docs \
	bench build packages constraints release-notes pre-commit clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

run: .venv/.ready ## run the gateway; settings come from the environment, .env and liveedge.toml
	@exec $(BIN)/liveedge serve

test: .venv/.test-ready ## run the whole test suite
	@exec $(PYTEST) $(ARGS)

test-unit: .venv/.dev-ready ## run the tests that need only Python: no root, no Debian packages, no browser, no Node
	@exec $(PYTEST) -m unit $(ARGS)

test-integration: .venv/.test-ready ## run the tests with real cameras, servers and tools
	@exec $(PYTEST) -m integration $(ARGS)

test-browser: .venv/.test-ready ## run the tests in Chromium and Firefox
	@exec $(PYTEST) -m browser $(ARGS)

test-faults: .venv/.test-ready ## run the tests that inject faults: cameras, disks, networks, processes
	@exec $(PYTEST) -m faults $(ARGS)

test-newest: .venv/.test-ready ## run the whole suite with the newest versions that pyproject.toml allows, in .venv-newest
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-newest
	@$(INSTALL) --python .venv-newest --group dev
	@echo 'newer than constraints.txt:'; comm -13 <(cut -d' ' -f1 constraints.txt | sort) \
		<($(UV) pip freeze --python .venv-newest --exclude-editable | sort)
	@exec .venv-newest/bin/pytest $(XDIST) $(ARGS)

check: .venv/.dev-ready web/player/node_modules/.ready ## lint and type-check Python and TypeScript strictly
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/constraints --check
	$(BIN)/deptry gateway hls signaling web
	$(BIN)/deptry tests bench --ignore DEP002,DEP004
	$(BIN)/python scripts/generate-types --check
	$(BIN)/python scripts/generate-settings --check
	$(BIN)/python scripts/player-reference --check
	$(BIN)/python scripts/check-words
	$(BIN)/python scripts/npm web/player run check
	$(MKDOCS)

format: .venv/.dev-ready web/player/node_modules/.ready ## format the code and fix what the linters can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python scripts/npm web/player run fix

docs: .venv/.dev-ready ## build the documentation as a site into build/site; a broken link fails
	$(MKDOCS)

settings-docs: .venv/.dev-ready ## write the settings into docs/configuration.md and liveedge.example.toml
	$(BIN)/python scripts/generate-settings

types: .venv/.dev-ready web/player/node_modules/.ready ## generate the types of the player and of the Python client, and the player's reference
	$(BIN)/python scripts/generate-types
	$(BIN)/python scripts/player-reference

bench: $(if $(NAME),.venv/.test-ready,.venv/.dev-ready) ## run a benchmark: make bench NAME=fanout ARGS='--viewers 1,20'; without NAME, list them
	@exec $(BIN)/python -m bench $(NAME) $(ARGS)

build: .venv/.dev-ready ## build wheel and source distribution into dist/, the player included
	@rm -rf dist && $(UV) build --quiet --build-constraints constraints.txt

packages: .venv/.dev-ready web/player/node_modules/.ready ## build the player for npm and the Python client into dist/; nothing is published
	$(BIN)/python scripts/packages

constraints: $(UV) ## resolve constraints.txt again after a change of pyproject.toml; ARGS=--upgrade takes the newest
	@$(UV) run --quiet --no-project --isolated --with packaging python scripts/constraints $(ARGS)

release-notes: ## print the section of CHANGELOG.md for a version: make release-notes VERSION=0.2.0
	@$(PYTHON) scripts/release-notes $(VERSION)

pre-commit: .venv/.dev-ready ## run the checks of .pre-commit-config.yaml before each commit
	@$(BIN)/pre-commit install

clean: ## delete everything that the set-up made
	rm -rf .venv .venv-newest .tools tests/node_modules web/player/node_modules web/static/player* dist build

$(UV): constraints.txt scripts/bootstrap-uv
	@echo 'liveedge: installing into .venv and .tools; the first time takes a minute or two' >&2
	@scripts/bootstrap-uv $(PYTHON)
	@touch $@

.venv/bin/python: | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON) .venv

ifneq ($(EXTRAS),$(KEPT_EXTRAS))
.PHONY: .venv/.extras
.venv/.ready .venv/.dev-ready: .venv/.extras
endif

.venv/.extras: | .venv/bin/python
	@echo '$(EXTRAS)' > $@

.venv/.ready: pyproject.toml constraints.txt $(PLAYER) $(COMPILED) $(wildcard .venv/.extras) | $(UV) .venv/bin/python
	@$(INSTALL) --python .venv $(PINNED) $$([ ! -e .venv/.dev-ready ] || echo --group dev)
	@$(TELL_PURE)
	@touch $@

.venv/.dev-ready: pyproject.toml constraints.txt $(PLAYER) $(COMPILED) $(wildcard .venv/.extras) | $(UV) .venv/bin/python
	@$(INSTALL) --python .venv $(PINNED) --group dev
	@$(TELL_PURE)
	@touch $@ .venv/.ready

.venv/.test-ready: .venv/.dev-ready web/player/node_modules/.ready tests/node_modules/.ready $(PION) $(GOFAKES3) \
	scripts/install-test-packages
	@scripts/install-test-packages
	@touch $@

$(PION): $(wildcard tests/support/pion_client/*) scripts/go | $(UV)
	@scripts/go tests/support/pion_client build -o $(CURDIR)/$@ .

$(GOFAKES3): scripts/go | $(UV)
	@GOBIN=$(CURDIR)/.tools/bin scripts/go . install github.com/johannesboyne/gofakes3/cmd/gofakes3@v1.2.0

web/player/node_modules/.ready: web/player/package-lock.json | .venv/.dev-ready
	@$(BIN)/python scripts/npm web/player ci --loglevel=error
	@touch $@

tests/node_modules/.ready: tests/package-lock.json | .venv/.dev-ready
	@$(BIN)/python scripts/npm tests ci --loglevel=error
	@touch $@
