"""The settings dialog: system prompt, sampling parameters, and load settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, cast, get_args

from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.getters import query_one
from textual.widgets import Input, Label, TextArea
from typing_extensions import override

from workbench.core.config import Config, Notifications, Overflow
from workbench.core.kept import SYSTEM
from workbench.core.origins import Origins
from workbench.core.parameter import Parameter
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling, Value, get_value
from workbench.ui.dialogs.base import Dialog, dialog_box
from workbench.ui.dialogs.parameter_field import FIELD_BINDINGS, SERVER, ParameterField, shown
from workbench.ui.keys import key
from workbench.ui.kit.sanitize import clean

Then = Literal["", "save", "keep", "forget", "reload"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The edited settings."""

    system: str
    values: Mapping[str, Value] = field(default_factory=dict)
    """The changed values by parameter name."""
    when_context_full: Overflow | None = None
    """Where that was changed."""
    screen: Mapping[str, Any] = field(default_factory=dict)
    """The changed keys of the config that concern the screen."""
    then: Then = ""
    """What follows: save them as defaults, keep them for the model or remove what is kept, or reload the model."""


WHEN_FULL = Parameter(
    "when_context_full",
    "when full",
    "choice",
    "stop",
    'When the context is full, "stop" says so; "drop_oldest" leaves out the oldest turns, never the system prompt.',
    choices=get_args(Overflow),
)
"""What a conversation does when its context is full: a key of the config, and no parameter of a model."""
SCREEN = (
    Parameter("window_title", "Window title", "bool", True,
              "Whether the title of the terminal's window is the model and its tokens/s."),
    Parameter("notifications", "Notifications", "choice", "message",
              "How you hear of long work that ends while you look elsewhere: a message of the desktop where the "
              "terminal is known to show them, else the bell.", choices=get_args(Notifications)),
    Parameter("reduced_motion", "Reduced motion", "bool", False,
              "Whether to leave out smooth scrolling and everything else that moves."),
)  # fmt: skip
"""Keys of the config that concern the screen, or what is around it. They are saved at once."""
KEYS = "Esc done · ^R default · F9 reload · F7 save · ^T for model · ^L forget"


class SystemArea(TextArea):
    """The system prompt; up from its first line and down from its last one leave it."""

    def action_cursor_up(self, select: bool = False) -> None:
        if not select and self.cursor_at_first_line:
            self.screen.focus_previous()
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        if not select and self.cursor_at_last_line:
            self.screen.focus_next()
        else:
            super().action_cursor_down(select)


class SettingsDialog(Dialog[Settings | None]):
    """Edits all settings; they take effect when the dialog closes."""

    CSS_PATH = "settings.tcss"
    # fmt: off
    BINDINGS: ClassVar[list[BindingType]] = [
        key("settings.close", "escape,f6", "Done", "Close the settings and apply them."),
        key("settings.reload", "f9", "Reload now",
            "Apply the settings and reload the model.", action="close('reload')"),
        key("settings.save", "f7", "Save as defaults", "Save the settings as defaults.", action="close('save')"),
        key("settings.keep", "ctrl+t", "Keep for model",
            "Keep what was set in this chat for the model, whenever it is loaded.", action="close('keep')"),
        key("settings.forget", "ctrl+l", "Forget",
            "Remove everything that is kept for the model.", action="close('forget')"),
        key("settings.default", "ctrl+r", "Default", "Reset this field to its default."),
        *FIELD_BINDINGS,
    ]
    # fmt: on

    system = query_one("#settings-system", SystemArea)
    help = query_one("#settings-help", Label)

    def __init__(
        self,
        system: str,
        sampling: Sampling,
        load: LoadSettings,
        origins: Origins,
        *,
        served: bool = False,
        when_context_full: Overflow | None = None,
        config: Config | None = None,
    ) -> None:
        """`served`: the model is that of a server, which gets only what was set.

        Without `when_context_full` that is not offered; without `config`, nothing of the screen is.
        """
        super().__init__()
        self._served = served
        self._full = when_context_full
        self._config = config
        self._system = system
        self._sampling = sampling
        self._load = load
        self._origins = origins

    def compose(self) -> ComposeResult:
        with dialog_box("settings-box", "Settings", KEYS):
            with VerticalScroll(id="settings-fields", can_focus=False):
                yield Label(self._system_heading, classes="dialog-heading", markup=False)
                area = SystemArea(clean(self._system), id="settings-system", compact=True, tab_behavior="focus")
                area.cursor_blink = False
                yield area
                yield Label("SAMPLING · from the next answer on", classes="dialog-heading", markup=False)
                yield from self._fields(reload=False)
                yield Label("MODEL · after a reload, F9", classes="dialog-heading", markup=False)
                yield from self._fields(reload=True)
                if self._full is not None:
                    yield Label("CONVERSATION", classes="dialog-heading", markup=False)
                    yield ParameterField(WHEN_FULL, self._full, "config" if self._full != WHEN_FULL.default else "")
                if self._config is not None:
                    yield Label("SCREEN · kept at once", classes="dialog-heading", markup=False)
                    for parameter in SCREEN:
                        value = getattr(self._config, parameter.name)
                        origin = "config" if value != parameter.default else ""
                        yield ParameterField(parameter, value, origin, changed="saved")
            yield Label("", id="settings-help", markup=False)

    @property
    def _system_heading(self) -> str:
        origin = self._origins.get(SYSTEM)
        return f"SYSTEM PROMPT · {origin}" if origin and self._system else "SYSTEM PROMPT"

    def _fields(self, *, reload: bool) -> ComposeResult:
        for parameter in PARAMETERS.values():
            if parameter.reload == reload:
                value = get_value(self._sampling, self._load, parameter.name)
                origin = self._origins.get(parameter.name, "")
                is_set = value != parameter.default or origin not in ("", "stored chat")
                unset = SERVER if self._served and not reload and parameter.name != "seed" else ""
                yield ParameterField(parameter, value, origin if is_set else unset)

    def on_mount(self) -> None:
        """Begin at the first number: the system prompt is above it."""
        self.set_focus(self.query(ParameterField).first().input, scroll_visible=False)

    @on(ParameterField.Entered)
    def _explain(self, event: ParameterField.Entered) -> None:
        parameter = event.field.parameter
        self.help.update(f"{parameter.name}: {parameter.help} Values: {parameter.range_text}.")

    @on(Input.Submitted)
    def _next(self) -> None:
        self.focus_next()

    @override
    def action_close(self, then: Then = "") -> None:
        """Apply the settings, and do what follows."""
        fields = list(self.query(ParameterField))
        if wrong := [each.parameter.label for each in fields if each.problem]:
            self.notify(f"Invalid and ignored: {', '.join(wrong)}.", severity="warning")
        values = {each.parameter.name: each.value for each in fields if each.changed and each.value is not None}
        # A text that is shown cleaned must not change unless it was edited.
        system = self._system if self.system.text == clean(self._system) else self.system.text
        full = cast("Overflow | None", values.pop(WHEN_FULL.name, None))
        screen = {each.name: values.pop(each.name) for each in SCREEN if each.name in values}
        self.dismiss(Settings(system, values, full, screen, then))

    def action_default(self) -> None:
        for each in self.query(ParameterField):
            if each.has_focus_within:
                each.input.value = shown(each.parameter, each.parameter.default)
