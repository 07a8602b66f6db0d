"""A terminal workbench in which people choose and tune local language models on their own hardware."""

from __future__ import annotations

__version__ = "0.1.0"
