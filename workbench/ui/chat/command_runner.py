"""Running the commands that are typed into the prompt."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.core.errors import ModelFileError, ParameterError, UnknownModelError, did_you_mean
from workbench.core.parameters import PARAMETERS, Value, find_parameter, get_value, parse_value
from workbench.core.user_path import user_path
from workbench.ui.chat.commands import COMMANDS, NOT_HERE, SETS, SHOWS, CommandLine, unquoted
from workbench.ui.chat.model_loading import ModelLoader
from workbench.ui.chat.view import ChatView
from workbench.ui.kit import figures as fmt

if TYPE_CHECKING:
    from workbench.gguf.inspect import ModelReport


class CommandRunner:
    """Runs commands; `actions` are those that take no argument, by name, and `commands` others that take one."""

    def __init__(
        self,
        view: ChatView,
        loader: ModelLoader,
        actions: Mapping[str, Callable[[], object]],
        commands: Mapping[str, Callable[[str], Awaitable[None]]],
    ) -> None:
        self._view = view
        self._workspace = view.workspace
        self._services = view.services
        self._loader = loader
        self._actions = actions
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "set": self._set,
            "show": self._show,
            "load": self._load,
            "save": self._save,
            "seed": lambda rest: self._set_parameter("seed", rest or "-1"),
            "?": self._list,
            **commands,
        }

    async def run(self, typed: CommandLine) -> None:
        """Run a command. Raises WorkbenchError where it cannot be run; nothing is changed then."""
        command = typed.command
        if command is None:
            raise ParameterError(f"There is no command /{typed.name}.", typed.advice)
        if command.name in self._commands:
            await self._commands[command.name](typed.rest)
            return
        if typed.rest:
            raise ParameterError(f"/{command.name} takes no argument.")
        done = self._actions[command.name]()
        if isinstance(done, Awaitable):
            await done

    def _read(self, title: str, text: str) -> None:
        from workbench.ui.dialogs.text_viewer import ValueDialog

        self._view.app.push_screen(ValueDialog(title, text))

    async def _list(self, _rest: str) -> None:
        width = max(len(each.line) for each in COMMANDS)
        lines = []
        for each in COMMANDS:
            also = f" Also {', '.join(f'/{alias}' for alias in each.aliases)}." if each.aliases else ""
            lines.append(f"{each.line:<{width}}  {each.help}{also}")
        shown = [f"  {word:<{width}}{text}" for word, text in SHOWS.items()]
        more = "Tab completes a command. // at the start of a message sends it with one slash."
        self._read("Commands", "\n".join([*lines, "", "/show", *shown, "", more]))

    # Settings

    async def _set(self, rest: str) -> None:
        name, value = _split(rest)
        match name:
            case "":
                await self._show("parameters")
            case "system":
                text = unquoted(value)
                await self._workspace.change(text, {})
                applies = "The system prompt applies from the next answer on."
                self._view.status.say(applies if text else "There is no system prompt now.")
            case "think" | "nothink" if not value:
                self._view.think(name == "think")
            case "nothink":
                raise ParameterError("/set nothink takes no value.", "/set think off keeps the model from thinking.")
            case "noformat" if not value:
                await self._set_parameter("format", "off")
            case "parameter":
                await self._set_parameter(*_split(value))
            case word if word in NOT_HERE:
                raise ParameterError(f"/set {word} is not available: {NOT_HERE[word]}.")
            case word if word in PARAMETERS:
                await self._set_parameter(word, value)
            case word:
                raise ParameterError(
                    f"There is nothing called {word!r} to set.", did_you_mean(word, [*SETS, *PARAMETERS])
                )

    async def _set_parameter(self, name: str, text: str) -> None:
        parameter = find_parameter(name)
        if not text:
            raise ParameterError(f"/set {name} needs a value.", f"It takes {parameter.range_text}.")
        workspace = self._workspace
        is_free = parameter.kind == "strings" and not parameter.choices and not parameter.form
        value: Value = tuple(map(unquoted, text.split())) if is_free else parse_value(name, text)
        await workspace.change(workspace.conversation.system, {name: value})
        when = "needs a reload" if workspace.needs_reload and parameter.reload else "from the next answer on"
        self._view.status.say(f"{name} is {fmt.value(value)}: {when}.")

    # Showing

    async def _show(self, rest: str) -> None:
        what = rest.strip().casefold() or "info"
        match what:
            case "info":
                text = self._info()
            case "license":
                metadata = (await self._inspect_model()).inspection.metadata
                rows = [f"{key}  {value}" for key, value in metadata.items() if key.startswith("general.license")]
                text = "\n".join(rows) or "The file names no license."
            case "modelfile":
                text = self._services.session_text(self._workspace.session(), "modelfile")
            case "parameters":
                text = self._parameters()
            case "system":
                text = self._workspace.conversation.system or "There is no system prompt."
            case "template":
                text = await self._template()
            case _:
                raise ParameterError(f"There is nothing called {what!r} to show.", f"There are {', '.join(SHOWS)}.")
        self._read(what.capitalize(), text)

    def _info(self) -> str:
        engine = self._workspace.engine
        if engine is None:
            return "No model is open."
        info, model = engine.info, engine.info.model
        rows = {
            "model": model.name,
            "quantization": model.quant,
            "bits per weight": fmt.bits(model.bits_per_weight),
            "architecture": model.architecture,
            "parameters": fmt.parameters(model.parameters),
            "context": f"{fmt.count(info.settings.num_ctx)} of {fmt.count(model.context_length)} tokens",
            "size": fmt.size(model.size_bytes),
            "memory": fmt.size(info.memory.total_bytes) if info.memory else None,
            "computes on": info.where,
            "file": model.path,
        }
        return "\n".join(f"{name:<16}{value or fmt.DASH}" for name, value in rows.items())

    def _parameters(self) -> str:
        conversation = self._workspace.conversation
        lines = []
        for parameter in PARAMETERS.values():
            value = get_value(conversation.sampling, conversation.load, parameter.name)
            origin = conversation.origins.get(parameter.name, "")
            notes = [origin] if origin not in ("", "stored chat") or value != parameter.default else []
            notes += [] if value == parameter.default else [f"default {fmt.value(parameter.default)}"]
            mark = f"   ({', '.join(notes)})" if notes else ""
            lines.append(f"{parameter.name:<20}{fmt.value(value)}{mark}")
        return "\n".join(lines)

    async def _template(self) -> str:
        model = self._workspace.model
        if model is not None and model.recipe is not None and model.recipe.template:
            return model.recipe.template
        template = (await self._inspect_model()).inspection.facts.chat_template
        return template or "The file brings no chat template; ChatML is assumed."

    async def _inspect_model(self) -> ModelReport:
        model = self._workspace.model
        if model is None or not model.path:
            raise ModelFileError("There is no model file to inspect.", "Open a model first.")
        return await self._services.files.inspect(Path(model.path))

    # Models and files

    async def _load(self, rest: str) -> None:
        if not rest:
            self._loader.choose()
            return
        models = await self._services.catalog.models()
        found = next((model for model in models if rest in (model.ref, model.label, model.name, model.path)), None)
        is_file = "/" in rest or rest.casefold().endswith((".gguf", "modelfile"))
        if found is None and not is_file and rest != "demo":
            names = [model.ref for model in models]
            raise UnknownModelError(f"There is no model {rest!r}.", did_you_mean(rest, names) or "Tab completes names.")
        self._loader.load(found.ref if found else rest, found.label if found else rest)

    async def _save(self, rest: str) -> None:
        if not rest:
            raise ParameterError("/save needs a name.", "Such as /save my-coder, or a path.")
        path = user_path(rest)
        if path.suffix.casefold() != ".modelfile":
            path = path.with_name(f"{path.name}.modelfile")
        if os.sep not in rest:
            path = self._services.export_folder / path.name
        written = await self._workspace.export("modelfile", path)
        self._view.status.say(f"Written to {written}", 8.0)


def _split(text: str) -> tuple[str, str]:
    name, _, value = text.partition(" ")
    return name.casefold(), value.strip()
