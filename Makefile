# make train   set up .venv, train on the bundled pictures (at most 10 minutes on 2 cores), show figures
# make test    set up .venv with everything, run the tests
# make lint    ruff
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python

.PHONY: train test lint setup setup-all clean

train: setup
	$(PY) tools/train.py configs/isnet_cutouts.py --resume

test: setup-all
	$(PY) -m pytest $(PYTEST_ARGS) tests

lint: setup-all
	$(PY) -m ruff check .

setup: $(VENV)/.base
setup-all: $(VENV)/.all

$(VENV)/.base: setup.cfg constraints.txt tools/setup_venv.sh
	sh tools/setup_venv.sh "$(PYTHON)" "$(VENV)" "" && touch $@

$(VENV)/.all: setup.cfg constraints.txt tools/setup_venv.sh
	sh tools/setup_venv.sh "$(PYTHON)" "$(VENV)" "[seg,det,medical,dicom,deploy,video,dev]" && touch $@ $(VENV)/.base

clean:
	rm -rf $(VENV) work_dirs build *.egg-info
