# Setting up, running and checking workbench in a checkout. `make help` lists what there is.

.DEFAULT_GOAL := help
.PHONY: help run test lint bench clean setup setup-dev
.SUFFIXES:

# A model to open: a path, a name from the library, demo. The configured one where it is empty.
MODEL ?=
# Take a prebuilt llama.cpp: cuda, rocm, metal, vulkan or cpu; source compiles it again. Empty keeps what is installed.
BACKEND ?=
# The CUDA wheel index, such as cu124; found out from the toolkit or the driver where it is empty.
CUDA ?=
# More arguments for pytest.
ARGS ?=
# Print the commands that would set up, and run none of them.
DRY_RUN ?=

# The documented home of llama-cpp-python's prebuilt wheels: below it one index for each backend.
LLAMA_WHEELS := https://abetlen.github.io/llama-cpp-python/whl

BIN := .venv/bin
# Through the environment, so that a path with spaces or quotes arrives as it is.
export MODEL

# The named Python, or the environment's own, checks fast whether everything is there; else the first Python that is new
# enough sets it up.
define BOOTSTRAP
@set -- scripts/bootstrap.py --wheels '$(LLAMA_WHEELS)' --backend '$(BACKEND)' --cuda '$(CUDA)' \
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
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 10
	@echo
	@echo "make run MODEL=path/to/model.gguf       opens that model"
	@echo "make run BACKEND=cuda                   prebuilt llama.cpp: cuda (CUDA=cu124), rocm, metal, vulkan, cpu"
	@echo "make test ARGS='-k sampler'             arguments for pytest"

setup:
	$(call BOOTSTRAP,)

setup-dev:
	$(call BOOTSTRAP,--dev)

run: setup ## Set up what is missing, and open the program
	$(if $(DRY_RUN),,@exec $(BIN)/workbench $${MODEL:+"$$MODEL"})

test: setup-dev ## Set up what is missing, and run the tests
	$(if $(DRY_RUN),,$(BIN)/pytest $(ARGS))

lint: setup-dev ## Lint, formatting, types, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup-dev ## Measure what docs/performance.md promises, on a machine that does nothing else
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## Remove what was set up and built in this checkout
	rm -rf .venv build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache snapshot_report.html
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
