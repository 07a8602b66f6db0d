"""Commands that are typed into the prompt: what there is, and how a line of text becomes one.

The names that Ollama's own prompt has come first, so that fingers that know them need learn nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workbench.core.errors import did_you_mean
from workbench.core.parameters import PARAMETERS, Parameter
from workbench.ui.prompt.completion import Candidate


@dataclass(frozen=True, slots=True)
class Slash:
    """A command."""

    name: str
    usage: str
    """What comes after the name; empty where nothing does."""
    help: str
    aliases: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """How it is typed."""
        return f"/{self.name} {self.usage}".rstrip()


SLASHES: tuple[Slash, ...] = (
    Slash("set", "NAME VALUE", "Change a parameter, `system`, or `think` and `nothink`; /set alone lists them."),
    Slash("show", "WHAT", "Show info, license, modelfile, parameters, system or template."),
    Slash("load", "MODEL", "Load a model; the conversation goes on with it."),
    Slash("save", "NAME", "Save model, settings and messages as a Modelfile."),
    Slash("clear", "", "Begin a new conversation; this one is stored.", ("new",)),
    Slash("bye", "", "End the program.", ("exit", "quit")),
    Slash("?", "", "List these commands.", ("help",)),
    Slash("seed", "N", "Set the seed; without a number, a new one for each answer."),
    Slash("export", "", "Write the conversation as a Modelfile, Markdown or JSON."),
    Slash("settings", "", "Change system prompt and parameters."),
    Slash("reload", "", "Load the model again with the settings of now."),
    Slash("copy", "", "Copy the last answer."),
    Slash("models", "", "Show every model on this machine."),
    Slash("race", "", "Put one prompt to several models, side by side."),
    Slash("bench", "", "Measure how fast models are."),
    Slash("log", "", "Show or hide the log."),
    Slash("theme", "", "Choose another theme."),
    Slash("keys", "", "List all keys."),
)
"""Every command, in the order to show them."""

SHOWS = {
    "info": "the model and what it takes",
    "license": "the license that the file names",
    "modelfile": "the Modelfile of this conversation",
    "parameters": "all parameters, and which are not at their default",
    "system": "the system prompt",
    "template": "the chat template of the model",
}
"""What `/show` shows."""

SETS = {
    "parameter": "a parameter by its name",
    "system": "the system prompt",
    "think": "show what models think",
    "nothink": "fold what models think",
}
"""What `/set` sets beside the parameters."""

NOT_HERE = {
    "history": "earlier prompts are always kept",
    "nohistory": "earlier prompts are always kept",
    "wordwrap": "lines are always wrapped",
    "nowordwrap": "lines are always wrapped",
    "verbose": "the figures are always shown",
    "quiet": "the figures are always shown",
    "format": "answers cannot be held to a format yet",
    "noformat": "answers cannot be held to a format yet",
}
"""What Ollama's `/set` takes besides, and why it is not needed or not had here."""


@dataclass(frozen=True, slots=True)
class Typed:
    """A line that was typed as a command."""

    name: str
    """The word after the slash."""
    rest: str
    """All that follows it."""

    @property
    def command(self) -> Slash | None:
        """The command; None where there is none of this name."""
        return next((each for each in SLASHES if self.name == each.name or self.name in each.aliases), None)

    @property
    def advice(self) -> str:
        """What to do where there is no such command."""
        nearest = did_you_mean(self.name, [each.name for each in SLASHES])
        return f"{nearest} /? lists the commands; // at the start sends the text as it is.".lstrip()


def read_slash(text: str) -> Typed | None:
    """The command in `text`; None where it is a message."""
    if not text.startswith("/") or text.startswith("//"):
        return None
    name, _, rest = text[1:].partition(" ")
    first, newline, more = name.partition("\n")
    return Typed(first.strip().casefold(), (f"{more} {rest}" if newline else rest).strip())


def plain_message(text: str) -> str:
    """The message that `text` is: of two slashes at the start, one is left."""
    return text[1:] if text.startswith("//") else text


def unquoted(text: str) -> str:
    """A text without the quotes around it, of which Ollama takes one or three."""
    for quotes in ('"""', '"'):
        if len(text) >= 2 * len(quotes) and text.startswith(quotes) and text.endswith(quotes):
            return text[len(quotes) : -len(quotes)].strip("\n")
    return text


def candidates(text: str, models: Sequence[str] = ()) -> list[Candidate]:
    """How a command that is being typed can go on.

    Args:
        text: What was typed so far.
        models: The names of the models at hand.
    """
    if not text.startswith("/") or text.startswith("//") or "\n" in text:
        return []
    name, space, rest = text[1:].partition(" ")
    if not space:
        return [
            Candidate(f"/{each.name}{' ' if each.usage else ''}", f"{each.usage:<11} {each.help}".strip())
            for each in SLASHES
            if any(word.startswith(name.casefold()) for word in (each.name, *each.aliases))
        ]
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
        rows = [*words.items(), *((each.name, each.help) for each in PARAMETERS.values())]
        return [
            Candidate(each.text + ("" if each.text.endswith("think") else " "), each.help)
            for each in _matching(start, rest, rows)
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
    return ()


def _matching(start: str, typed: str, rows: Iterable[tuple[str, str]]) -> list[Candidate]:
    typed = typed.casefold()
    found = [Candidate(start + word, text) for word, text in rows if typed in word.casefold() and typed != word]
    return sorted(found, key=lambda each: not each.text.removeprefix(start).casefold().startswith(typed))


OF_MESSAGES = (
    ("turn.regenerate", "Ask again: another answer"),
    ("turn.edit", "Edit a message"),
    ("turn.continue", "Go on with an answer that was cut off"),
    ("turn.branch_before", "Go to the branch before"),
    ("turn.branch_after", "Go to the branch after"),
    ("turn.delete", "Delete a message"),
    ("turn.undo", "Undo the last change of the conversation"),
    ("turn.redo", "Redo the change that was undone"),
    ("turn.replay", "Replay an answer"),
)
"""The bindings of messages, which work here on the one that has the focus or on the last one."""


WITHOUT_A_KEY = (
    ("Sessions", "Show, search and open the stored sessions.", "screen.sessions"),
    ("Copy the conversation", "Copy all messages of this branch as Markdown.", "screen.copy_conversation"),
    (
        "Copy the conversation to a file",
        "Write all messages of this branch to a file.",
        "screen.copy_conversation(True)",
    ),
    ("Copy code", "Copy a block of code of the last answer; done again, the next one.", "screen.copy_code"),
    ("Copy code to a file", "Write the block of code that was copied last to a file.", "screen.copy_code(True)"),
    ("Copy the last answer", "Copy what the model wrote last to the clipboard.", "screen.copy_answer"),
    ("Copy the last answer to a file", "Write what the model wrote last to a file.", "screen.copy_answer(True)"),
    ("Save the settings as defaults", "Use them for every new conversation.", "screen.save_defaults"),
    ("Inspect the model", "Show everything that the file of the open model says of itself.", "app.inspect_model"),
    ("Quantize the model", "Make another quantization of the open model.", "app.quantize_model"),
)
"""Actions of the conversation that have no key of their own."""
