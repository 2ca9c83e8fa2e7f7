# Everything a fresh machine needs is Python 3.11, make and git; each target installs the rest into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo demo-detection pretrained test test-all test-backends lint format lock clean

demo: $(READY)  ## Trains, evaluates, exports and predicts on real handwritten digits.
	$(BIN)/python -m scripts.demo

demo-detection: $(READY)  ## Trains, evaluates, exports and draws a detector on scenes of handwritten digits.
	$(BIN)/python -m scripts.demo_detection

pretrained: $(READY)  ## Imports published ImageNet weights and classifies photographs; installs PyTorch.
	$(BIN)/python -m pip install --quiet --requirement requirements-pretrained.txt --constraint requirements.lock
	$(BIN)/python -m scripts.pretrained

# Two processes: building graphs, which takes most of the time, uses one core. Files stay together for their fixtures.
PYTEST := $(BIN)/python -m pytest --numprocesses=2 --dist=loadfile

test: lint  ## Runs the tests that take minutes.
	$(PYTEST) -m "not slow"

test-all: lint  ## Runs every test.
	$(PYTEST)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(READY): requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	touch $@

# The other Keras backends have an environment of their own, without TensorFlow. torch joins when it is installed there.
BACKENDS := .venv-backends
BACKEND_TESTS := tests/layers tests/models/test_backends.py

test-backends: $(BACKENDS)/.ready  ## Runs the backend-neutral tests under jax, and under torch where it is installed.
	KERAS_BACKEND=jax $(BACKENDS)/bin/python -m pytest -m "not slow" $(BACKEND_TESTS)
	@if $(BACKENDS)/bin/python -c "import torch" 2>/dev/null; then \
	  KERAS_BACKEND=torch $(BACKENDS)/bin/python -m pytest -m "not slow" $(BACKEND_TESTS); \
	else echo "torch is not installed in $(BACKENDS); its tests were left out"; fi

$(BACKENDS)/.ready: requirements-backends.txt
	$(PYTHON) -m venv $(BACKENDS)
	$(BACKENDS)/bin/python -m pip install --quiet --requirement requirements-backends.txt
	touch $@

lock:  ## Pins every dependency anew; needs uv.
	uv pip compile --universal --python-version 3.11 --no-header --no-annotate requirements-dev.txt -o requirements.lock

clean:
	rm -rf $(VENV) $(BACKENDS) .pytest_cache .ruff_cache
