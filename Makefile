PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INPUTS := pyproject.toml setup.py $(wildcard csrc/*.pyx)
MYPY_LINK := build/typing/borzoi_export

.PHONY: demo test test-full fuzz soak lint docs demo-model promoter-model triton-venv clean

# The runtime alone: no torch.
demo: $(VENV)/.runtime
	rm -rf demo-out
	$(BIN)/borzoi-rt demo --out demo-out

# Two processes; tests of one file stay together, since they share what is dear to make.
test: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Adds the checks at the published size: about half an hour and 6 GB.
test-full: $(VENV)/.test
	$(BIN)/python -m pytest -m ""

# The fuzzers of tests/attacks with many more, and other, examples.
fuzz: $(VENV)/.test
	BORZOI_RT_FUZZ=20000 $(BIN)/python -m pytest -n 2 -m "" --timeout 0 tests/attacks

# Mixed load on a server that is killed again and again: MINUTES of it. Needs the server of `make triton-venv`.
MINUTES ?= 60
soak: $(VENV)/.test
	BORZOI_RT_SOAK_MINUTES=$(MINUTES) $(BIN)/python -m pytest -m "" --timeout 0 -s tests/soak

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	mkdir -p $(dir $(MYPY_LINK)) && ln -sfn ../../export $(MYPY_LINK)
	MYPYPATH=$(dir $(MYPY_LINK)) $(BIN)/mypy borzoi_rt $(MYPY_LINK)

# The manual, build/manual/index.html; a warning, a dead link or anchor among them, is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict  # not --quiet, under which warnings are not counted

# The bundle that comes with the package anew: synthetic data, training, export; about 8 minutes on one core.
demo-model: $(VENV)/.test
	$(BIN)/python -m borzoi_export.demo_model --out borzoi_rt/demo/bundle

# Trains the promoter model of the package anew: 5 minutes of one core, the same result every time on one thread.
promoter-model: $(VENV)/.test
	$(BIN)/python -m borzoi_export.promoter.demo_model --out borzoi_rt/demo/promoter_bundle

# A Triton server for development and tests (330 MB, its own environment): $BORZOI_RT_TRITON, else the user's cache.
triton-venv: $(VENV)/.test
	$(BIN)/borzoi-rt triton venv

clean:
	rm -rf build dist demo-out *.egg-info borzoi_rt/_kernels/*.so

$(VENV)/.runtime: $(INPUTS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -e '.[cpu]'
	touch $@

$(VENV)/.test: $(INPUTS) tests/constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c tests/constraints.txt -e '.[test]'
	touch $@ $(VENV)/.runtime

$(VENV)/.docs: $(VENV)/.test
	$(BIN)/pip install -c tests/constraints.txt -e '.[test,docs]'
	touch $@

$(VENV)/.dev: $(VENV)/.test
	$(BIN)/pip install -c tests/constraints.txt -e '.[dev]'
	touch $@
