# From images to evidence. `make help` lists what there is.
#
# A graph of real files: each notebook is executed into build/<profile>/ when it, the modules that it uses, the images or
# an earlier notebook's tables are newer. Trainings are kept by a fingerprint of all that they depend on (xraylib/network/train.py),
# so that an edit of a plot runs notebook 02 again but trains nothing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help reproduce report verify predict bench test lint unit coverage notebooks ablation growth data clean publish lock hooks FORCE
.PHONY: sweep ablation-alone growth-alone reproduce-alone report-alone verify-alone bench-alone notebooks-alone

DATA ?= $(XRAY_DATA)
ifeq ($(strip $(DATA)),)
  ifneq ($(wildcard data/chest_xray/.),)
    DATA := data/chest_xray
  endif
endif
PROFILE := $(if $(strip $(DATA)),full,demo)
PHANTOMS := build/phantoms/chest_xray
FILMS := $(if $(strip $(DATA)),$(DATA),$(PHANTOMS))
B := build/$(PROFILE)
RESULTS := $(or $(if $(filter full,$(PROFILE)),results),$(if $(filter demo,$(PROFILE)),results/demo),$(B)/results)
PLOTS := $(or $(if $(filter full,$(PROFILE)),Plot),$(if $(filter demo,$(PROFILE)),Plot/demo),$(B)/Plot)
export XRAY_DATA := $(DATA)

# The first Python of a version that TensorFlow has wheels for.
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do $$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
VENV := .venv
INSTALLED := $(VENV)/installed
PY := $(VENV)/bin/python
RUN := XRAY_PROFILE=$(PROFILE) $(PY) -m tools.execute

# One run at a time: TARGET waits until no other run is at work here, then make looks what TARGET-alone still has to do.
# HELD says to what runs inside that the lock is its own. Without a Python, set-up says so.
HELD :=
LOCKED = $(if $(HELD),,$(if $(PYTHON),$(PYTHON) tools/alone.py .lock))
ALONE = $(LOCKED) $(MAKE) --no-print-directory HELD=yes

# What a user keeps at home must neither change a result nor be needed: settings of Keras, matplotlib and Jupyter are
# looked for, and caches kept, here.
export KERAS_HOME := $(CURDIR)/build/keras
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib
export IPYTHONDIR := $(CURDIR)/build/ipython
export JUPYTER_CONFIG_DIR := $(CURDIR)/build/jupyter
export JUPYTER_DATA_DIR := $(CURDIR)/build/jupyter
export JUPYTER_RUNTIME_DIR := $(CURDIR)/build/jupyter

help:  ## this list
	@echo "make reproduce            the whole study; on synthetic phantoms when no images are at hand"
	@echo "make test                 every test: lint, unit tests, and the notebooks on a sample of the images"
	@echo "make coverage             lines and branches of xraylib that tests and notebooks run; fails below 95 %"
	@echo "make report               all four executed notebooks as one HTML page that needs nothing else"
	@echo "make verify               compare the last run's results with those in git; fails on a difference"
	@echo "make predict IMAGES=path  probability and decision for an image or a folder, to predictions.csv"
	@echo "make bench                time this study's ways against others'; installs PyTorch, which nothing else needs"
	@echo "make ablation             what each ingredient of the recipe is worth: 33 trainings in 40 minutes, resumable"
	@echo "make growth               time and memory of each step on 500 to 100,000 films (phantoms); half an hour"
	@echo "make data                 download the Kaggle images (1.2 GB, no account) into data/chest_xray"
	@echo "make publish              copy a full run's notebooks into notebooks/, without patients' images"
	@echo "make lock                 pin the newest versions that pyproject.toml allows"
	@echo "make hooks                check every commit (pre-commit), show notebooks' differences cell by cell (nbdime)"
	@echo "make clean                remove build/ (decoded images, trainings, executed notebooks)"
	@echo
	@echo "DATA=folder               use this chest_xray folder (else XRAY_DATA, else data/chest_xray, else phantoms)"
	@echo "Now: profile $(PROFILE), images from $(FILMS), tables to $(RESULTS)/, figures to $(PLOTS)/"

# --- set-up ---

ifndef HELD
$(INSTALLED): requirements.lock pyproject.toml
	+@$(ALONE) $@
