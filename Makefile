# Everything a fresh machine needs is one of these Pythons, on which requirements.lock installs, make and git; each
# target installs the rest into .venv. PYTHON=... takes another one. A name may be there without a Python behind it.
PYTHONS := python3.11 python3.12 python3.13
ifndef PYTHON
PYTHON := $(shell for name in $(PYTHONS); do if $$name -c "" 2>/dev/null; then echo $$name; break; fi; done)
endif
ifeq ($(PYTHON)$(filter clean,$(MAKECMDGOALS)),)
$(error expected one of $(PYTHONS), none of them runs; PYTHON=... names another one)
endif
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-detection pretrained verify-arm test test-all test-backends lint format requirements lock dist docs clean

demo: $(READY)  ## Trains a network and its twin on real handwritten digits, exports the twin, evaluates and predicts.
	$(BIN)/python -m scripts.demo

demo-detection: $(READY)  ## Trains, evaluates, exports and draws a detector on scenes of handwritten digits.
	$(BIN)/python -m scripts.demo_detection

pretrained: $(READY)  ## Imports published ImageNet weights and classifies photographs; installs PyTorch.
	$(BIN)/python -m pip install --quiet --requirement requirements-pretrained.txt --constraint requirements.lock
	$(BIN)/python -m scripts.pretrained

verify-arm: $(READY)  ## Compares the .tflite files on an emulated ARM processor with x86; installs PyTorch, needs QEMU.
	$(BIN)/python -m pip install --quiet --requirement requirements-pretrained.txt --constraint requirements.lock
	$(BIN)/python -m scripts.arm

# Two processes: building graphs, which takes most of the time, uses one core. Files stay together for their fixtures, and
# in their order: reordered, those of few and long tests would come last, and one process would wait for the other.
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

test: lint  ## Runs the tests that take minutes.
	$(PYTEST) -m "not slow"

test-all: lint  ## Runs every test.
	$(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The library itself is installed as it lies here, for its version and its commands.
$(READY): requirements.lock pyproject.toml $(BIN)/$(notdir $(PYTHON))
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# An environment of another Python is replaced. `venv` names its interpreter as the one that made it.
$(BIN)/$(notdir $(PYTHON)):
	$(PYTHON) -m venv --clear $(VENV)

# The other Keras backends have an environment of their own, without TensorFlow and with nothing but what the layers and
# the zoo need. torch joins when it is installed there.
BACKENDS := .venv-backends
BACKEND_PYTEST := $(BACKENDS)/bin/python -m pytest --numprocesses=2 -m "not slow" \
  tests/layers tests/convert tests/models/test_backends.py tests/packaging/test_core.py

test-backends: $(BACKENDS)/.ready  ## Runs the backend-neutral tests under jax, and under torch where it is installed.
	KERAS_BACKEND=jax $(BACKEND_PYTEST)
	@if $(BACKENDS)/bin/python -c "import torch" 2>/dev/null; then \
	  KERAS_BACKEND=torch $(BACKEND_PYTEST); \
	else echo "torch is not installed in $(BACKENDS); its tests were left out"; fi

$(BACKENDS)/.ready: requirements-backends.txt $(BACKENDS)/bin/$(notdir $(PYTHON))
	$(BACKENDS)/bin/python -m pip install --quiet --requirement requirements-backends.txt --constraint requirements.lock
	touch $@

$(BACKENDS)/bin/$(notdir $(PYTHON)):
	$(PYTHON) -m venv --clear $(BACKENDS)

requirements:  ## Writes requirements.txt and requirements-dev.txt from pyproject.toml.
	$(PYTHON) -m scripts.requirements

lock: requirements  ## Pins every dependency anew; needs uv.
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate requirements-dev.txt -o requirements.lock

dist: $(READY)  ## Builds the source distribution and the wheel into dist/ and checks what they say of themselves.
	rm -rf dist
	$(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*

docs: $(READY)  ## Builds the site of docs/ into site/; a warning is an error.
	$(BIN)/python -m scripts.docs

clean:
	rm -rf $(VENV) $(BACKENDS) .venv-arm dist site .cache .mypy_cache .pytest_cache .ruff_cache
