# `make run` and `make test` need Python 3.11 or newer, make and the package registry; everything else is made here.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: run test lint format bench client lock clean

run: $(INSTALLED)
	@$(BIN)/comms up

# A suite starts Python some thirty times: what is compiled is kept, even where the environment says otherwise.
test: export PYTHONDONTWRITEBYTECODE =
# Three workers for two cores: what waits for a process or a clock leaves its core to the others.
test: $(INSTALLED)
	@$(BIN)/python -m pytest -n 3 --dist loadgroup

lint: $(INSTALLED)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(INSTALLED)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(INSTALLED)
	@$(BIN)/python -m bench

# A TypeScript client, generated and type-checked: this needs node, which the suite does without where there is none.
client: $(INSTALLED)
	@scripts/typescript-client

$(INSTALLED): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "comms needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	@echo "installing into .venv (about a minute, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Both lock files anew, from pyproject.toml: for every platform, with hashes, without addresses.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-header --upgrade pyproject.toml
lock: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet uv
	@$(LOCK) --extra build --output-file requirements.lock
	@$(LOCK) --all-extras --output-file requirements-dev.lock

clean:
	rm -rf .venv .client .mypy_cache .ruff_cache .pytest_cache
