"""What the config file may say: every key, what it means, and which values it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from workbench.core.config import Config, Overflow
from workbench.core.errors import did_you_mean
from workbench.core.parameters import LoadSettings, Sampling
from workbench.store.config.servers import SERVER_TAKES, BadValueError, server_settings

MAXIMUM_PAINTS = 60


@dataclass(frozen=True, slots=True)
class Setting:
    """One top-level key of the config file."""

    name: str
    kind: Literal["text", "texts", "choice", "int", "bool", "servers"]
    help: str
    """What the comment in a written config file says."""
    low: int = 0
    high: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def range_text(self) -> str:
        """The values that are taken, in words."""
        match self.kind:
            case "text":
                return "text in quotes"
            case "texts" if self.choices:
                return f"a list of {', '.join(self.choices)}"
            case "texts":
                return "a list of texts in quotes"
            case "choice":
                return f"one of {', '.join(self.choices)}"
            case "bool":
                return "true or false"
            case "servers":
                return f"a list of {SERVER_TAKES}"
            case "int" if self.high is None:
                return f"a whole number, {self.low} or more"
            case _:
                return f"a whole number from {self.low} to {self.high}"

    def _takes(self, item: object) -> bool:
        """Whether `item` may stand in a list of texts."""
        return isinstance(item, str) and (not self.choices or item in self.choices)

    def check(self, value: object) -> object:
        """`value` as the configuration holds it.

        Raises:
            BadValueError: It does not fit.
        """
        if self.kind == "servers":
            return server_settings(self.name, value)
        match self.kind, value:
            case "text", str():
                return value
            case "texts", str():
                return self.check([value])
            case "texts", list() | tuple() if all(self._takes(item) for item in value):
                return tuple(value)
            case "choice", str() if value in self.choices:
                return value
            case "bool", bool():
                return value
            case "int", int() if (
                not isinstance(value, bool) and self.low <= value and (self.high is None or value <= self.high)
            ):
                return value
        near = did_you_mean(value, self.choices) if isinstance(value, str) else ""
        raise BadValueError(f"{self.name} cannot be {shown(value)}. It takes {self.range_text}. {near}".rstrip())


def shown(value: object) -> str:
    """A value in a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("theme", "text", "The name of the theme: the file name of a theme, without .toml."),
        Setting("model", "text", "The model that opens when none is named on the command line; empty opens none."),
        Setting("model_folders", "texts", "Folders that are searched for GGUF files, with everything below them."),
        Setting(
            "model_stores",
            "texts",
            "Other programs whose models are looked for too; their folders are only read.",
            choices=Config().model_stores,
        ),
        Setting("quantize_folder", "text", "Where quantizations are written; empty writes them beside their source."),
        Setting("system", "text", "The system prompt of a new conversation."),
        Setting(
            "when_context_full",
            "choice",
            'What happens when the context is full: "stop" says so; "drop_oldest" leaves out the oldest turns, but '
            "never the system prompt.",
            choices=get_args(Overflow),
        ),
        Setting(
            "state_cache_mb",
            "int",
            "Memory for what swapped-out models know of a conversation, in MiB; 0 keeps nothing.",
        ),
        Setting("memory_guard", "bool", "Whether a model that cannot fit in memory is refused before it is loaded."),
        Setting(
            "paints_per_second",
            "int",
            "How often a streaming answer is drawn in a second, at most.",
            low=1,
            high=MAXIMUM_PAINTS,
        ),
        Setting(
            "servers",
            "servers",
            "Servers whose models are offered too: addresses, or tables of url and key_env, which names the "
            "environment variable that holds the key. The key itself (key) is taken only where nobody else may read "
            "this file (chmod 600).",
        ),
        Setting(
            "find_servers",
            "bool",
            "Whether servers are looked for on the usual ports of this machine: Ollama, llama-server, vLLM, LM Studio, "
            "TGI.",
        ),
    )
}
"""The keys that stand above the tables, in the order in which they are written."""

TABLES: Mapping[str, str] = {
    "sampling": "The sampling parameters of a new conversation.",
    "load": "How a model is loaded for a new conversation.",
    "keymap": "Other keys for actions: the id of a binding, and its key, or several with commas between.",
}
"""The tables, in the order in which they are written."""

TABLE_KEYS: Mapping[str, tuple[str, ...]] = {
    "sampling": tuple(field.name for field in fields(Sampling)),
    "load": tuple(field.name for field in fields(LoadSettings)),
}
"""The parameters that belong in each table."""

KEYS = (*SETTINGS, *TABLES)

DEFAULTS = Config()


def home_of(name: str) -> str:
    """The table that a key belongs in; empty where it belongs in none."""
    return next((table for table, names in TABLE_KEYS.items() if name in names), "")
