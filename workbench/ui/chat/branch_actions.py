"""What is done with the messages of the conversation: asked again, edited, gone on with, deleted, copied."""

from __future__ import annotations

from asyncio import sleep as pause
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

from textual import work
from textual.worker import Worker, WorkerCancelled, WorkerFailed

from workbench.core.answer import Outcome
from workbench.core.engine import Engine
from workbench.core.tree import Node
from workbench.ui.chat.prompt_input import TypedScreen
from workbench.ui.kit.clipboard import CopyOut
from workbench.ui.services import Services
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.transcript.notice import Notice
from workbench.ui.transcript.turns import TurnLines
from workbench.ui.workspace.pacing import Clocks, Emit

LONGEST_PAUSE_S = 3.0
"""How long a replay waits for the next word, at most: nobody wants to see the prompt being read again."""
SHORTEST_PAUSE_S = 0.04
"""Words that came closer together are shown together."""

Ask = Callable[[Engine, Emit], Awaitable[Outcome]]
"""Has an answer made."""


class BranchScreen(TypedScreen):
    """Answers, and goes from branch to branch of the conversation.

    Args:
        services: What the program works with.
        clocks: What the time is read from.
        key_for: Tells the key that a binding has.
    """

    def __init__(self, services: Services, clocks: Clocks, key_for: Callable[[str], str]) -> None:
        super().__init__(services, clocks, key_for)
        self._show_thoughts = True
        self._answering: Worker[None] | None = None
        self._labels: dict[str, str] = {}
        """What models are called, by their references."""

    # Answering

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being made."""
        return self._answering is not None and not self._answering.is_finished

    def _is_free(self) -> bool:
        """Whether the conversation can be changed now; says why not."""
        if self.is_answering:
            self.say(f"An answer is being written: {self._key_for('chat.stop')} stops it.")
            return False
        return True

    def _free_engine(self) -> Engine | None:
        """The model that can answer now; None, and it is said why, where none can."""
        if not self._is_free():
            return None
        if self.desk.bay.loading:
            self.say("The model is still being loaded.")
            return None
        if self.desk.engine is None:
            self.say(f"No model is open: {self._key_for('chat.models')} chooses one.")
        return self.desk.engine

    async def _stop_answer(self) -> None:
        if self.is_answering and self._answering is not None:
            self.desk.stop()
            with suppress(WorkerFailed, WorkerCancelled):
                await self._answering.wait()

    @work(group="answer", exit_on_error=False, description="answer")
    async def _answer(self, text: str) -> None:
        engine = self.desk.engine
        if engine is not None:
            outcome = await self._run(engine, lambda *given: self.desk.answer(engine, text, given[1]))
            if not outcome.message.content and not outcome.message.reasoning:
                self._give_back(text)

    def _give_back(self, text: str) -> None:
        """A question that was not answered is in the prompt again, unless the user has gone on."""
        if not self.prompt.text:
            self.prompt.put_message(text)

    @work(group="answer", exit_on_error=False, description="answer")
    async def _answer_anew(
        self, ask: Ask, keep: int, question: str | None = None, beginning: Node | None = None
    ) -> None:
        """Have another answer, in a branch of its own.

        Args:
            ask: Has it made.
            keep: The last message that the branches have in common.
            question: The question of the new branch, where it has its own.
            beginning: The answer that is gone on with.
        """
        engine = self.desk.engine
        if engine is None:
            return
        await self.transcript.keep_to(keep)
        if question is not None:
            self._add(self.transcript.user_turn(question))
        count = len(self.desk.conversation.tree.nodes)
        try:
            await self._run(engine, ask, beginning)
        finally:
            if len(self.desk.conversation.tree.nodes) == count:
                # Nothing came of it, and the conversation is what it was.
                await self._redraw()

    async def _run(self, engine: Engine, ask: Ask, beginning: Node | None = None) -> Outcome:
        turn = AnswerTurn(show_thoughts=self._show_thoughts)
        if beginning is not None:
            turn.write(beginning.turn.message.content, beginning.turn.message.reasoning)
        self._add(turn)
        model = engine.info.model
        self._labels[model.ref] = model.label
        self._begin_work()
        self.transcript.follow(True)

        def draw(answer: str, thoughts: str) -> None:
            self.transcript.make_room(turn.write(answer, thoughts))
            self._look_if_due()

        try:
            outcome = await ask(engine, draw)
        except BaseException:
            turn.finish(model.label, None, "failed")
            raise
        finally:
            self.transcript.follow(False)
            self._set_busy()
        turn.finish(model.label, outcome.metrics, outcome.reason)
        self.transcript.put_places(self.desk.conversation.tree)
        self._show_speeds()
        if outcome.dropped:
            count = f"{outcome.dropped} of the oldest messages were left out"
            self._add(Notice(f"The context is full: {count}.", "A longer context length keeps them.", "warning"))
        if outcome.notice:
            self._add(Notice(outcome.notice, severity="warning"))
        if outcome.error is not None:
            self._services.logs.add("error", "engine", str(outcome.error))
            self._add(Notice.of(outcome.error))
        return outcome

    # Which message is meant

    def _node(self, *roles: str) -> Node | None:
        """The message that has the focus, or else the last one of one of `roles`; None, and it is said, without any."""
        tree = self.desk.conversation.tree
        focused = self.focused
        number = focused.number if isinstance(focused, TurnLines) else 0
        path = tree.path()
        found = next((node for node in path if node.number == number), None)
        found = found or next((node for node in reversed(path) if node.turn.message.role in roles), None)
        if found is None:
            self.say("There is no message yet.")
        return found

    async def _redraw(self, focus: int = 0) -> None:
        """Show the conversation as it is now.

        Args:
            focus: The message that is to have the focus; 0 for none.
        """
        tree = self.desk.conversation.tree
        await self.transcript.show_tree(tree, self._labels, show_thoughts=self._show_thoughts)
        if not tree.leaf:
            self._welcome()
        self._look()
        turn = self.transcript.turn_of(focus)
        if turn is not None:
            turn.focus()
        elif not isinstance(self.focused, TurnLines):
            self.prompt.focus()

    # Actions

    def action_regenerate(self) -> None:
        """Have another answer to the question that has the focus, or to the last one."""
        engine, node = self._free_engine(), self._node("assistant", "user")
        if engine is None or node is None:
            return
        question = node.number if node.turn.message.role == "user" else node.parent
        if not question:
            self.say("There is no question before this message.")
            return
        desk = self.desk
        self._answering = self._answer_anew(lambda model, emit: desk.regenerate(model, question, emit), question)
        self.prompt.focus()

    def action_go_on(self) -> None:
        """Let an answer go on that was cut off: the one that has the focus, or the last one."""
        engine, node = self._free_engine(), self._node("assistant")
        if engine is None or node is None:
            return
        if not node.turn.is_cut:
            self.say("Only an answer that was cut off can go on.")
            return
        desk, number = self.desk, node.number
        ask: Ask = lambda model, emit: desk.go_on(model, number, emit)  # noqa: E731
        self._answering = self._answer_anew(ask, node.parent, beginning=node)
        self.prompt.focus()

    def action_edit(self) -> None:
        """Edit the message that has the focus, or the last question, and go on from there."""
        from workbench.ui.chat.edit_dialog import EditDialog

        node = self._node("user")
        if node is None or not self._is_free():
            return
        is_answer = node.turn.message.role == "assistant"
        if not is_answer and self._free_engine() is None:
            return
        title, done = ("Edit the answer", "keeps it") if is_answer else ("Edit the message", "sends it")
        self.app.push_screen(EditDialog(title, node.turn.message.content, done), partial(self._edited, node))

    def _edited(self, node: Node, text: str | None) -> None:
        if text is None or text == node.turn.message.content:
            return
        if node.turn.message.role == "assistant":
            self._rewrite(node.number, text)
        elif self._free_engine() is None:
            # What was typed is not lost.
            self.prompt.put(f"{self.prompt.text}\n{text}".strip())
        else:
            desk = self.desk
            ask: Ask = lambda model, emit: desk.edit(model, node.number, text, emit)  # noqa: E731
            self._answering = self._answer_anew(ask, node.parent, text)
            self.prompt.focus()

    @work(group="branch", exit_on_error=False, description="edit")
    async def _rewrite(self, number: int, text: str) -> None:
        await self.desk.rewrite(number, text)
        await self._redraw(self.desk.conversation.tree.leaf)

    @work(group="branch", exit_on_error=False, description="go to a branch")
    async def action_walk(self, step: int) -> None:
        """Go to the branch beside the message that has the focus, or beside the last one that has any.

        Args:
            step: How many branches to go on, or back.
        """
        if not self._is_free():
            return
        tree = self.desk.conversation.tree
        places = tree.places()
        number = self.focused.number if isinstance(self.focused, TurnLines) else 0
        if number not in places:
            number = next((each for each in reversed(places) if places[each].count > 1), 0)
        if not number or not await self.desk.walk(number, step):
            self.say("There is no other branch here.")
            return
        siblings = tree.siblings(number)
        await self._redraw(siblings[(siblings.index(number) + step) % len(siblings)])

    def action_delete(self) -> None:
        """Delete the message that has the focus, or the last one, after asking."""
        from workbench.ui.dialogs.confirm import ConfirmDialog

        node = self._node("user", "assistant")
        if node is None or not self._is_free():
            return
        tree = self.desk.conversation.tree
        count = sum(tree.is_alive(number) for number in tree.below(node.number)) - 1
        more = f" and the {count} that follow it in any branch" if count > 1 else " and the one that follows it"
        text = f"Delete this message{more if count else ''}? {self._key_for('turn.undo')} on a message undoes it."
        self.app.push_screen(ConfirmDialog("Delete", text, "deletes"), partial(self._delete_agreed, node.number))

    def _delete_agreed(self, number: int, agreed: bool | None) -> None:
        if agreed:
            self._delete(number)

    @work(group="branch", exit_on_error=False, description="delete")
    async def _delete(self, number: int) -> None:
        await self.desk.delete(number)
        await self._redraw(self.desk.conversation.tree.leaf)
        self.say("Deleted.")

    @work(group="branch", exit_on_error=False, description="undo")
    async def action_undo(self) -> None:
        """Take back the last change of the conversation."""
        if self._is_free():
            await self._changed(await self.desk.undo(), "Undone.", "There is nothing to undo.")

    @work(group="branch", exit_on_error=False, description="redo")
    async def action_redo(self) -> None:
        """Make the change again that was taken back last."""
        if self._is_free():
            await self._changed(await self.desk.redo(), "Done again.", "There is nothing to redo.")

    async def _changed(self, changed: bool, said: str, otherwise: str) -> None:
        if changed:
            focus = self.desk.conversation.tree.leaf if isinstance(self.focused, TurnLines) else 0
            await self._redraw(focus)
        self.say(said if changed else otherwise)

    def action_copy_conversation(self, to_file: bool = False) -> None:
        """Copy the whole conversation as Markdown, into a file too if that is wanted."""
        conversation = self.desk.conversation
        if not conversation.tree.leaf:
            self.say("There is no message yet.")
            return
        session = conversation.session(self.desk.scribe.session_id, self.desk.model)
        text = self._services.session_text(session, "md")
        self.post_message(CopyOut(text, "The conversation was copied as Markdown.", to_file))

    def action_copy_code(self, to_file: bool = False) -> None:
        """Copy a block of code of the turn that has the focus, or of the last answer."""
        turn = self.focused if isinstance(self.focused, TurnLines) else None
        answers: Sequence[TurnLines] = list(self.query(AnswerTurn))
        turn = turn or (answers[-1] if answers else None)
        if turn is not None:
            turn.action_copy_code(to_file)

    @work(group="replay", exclusive=True, exit_on_error=False, description="replay")
    async def action_replay(self) -> None:
        """Show the answer that has the focus, or the last one, again at the speed at which it came."""
        node = self._node("assistant")
        if node is None or not self._is_free():
            return
        shown = self.transcript.turn_of(node.number)
        steps = list(node.turn.trace.steps())
        if shown is None or not steps:
            self.say("It is not known when the words of this message came.")
            return
        again = AnswerTurn(show_thoughts=self._show_thoughts)
        await self.transcript.mount(again, after=shown)
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
