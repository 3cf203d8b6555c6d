# Each target works from a fresh clone, with no step before it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test test-short docs readme lab bench race soak ablations help

help:            ## this list
	@grep -E '^[a-z-]+:.*##' Makefile | sed 's/:.*## /\t/' | expand -t 14

$(READY): constraints.txt settings.ini setup.py pyproject.toml
	@echo "making the environment $(VENV) from constraints.txt: a few minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: $(READY)    ## train CenterNet on TinyCoco (lesson 05), end with a table, a loss curve and a picture
	$(BIN)/centernet_tinycoco

test: $(READY)   ## every notebook, export and cleaning in sync, the other tests
	$(BIN)/python tools/check.py

test-short: $(READY)  ## the same for the lessons of a minute or less, where time is short
	$(BIN)/python tools/check.py --short

docs: $(READY)   ## the site, in _docs
	$(BIN)/python tools/build_docs.py

readme: $(READY) ## README.md from nbs/index.ipynb
	$(BIN)/python tools/build_docs.py --readme

lab: $(READY)    ## Jupyter on the lessons
	$(BIN)/jupyter lab nbs

bench: $(READY)  ## the speed table
	$(BIN)/python tools/bench.py

race: $(READY)   ## AP50 against minutes, beside torchvision's detectors
	$(BIN)/python tools/race.py

ablations: $(READY)  ## what each part of CenterNet brings, on generated scenes (lesson 05)
	$(BIN)/python benchmarks/ablations.py

soak: $(READY)   ## the long round of kills, fuzzing and mutants
	$(BIN)/python tools/soak.py
