"""Writing the conversation to files, and making a model of it in Ollama."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from workbench.core.errors import WorkbenchError
from workbench.core.models import Naming
from workbench.core.sending import Sent
from workbench.core.session import ExportFormat
from workbench.ui.chat.view import ChatView
from workbench.ui.transcript.notice import Notice

if TYPE_CHECKING:
    from workbench.ui.dialogs.export import Export

EXPORTS: Mapping[str, tuple[ExportFormat, Naming | None, str]] = {
    ".modelfile": ("modelfile", None, "Modelfile   model, settings, messages, for Ollama"),
    ".md": ("md", None, "Markdown    the conversation, to read"),
    ".json": ("json", None, "JSON        everything, with figures of each answer"),
    ".sh": ("sh", None, "Commands    to start it in llama-server or Ollama"),
    ".ini": ("ini", None, "Preset      a section of presets.ini, for llama-server"),
    ".ollama.modelfile": ("modelfile", "ollama", "Modelfile   FROM its name in Ollama's store"),
    ".hf.modelfile": ("modelfile", "hf", "Modelfile   FROM hf.co/…, its name at Hugging Face"),
}
"""Format, name of the model in a Modelfile, and description, by the suffix of the file."""

TO_OLLAMA = "ollama"
TO_OLLAMA_TEXT = "Ollama      make the model there, and ask it"


def open_export(view: ChatView) -> None:
    """Let the user write the conversation to a file, or send it to Ollama."""
    from workbench.ui.dialogs.export import ExportDialog

    def chosen(export: Export | None) -> None:
        if export is not None and export.form == TO_OLLAMA:
            _open_ollama(view)
        elif export is not None:
            view.run(_export(view, export), "export", "export")

    texts = {suffix: text for suffix, (_, _, text) in EXPORTS.items()} | {TO_OLLAMA: TO_OLLAMA_TEXT}
    dialog = ExportDialog("the conversation", texts, view.services.export_folder, view.workspace.session().title)
    view.app.push_screen(dialog, chosen)


async def _export(view: ChatView, export: Export) -> None:
    form, naming, _ = EXPORTS[export.form]
    view.transcript.query(".-export").remove()
    try:
        written = await view.workspace.export(form, export.path, naming)
    except WorkbenchError as error:
        view.add_error(error, "export")
    else:
        view.add(Notice(f"Written to {written}", severity="information"), "export")


def _open_ollama(view: ChatView) -> None:
    from workbench.ui.chat.ollama_dialog import SendDialog

    def made(sent: Sent | None) -> None:
        if sent is not None:
            text = f"Ollama made {sent.model}, and it answers: {sent.answer}  Open it as {sent.ref}"
            view.add(Notice(text, severity="information"))

    view.app.push_screen(SendDialog(view.services.sender(), view.workspace.session()), made)
