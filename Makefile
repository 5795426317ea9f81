# Two commands: `make run` trains the quickstart, `make test` runs every check. Both make .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: run setup test lint test-system docs clean

run: setup
	$(BIN)/ddpm-exp run experiments/quickstart.py --all

setup: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("ddpm-exp needs Python 3.11 or newer; try make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

# One thread per process: two test workers on two cores, and small tensors gain nothing from more.
test: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What needs Debian packages: Fashion-MNIST.
test-system: setup
	@test -d /usr/share/datasets/fashion-mnist || { echo "first: apt-get install dataset-fashion-mnist"; exit 1; }
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m system

# Every generated page, from the code and from the recorded runs.
docs: setup
	$(BIN)/python docs/make_advice.py
	$(BIN)/python docs/make_cli.py
	$(BIN)/python docs/make_readme.py
	$(BIN)/python docs/make_gallery.py
	$(BIN)/python docs/make_speed.py
	$(BIN)/python docs/make_equal_quality.py
	$(BIN)/python docs/make_claims.py
	$(BIN)/python docs/make_memory.py
	$(BIN)/python docs/make_decisions.py
	$(BIN)/python docs/make_sampling.py
	$(BIN)/ddpm-exp decide experiments/adr_0001.py --runs benchmarks/results/runs || true
	$(BIN)/ddpm-exp decide experiments/adr_0002.py --runs benchmarks/results/runs || true

clean:
	rm -rf $(VENV)
