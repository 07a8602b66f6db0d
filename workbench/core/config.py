"""The configuration and its defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from workbench.core.origins import Origins
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret

Overflow = Literal["stop", "drop_oldest"]
Notifications = Literal["message", "bell", "off"]


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
    """The configuration in force; `workbench.store.config.fields` explains every key."""

    theme: str = "workbench-dark"
    model: str = "demo"
    model_folders: tuple[str, ...] = ()
    model_stores: tuple[str, ...] = ("ollama", "huggingface", "lmstudio", "llama.cpp")
    quantize_folder: str = ""
    system: str = ""
    when_context_full: Overflow = "stop"
    state_cache_mb: int = 1024
    checkpoints: int = 32
    checkpoint_mb: int = 1024
    memory_guard: bool = True
    typed_control_tokens: bool = False
    paints_per_second: int = 15
    servers: tuple[ServerSetting, ...] = ()
    find_servers: bool = True
    huggingface_token: Secret | None = None
    gpu_meters: bool = True
    window_title: bool = True
    notifications: Notifications = "message"
    reduced_motion: bool = False
    sampling: Sampling = field(default_factory=Sampling)
    load: LoadSettings = field(default_factory=LoadSettings)
    keymap: Mapping[str, str] = field(default_factory=dict)
    builds: Mapping[str, str] = field(default_factory=dict)
    origins: Origins = field(default_factory=dict, compare=False)
    """Of the parameters that the config file or the command line sets, also to their defaults."""


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """An entry of the config file that was ignored."""

    message: str
    """What is wrong, and what would be right."""
    key: str = ""
    line: int | None = None
    """The line in the file, counted from 1; None where it is unknown."""
    file: str = ""
    """Another file than the config file."""

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""
        return ": ".join(
            [", ".join(filter(None, (self.file, line))), self.message] if self.file or line else [self.message]
        )
