# From images to evidence: a graph of real files. `make help` lists what there is.
# A notebook is executed into build/<profile>/ when it, the modules that it uses, the images or an earlier notebook is newer.
# Trainings are kept by a fingerprint of all that they depend on, so that notebook 02 run again trains only what changed.

.DEFAULT_GOAL := help
.PHONY: help reproduce report verify predict score evaluate elsewhere bench ablation heldout data publish lock test lint unit notebooks clean FORCE

# Paths reach Python through the environment, untouched: no shell sees their ~, $, quotes and backticks.
unexport DATA IMAGES MASKS PREDICTIONS
export XRAY_IMAGES := $(value IMAGES)
export XRAY_PREDICTIONS := $(value PREDICTIONS)
export XRAY_DATA := $(if $(value DATA),$(value DATA),$(value XRAY_DATA))
export XRAY_MASKS := $(if $(value MASKS),$(value MASKS),$(value XRAY_MASKS))
REAL := $(if $(value XRAY_DATA),yes,$(shell { [ -e data/chest_xray ] || [ -L data/chest_xray ]; } && echo yes))
PROFILE := $(if $(REAL),full,demo)
export XRAY_PROFILE := $(PROFILE)
# Settings that a user keeps for other work must not change a result; tools/setup.py keeps those of pip and uv away.
unexport $(filter PYTHON% IPYTHON% JUPYTER_% KERAS_%,$(.VARIABLES)) MPLBACKEND TF_USE_LEGACY_KERAS TF_ENABLE_ONEDNN_OPTS
export KERAS_HOME := $(CURDIR)/build/keras
export MPLCONFIGDIR := $(CURDIR)/build/matplotlib
export IPYTHONDIR := $(CURDIR)/build/ipython
export JUPYTER_CONFIG_DIR := $(CURDIR)/build/jupyter
export JUPYTER_DATA_DIR := $(CURDIR)/build/jupyter
export JUPYTER_RUNTIME_DIR := $(CURDIR)/build/jupyter

B := build/$(PROFILE)
RESULTS := $(if $(filter full,$(PROFILE)),results,$(if $(filter demo,$(PROFILE)),results/demo,$(B)/results))
DRAWN := build/phantoms/chest_xray/PHANTOMS.txt
PHANTOMS := $(if $(filter demo,$(PROFILE))$(if $(REAL),,yes),$(DRAWN))
NOTEBOOKS := $(wildcard notebooks/0*.ipynb)
STUDY := $(NOTEBOOKS:notebooks/%=$(B)/%)
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do $$p -I -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
INSTALLED := .venv/installed
PY := .venv/bin/python

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## */make \1: /p' Makefile
	@echo "Choose the images with DATA=folder or XRAY_DATA; else data/chest_xray is used, else phantoms. Now: profile $(PROFILE)"

$(INSTALLED): requirements.lock pyproject.toml
	@[ -n "$(PYTHON)" ] || { echo "No Python 3.11 to 3.13 found. Install one, or name it: make PYTHON=path"; exit 1; }
	@$(PYTHON) tools/setup.py install

$(DRAWN): xraylib/data/phantom.py | $(INSTALLED)
	@$(PY) -m xraylib.data.phantom build/phantoms/chest_xray

$(B)/images.txt: FORCE $(PHANTOMS) | $(INSTALLED)
	@$(PY) -m tools.setup images $@

