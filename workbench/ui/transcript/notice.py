"""A message of the program between the turns of a conversation."""

from __future__ import annotations

from typing import ClassVar

from textual.content import Content
from textual.geometry import Size

from workbench.core.errors import WorkbenchError
from workbench.ui.kit.sanitize import clean, clean_line
from workbench.ui.kit.text import styled, wrap
from workbench.ui.widgets.lines import Lines


class Notice(Lines):
    """A title, and a hint on what to do."""

    DEFAULT_CSS = """
    Notice {
        margin: 1 0 0 0;
        padding: 0 1;

        & > .notice--title {
            text-style: bold;
        }

        &.-error {
            border-left: thick $error;
            background: $error 10%;
        }

        &.-warning {
            border-left: thick $warning;
            background: $warning 10%;
        }

        &.-information {
            border-left: thick $success;
            background: $success 10%;
        }
    }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"notice--title"}

    def __init__(self, title: str, hint: str = "", severity: str = "error") -> None:
        super().__init__(classes=f"notice -{severity}")
        self._title = clean_line(title)
        self._hint = clean(hint)

    @classmethod
    def of(cls, error: WorkbenchError) -> Notice:
        return cls(error.message, error.hint)

    @property
    def text(self) -> str:
        return f"{self._title}\n{self._hint}".rstrip()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        title = styled((self._title, "notice--title"))
        self._lines = [*wrap(title, width), *(wrap(Content(self._hint), width) if self._hint else [])]
        self.forget_drawn()
        return len(self._lines)
