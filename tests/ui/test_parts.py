from __future__ import annotations

import re
from dataclasses import replace

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Offset

from tests.ui.drive import press_keys, settle, shown, started
from tests.ui.fakes import ANSWER, FakeClock
from workbench.core.chat import Message
from workbench.core.config import Config
from workbench.core.events import PromptChange, PromptReuse, ThreadsUsed
from workbench.core.metrics import AnswerMetrics
from workbench.core.models import EngineInfo, MemoryUse, ModelEntry
from workbench.core.parameters import PARAMETERS, LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.speculation import SpeculationFigures
from workbench.core.telemetry import HostSample
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import ScriptedHost
from workbench.ui.chat.stats_panel import panel_lines, strip_lines
from workbench.ui.chat.welcome import ways_to_a_model
from workbench.ui.dialogs.parameter_field import shown as shown_value
from workbench.ui.dialogs.parameter_field import typed
from workbench.ui.kit import figures as fmt
from workbench.ui.kit.gauges import bar, digits, graph, level
from workbench.ui.markdown.blocks import code_blocks
from workbench.ui.markdown.streaming import StreamingDocument
from workbench.ui.themes import FALLBACK, variable_defaults
from workbench.ui.transcript import answer as answer_turns
from workbench.ui.transcript.answer import AnswerTurn
from workbench.ui.workspace.conversation import Conversation
from workbench.ui.workspace.machine_watch import MachineView
from workbench.ui.workspace.pacing import SLOWEST_INTERVAL, Clocks, Pacer
from workbench.ui.workspace.readings import StatsReadings


@pytest.mark.parametrize(
    ("call", "value", "text"),
    [
        (fmt.rate, None, "—"),
        (fmt.rate, 45.23, "45.2"),
        (fmt.rate, 1234.5, "1,234"),
        (fmt.milliseconds, None, "—"),
        (fmt.milliseconds, 6.64, "6.6 ms"),
        (fmt.milliseconds, 124.4, "124 ms"),
        (fmt.milliseconds, 1240.0, "1.24 s"),
        (fmt.milliseconds, 65000.0, "65.0 s"),
        (fmt.count, None, "—"),
        (fmt.count, 0, "0"),
        (fmt.count, 12345, "12,345"),
        (fmt.size, None, "—"),
        (fmt.size, 999, "999 B"),
        (fmt.size, 46_000_000, "43.9 MiB"),
        (fmt.size, 1_023_999, "1.0 MiB"),
        (fmt.size, 82_680_000_000, "77.0 GiB"),
        (fmt.size, 5_300_000_000, "4.9 GiB"),
        (fmt.parameters, 135_000_000, "135M"),
        (fmt.parameters, 1_500_000_000, "1.5B"),
        (fmt.parameters, None, "—"),
    ],
)
def test_figures_are_written(call, value, text: str) -> None:
    assert call(value) == text


INFO = EngineInfo(
    ModelEntry("r", "A model\x1b[31m with a name that is longer than the panel", "Q4_K_M", bits_per_weight=4.83),
    LoadSettings(num_ctx=1000),
    "CPU",
    100.0,
    MemoryUse(1_000_000, 2_000_000, 3_000_000),
)
HOST = HostSample(1, 100, 1000, 0.0)
FULL = StatsReadings(info=INFO, machine=MachineView(HOST), context_used=970, history=(1.0, 2.0, 0.0))


def test_drafts_are_shown_by_place() -> None:
    found = SpeculationFigures().with_step(8, 8).with_step(8, 1).with_step(3, 3).with_step(6, 0)
    text = "\n".join(
        line.plain for line in panel_lines(StatsReadings(metrics=AnswerMetrics(speculation=found)), 31, 60)
    )
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert {"Drafts right 48% of 25", "a step 4.0 tokens", "up to 1 2 4 8 75 50 25 25 %"} <= set(lines)
    assert max(map(len, text.splitlines())) == 31


def test_fewer_threads_on_a_busy_machine_are_said() -> None:
    busy, quiet = (StatsReadings(streaming=True, threads=ThreadsUsed(count, 2, 0)) for count in (1, 2))
    assert "1 of 2 threads: the machine" in "\n".join(line.plain for line in panel_lines(busy, 31, 60))
    assert "threads" not in "\n".join(line.plain for line in panel_lines(quiet, 31, 60))