else
$(INSTALLED): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 to 3.13 found. Install one, or name it: make PYTHON=path/to/python3.11"; exit 1; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version): about 150 packages, 1 to 3 minutes"
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) can't make a virtual environment. Install its venv module, or use another PYTHON=."; exit 1; }
	@$(PY) -m pip install --disable-pip-version-check --require-hashes -r requirements.lock 2>&1 | tee $(VENV)/pip.log \
	  | awk '/^ *Downloading/ {n++; if (n % 20 == 0) print "  " n " packages downloaded"; fflush()} /^Installing/ {print "  installing"; fflush()}' \
	  || { tail -20 $(VENV)/pip.log; echo "Set-up failed; $(VENV)/pip.log says why."; exit 1; }
	@$(PY) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation -e .
	@touch $@
endif

lock: $(INSTALLED)  # uv resolves for every platform at once
	$(PY) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras --upgrade \
	  --custom-compile-command "make lock" pyproject.toml -o requirements.lock

hooks: $(INSTALLED)  # for contributors; nothing else needs them, so they are not in the lock
	@$(PY) -m pip install --disable-pip-version-check --quiet pre-commit==4.7.0 nbdime==4.0.4
	@$(VENV)/bin/pre-commit install
	@. $(VENV)/bin/activate && nbdime config-git --enable
	@echo "Commits are checked by .pre-commit-config.yaml; git diff shows notebooks cell by cell (activate $(VENV) first)."

# --- images ---

data: $(INSTALLED)
	$(PY) -m xraylib.data.download data/chest_xray

# What a killed run had begun to write (files.whole). No other run can be writing where the lock is ours.
sweep:
	@find build $(RESULTS) $(PLOTS) models -name '.unfinished-*' -prune -exec rm -rf {} + 2>/dev/null || true

$(PHANTOMS)/PHANTOMS.txt: xraylib/data/phantom.py | $(INSTALLED) $(if $(HELD),sweep)
	$(PY) -m xraylib.data.phantom $(PHANTOMS)

# The list of files, with sizes and times: newer only when the images are others.
$(B)/images.txt: FORCE $(if $(DATA),,$(PHANTOMS)/PHANTOMS.txt) | $(if $(HELD),sweep)
	@[ -d "$(FILMS)" ] || { echo "$(FILMS): no such folder. Wanted a chest_xray folder with train/, val/ and test/."; \
	  echo "Get the images with: make data. Or name the folder: make reproduce DATA=folder. Or leave DATA out to use phantoms."; exit 1; }
	@mkdir -p $(B) && { echo "$(FILMS)"; ls -lLnR "$(FILMS)" 2>&1 || true; } > $@.new  # the index says what can't be read
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

# --- the study ---

