"""The configuration and its defaults; the attribute docstrings are its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret

Overflow = Literal["stop", "drop_oldest"]


@dataclass(frozen=True, slots=True)
class ServerSetting:
    """A server whose models are listed."""

    url: str
    """In the form of `core.servers.server_url`."""
    key_env: str = ""
    """The environment variable that holds its API key; empty for none."""
    key: Secret | None = None
    """The API key, where the file holds it directly."""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force."""

    theme: str = "workbench-dark"
    """The theme: a file name in `themes/`, without `.toml`."""
    model: str = "demo"
    """The model to open when the command line names none; empty for none."""
    model_folders: tuple[str, ...] = ()
    """Folders that are searched for GGUF files, with their subfolders."""
    model_stores: tuple[str, ...] = ("ollama", "huggingface", "lmstudio", "llama.cpp")
    """Other programs whose models are listed too; empty for none. Their folders are only read."""
    quantize_folder: str = ""
    """The folder for quantizations; empty for the folder of their source."""
    system: str = ""
    """The system prompt of a new conversation."""
    when_context_full: Overflow = "stop"
    """What to do when the context is full: `stop` reports it; `drop_oldest` leaves out the oldest turns, never the
    system prompt."""
    state_cache_mb: int = 1024
    """Memory for the KV states of models that were swapped out, in MiB; 0 keeps none."""
    memory_guard: bool = True
    """Whether to refuse a model that cannot fit in memory before it is loaded."""
    paints_per_second: int = 15
    """The highest frame rate of a streaming answer, per second."""
    servers: tuple[ServerSetting, ...] = ()
    """Servers whose models are listed too."""
    find_servers: bool = True
    """Whether to look for servers on the usual ports of this machine."""
    sampling: Sampling = field(default_factory=Sampling)
    """The sampling parameters of a new conversation."""
    load: LoadSettings = field(default_factory=LoadSettings)
    """The load parameters of a new conversation."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Key bindings by id: a key, or several separated by commas."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """An entry of the config file that was ignored."""

    message: str
    """What is wrong, and what would be right."""
    key: str = ""
    line: int | None = None
    """The line in the file, counted from 1; None where it is unknown."""
