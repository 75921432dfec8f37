# The commands install everything into .venv and change nothing else on the machine.
PYTHON ?= python3
BIN := .venv/bin
RUN := logs/demo-$(shell date +%Y%m%d-%H%M%S)

.PHONY: watch demo test check lint types layers format docs

watch: .venv/installed
	$(BIN)/python evaluate.py --gallery maze --watch

demo: .venv/installed
	$(BIN)/python train_rl.py maze-quickstart --run-dir $(RUN)
	$(BIN)/python evaluate.py $(RUN) --episodes 256 --ablate-plasticity --record $(RUN)/episode.gif

test: .venv/dev
	$(BIN)/python -m pytest -q -n 2 --dist worksteal

check: lint types layers test

lint: .venv/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/dev
	$(BIN)/mypy

layers: .venv/dev
	PYTHONPATH=typings $(BIN)/lint-imports

format: .venv/dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: .venv/dev
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --conf-dir docs . build/site
	@echo "open build/site/docs/index.html"

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "plasticrl needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv, which takes some minutes"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/dev: .venv/bin/python pyproject.toml constraints.txt
	@echo "installing into .venv, including the tools for the tests, which takes some minutes"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@ .venv/installed
