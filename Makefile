# Each target works from a fresh clone, with no step before it.
PYTHON ?= python3
VENV ?= .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
READY := $(VENV)/ready
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: run test test-short lesson export test-nbdev3 test-nbgrader docs readme lab bench race ablations mutants course soak help

help:            ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "%-14s%s\n", $$1, $$2}' Makefile

# An unsuitable Python is named before anything is made; what a failed attempt left is made anew.
$(READY): constraints.txt settings.ini setup.py pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else "$(PYTHON) is Python %d.%d, and 3.11 or newer is needed: make PYTHON=python3.12 ..." % v[:2])'
	@echo "making the environment $(VENV) from constraints.txt: a few minutes, once"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

run: $(READY)    ## train CenterNet on TinyCoco (lesson 05), end with a table, a loss curve and a picture
	$(BIN)/centernet_tinycoco

test: $(READY)   ## every notebook, export and cleaning in sync, the other tests
	$(BIN)/python tools/check.py

test-short: $(READY)  ## the same for the lessons of a minute or less, where time is short
	$(BIN)/python tools/check.py --short

lesson: $(READY)  ## one notebook alone, after a change of it: make lesson NB=01_head
	$(BIN)/python tools/check.py --lesson $(NB)

export: $(READY) ## the package from the notebooks, and the notebooks cleaned
	$(BIN)/nbdev_export
	$(BIN)/nbdev_clean

test-nbdev3: $(READY)  ## export and two lessons under nbdev 3, in a side environment
	$(BIN)/python tools/nbdev3.py $(VENV)/nbdev3

test-nbgrader: $(READY)  ## nbgrader itself on the teacher's notebooks, in a side environment
	NBGRADER=$(VENV)/nbgrader $(BIN)/python -m pytest -q tests/test_nbgrader.py

docs: $(READY)   ## the site, in _docs
	$(BIN)/python tools/build_docs.py

readme: $(READY) ## README.md from nbs/index.ipynb
	$(BIN)/python tools/build_docs.py --readme

lab: $(READY)    ## Jupyter on the lessons
	$(BIN)/jupyter lab nbs

bench: $(READY)  ## the speed table
	$(BIN)/python benchmarks/bench.py

race: $(READY)   ## AP50 against minutes, beside torchvision's detectors
	$(BIN)/python benchmarks/race.py

ablations: $(READY)  ## what each part of CenterNet brings, on generated scenes (lesson 05)
	$(BIN)/python benchmarks/ablations.py

mutants: $(READY)  ## every small change of every module: does a proof or a test notice? (goes on where it stopped)
	$(BIN)/python benchmarks/mutants.py

course: $(READY)  ## the assignment: _course/student to hand out, _course/teacher to grade with (SEED=your secret)
	cd tools && $(abspath $(BIN))/python -m course.build $(if $(SEED),--seed $(SEED))

soak: $(READY)   ## the long round of kills, damaged files, fuzzing and mutants, and everything under nbdev 3
	$(BIN)/python benchmarks/soak.py
