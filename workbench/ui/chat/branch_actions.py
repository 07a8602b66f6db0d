"""Actions on the messages of the conversation: regenerate, edit, continue, branches, delete, undo, replay, copy."""

from __future__ import annotations

from asyncio import sleep as pause
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal

from workbench.core.alternatives import SHOWN
from workbench.core.tree import Node
from workbench.ui.chat.answers import ChatAnswers
from workbench.ui.chat.view import ChatView
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.turns import TurnAction, TurnLines
from workbench.ui.widgets.clipboard import CopyOut

LONGEST_PAUSE_S = 3.0
"""The longest pause of a replay between two pieces of text: nobody wants to wait for the prefill again."""
SHORTEST_PAUSE_S = 0.04
"""Tokens that came closer together are shown together."""
NO_MESSAGE = "There is no message yet."


class BranchActions:
    """Performs actions on one message: the given one, or the last one that the action applies to."""

    def __init__(self, view: ChatView, answers: ChatAnswers) -> None:
        self._view = view
        self._workspace = view.workspace
        self._answers = answers
        self._actions: dict[TurnAction, Callable[[TurnLines | None], object]] = {
            "regenerate": self._regenerate,
            "edit": self._edit,
            "continue": self._continue,
            "branch_before": lambda turn: self._run(self._walk(turn, -1), "go to a branch"),
            "branch_after": lambda turn: self._run(self._walk(turn, 1), "go to a branch"),
            "delete": self._delete,
            "undo": lambda _: self._run(self._turn_back("undo", "Undone: {} on a message redoes it.", "redo"), "undo"),
            "redo": lambda _: self._run(self._turn_back("redo", "Redone: {} on a message undoes it.", "undo"), "redo"),
            "lens": self._lens,
            "alternatives": self._alternatives,
            "record": lambda _: self._record(),
            "replay": lambda turn: view.run(self._replay(turn), "replay", "replay", exclusive=True),
        }

    def perform(self, action: TurnAction, turn: TurnLines | None = None) -> None:
        """Perform an action on a turn; without one, on the turn that has the focus or on the last one."""
        self._actions[action](turn or self._view.focused_turn)

    def _run(self, work: Coroutine[Any, Any, None], description: str) -> None:
        self._view.run(work, "branch", description)

    def _node(self, turn: TurnLines | None, *roles: str) -> Node | None:
        """The message of `turn`, or else the last one of one of `roles`; where there is none, that is shown."""
        path = self._workspace.conversation.tree.path()
        found = next((node for node in path if turn is not None and node.number == turn.number), None)
        found = found or next((node for node in reversed(path) if node.turn.message.role in roles), None)
        if found is None and self._answers.is_free():
            self._view.status.say(NO_MESSAGE)
        return found

    # Other answers

    def _regenerate(self, turn: TurnLines | None) -> None:
        engine, node = self._answers.free_engine(), self._node(turn, "assistant", "user")
        if engine is None or node is None:
            return
        question = node.number if node.turn.message.role == "user" else node.parent
        if not question:
            self._view.status.say("There is no question before this message.")
            return
        workspace = self._workspace
        self._answers.branch(lambda model, emit: workspace.regenerate(model, question, emit), question)

    def _continue(self, turn: TurnLines | None) -> None:
        engine, node = self._answers.free_engine(), self._node(turn, "assistant")
        if engine is None or node is None:
            return
        if not node.turn.is_cut:
            self._view.status.say("Only a truncated answer can continue.")
            return
        workspace, number = self._workspace, node.number
        self._answers.branch(lambda model, emit: workspace.go_on(model, number, emit), node.parent, beginning=node)

    def _edit(self, turn: TurnLines | None) -> None:
        from workbench.ui.chat.edit_dialog import EditDialog

        node = self._node(turn, "user")
        if node is None or not self._answers.is_free():
            return
        is_answer = node.turn.message.role == "assistant"
        if not is_answer and self._answers.free_engine() is None:
            return
        title, done = ("Edit the answer", "keeps it") if is_answer else ("Edit the message", "sends it")
        dialog = EditDialog(title, node.turn.message.content, done)
        self._view.app.push_screen(dialog, partial(self._edited, node))

    def _edited(self, node: Node, text: str | None) -> None:
        if text is None or text == node.turn.message.content:
            return
        if node.turn.message.role == "assistant":
            self._run(self._rewrite(node.number, text), "edit")
        elif self._answers.free_engine() is None:
            # The edited text is not lost.
            prompt = self._view.prompt
            prompt.put(f"{prompt.text}\n{text}".strip())
        else:
            workspace = self._workspace
            self._answers.branch(lambda model, emit: workspace.edit(model, node.number, text, emit), node.parent, text)

    async def _rewrite(self, number: int, text: str) -> None:
        await self._workspace.rewrite(number, text)
        await self._view.redraw(self._workspace.conversation.tree.leaf)

    # Branches

    async def _walk(self, turn: TurnLines | None, step: int) -> None:
        """Go to the branch beside `turn`, or beside the last message that has any."""
        if not self._answers.is_free():
            return
        conversation = self._workspace.conversation
        tree = conversation.tree
        places = tree.places()
        number = turn.number if turn is not None else 0
        if number not in places:
            number = next((each for each in reversed(places) if places[each].count > 1), 0)
        if not number or not conversation.walk(number, step):
            self._view.status.say("There is no other branch here.")
            return
        await self._workspace.record_view()
        siblings = tree.siblings(number)
        await self._view.redraw(siblings[(siblings.index(number) + step) % len(siblings)])

    def _delete(self, turn: TurnLines | None) -> None:
        from workbench.ui.dialogs.confirm import ConfirmDialog

        node = self._node(turn, "user", "assistant")
        if node is None or not self._answers.is_free():
            return

        def answered(agreed: bool | None) -> None:
            if agreed:
                self._run(self._delete_agreed(node.number), "delete")

        tree = self._workspace.conversation.tree
        count = sum(tree.is_alive(number) for number in tree.below(node.number)) - 1
        more = f" and the {count} that follow it in any branch" if count > 1 else " and the one that follows it"
        undo = self._view.key_for("turn.undo")
        text = f"Delete this message{more if count else ''}? {undo} on a message undoes it."
        self._view.app.push_screen(ConfirmDialog("Delete", text, "deletes"), answered)

    async def _delete_agreed(self, number: int) -> None:
        self._workspace.conversation.delete(number)
        await self._workspace.record_view()
        await self._view.redraw(self._workspace.conversation.tree.leaf)
        self._view.status.say(f"Deleted: {self._view.key_for('turn.undo')} on a message undoes it.")

    async def _turn_back(self, way: Literal["undo", "redo"], done: str, back: str) -> None:
        if not self._answers.is_free():
            return
        conversation = self._workspace.conversation
        changed = conversation.turn_back(way)
        if changed:
            await self._workspace.record_view()
            await self._view.redraw(conversation.tree.leaf if self._view.focused_turn else 0)
        key = self._view.key_for(f"turn.{back}")
        self._view.status.say(done.format(key) if changed else f"There is nothing to {way}.")

    def _lens(self, turn: TurnLines | None) -> None:
        from workbench.ui.chat.lens_actions import open_lens

        engine, node = self._answers.free_engine(), self._node(turn, "assistant")
        if engine is None or node is None:
            return
        if node.turn.message.role != "assistant" or node.turn.is_empty:
            self._view.status.say("The lens looks at an answer.")
            return
        open_lens(self._view, self._answers, engine, node)

    def _alternatives(self, turn: TurnLines | None) -> None:
        from workbench.ui.chat.lens_actions import open_alternatives

        node = self._node(turn, "assistant")
        if node is not None and self._answers.is_free():
            open_alternatives(self._view, self._answers, node)

    def _record(self) -> None:
        conversation = self._workspace.conversation
        conversation.alternatives = 0 if conversation.alternatives else SHOWN
        key = self._view.key_for("turn.alternatives")
        self._view.status.say(
            f"Alternatives are recorded from the next answer on: {key} on it shows them."
            if conversation.alternatives
            else "Alternatives are no longer recorded."
        )

    # Copies and replays

    def copy_conversation(self, *, to_file: bool = False) -> None:
        """Copy the current branch as Markdown to the clipboard, or to a file as well."""
        if not self._workspace.conversation.tree.leaf:
            self._view.status.say(NO_MESSAGE)
            return
        text = self._view.services.session_text(self._workspace.session(), "md")
        self._view.transcript.post_message(CopyOut(text, "The conversation was copied as Markdown.", to_file))

    def copy_answer(self, *, to_file: bool = False) -> None:
        if answers := self._view.transcript.query(AnswerTurn):
            answers.last().action_copy(to_file)

    def copy_code(self, *, to_file: bool = False) -> None:
        """Copy a block of code of the turn that has the focus, or of the last answer."""
        answers = self._view.transcript.query(AnswerTurn)
        turn = self._view.focused_turn or (answers.last() if answers else None)
        if turn is not None:
            turn.action_copy_code(to_file)

    async def _replay(self, turn: TurnLines | None) -> None:
        node = self._node(turn, "assistant")
        if node is None or not self._answers.is_free():
            return
        shown = self._view.transcript.turn_of(node.number)
        steps = list(node.turn.trace.steps())
        if shown is None or not steps:
            self._view.status.say("The timing of this message is not known.")
            return
        making = node.turn.making
        again = AnswerTurn(show_thoughts=self._view.show_thoughts, form=making.sampling.format if making else "")
        await self._view.transcript.mount(again, after=shown)
        shown.display = False
        message = node.turn.message
        places = {"answer": 0, "reasoning": 0}
        texts = {"answer": message.content, "reasoning": message.reasoning}
        waiting = 0.0
        try:
            for step in steps:
                waiting += min(step.gap_ms / 1000, LONGEST_PAUSE_S)
                if waiting >= SHORTEST_PAUSE_S:
                    await pause(waiting)
                    waiting = 0.0
                start = places[step.kind]
                places[step.kind] += step.characters
                piece = texts[step.kind][start : start + step.characters]
                again.write(*((piece, "") if step.kind == "answer" else ("", piece)))
        finally:
            shown.display = True
            await again.remove()
