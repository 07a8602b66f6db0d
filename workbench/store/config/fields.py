"""The keys of the config file: their meaning and the values that they take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, get_args

from workbench.core.config import Config, Notifications, Overflow
from workbench.core.errors import did_you_mean
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.secret import Secret, is_key
from workbench.store.config.servers import SERVER_TAKES, BadValueError, server_settings

MAXIMUM_PAINTS = 60


_TAKES = {
    "text": "text in quotes",
    "bool": "true or false",
    "servers": f"a list of {SERVER_TAKES}",
    "secret": "a token in quotes",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One top-level key of the config file."""

    name: str
    kind: Literal["text", "texts", "choice", "int", "bool", "servers", "secret"]
    help: str
    """The comment in a written config file."""
    low: int = 0
    high: int | None = None
    choices: tuple[str, ...] = ()

    @property
    def range_text(self) -> str:
        """The allowed values, in words."""
        match self.kind:
            case "texts" if self.choices:
                return f"a list of {', '.join(self.choices)}"
            case "texts":
                return "a list of texts in quotes"
            case "choice":
                return f"one of {', '.join(self.choices)}"
            case "text" | "bool" | "servers" | "secret":
                return _TAKES[self.kind]
            case "int" if self.high is None:
                return f"a whole number, {self.low:,} or more"
            case _:
                return f"a whole number from {self.low:,} to {self.high:,}"

    def _takes(self, item: object) -> bool:
        """Whether `item` may stand in a list of texts."""
        return isinstance(item, str) and (not self.choices or item in self.choices)

    def check(self, value: object) -> object:
        """`value` in the type of the configuration.

        Raises:
            BadValueError: It does not fit.
        """
        if self.kind == "servers":
            return server_settings(self.name, value)
        if self.kind == "secret":
            return self._secret(value)
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

    def _secret(self, value: object) -> Secret | None:
        if value == "":
            return None
        if not isinstance(value, str) or not is_key(value):
            # A message never shows one.
            raise BadValueError(f"{self.name} takes {self.range_text}, without spaces.")
        return Secret(value)


def shown(value: object) -> str:
    """A value for a message, truncated where it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("theme", "text", "The theme: the name of its file, without .toml."),
        Setting("model", "text", "The model to open when the command line names none; empty opens none."),
        Setting("model_folders", "texts", "Folders that are searched for GGUF files, with their subfolders."),
        Setting(
            "model_stores",
            "texts",
            "Other programs whose models are listed too; their folders are only read.",
            choices=Config().model_stores,
        ),
        Setting("quantize_folder", "text", "The folder for quantizations; empty writes each beside its source."),
        Setting("system", "text", "The system prompt of a new conversation."),
        Setting(
            "when_context_full",
            "choice",
            'What happens when the context is full: "stop" reports it; "drop_oldest" leaves out the oldest turns, but '
            "never the system prompt.",
            choices=get_args(Overflow),
        ),
        Setting(
            "state_cache_mb",
            "int",
            "Memory for the KV states of models that were swapped out and of branches that were left, in MiB; 0 keeps "
            "none.",
        ),
        Setting(
            "checkpoints",
            "int",
            "The most checkpoints of an open model, where its memory cannot go back to an earlier turn: recurrent "
            "layers and sliding windows. 0 keeps none: earlier turns are then computed again.",
        ),
        Setting("checkpoint_mb", "int", "Memory for the checkpoints of all open models, in MiB; 0 keeps none."),
        Setting("memory_guard", "bool", "Whether to refuse a model that cannot fit in memory before it is loaded."),
        Setting(
            "typed_control_tokens",
            "bool",
            "Whether the text of a control token in a message, such as <|im_end|>, is that token. Otherwise it is text "
            "and control tokens come from the chat template alone.",
        ),
        Setting(
            "paints_per_second",
            "int",
            "The highest frame rate of a streaming answer, per second.",
            low=1,
            high=MAXIMUM_PAINTS,
        ),
        Setting(
            "servers",
            "servers",
            "Servers whose models are listed too: addresses, or tables of url and key_env, the name of the environment "
            "variable that holds the API key. The key itself (key) is used only if nobody else may read this file "
            "(chmod 600).",
        ),
        Setting(
            "find_servers",
            "bool",
            "Whether to look for servers on the usual ports of this machine: Ollama, llama-server, vLLM, LM Studio, "
            "TGI.",
        ),
        Setting(
            "huggingface_token",
            "secret",
            "The token for gated and private repositories of Hugging Face, where neither HF_TOKEN nor its own file has "
            "one. It is used only if nobody else may read this file (chmod 600).",
        ),
        Setting(
            "gpu_meters",
            "bool",
            "Whether to read the GPUs: load, memory, temperature, power. While no model is on a GPU, a sleeping one is "
            "left asleep, and others are read every 15 seconds.",
        ),
        Setting("window_title", "bool", "Whether the title of the terminal's window is the model and its tokens/s."),
        Setting(
            "notifications",
            "choice",
            'How you hear of work of ten seconds or more that ends while you look elsewhere: "message" is one of the '
            'desktop where the terminal is known to show them, else the bell; "bell"; "off".',
            choices=get_args(Notifications),
        ),
        Setting("reduced_motion", "bool", "Whether to leave out smooth scrolling and everything else that moves."),
    )
}
"""The keys above the tables, in the order in which they are written."""

TABLES: Mapping[str, str] = {
    "sampling": "The sampling parameters of a new conversation.",
    "load": "The load settings of a new conversation.",
    "keymap": "Key bindings: the id of an action and its key, or several keys separated by commas.",
    "builds": "Other builds of llama.cpp: a name, and the folder of the Python environment that has it.",
}
"""The tables, in the order in which they are written."""

FREE_TABLES: Mapping[str, str] = {"keymap": 'a key: "ctrl+t"', "builds": 'a folder: "~/envs/vulkan"'}
"""The tables with any keys, and what those take."""

TABLE_KEYS: Mapping[str, tuple[str, ...]] = {
    "sampling": tuple(field.name for field in fields(Sampling)),
    "load": tuple(field.name for field in fields(LoadSettings)),
}

KEYS = (*SETTINGS, *TABLES)

DEFAULTS = Config()


def home_of(name: str) -> str:
    """The table of a key; empty where it has none."""
    return next((table for table, names in TABLE_KEYS.items() if name in names), "")
