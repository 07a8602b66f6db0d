# Setting up, running and checking workbench in a checkout. `make help` lists what there is.

.DEFAULT_GOAL := help
.PHONY: help run test quick soak test-vulkan lint bench clean setup setup-dev
.SUFFIXES:

# A model to open: a path, a name from the library, demo. The configured one where it is empty.
MODEL ?=
# Install a prebuilt llama.cpp: cuda, rocm, metal, vulkan or cpu; source compiles it. Empty keeps the installed one.
BACKEND ?=
# The CUDA wheel index, such as cu124; detected from the toolkit or the driver where it is empty.
CUDA ?=
# More arguments for pytest.
ARGS ?=
# How many tests run side by side: a number, logical (one for each core), or 0 for none, such as for a debugger.
WORKERS ?= 4
# `make soak`: damaged model files (other cases in proportion), kills, minutes of use, and the seed of all of them.
CASES ?= 10000
KILLS ?= 200
MINUTES ?= 60
SEED ?= 1
# Print the commands that would set up, without running them.
DRY_RUN ?=

# The documented home of llama-cpp-python's prebuilt wheels: below it one index for each backend.
LLAMA_WHEELS := https://abetlen.github.io/llama-cpp-python/whl

BIN := .venv/bin
# Tests that share a fixture run in the same worker: SHARED in tests/conftest.py.
PYTEST := $(BIN)/pytest --numprocesses $(WORKERS) --dist loadgroup
# What takes most of the time: real models, servers, terminals, whole screens, crashes, thousands of simulations.
QUICK := tests/architecture tests/core tests/gguf tests/lab tests/library tests/modelfile tests/store \
	$(wildcard $(addprefix tests/ui/,kit markdown workspace)) \
	--ignore tests/architecture/test_wheel.py --ignore tests/gguf/test_memory_of_llama_cpp.py \
	--ignore tests/store/sessions/test_crash.py --ignore tests/core/test_statistics.py \
	--ignore tests/ui/markdown/test_linear.py
# Through the environment, so that a path with spaces or quotes arrives unchanged.
export MODEL

# The named Python, or the environment's own, checks fast whether everything is there; else the first Python that is new
# enough sets it up.
define BOOTSTRAP
@set -- -m scripts.bootstrap --wheels '$(LLAMA_WHEELS)' --backend '$(BACKEND)' --cuda '$(CUDA)' \
	$(if $(DRY_RUN),--dry-run) $(if $(PYTHON),--chosen) $(1); \
if [ -x $(BIN)/python ] && "$${PYTHON:-$(BIN)/python}" "$$@" --check 2> /dev/null; then exit 0; fi; \
for python in "$$PYTHON" python3 python3.14 python3.13 python3.12 python3.11; do \
	if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then \
		exec "$$python" "$$@"; \
	fi; \
done; \
echo "workbench needs Python 3.11 or newer: install it (Debian, Ubuntu: sudo apt install python3 python3-venv;" \
	"Fedora: sudo dnf install python3; macOS: brew install python), or name one with PYTHON=/path/to/python3." >&2; \
exit 1
endef

help: ## This list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 13
	@echo
	@echo "make run MODEL=path/to/model.gguf       opens that model"
	@echo "make run BACKEND=cuda                   prebuilt llama.cpp: cuda (CUDA=cu124), rocm, metal, vulkan, cpu"
	@echo "make test ARGS='-k sampler' WORKERS=0   arguments for pytest; WORKERS: tests side by side"
	@echo "make test PYTHON=python3.13             another Python, in an environment made again for it"

setup:
	$(call BOOTSTRAP,)

setup-dev:
	$(call BOOTSTRAP,--dev)

run: setup ## Set up what is missing, and open the program
	$(if $(DRY_RUN),,@exec $(BIN)/workbench $${MODEL:+"$$MODEL"})

test: setup-dev ## Set up what is missing, and run the tests
	$(if $(DRY_RUN),,$(PYTEST) $(ARGS))

quick: setup-dev ## The tests that take less than a minute together
	$(if $(DRY_RUN),,$(PYTEST) --hypothesis-profile=quick $(QUICK) $(ARGS))

soak: setup-dev ## Try to break it for long, with random files, texts, streams, kills and long use: see docs/reliability.md
	$(if $(DRY_RUN),,SOAK_CASES=$(CASES) SOAK_SEED=$(SEED) $(PYTEST) tests/reliability tests/gguf/test_zoo.py -m 'soak or not soak' -rP $(ARGS))
	$(if $(DRY_RUN),,KILLS=$(KILLS) KILL_SEED=$(SEED) $(BIN)/python -m tests.reliability.kills)
	$(if $(DRY_RUN),,KILLS=$(KILLS) KILL_SEED=$(SEED) $(BIN)/python -m tests.reliability.engine_kills)
	$(if $(DRY_RUN),,SOAK_MINUTES=$(MINUTES) SOAK_SEED=$(SEED) $(BIN)/python -m tests.reliability.soak)

test-vulkan: setup-dev ## Test offloading with llama.cpp's Vulkan backend, on a software device too: see docs/gpu.md
	$(if $(DRY_RUN),,$(BIN)/python -m scripts.vulkan -- $(BIN)/pytest tests/vulkan -m vulkan -p no:xdist $(ARGS))

lint: setup-dev ## Lint, formatting, types, and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev ## Measure what docs/performance.md promises, on an otherwise idle machine
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove what was set up and built in this checkout
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
