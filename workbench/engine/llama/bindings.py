"""The low-level API of llama-cpp-python, without its high-level one.

The package imports `llama_cpp.llama` too, and with it numpy, jinja2 and diskcache: three quarters of the time that it
takes. Who needs it imports `llama_cpp.llama` itself.
"""

from __future__ import annotations

import sys
from types import ModuleType

_HIGH_LEVEL = "llama_cpp.llama"

_empty = ModuleType(_HIGH_LEVEL)
_found = sys.modules.setdefault(_HIGH_LEVEL, _empty)
try:
    from llama_cpp import llama_cpp
    from llama_cpp._ggml import libggml
finally:
    if _found is _empty:
        del sys.modules[_HIGH_LEVEL]

__all__ = ["libggml", "llama_cpp"]
