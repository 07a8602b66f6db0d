"""Where a model is computed: the values of the load parameter `engine_host`."""

from __future__ import annotations

from typing import Final

PROCESS: Final = "process"
"""In the process of the program."""
CHILD: Final = "child"
"""In a child process, by the same build of llama.cpp. Any other value is the name of a build, in a child of its own."""
BUILD_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}"
"""A regular expression for the name of a build."""
