# Every target works in a fresh clone: each one brings the environment up to date first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test check format lock clean

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh scripts/setup.sh
	@touch $@

demo: setup  ## a simulated fleet on the whole stack; prints where to look
	@$(BIN)/hps demo

test: check  ## checks first, then every test, with what they need installed or named
	@$(BIN)/python scripts/test_requirements.py
	@$(BIN)/pytest -n 3 --no-loadscope-reorder

check: setup  ## style, types, and which way imports point
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock:  ## resolve again after a change of dependencies
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --no-header --no-annotate --upgrade -o requirements.lock

clean:  ## the environment and every cache of this checkout; a running stack is ended first, its data directory stays
	@if [ -x $(BIN)/hps ]; then $(BIN)/hps down --remove-fallback; fi
	rm -rf $(VENV) $(VENV).uv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
