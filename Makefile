# Every target builds what it needs; only python3 (3.11 or later, with venv) and make have to be there.

PYTHON ?= python3
MODEL ?= hardened
# Names without the path: the checkout may lie under a path with spaces.
BIN := .venv/bin
READY := .venv/.ready

# Many processes import the same: each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help gate test lint types suite fixtures-check package oldest bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

gate: $(READY) ## run the example release gate; MODEL=plain judges the classifier that fails
	@mkdir -p reports
	@MODEL="$(MODEL)" $(BIN)/python -m pytest examples/release_gate \
		--robustness-report=reports/robustness.html --robustness-json=reports/robustness.json; \
	status=$$?; echo; echo "the report is reports/robustness.html, the results are reports/robustness.json"; exit $$status

test: lint types suite ## lint, types and the whole suite

lint: $(READY) ## ruff: rules and format
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(READY) ## mypy --strict
	$(BIN)/python -m mypy --strict -p pytest_robustness -p fixtures -p benchmarks -p examples

suite: $(READY) ## the tests, in two processes
	$(BIN)/python -m pytest -n 2 --dist worksteal

fixtures-check: $(READY) ## redraw the example pictures in memory and compare them byte by byte
	$(BIN)/python -m fixtures.draw --check

package: $(READY) ## build sdist and wheel, and try the wheel in an environment with nothing else
	rm -rf dist
	$(BIN)/python -m uv build --quiet
	$(PYTHON) -m venv --clear build/empty
	$(BIN)/python -m uv pip install --quiet --python build/empty/bin/python dist/*.whl
	build/empty/bin/python -P .ci/installed.py

oldest: $(READY) ## the suite, on the oldest supported versions of all libraries
	$(PYTHON) -m venv --clear build/oldest
	$(BIN)/python -m uv pip install --quiet --python build/oldest/bin/python --resolution lowest-direct --editable ".[dev]"
	build/oldest/bin/python -m pytest -n 2 --dist worksteal

bench: $(READY) ## measure what gates cost, against other libraries and the model alone; BENCH="--quick" tries it out
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --editable ".[dev,bench]"
	$(BIN)/python -m benchmarks $(BENCH)

# uv installs torch in seconds where pip takes minutes; it is a tool of this virtual environment alone.
$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --editable ".[dev]"
	touch $(READY)

clean: ## remove the virtual environment, caches and reports
	rm -rf .venv reports build dist .pytest_cache .mypy_cache .ruff_cache
