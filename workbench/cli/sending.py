"""`workbench export --to-ollama`: create a model on an Ollama server from a conversation."""

from __future__ import annotations

import argparse
import asyncio

from workbench.cli.output import note
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.errors import CancelledError, ParameterError
from workbench.core.sending import ModelSender, SendPhase, SendProgress, Sent
from workbench.core.session import Session
from workbench.core.units import size_text

PHASES: dict[SendPhase, str] = {
    "looking": "looking who is at",
    "reading": "reading",
    "sending": "sending",
    "making": "making",
    "asking": "asking",
}


def add_sending_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments for sending to Ollama."""
    group = parser.add_argument_group(
        "Ollama", "Create the model that the Modelfile describes there, and ask it a question."
    )
    group.add_argument("--to-ollama", metavar="NAME", help="the name of the new model; no file is written without -o")
    group.add_argument("--server", metavar="URL", help="where Ollama is (OLLAMA_HOST, else this machine)")
    group.add_argument("--overwrite", action="store_true", help="replace a model that has this name")


def check_sending(options: argparse.Namespace, formats: list[str]) -> None:
    """Check that the arguments for Ollama fit together.

    Raises:
        ParameterError: They do not.
    """
    if options.to_ollama is None:
        if options.server is not None or options.overwrite:
            option = "--overwrite" if options.overwrite else "--server"
            raise ParameterError(f"{option} belongs to --to-ollama.", "Write --to-ollama NAME.")
    elif "modelfile" not in formats:
        raise ParameterError("Ollama takes Modelfiles alone.", "Write --format modelfile.")


def send_session(options: argparse.Namespace, session: Session, sender: ModelSender) -> Sent | None:
    """Send a conversation and show the progress; None where it was stopped."""
    line = ProgressLine()

    def show(progress: SendProgress) -> None:
        share = "" if progress.fraction is None else f"{progress.fraction:4.0%}  "
        line.say(f"{share}{PHASES[progress.phase]} {progress.what}")

    url = options.server or sender.usual_server
    try:
        sent = asyncio.run(
            stoppable(
                lambda cancel: sender.send(session, options.to_ollama, url, show, cancel, overwrite=options.overwrite)
            )
        )
    except CancelledError as error:
        line.clear()
        note(f"workbench: {error.message}")
        return None
    finally:
        line.clear()
    return sent


def sent_text(sent: Sent) -> str:
    """The result, in two lines."""
    what = "Ollama had the file" if not sent.sent_bytes else f"{size_text(sent.sent_bytes)} sent"
    return f"{sent.ref}\n{what}; it answers: {sent.answer}"


def sent_fields(sent: Sent) -> dict[str, object]:
    """The result, for `--json`."""
    return {
        "url": sent.url, "model": sent.model, "ref": sent.ref, "sent_bytes": sent.sent_bytes, "answer": sent.answer,
    }  # fmt: skip
