"""Opening the lens over an answer, and going on from another token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.engine import Engine
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.core.tree import Node
from workbench.lab.quality.lens import Lens, LensJob, answer_tokens
from workbench.lab.quality.logits import LogitHost, ModelSpec
from workbench.lab.quality.passes import PassProgress
from workbench.lab.quality.recorded import recorded_lens
from workbench.ui.chat.answers import ChatAnswers
from workbench.ui.chat.view import ChatView
from workbench.ui.dialogs.model_picker import ModelPicker
from workbench.ui.lens.screen import NEEDS_FILE, LensChoice, LensScreen, short_names

NOT_RECORDED = "Nothing was recorded for this answer: {} records from the next one on, {} computes it again."


def open_lens(view: ChatView, answers: ChatAnswers, engine: Engine, node: Node) -> None:
    """Let the user choose a model, and look at an answer through it."""
    make_host = view.services.logits
    if make_host is None or engine.info.model.path is None or not engine.capabilities.score:
        view.status.say(NEEDS_FILE)
        return
    host = make_host()

    def chosen(model: ModelEntry | None) -> None:
        if model is not None:
            _show(view, answers, engine, node, host, model)

    view.app.push_screen(ModelPicker(view.services, engine.info.model, enter="compares"), chosen)


def _show(view: ChatView, answers: ChatAnswers, engine: Engine, node: Node, host: LogitHost, model: ModelEntry) -> None:
    info, conversation = engine.info, view.workspace.conversation
    one_model = model.is_same(info.model) and not view.workspace.needs_reload
    reference = ModelSpec(info.model.ref, info.settings)
    candidate = None if one_model else ModelSpec(model.ref, conversation.load)

    async def look(cancel: CancelToken, on_progress: Callable[[PassProgress], None]) -> Lens:
        whole, first = await answer_tokens(engine, conversation.request(node.number))
        job = LensJob(host, view.services.adviser, reference, candidate, whole, first)
        lens = await job.run(cancel, on_progress)
        tools = view.services.quality
        return lens if tools is None else await job.keep(tools, lens, f"an answer in {view.workspace.session().title}")

    mine, other = short_names(info.model, model)
    changed = [] if not model.is_same(info.model) else _differences(info.settings, conversation.load)
    _open(view, answers, node, LensScreen(look, (mine, " ".join([other, *changed])), one_model=one_model))


def open_alternatives(view: ChatView, answers: ChatAnswers, node: Node) -> None:
    """Look at the choices that were recorded while an answer was written."""
    log = view.choices.of(node.number)
    if not log:
        view.status.say(NOT_RECORDED.format(*map(view.key_for, ("turn.record", "turn.lens"))))
        return

    async def look(_: CancelToken, __: Callable[[PassProgress], None]) -> Lens:
        return recorded_lens(log)

    label = view.labels.get(node.turn.model, node.turn.model)
    _open(view, answers, node, LensScreen(look, (label, label), one_model=True))


def _open(view: ChatView, answers: ChatAnswers, node: Node, screen: LensScreen) -> None:
    """Show a lens; the chosen token continues the answer."""

    def ended(choice: LensChoice | None) -> None:
        if choice is not None and answers.free_engine() is not None:
            message = cut_message(node.turn.message, choice.whole.decode("utf-8", "replace"), choice.beginning.decode())
            _go_on(view, answers, node, message)

    view.app.push_screen(screen, ended)


def _differences(loaded: LoadSettings, asked: LoadSettings) -> list[str]:
    """The settings that change what a model computes, and that differ."""
    names = ("type_k", "type_v", "flash_attn")
    return [f"{name}={getattr(asked, name)}" for name in names if getattr(asked, name) != getattr(loaded, name)]


def _go_on(view: ChatView, answers: ChatAnswers, node: Node, message: Message) -> None:
    changed = replace(node, turn=replace(node.turn, message=message))
    workspace = view.workspace
    answers.branch(
        lambda model, emit: workspace.go_on(model, node.number, emit, message), node.parent, beginning=changed
    )


def cut_message(message: Message, whole: str, beginning: str) -> Message:
    """An answer that begins with other words, in its thoughts or in its text.

    `whole` is all that the model wrote, with the markup around its thoughts, and `beginning` what takes its place.
    """
    thoughts = message.reasoning.strip()
    if not thoughts:
        return replace(message, content=beginning, reasoning="")
    text = len(whole) - len(message.content)
    if len(beginning) > text and message.content and whole.endswith(message.content):
        return replace(message, content=beginning[text:])
    return Message("assistant", "", beginning[max(0, whole.find(thoughts[:80])) :])