@pytest.mark.parametrize("width", [31, 65])
@pytest.mark.parametrize("height", [60, 33, 30, 20])
@pytest.mark.parametrize("readings", [StatsReadings(), FULL], ids=["empty", "full"])
def test_the_panel_is_never_too_wide(readings: StatsReadings, height: int, width: int) -> None:
    lines = panel_lines(readings, width, height)
    assert all(line.cell_length <= width for line in lines)
    assert not any(ord(char) < 32 for line in lines for char in line.plain)
    assert len(lines) <= height


def test_a_wide_panel_has_two_columns() -> None:
    lines = [line.plain for line in panel_lines(FULL, 65, 40)]
    assert any(line.startswith("A model") and "CONTEXT" in line for line in lines)
    assert len(lines) < len(panel_lines(FULL, 31, 40))


def test_unknown_figures_are_dashes() -> None:
    text = "\n".join(line.plain for line in panel_lines(StatsReadings(), 31, 40))
    assert "0" not in text.replace("p50", "")
    assert text.count("—") >= 10


def test_estimates_are_marked_and_the_source_is_named() -> None:
    metrics = AnswerMetrics(decode_tps=12.0, prompt_tokens=7, completion_tokens=9, estimated=True, source="client")
    text = "\n".join(line.plain for line in panel_lines(StatsReadings(metrics=metrics), 31, 40))
    assert "≈9" in text
    assert "client" in text


def test_cached_tokens_say_where_they_are_from() -> None:
    reuse = PromptReuse("checkpoint", kept_bytes=3 * 2**20)
    metrics = AnswerMetrics(prompt_tokens=1549, cached_tokens=1480, reuse=reuse)
    text = "\n".join(line.plain for line in panel_lines(StatsReadings(metrics=metrics), 31, 60))
    assert re.search(r"cached +1,480 of 1,549\n +from +checkpoint\n", text)
    assert re.search(r"Kept states +3\.0 MiB", text)


def test_what_is_computed_again_says_why() -> None:
    change = PromptChange(11, "Mon", "Tue\x1b[2J", "a date or time in the system prompt")
    reuse = PromptReuse("context", change, "no checkpoint is left before the change")
    metrics = AnswerMetrics(prompt_tokens=1549, cached_tokens=11, reuse=reuse)
    lines = [line.plain for line in panel_lines(StatsReadings(metrics=metrics), 31, 60)]
    text = re.sub(r"\s+", " ", " ".join(lines))
    assert "computed again: no checkpoint is left before the change" in text
    assert "token 12 is 'Tue\\x1b[2J' instead of 'Mon': a date or time in the system prompt" in text
    assert all(len(line) <= 31 for line in lines)
    most = replace(metrics, cached_tokens=1500, reuse=replace(reuse, lost=""))
    assert "date" not in " ".join(line.plain for line in panel_lines(StatsReadings(metrics=most), 31, 60))


def test_a_context_that_fills_up_is_marked() -> None:
    assert level(0.5) == "gauge--bar"
    assert level(0.85) == "gauge--warn"
    assert level(0.97) == "gauge--critical"
    assert any(span.style == "gauge--critical" for line in panel_lines(FULL, 31, 40) for span in line.spans)


@pytest.mark.parametrize("width", [20, 78])
def test_the_strip_has_two_rows_that_fit(width: int) -> None:
    lines = strip_lines(StatsReadings(info=INFO, machine=MachineView(HOST), needs_reload=True), width)
    assert len(lines) == 2
    assert all(line.cell_length <= width for line in lines)


def test_bars_graphs_and_digits() -> None:
    assert bar(0.5, 4).plain == "━━──"
    assert bar(0.125, 4).plain == "╸───"
    assert bar(None, 3).plain == "───"
    assert [line.plain for line in graph((1.0, 2.0), 4)] == ["   █", "▁▁██"]
    assert digits("4") == ["╻ ╻", "┗━┫", "  ╹"]
    assert len(set(map(len, digits("1,234.5—?")))) == 1


