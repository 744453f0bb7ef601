# Every target does its own set-up in .venv and reuses it; nothing outside this folder is touched,
# except by `make services`, which installs the real servers and the browser that some tests drive.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Processes that share the tests
WORKERS ?= 2

.PHONY: help setup demo test test-kernels fuzz faults lint bench boards picture score services clean

help:
	@echo "make demo      train HC and mHC on real text under the observatory, then serve the live page"
	@echo "make test      run the tests, WORKERS=2 at a time"
	@echo "make test-kernels  run the kernels' full grid under Triton's interpreter, and compile all their forms"
	@echo "make fuzz      fire 100,000 requests that nobody means well by at a real collector"
	@echo "make faults    kill, tear and starve real processes some 15 minutes long, and count what was lost: nothing"
	@echo "make lint      ruff, mypy --strict, import-linter"
	@echo "make bench     measure the figures in tests/benchmarks (installs the rivals beside us)"
	@echo "make boards    write Grafana's boards and Prometheus' rules anew from their code"
	@echo "make picture   photograph a page: make picture URL=http://127.0.0.1:8787/runs/... OUT=page.png"
	@echo "make score     score recorded runs for the benchmark page: make score DIR=runs TITLE='held-out runs' NAME=held_out [MODEL=..]"
	@echo "make services  install Chromium, Prometheus and Alertmanager from the system's packages"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "foreshock needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Try: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

setup: $(READY)

demo: $(READY)
	$(BIN)/foreshock demo $(ARGS)

test: $(READY)
	OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --durations 20 $(ARGS) || \
	{ status=$$?; test $$status -eq 1 || exit $$status; echo "what failed beside others is run once more, alone:"; \
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(ARGS); }

test-kernels: $(READY)
	TRITON_INTERPRET=1 $(BIN)/python -m pytest -m "grid or not grid" tests/kernels/on_device $(ARGS)
	$(BIN)/python -m pytest -m "grid or not grid" tests/kernels --ignore tests/kernels/test_interpreted.py $(ARGS)
	$(BIN)/python -m pytest -m grid tests/reference_models/test_train.py $(ARGS)

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz $(ARGS)

faults: $(READY)
	$(BIN)/python -m tests.faults $(ARGS)

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,bench]'
	$(BIN)/python -m tests.benchmarks $(ARGS)

boards: $(READY)
	$(BIN)/python -m foreshock.dashboards.grafana
	$(BIN)/python -m foreshock.dashboards.prometheus

picture: $(READY)
	$(BIN)/python -m tests.dashboards.picture $(URL) $(OUT)

score: $(READY)
	$(BIN)/foreshock scenarios score $(DIR) $(if $(MODEL),--model $(MODEL)) --json > .score.json
	$(BIN)/python -m tests.dashboards.ship_score dashboards/foreshock/dashboards/benchmark/$(NAME).json "$(TITLE)" < .score.json
	rm .score.json

services:
	@command -v chromium >/dev/null && command -v promtool >/dev/null && command -v amtool >/dev/null || \
	{ apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium prometheus prometheus-alertmanager; }

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
