"""The commands of the prompt: their names, parsing a line, and completing it.

The commands of Ollama's own prompt come first, under the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.core.errors import did_you_mean
from workbench.core.formats import FORMAT_WORDS
from workbench.core.parameters import PARAMETERS, Parameter
from workbench.ui.prompt.completion import Candidate


@dataclass(frozen=True, slots=True)
class SlashCommand:
    """A command."""

    name: str
    usage: str
    """The argument; empty where there is none."""
    help: str
    aliases: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        return f"/{self.name} {self.usage}".rstrip()


COMMANDS: tuple[SlashCommand, ...] = (
    SlashCommand("set", "NAME VALUE", "Change a parameter, `system`, or `think` and `nothink`; /set alone lists them."),
    SlashCommand("show", "WHAT", "Show info, license, modelfile, parameters, system or template."),
    SlashCommand("load", "MODEL", "Load a model; the conversation continues with it."),
    SlashCommand("save", "NAME", "Save model, settings and messages as a Modelfile."),
    SlashCommand("clear", "", "Begin a new conversation; this one is stored.", ("new",)),
    SlashCommand("bye", "", "End the program.", ("exit", "quit")),
    SlashCommand("?", "", "List these commands.", ("help",)),
    SlashCommand("seed", "N", "Set the seed; without a number, a new one for each answer."),
    SlashCommand("export", "", "Write the conversation as a Modelfile, Markdown or JSON."),
    SlashCommand("settings", "", "Change system prompt and parameters."),
    SlashCommand("reload", "", "Load the model again with the current settings."),
    SlashCommand("serve", "HOST:PORT", "Serve the model to other programs; without an address, on this machine alone."),
    SlashCommand("copy", "", "Copy the last answer."),
    SlashCommand("alternatives", "", "Record what else could have been written at each place, or stop that."),
    SlashCommand("models", "", "Show every model on this machine."),
    SlashCommand("race", "", "Put one prompt to several models, side by side."),
    SlashCommand("bench", "", "Measure how fast models are."),
    SlashCommand("evals", "", "Ask models your own prompts, and check the answers."),
    SlashCommand("quality", "", "Measure how much quantizations and cache types differ over a text."),
    SlashCommand("log", "", "Show or hide the log."),
    SlashCommand("theme", "", "Choose another theme."),
    SlashCommand("keys", "", "List all keys."),
)
"""Every command, in the order of the list."""

SHOWS = {
    "info": "the model and its memory",
    "license": "the license in the file",
    "modelfile": "the Modelfile of this conversation",
    "parameters": "all parameters, and which are not at their default",
    "system": "the system prompt",
    "template": "the chat template of the model",
}
"""The arguments of `/show`."""

SETS = {
    "parameter": "a parameter by its name",
    "system": "the system prompt",
    "think": "show the thoughts of models; with a value, whether and how hard they think",
    "nothink": "fold the thoughts of models",
    "noformat": "let answers have any form",
}
"""The arguments of `/set` beside the parameters."""

NOT_HERE = {
    "history": "earlier prompts are always kept",
    "nohistory": "earlier prompts are always kept",
    "wordwrap": "lines are always wrapped",
    "nowordwrap": "lines are always wrapped",
    "verbose": "the figures are always shown",
    "quiet": "the figures are always shown",
}
"""Other arguments of Ollama's `/set`, and why they are not needed or not available here."""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command line: the word after the slash, and the rest of the line."""

    name: str
    rest: str

    @property
    def command(self) -> SlashCommand | None:
        """The command; None where there is none with this name or alias."""
        return next((each for each in COMMANDS if self.name in (each.name, *each.aliases)), None)

    @property
    def advice(self) -> str:
        nearest = did_you_mean(self.name, [each.name for each in COMMANDS])
        return f"{nearest} /? lists the commands; // at the start sends the text as it is.".lstrip()


def read_command(text: str) -> CommandLine | None:
    """The command in `text`; None where it is a message."""
    if not text.startswith("/") or text.startswith("//"):
        return None
    name, _, rest = text[1:].partition(" ")
    first, newline, more = name.partition("\n")
    return CommandLine(first.strip().casefold(), (f"{more} {rest}" if newline else rest).strip())


def plain_message(text: str) -> str:
    """The message in `text`: two slashes at the start stand for one."""
    return text[1:] if text.startswith("//") else text


def unquoted(text: str) -> str:
    """A text without the quotes around it: one or three, as in Ollama."""
    for quotes in ('"""', '"'):
        if len(text) >= 2 * len(quotes) and text.startswith(quotes) and text.endswith(quotes):
            return text[len(quotes) : -len(quotes)].strip("\n")
    return text


def candidates(text: str, models: Sequence[str] = ()) -> list[Candidate]:
    """The completions of a command; `models` are those that `/load` offers, by their references."""
    if not text.startswith("/") or text.startswith("//") or "\n" in text:
        return []
    name, space, rest = text[1:].partition(" ")
    if not space:
        found = (
            Candidate(f"/{each.name}{' ' if each.usage else ''}", f"{each.usage:<11} {each.help}".strip())
            for each in COMMANDS
            if any(word.startswith(name.casefold()) for word in (each.name, *each.aliases))
        )
        return [each for each in found if each.text != text]
    match name.casefold():
        case "set":
            return _after_set("/set ", rest, SETS)
        case "show":
            return _matching("/show ", rest, SHOWS.items())
        case "load":
            return _matching("/load ", rest, ((model, "") for model in models))
    return []


def _after_set(start: str, rest: str, words: dict[str, str]) -> list[Candidate]:
    name, space, value = rest.partition(" ")
    if not space:
        rows = {each.name: each.help for each in PARAMETERS.values() if each.name not in words}
        return [
            Candidate(each.text + ("" if each.text.endswith((" nothink", " noformat")) else " "), each.help)
            for each in _matching(start, rest, {**words, **rows}.items())
        ]
    if name == "parameter":
        return _after_set(f"{start}parameter ", value, {})
    parameter = PARAMETERS.get(name)
    return [] if parameter is None else _matching(f"{start}{name} ", value, _values(parameter))


def _values(parameter: Parameter) -> Iterable[tuple[str, str]]:
    if parameter.kind == "choice":
        return ((choice, "") for choice in parameter.choices)
    if parameter.kind == "bool":
        return (("true", ""), ("false", ""))
    if parameter.kind == "format":
        return ((word, "") for word in FORMAT_WORDS)
    return ()


def _matching(start: str, typed: str, rows: Iterable[tuple[str, str]]) -> list[Candidate]:
    folded = typed.casefold()
    found = [Candidate(start + word, text) for word, text in rows if folded in word.casefold() and typed != word]
    return sorted(found, key=lambda each: not each.text.removeprefix(start).casefold().startswith(folded))
