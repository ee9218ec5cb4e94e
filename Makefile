# liveedge: `make run` and `make test` set up all that they need from a bare checkout (Debian or alike, Python >= 3.11).
# Each set-up step leaves a stamp and is not repeated until what it depends on changes.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
UV := $(shell command -v uv || echo .tools/bin/uv)
RUN := $(UV) run --quiet --no-sync
# The player is built with the package; see web/player/hatch_build.py.
PLAYER := $(wildcard web/player/*.json web/player/*.py web/player/*.ts) $(shell find web/player/src -type f)

.PHONY: help run test check format types bench clean

help: ## what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

run: .venv/.ready ## run the gateway; settings come from the environment, .env and liveedge.toml
	@exec .venv/bin/liveedge serve

test: .venv/.dev-ready web/player/node_modules/.ready tests/node_modules/.ready ## run the whole test suite
	@scripts/install-test-packages
	@exec $(RUN) pytest -n 2 --dist loadfile

check: .venv/.dev-ready ## lint and type-check strictly
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(RUN) scripts/generate-types --check

format: .venv/.dev-ready ## put the code into its one form
	$(RUN) ruff check --fix .
	$(RUN) ruff format .

types: .venv/.dev-ready ## generate the player's TypeScript types from the API documents
	$(RUN) scripts/generate-types

clean: ## take back everything that set-up made
	rm -rf .venv .tools tests/node_modules web/player/node_modules web/static/player* dist build

.tools/bin/uv:
	@scripts/bootstrap-uv $(PYTHON)

.venv/.ready: pyproject.toml $(PLAYER) | $(filter .tools/bin/uv,$(UV))
	@[ -e .venv/.dev-ready ] && $(UV) sync --quiet || $(UV) sync --quiet --no-dev
	@touch $@

.venv/.dev-ready: pyproject.toml $(PLAYER) | $(filter .tools/bin/uv,$(UV))
	@$(UV) sync --quiet
	@touch $@ .venv/.ready

web/player/node_modules/.ready: web/player/package-lock.json | .venv/.dev-ready
	@$(RUN) scripts/npm web/player ci --loglevel=error
	@touch $@

tests/node_modules/.ready: tests/package-lock.json | .venv/.dev-ready
	@$(RUN) scripts/npm tests ci --loglevel=error
	@touch $@