BASE := xraylib/config.py xraylib/files.py xraylib/plots.py tools/execute.py tools/page.py
DATA_ROOM := $(wildcard xraylib/data/*.py)
NETWORK_ROOM := $(wildcard xraylib/network/*.py)
EVALUATION_ROOM := $(wildcard xraylib/evaluation/*.py)

$(B)/01_explore.ipynb $(RESULTS)/index.csv &: notebooks/01_explore.ipynb $(BASE) $(DATA_ROOM) $(B)/images.txt | $(INSTALLED)
	@$(RUN) notebooks/01_explore.ipynb $(B)/01_explore.ipynb

$(B)/02_train.ipynb $(RESULTS)/history.csv $(RESULTS)/predictions.csv &: notebooks/02_train.ipynb $(RESULTS)/index.csv \
    $(BASE) $(DATA_ROOM) $(NETWORK_ROOM) | $(INSTALLED)
	@$(RUN) notebooks/02_train.ipynb $(B)/02_train.ipynb

$(B)/03_evaluate.ipynb $(RESULTS)/metrics.json &: notebooks/03_evaluate.ipynb $(RESULTS)/predictions.csv results/field.csv \
    $(BASE) $(EVALUATION_ROOM) $(wildcard xraylib/predict/*.py) | $(INSTALLED)
	@$(RUN) notebooks/03_evaluate.ipynb $(B)/03_evaluate.ipynb

$(B)/04_predict_val.ipynb: notebooks/04_predict_val.ipynb $(RESULTS)/metrics.json $(EVALUATION_ROOM) \
    $(wildcard xraylib/predict/*.py) | $(INSTALLED)
	@$(RUN) notebooks/04_predict_val.ipynb $(B)/04_predict_val.ipynb

$(B)/06_explain.ipynb: notebooks/06_explain.ipynb $(RESULTS)/predictions.csv $(BASE) $(EVALUATION_ROOM) | $(INSTALLED)
	@$(RUN) notebooks/06_explain.ipynb $(B)/06_explain.ipynb

# Ctrl-C must not delete what a stopped notebook has already renewed: its executed copy, written last, says what is done.
.PRECIOUS: $(RESULTS)/index.csv $(RESULTS)/history.csv $(RESULTS)/predictions.csv $(RESULTS)/metrics.json

STUDY := $(B)/01_explore.ipynb $(B)/02_train.ipynb $(B)/03_evaluate.ipynb $(B)/04_predict_val.ipynb \
    $(B)/06_explain.ipynb

# What a run gives is set beside what was published; that another CPU rounds otherwise is no failure of the run.
$(B)/verified.txt: $(STUDY) tools/verify.py
	@XRAY_PROFILE=$(PROFILE) $(PY) -m tools.verify | tee $@ || true

verify:
	+@$(ALONE) $@-alone

verify-alone: $(STUDY)
	@XRAY_PROFILE=$(PROFILE) $(PY) -m tools.verify

reproduce:
	+@$(ALONE) $@-alone

reproduce-alone: $(STUDY) $(B)/verified.txt
	@echo "Done, $(PROFILE) profile, images from $(FILMS): tables in $(RESULTS)/, figures in $(PLOTS)/, notebooks as pages in $(B)/*.html"

# Of a run on real images it shows patients, as the notebooks in build/ do: build/ is never in git.
$(B)/report.html: $(STUDY) tools/page.py
	@$(PY) -m tools.page $(B) $@

report:
	+@$(ALONE) $@-alone

report-alone: $(B)/report.html

predict: $(INSTALLED)
	@[ -n "$(IMAGES)" ] || { echo "Which images? make predict IMAGES=file-or-folder"; exit 1; }
	@$(PY) -m xraylib.predict "$(IMAGES)"

bench:
	+@$(ALONE) $@-alone

bench-alone: $(INSTALLED) $(if $(DATA),,$(PHANTOMS)/PHANTOMS.txt)
	@$(PY) -m pip install --disable-pip-version-check --quiet torch==2.13.0 || echo "PyTorch can't be installed: bench goes without"
	@XRAY_PROFILE=$(PROFILE) $(PY) -m tools.bench

ablation:
	+@$(ALONE) $@-alone

ablation-alone: $(RESULTS)/index.csv
	@XRAY_PROFILE=$(PROFILE) $(PY) -m tools.ablation

growth:
	+@$(ALONE) $@-alone

growth-alone: $(INSTALLED)
	@XRAY_PROFILE=$(PROFILE) $(PY) -m tools.growth

publish: $(INSTALLED)
	$(PY) -m tools.execute --publish build/full notebooks  # as executed on real images, without a picture of them
	$(PY) -m cogapp -P -r README.md MODEL_CARD.md DATASHEET.md

# --- tests ---

test: lint unit notebooks
	@echo "All tests passed."

lint: $(INSTALLED)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

unit: $(INSTALLED)
	$(PY) -m pytest tests

# Lines and branches that the tests, the commands that they start, and the notebooks run; slower, so apart. The
# notebooks run without their kernels, which end before they can say what they ran.
coverage: $(INSTALLED) $(if $(DATA),,$(PHANTOMS)/PHANTOMS.txt)
	rm -rf build/sample .coverage* && mkdir -p build
	$(PY) -m coverage run -m pytest tests
	for notebook in notebooks/[0-9]*.ipynb; do \
	  XRAY_PROFILE=sample MPLBACKEND=agg $(PY) -m coverage run -m IPython --no-banner $$notebook; done
	$(PY) -m coverage combine --quiet && $(PY) -m coverage report

notebooks:
	+@$(ALONE) $@-alone

notebooks-alone: $(INSTALLED) $(if $(DATA),,$(PHANTOMS)/PHANTOMS.txt)
	rm -rf build/sample && mkdir -p build
	XRAY_PROFILE=sample $(PY) -m pytest -v -x --nbval-lax --nbval-current-env notebooks

clean:
	rm -rf build
