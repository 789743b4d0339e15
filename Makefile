# Everything lives in .venv/; the stamp file tells when the install is older than pyproject.toml.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
ARGS ?=

.PHONY: install demo test live gpu fuzz bench bench-gpu bench-search bench-training drift quality faults soak check format clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "rayloop needs Python 3.11 or newer")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## the whole loop on real images, from one command
	$(BIN)/rayloop demo $(ARGS)

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

live: $(STAMP)  ## the longer suites on a live cluster: control, gRPC, models, scaling, shadows
	$(BIN)/python -m pytest -m live $(ARGS)

gpu: $(STAMP)  ## the tests that need an NVIDIA GPU; without one they are skipped and say so
	$(BIN)/python -m pytest -m gpu $(ARGS)

fuzz: $(STAMP)  ## a million bodies at the protocols; make test sends 20,000
	FUZZ_BODIES=1000000 $(BIN)/python -m pytest tests/serve/test_fuzz.py $(ARGS)

bench: $(STAMP)  ## serving against its peers; make bench ARGS=--quick
	$(BIN)/python benchmarks/serving.py $(ARGS)

drift: $(STAMP)  ## the drift engine beside Evidently and bare reading, its memory; make drift ARGS=--quick
	$(BIN)/python benchmarks/drift.py $(ARGS)

quality: $(STAMP)  ## how well the built-in tasks learn; make quality ARGS="--data FOLDER --quick"
	$(BIN)/python benchmarks/quality.py $(ARGS)

bench-search: $(STAMP)  ## epochs that ASHA saves; ARGS="--data adult.parquet"
	$(BIN)/python benchmarks/search.py $(ARGS)

faults: $(STAMP)  ## requests lost while everything is killed under load
	$(BIN)/python benchmarks/faults.py $(ARGS)

bench-training: $(STAMP)  ## the trainer beside bare PyTorch, torchrun, Lightning and Accelerate
	$(BIN)/python benchmarks/training.py $(ARGS)

bench-gpu: $(STAMP)  ## the trainer on one NVIDIA GPU; make bench-gpu ARGS="--quick --only MLP"
	$(BIN)/python benchmarks/training_gpu.py $(ARGS)

soak: $(STAMP)  ## memory over half an hour at half load; make soak ARGS="--minutes 3"
	$(BIN)/python benchmarks/soak.py $(ARGS)

check: $(STAMP)  ## formatting, lint, strict types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	mkdir -p .mypy && ln -sfn .. .mypy/rayloop  # mypy wants the package's own name as its folder's
	cd .mypy && ../$(BIN)/mypy --config-file ../pyproject.toml --cache-dir ../.mypy_cache -p rayloop.platform -p rayloop.cluster -p rayloop.serve -p rayloop.jobs -m rayloop.cli

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .clients .mypy .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