# --- the study: data <- network <- evaluation, plots, predict ---
GROUND := tools/execute.py $(wildcard xraylib/*.py xraylib/data/*.py) xraylib/evaluation/findings.py
LATER := $(wildcard xraylib/evaluation/*.py xraylib/predict/*.py) results/field.csv
TABLES := $(RESULTS)/index.csv $(RESULTS)/predictions.csv $(RESULTS)/metrics.csv
$(B)/01_explore.ipynb: $(B)/images.txt $(word 1,$(TABLES)) xraylib/network/lungs.py
$(B)/02_train.ipynb: $(B)/01_explore.ipynb $(word 2,$(TABLES)) $(wildcard xraylib/network/*.py $(RESULTS)/ablation.csv $(RESULTS)/heldout.csv)
$(B)/03_evaluate.ipynb: $(B)/02_train.ipynb $(word 3,$(TABLES)) $(LATER)
$(B)/04_predict_val.ipynb: $(B)/03_evaluate.ipynb
$(B)/05_robustness.ipynb: $(B)/04_predict_val.ipynb $(wildcard $(RESULTS)/elsewhere.csv)
$(B)/06_explain.ipynb: $(B)/05_robustness.ipynb
# Where a table is missing, its notebook is executed again.
$(TABLES): ;
$(B)/%.ipynb: notebooks/%.ipynb $(GROUND) | $(INSTALLED)
	@$(PY) -m tools.execute execute $< $@ $(filter-out $<,$^)

reproduce: $(STUDY)  ## the whole study; on synthetic phantoms where there are no images
	@echo "Done, profile $(PROFILE): tables in $(RESULTS)/, notebooks, as pages too, in $(B)/. Compare with git: make verify"
report: $(STUDY)  ## the executed notebooks as one HTML page that needs nothing else
	@$(PY) -m tools.execute report $(B) $(B)/report.html
verify: $(INSTALLED)  ## compute tables and figures again from predictions.csv, compare all with git; needs no images
	@$(PY) -m tools.verify
predict: $(INSTALLED)  ## a decision for each film: make predict IMAGES=file-or-folder
	@[ -n "$$XRAY_IMAGES" ] || { echo "Which images? make predict IMAGES=file-or-folder"; exit 1; }
	@$(PY) -m xraylib.predict
score: $(INSTALLED)  ## the released networks' figures on a folder with NORMAL/ and PNEUMONIA/: make score IMAGES=folder
	@$(PY) -m tools.score
evaluate: $(INSTALLED)  ## your model's figures on the test films, by station: make evaluate PREDICTIONS=mine.csv
	@[ -n "$$XRAY_PREDICTIONS" ] || { echo "Whose predictions? make evaluate PREDICTIONS=mine.csv (columns path, score)"; exit 1; }
	@$(PY) -m tools.evaluate
elsewhere: $(INSTALLED)  ## the same on adults of another hospital: IMAGES=folder with rsna_adults/ and nih_adults/
	@$(PY) -m tools.elsewhere
bench: $(INSTALLED) $(PHANTOMS)  ## time the study's ways against others'; installs PyTorch, which nothing else needs
	@$(PY) -m tools.setup add torch==2.13.0 || echo "PyTorch can't be installed: the training step is not compared with its"
	@$(PY) -m tools.bench
ablation: $(STUDY)  ## what lung crop, stretch, longer training and mixing are worth
	@$(PY) -m tools.ablation
heldout: $(STUDY)  ## AUROC within an X-ray station, and on a station that training has not seen; real films
	@$(PY) -m tools.heldout
data: $(INSTALLED)  ## download the Kaggle images (1.2 GB, no account) into data/chest_xray
	@$(PY) -m xraylib.data.download data/chest_xray
publish: $(INSTALLED)  ## copy a full run's notebooks into notebooks/, without patients' pictures; renew numbers in pages
	@$(PY) -m tools.execute publish build/full notebooks
	@$(PY) -m cogapp -P -r README.md MODEL_CARD.md DATASHEET.md results/README.md
lock: $(INSTALLED)  ## pin the newest versions that pyproject.toml allows
	@.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --all-extras \
	  --upgrade --custom-compile-command "make lock" pyproject.toml -o requirements.lock

test: lint unit notebooks  ## every test: lint, unit tests, and the notebooks on a sample of the images
	@echo "All tests passed."
lint: $(INSTALLED)
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports
unit: $(INSTALLED)
	$(PY) -m pytest tests -n auto --maxprocesses 4
notebooks: $(INSTALLED) $(if $(REAL),,$(DRAWN))
	rm -rf build/sample
	XRAY_PROFILE=sample $(PY) -m pytest -v -x --nbval-lax --nbval-current-env notebooks
clean:  ## remove build/ (decoded images, trainings, executed notebooks) and what killed runs left
	@if [ -x $(PY) ]; then $(PY) -m tools.setup clean; else rm -rf build; fi