class Time:
    """A clock, and the processor time that goes with it."""

    def __init__(self) -> None:
        self.ns = 0
        self.cpu = 0.0

    def clocks(self) -> Clocks:
        return Clocks(lambda: self.ns, lambda: self.cpu)


async def test_text_is_emitted_at_a_steady_rate_and_never_lost() -> None:
    time, emitted = Time(), []
    pacer = Pacer(lambda answer, thoughts: emitted.append((answer, thoughts)), 0.1, clocks=time.clocks())
    for number in range(10):
        pacer.add(str(number), "answer")
        pacer.add("t" if number == 0 else "", "reasoning")
        pacer.pulse()
        time.ns += 30_000_000
    pacer.flush()
    pacer.flush()
    assert emitted[0] == ("0", "t")
    assert "".join(answer for answer, _ in emitted) == "0123456789"
    assert len(emitted) == 4


async def test_the_last_piece_is_drawn_though_nothing_follows() -> None:
    clock, emitted = FakeClock(), []
    pacer = Pacer(lambda answer, _: emitted.append(answer), 0.01, clocks=Clocks(clock, lambda: 0.0, clock.call_later))
    for text in ("a", "b"):
        pacer.add(text, "answer")
        pacer.pulse()
    await clock.sleep(0.005)
    assert emitted == ["a"]
    await clock.sleep(0.005)
    assert emitted == ["a", "b"]


async def test_expensive_paints_become_rarer_and_recover() -> None:
    time = Time()
    pacer = Pacer(lambda *_: None, 0.05, share=0.1, clocks=time.clocks())

    def paint(cpu: float) -> None:
        time.ns += 300_000_000
        time.cpu += cpu
        pacer.add("x", "answer")
        pacer.pulse()

    for _ in range(20):
        paint(0.2)
    assert pacer.interval == SLOWEST_INTERVAL
    for _ in range(60):
        paint(0.001)
    assert pacer.interval == 0.05


def test_questions_that_were_not_answered_are_left_out() -> None:
    conversation = Conversation.new(Config(system="Be kind."))
    conversation.ask("first")
    conversation.answer(Turn(Message("assistant", ""), 1.0, "m", AnswerMetrics(), "cancelled"))
    conversation.ask("second")
    assert [message.content for message in conversation.messages()] == ["Be kind.", "second"]


def test_a_session_is_resumed_as_it_was() -> None:
    turns = (Turn(Message("user", "q"), 5.0), Turn(Message("assistant", "a"), 6.0, "m", AnswerMetrics(), "stop"))
    session = Session("id", 4.0, 6.0, "m", "/m", "sys", Sampling(seed=3), LoadSettings(num_ctx=9), Tree.of(turns))
    conversation = Conversation.resumed(session, Config())
    assert conversation.session("id", ModelEntry("m", "m", path="/m")) == session


@pytest.mark.parametrize("parameter", PARAMETERS.values(), ids=lambda parameter: parameter.name)
def test_every_value_is_typed_as_it_is_shown(parameter) -> None:
    assert typed(parameter, shown_value(parameter, parameter.default)) == parameter.default


def test_texts_with_line_ends_are_typed_as_they_are_shown() -> None:
    stop = PARAMETERS["stop"]
    value = ("END", "\n\n", "back\\slash", "\\n")
    assert typed(stop, shown_value(stop, value)) == value


