"""The values of a Modelfile, from its instructions and back."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from workbench.core.chat import Message
from workbench.core.errors import ModelfileError, TemplateError
from workbench.core.parameters import Value
from workbench.core.recipe import Recipe
from workbench.modelfile.syntax import COMMANDS, ROLES, Instruction, ModelfileSyntaxError, check
from workbench.modelfile.values import IGNORED, out_of_range, read_value, used_values, written_value
from workbench.modelfile.versions import is_version
from workbench.modelfile.write import write

log = logging.getLogger(__name__)

# Ollama keeps instructions and parameters in one list by name: a parameter of such a name is that instruction.
_COMMAND_OF_PARAMETER = {"model": "from", **{name: name for name in COMMANDS if name not in ("from", "parameter")}}
_LAST_WINS = frozenset({"adapter", "template", "system", "renderer", "parser"})


@dataclass(frozen=True, slots=True)
class Modelfile:
    """The values of a Modelfile. An empty text counts as absent, as in Ollama."""

    bases: tuple[str, ...]
    """The values of FROM: several files are a model and its projector; of several names the last one counts."""
    adapter: str = ""
    drafts: tuple[str, ...] = ()
    template: str = ""
    system: str = ""
    renderer: str = ""
    parser: str = ""
    requires: str = ""
    """The required version of Ollama, without a leading `v`."""
    parameters: Mapping[str, Value] = field(default_factory=dict)
    """By Ollama's names, with values of Ollama's types, including those that this program ignores."""
    licenses: tuple[str, ...] = ()
    messages: tuple[Message, ...] = ()
    comments: tuple[str, ...] = field(default=(), compare=False)
    """Comments for the top of the file."""

    @property
    def base(self) -> str:
        """The value of the last FROM."""
        return self.bases[-1]

    @property
    def recipe(self) -> Recipe:
        """The directives that this program uses, except the weights; the path of the adapter is not resolved."""
        return Recipe(
            adapter=self.adapter,
            # A renderer of Ollama takes its place, and the text is a dummy.
            template="" if self.renderer else self.template,
            renderer=self.renderer,
            parser=self.parser,
            system=self.system,
            parameters=used_values(self.parameters),
            messages=self.messages,
        )

    def _instructions(self) -> Iterator[Instruction]:
        """The instructions for these values, in the order of `ollama show --modelfile`."""
        for base in self.bases:
            yield Instruction("from", base)
        if self.adapter:
            yield Instruction("adapter", self.adapter)
        for draft in self.drafts:
            yield Instruction("draft", draft)
        for name in ("template", "system", "renderer", "parser", "requires"):
            if value := getattr(self, name):
                yield Instruction(name, value)
        for name, value in self.parameters.items():
            for item in value if isinstance(value, tuple) else (value,):
                yield Instruction("parameter", written_value(item), parameter=name)
        for text in self.licenses:
            yield Instruction("license", text)
        for message in self.messages:
            yield Instruction("message", message.content, role=message.role)

    def text(self) -> str:
        """The text of the file.

        Raises:
            ModelfileError: A Modelfile cannot hold a value; the message names it.
        """
        return write(self._instructions(), self.comments)


@dataclass(frozen=True, slots=True)
class Finding:
    """An error or a warning about a Modelfile, with its position."""

    message: str
    hint: str = ""
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class ModelfileReport:
    """The result of checking a Modelfile."""

    commands: tuple[Instruction, ...]
    modelfile: Modelfile | None
    """None if there are errors."""
    errors: tuple[Finding, ...]
    """Errors for which Ollama would refuse it."""
    warnings: tuple[Finding, ...]
    """Directives that are ignored, here or by Ollama."""

    @property
    def first_error(self) -> ModelfileSyntaxError:
        """The first error in the file; there must be one."""
        first = min(self.errors, key=lambda finding: (finding.line, finding.column))
        return ModelfileSyntaxError(first.message, first.hint, first.line, first.column)


def finding_on(commands: Sequence[Instruction], message: str, hint: str = "") -> Finding:
    """A finding with the position of the instruction that `message` begins with, or names."""
    words = message.split()
    named = [each for each in commands if each.name.upper() in words]
    best = max(named, key=lambda each: (each.name.upper() == words[0], each.args in message), default=None)
    return Finding(message, hint, best.line if best else 0, best.column if best else 0)


class _Collector:
    """Collects instructions into values."""

    def __init__(self) -> None:
        self.errors: list[Finding] = []
        self.warnings: list[Finding] = []
        self.lists: dict[str, list[str]] = {"from": [], "draft": [], "license": []}
        self.texts: dict[str, Any] = {}
        """The values of the instructions that occur once, by the field of `Modelfile`."""
        self.parameters: dict[str, Value] = {}
        self.messages: list[Message] = []

    def take(self, command: Instruction) -> None:
        try:
            self._take(_as_ollama_has_it(command))
        except ModelfileError as error:
            self.errors.append(Finding(error.message, error.hint, command.line, command.column))
        except Exception as error:
            log.exception("%s in line %d of a Modelfile cannot be read", command.name, command.line)
            problem = f"{command.name.upper()} cannot be read: {type(error).__name__}: {error}"
            self.errors.append(Finding(problem, "", command.line, command.column))

    def _warn(self, command: Instruction, message: str) -> None:
        self.warnings.append(Finding(message, "", command.line, command.column))

    def _take(self, command: Instruction) -> None:
        name, args = command.name, command.args
        if name == "parameter":
            self._take_parameter(command)
        elif name == "message":
            role = next((role for role in ROLES if role == command.role), None)
            if role is None:
                raise ModelfileError(f"no role {command.role!r}", f"It is one of {', '.join(ROLES)}.")
            self.messages.append(Message(role, args))
        elif name in self.lists:
            self.lists[name].append(args)
        elif name in _LAST_WINS:
            self.texts[name] = args
        else:
            if not is_version(args):
                raise ModelfileError("requires must be a valid semver (e.g. 0.14.0)")
            self.texts[name] = args.removeprefix("v")

    def _take_parameter(self, command: Instruction) -> None:
        name = command.parameter
        if name in IGNORED:
            self._warn(command, f"{name} is no longer a parameter of Ollama and is ignored")
            return
        value, remark = read_value(name, command.args)
        if remark:
            self._warn(command, remark)
        if isinstance(value, tuple):
            before = self.parameters.get(name, ())
            value = (*before, *value) if isinstance(before, tuple) else value
        self.parameters[name] = value
        if reason := out_of_range(name, value):
            self._warn(command, f"{name} {command.args} is not used: {reason}")

    def modelfile(self) -> Modelfile:
        return Modelfile(
            **self.texts,
            bases=tuple(self.lists["from"]),
            drafts=tuple(self.lists["draft"]),
            parameters=self.parameters,
            licenses=tuple(self.lists["license"]),
            messages=tuple(self.messages),
        )


def _as_ollama_has_it(command: Instruction) -> Instruction:
    name = _COMMAND_OF_PARAMETER.get(command.parameter) if command.name == "parameter" else None
    if name is None:
        return command
    role, args = "", command.args
    if name == "message":
        role, _, args = args.partition(": ")
    return replace(command, name=name, args=args, parameter="", role=role)


def examine(source: bytes | str) -> ModelfileReport:
    """Check a Modelfile: its values, and all errors and warnings."""
    commands, error = check(source)
    collector = _Collector()
    for command in commands:
        collector.take(command)
    if error is not None:
        collector.errors.append(Finding(error.problem, error.hint, error.line, error.column))
    modelfile = None if collector.errors else collector.modelfile()
    if modelfile is not None and (finding := _template_error(modelfile.template, commands)):
        collector.errors.append(finding)
        modelfile = None
    return ModelfileReport(commands, modelfile, tuple(collector.errors), tuple(collector.warnings))


def _template_error(template: str, commands: Sequence[Instruction]) -> Finding | None:
    """The error of the template, which Ollama parses when it creates the model."""
    if not template:
        return None
    # Imported late: most Modelfiles have no template, and the screen does not wait for its parser.
    from workbench.modelfile.template import parse as parse_template

    try:
        parse_template(template)
    except Exception as error:
        if isinstance(error, TemplateError):
            message, hint = error.message, error.hint
        else:
            log.exception("the template of a Modelfile cannot be parsed")
            message, hint = f"{type(error).__name__}: {error}", ""
        last = next(each for each in reversed(commands) if "template" in (each.name, each.parameter))
        return Finding(f"template error: {message}", hint, last.line, last.column)
    return None


def read(source: bytes | str) -> Modelfile:
    """The values of a Modelfile.

    Raises:
        ModelfileError: Ollama would refuse it; line and column are those of the first error.
    """
    reading = examine(source)
    if reading.modelfile is None:
        raise reading.first_error
    return reading.modelfile
