# The few commands of this repository. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup demo demo-next test lint format clean

PYTHON := .venv/bin/python
NOTHING_SELECTED := 5

help: ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv and .venv-serving, or bring them up to date (about a minute, then at once)
	@./setup.sh

demo: setup ## The main job: data, training, evaluation, gate, release, one question answered
	@$(PYTHON) run.py

demo-next: setup ## Teach the assistant four more tools and load that version into the running engine
	@$(PYTHON) run.py --config configs/tiny-next.yaml

test: setup ## Run the tests; ARGS="-k config -x" are pytest's
	@OMP_NUM_THREADS=1 $(PYTHON) -m pytest -n 2 --dist loadfile -m "not main_job" $(ARGS) || [ $$? -eq $(NOTHING_SELECTED) ]
	@$(PYTHON) -m pytest -n 2 --dist loadfile -m main_job $(ARGS) || [ $$? -eq $(NOTHING_SELECTED) ]

lint: ## Check style, types and floors; changes nothing
	@./setup.sh --only pipelines
	@bash -n setup.sh .ci/run
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@.venv/bin/lint-imports --no-logo

format: ## Put code into the one form that lint accepts
	@./setup.sh --only pipelines
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .

clean: ## Stop the endpoints of this checkout; remove .venv, .venv-serving and .tuneline
	@./setup.sh --remove
