# make train   set up .venv, train on the bundled pictures (at most 10 minutes on 2 cores), show figures
# make test    set up .venv with everything, run the tests
# make lint    ruff
PYTHON ?= python3
VENV   ?= .venv
PY     := $(VENV)/bin/python

.PHONY: train test lint setup setup-all clean

train: setup
	$(PY) tools/train.py configs/isnet_cutouts.py --resume

# In several processes: with everything that runs networks loaded into one (ONNX Runtime, OpenVINO, the exporter, the
# stand-in's oracle, loaders that fork), starting another process was seen to crash it.
APART := tests/engine tests/backends tests/deployment tests/commands tests/inference
test: setup-all
	@status=0; \
	$(PY) -m pytest $(PYTEST_ARGS) tests/engine || status=1; \
	$(PY) -m pytest $(PYTEST_ARGS) tests/backends tests/deployment || status=1; \
	$(PY) -m pytest $(PYTEST_ARGS) tests/commands tests/inference || status=1; \
	$(PY) -m pytest $(PYTEST_ARGS) $(addprefix --ignore=,$(APART)) tests || status=1; \
	exit $$status

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
