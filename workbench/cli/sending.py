"""Handing a conversation over to Ollama: the Modelfile that an export would write, and the model made of it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.cli.output import note, size_text
from workbench.cli.progress import ProgressLine, stoppable
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, ParameterError
from workbench.core.sending import OnSend, SendPhase, SendProgress, Sent
from workbench.core.servers import server_url
from workbench.core.session import Session

if TYPE_CHECKING:
    from workbench.engine.remote.addresses import AddressBook

PHASES: dict[SendPhase, str] = {
    "looking": "looking who is at",
    "reading": "reading",
    "sending": "sending",
    "making": "making",
    "asking": "asking",
}


def add_sending_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments for handing over."""
    group = parser.add_argument_group(
        "Ollama", "The model that the Modelfile describes is made there, and asked something."
    )
    group.add_argument(
        "--to-ollama", metavar="NAME", help="what the model is to be called; no file is written without -o"
    )
    group.add_argument("--server", metavar="URL", help="where Ollama is (OLLAMA_HOST, else this machine)")
    group.add_argument("--overwrite", action="store_true", help="replace a model that has this name")


def check_sending(options: argparse.Namespace, formats: list[str]) -> None:
    """See that what was written of handing over makes sense.

    Raises:
        ParameterError: It does not.
    """
    if options.to_ollama is None:
        if options.server is not None or options.overwrite:
            option = "--overwrite" if options.overwrite else "--server"
            raise ParameterError(f"{option} belongs to --to-ollama.", "Write --to-ollama NAME.")
    elif "modelfile" not in formats:
        raise ParameterError("Ollama takes Modelfiles alone.", "Write --format modelfile.")


@dataclass(frozen=True, slots=True)
class SessionSender:
    """Hands conversations over to Ollama.

    Args:
        text_of: The Modelfile of a conversation, with what FROM is to name in it; nothing for the model's file.
        addresses: The servers that are known.
        base: What FROM is to name.
    """

    text_of: Callable[[Session, str], str]
    addresses: AddressBook
    base: str = ""

    @property
    def usual_server(self) -> str:
        """Where Ollama is unless somebody says otherwise."""
        return self.addresses.ollama

    async def send(
        self,
        session: Session,
        name: str,
        url: str,
        on_progress: OnSend,
        cancel: CancelToken,
        *,
        overwrite: bool = False,
    ) -> Sent:
        """Have Ollama make the model that the Modelfile of `session` describes, and ask it something.

        Raises:
            WorkbenchError: It cannot be made, or does not answer; CancelledError when `cancel` was set.
        """
        from workbench.engine.remote.ollama_create import OllamaSender
        from workbench.modelfile.meaning import read

        # What is handed over is what would be written, to the letter.
        modelfile = read(await asyncio.to_thread(self.text_of, session, self.base))
        sender = OllamaSender(self.addresses.address)
        return await sender.send(modelfile, name, server_url(url), on_progress, cancel, overwrite=overwrite)


def send_session(options: argparse.Namespace, session: Session, sender: SessionSender) -> Sent | None:
    """Hand a conversation over, and tell how far that is; None where it was stopped."""
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
    """What came of it, in two lines."""
    what = "Ollama had the file" if not sent.sent_bytes else f"{size_text(sent.sent_bytes)} sent"
    return f"{sent.ref}\n{what}; it answers: {sent.answer}"


def sent_fields(sent: Sent) -> dict[str, object]:
    """What came of it, for `--json`."""
    return {
        "url": sent.url, "model": sent.model, "ref": sent.ref, "sent_bytes": sent.sent_bytes, "answer": sent.answer,
    }  # fmt: skip
