"""What a user can configure, with its defaults. The attribute docstrings are the manual of the config file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret

Overflow = Literal["stop", "drop_oldest"]


@dataclass(frozen=True, slots=True)
class ServerSetting:
    """A server whose models are offered."""

    url: str
    """As `core.servers.server_url` writes it."""
    key_env: str = ""
    """The environment variable that holds the key for it; empty for none."""
    key: Secret | None = None
    """The key itself, where it stands in the file."""


@dataclass(frozen=True, slots=True)
class Config:
    """The configuration in force."""

    theme: str = "workbench-dark"
    """The name of the theme: the file name in `themes/`, without `.toml`."""
    model: str = "demo"
    """The model that opens when none is named on the command line; empty for none."""
    model_folders: tuple[str, ...] = ()
    """Folders that are searched for GGUF files, with everything below them."""
    model_stores: tuple[str, ...] = ("ollama", "huggingface", "lmstudio", "llama.cpp")
    """Other programs whose models are looked for too; empty for none. Their folders are only read."""
    quantize_folder: str = ""
    """Where quantizations are written; empty for beside their source."""
    system: str = ""
    """The system prompt of a new conversation."""
    when_context_full: Overflow = "stop"
    """`stop` says that the context is full; `drop_oldest` leaves out the oldest turns, never the system prompt."""
    state_cache_mb: int = 1024
    """Memory for the sequence states of models that were swapped out, in MiB; 0 keeps none."""
    memory_guard: bool = True
    """Whether a model that cannot fit in memory is refused before it is loaded."""
    paints_per_second: int = 15
    """How often a streaming answer is drawn, at most."""
    servers: tuple[ServerSetting, ...] = ()
    """Servers whose models are offered too."""
    find_servers: bool = True
    """Whether servers are looked for on the usual ports of this machine."""
    sampling: Sampling = field(default_factory=Sampling)
    """The sampling parameters of a new conversation."""
    load: LoadSettings = field(default_factory=LoadSettings)
    """The load parameters of a new conversation."""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Other keys for actions: binding id to key, or to several keys with commas between."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """Something in the config file that was not taken."""

    message: str
    """What is wrong and what would be right."""
    key: str = ""
    line: int | None = None
    """The line in the file, counted from 1; None where it is not known."""