async def test_text_is_selected_with_the_mouse_and_copied(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        turn = app.query_one(AnswerTurn)
        await pilot.mouse_down(turn, offset=Offset(6, 0))
        await pilot.hover(turn, offset=Offset(9, 0))
        await pilot.mouse_up(turn, offset=Offset(9, 0))
        await settle(pilot)
        await pilot.press("ctrl+c")
        assert app.clipboard.startswith("sky")
        assert "The sky is blue" in ANSWER.replace("**", "")


async def test_a_key_in_the_bar_can_be_clicked(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        keys = app.query_one("KeyBar")
        place = shown(app).splitlines()[-1].index("F6")
        await pilot.click(keys, offset=(place + 1, 0))
        await settle(pilot)
        assert app.screen is not app.chat


async def test_text_that_turns_out_to_be_thoughts_is_emitted_as_such():
    emitted = []
    pacer = Pacer(lambda answer, thoughts, recast=False: emitted.append((answer, thoughts, recast)), 10)
    pacer.add("Two and", "answer")
    pacer.pulse()
    pacer.add(" two.", "answer")
    pacer.recast()
    pacer.add("Four", "answer")
    pacer.flush()
    assert emitted == [("Two and", "", False), (" two.", "", False), ("", "", True), ("Four", "", False)]


async def test_an_answer_that_turns_out_to_be_thoughts_is_drawn_as_such():
    turn = AnswerTurn(show_thoughts=True)
    turn.lay_out(60)
    turn.write("Two and two.", "")
    turn.recast()
    turn.write("Four", "")
    turn.lay_out(61)
    lines = [line.plain.strip() for line in turn._lines]
    assert lines == ["▾ Thought  12 characters", "│ Two and two.", "", "Four"]
    assert turn.text == "Four"


@pytest.mark.parametrize(
    ("form", "label"),
    [("json", ["json"]), ('{"type": "object"}', ["json"]), ("/a/cat.JSON", ["json"]), ("/a/list.gbnf", [])],
)
@pytest.mark.parametrize("recast", [False, True])
async def test_an_answer_in_a_format_is_shown_as_code(form, label, recast):
    turn = AnswerTurn(show_thoughts=True, form=form)
    turn.lay_out(60)
    turn.write("", "Hm.")
    assert [line.plain.strip() for line in turn._lines] == ["▾ Thinking…  3 characters", "│ Hm."]
    if recast:
        turn.write("More.", "")
        turn.recast()
    for piece in ('{\n   "a', '": "*b*",\n', "\n```\n", "   # c\n}"):
        turn.write(piece, "")
    expected = [*label, "{", '   "a": "*b*",', "```", "   # c", "}"]
    for _ in range(2):
        lines = [line.plain.rstrip().removeprefix(" ") for line in turn._lines][2:]
        assert [line for line in lines if line] == expected
        assert turn.text == "".join(('{\n   "a', '": "*b*",\n', "\n```\n", "   # c\n}"))
        assert code_blocks(turn.markdown) == [(turn.text, "".join(label))]
        turn.finish("", None, "stop")


class OneTurn(App[None]):
    """An answer alone."""

    def __init__(self, turn: AnswerTurn) -> None:
        super().__init__()
        self.turn = turn

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), **variable_defaults(FALLBACK)}

    def compose(self) -> ComposeResult:
        yield self.turn


async def test_the_end_of_a_long_answer_is_shown_before_it_is_laid_out_as_a_whole(monkeypatch):
    monkeypatch.setattr(answer_turns, "LONG_ROWS", 2)
    steps: list[str] = []
    finish = StreamingDocument.finish
    monkeypatch.setattr(StreamingDocument, "finish", lambda document: steps.append("whole") or finish(document))
    turn = AnswerTurn(show_thoughts=True)
    async with OneTurn(turn).run_test() as pilot:
        turn.lay_out(60)
        turn.write("one\n\ntwo\n\nthree", "")
        turn.finish("Model", None, "cancelled")
        steps.append(turn.lines[-1].plain)
        await pilot.pause()
    assert ("stopped" in steps[0], steps[1:]) == (True, ["whole"])


def test_without_a_model_the_first_screen_names_the_ways_to_one() -> None:
    def ways(*models: ModelEntry) -> str:
        return "\n".join(f"{key} {text}" for key, text in ways_to_a_model(models, lambda name: f"<{name}>"))

    assert ways().count("\n") == 1
    assert "<chat.models> a path, a folder of models, or a server's host:port" in ways()
    assert "<app.models> a download" in ways()
    served = ModelEntry("http://127.0.0.1:11434#qwen", "qwen")
    text = ways(served, replace(served, ref="http://127.0.0.1:11434#llama"), ModelEntry("demo", "Small"))
    assert "the models of http://127.0.0.1:11434, which was found" in text
    assert "/load demo the demo model" in text
    assert "1 model was found" in ways(ModelEntry("a.gguf", "A"))
