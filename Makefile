# Two commands do everything: `make repro` (train the demo) and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Stage commands call `python`: put the environment's first.
ACTIVE := PATH="$(CURDIR)/$(BIN):$$PATH" VIRTUAL_ENV="$(CURDIR)/$(VENV)"

.PHONY: setup repro test test-slow fuzz lint bench bench-save bench-gpu bench-meta docs judge prove golden clean

setup: $(BIN)/lora-recipes

$(VENV)/.installed: requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if v >= (3, 11) else "lora-recipes needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.11" % v)'
	$(PYTHON) -m venv $(VENV)
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@touch $@

# The command `lora-recipes`, for this folder's code. Its build needs what is locked, and no network.
$(BIN)/lora-recipes: $(VENV)/.installed pyproject.toml
	"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

repro: setup
	@$(ACTIVE) dvc repro
	@echo "Open out/report/index.html to see what the adapter learned."

judge: setup
	@$(ACTIVE) python -m pocket_training.evaluate out/samples

prove: setup
	@$(ACTIVE) python -m pocket_training.prove

golden: setup
	@$(ACTIVE) python -m pocket_training.prove --renew

test: setup
	@$(ACTIVE) python -m pytest -n 2 --dist loadfile

test-slow: setup
	@$(ACTIVE) python -m pytest -m slow

# Random inputs for an hour, or MINUTES=5; stops at the first that fails, with its seed.
fuzz: setup
	@$(ACTIVE) python -m tests.fuzz

lint: setup
	@$(ACTIVE) ruff format --check .
	@$(ACTIVE) ruff check .
	@$(ACTIVE) mypy
	@$(ACTIVE) lint-imports
	@$(ACTIVE) python -m lora_recipes.recipe.reference --check
	@$(ACTIVE) python -m benchmarks.results --check

docs: setup
	@$(ACTIVE) python -m lora_recipes.recipe.reference
	@$(ACTIVE) python -m pocket_training.photos

# CPU seconds, so that busy neighbours matter little; never a test. DIFFUSERS=path adds its script.
PEER = $(if $(DIFFUSERS),--diffusers "$(DIFFUSERS)")

bench: setup
	@$(ACTIVE) python -m benchmarks.quick $(BENCH)
	@$(ACTIVE) python -m benchmarks.cpu_training $(PEER) $(BENCH)
	@$(ACTIVE) python -m benchmarks.cpu_training --model pocket $(PEER) $(BENCH)
	@$(ACTIVE) python -m benchmarks.cpu_training --model deep --steps 40 $(PEER) $(BENCH)

bench-save: setup
	@$(MAKE) --no-print-directory bench BENCH=--save
	@$(ACTIVE) python -m benchmarks.results

bench-gpu: setup
	@$(ACTIVE) python -m benchmarks.gpu --save
	@$(ACTIVE) python -m benchmarks.results

bench-meta: setup
	@$(ACTIVE) python -m benchmarks.meta --check

clean:
	rm -rf $(VENV) build out/samples out/report out/snapshots out/adapter.safetensors .lora
