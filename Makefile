# For users: `make demo`, `make test` and `make docs`. Each sets everything up itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q

.PHONY: demo test lint types imports licences docs tests format clean

demo: $(VENV)/.installed
	$(BIN)/cryolatent demo -o demo

test: lint types imports licences docs tests

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.developed
	$(BIN)/pyright --pythonpath $(BIN)/python

imports: $(VENV)/.developed
	$(BIN)/lint-imports

licences: $(VENV)/.developed
	$(BIN)/pip-licenses --summary --order=count --partial-match \
		--fail-on "UNKNOWN;GPL;General Public;AGPL;Affero;Non-Commercial;NonCommercial;CC-BY-NC"

docs: $(VENV)/.developed
	$(BIN)/python -m zensical build --strict --clean

tests: $(VENV)/.developed
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2

format: $(VENV)/.developed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) demo site .cache

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
		{ echo "cryolatent needs Python 3.11 or newer; try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --no-compile -c constraints.txt -e .
	@touch $@

$(VENV)/.developed: $(VENV)/.installed
	$(PIP) install --no-compile -c constraints.txt -e ".[dev]"
	@touch $@
