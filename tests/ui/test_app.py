from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input, Label, OptionList, TextArea

from tests.ui.drive import app_on, press_keys, settle, shown, started, turns, until, writing
from tests.ui.fakes import ANSWER, THEMES, FakeClock, FakeConfigFile, FakeStore
from tests.ui.library_fakes import FakeCatalog
from workbench.core.chat import Message
from workbench.core.config import Config, ConfigProblem
from workbench.core.errors import ConfigError, ModelfileError
from workbench.core.models import LibraryView
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.tree import Tree, Turn
from workbench.engine.scripted import ScriptedHost
from workbench.ui.bindings import key_groups
from workbench.ui.chat.welcome import ResumeOffer
from workbench.ui.dialogs.export import ExportDialog, free_path
from workbench.ui.dialogs.help import HelpText
from workbench.ui.dialogs.parameter_field import ParameterField
from workbench.ui.dialogs.settings import SettingsDialog
from workbench.ui.keys import KeyGroup, keymap_problems, keys_of, spoken
from workbench.ui.transcript.transcript import SHOWN_TURNS, Earlier


def messages_of(app) -> str:
    return "\n".join(f"{each.title}\n{each.message}" for each in app._notifications)


def stored(count: int = 2, model: str = "") -> Session:
    pairs = [
        (Message("user", f"question {number}"), Message("assistant", f"answer {number}"))
        for number in range(count // 2)
    ]
    return Session(
        "old",
        1.0,
        2.0,
        model=model,
        system="Be kind.",
        sampling=Sampling(top_k=3),
        tree=Tree.of(Turn(message, 1.0, model) for pair in pairs for message in pair),
    )


async def test_the_program_opens_its_model_as_the_tests_do(host: ScriptedHost, clock: FakeClock) -> None:
    """Textual starts tasks in another way when it runs the program than when it runs a test."""
    app = app_on(host, clock)

    async def leave(pilot) -> None:
        await settle(pilot)
        app.exit()

    await app.run_async(headless=True, auto_pilot=leave)
    assert len(host.opened) == 1


async def test_settings_change_the_next_answer(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "f6")
        assert isinstance(app.screen, SettingsDialog)
        await pilot.press("ctrl+u", *"0.2")
        app.screen.query_one("#field-stop", ParameterField).input.value = r"END|\n\n"
        app.screen.query_one("#settings-system", TextArea).text = "Be brief."
        await press_keys(pilot, "escape")
        await press_keys(pilot, *"why", "enter")
        request = host.opened[0].requests[0]
        assert request.sampling.temperature == 0.2
        assert request.sampling.stop == ("END", "\n\n")
        assert request.messages[0] == Message("system", "Be brief.")
        assert ("settings", "Be brief.", request.sampling, LoadSettings()) in store.journals[0].records


async def test_an_invalid_value_is_explained_and_ignored(host: ScriptedHost, clock: FakeClock) -> None:
    app = app_on(host, clock)
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        await press_keys(pilot, "f6")
        field = app.screen.query_one("#field-top_p", ParameterField)
        field.input.value = "1.5"
        await pilot.pause()
        assert str(field.query_one(".field-note", Label).content) == "a number from 0 to 1"
        for name, text in (("override_tensor", "((=CPU"), ("tensor_split", "a,b"), ("num_cpu_moe", "-2")):
            field = app.screen.query_one(f"#field-{name}", ParameterField)
            field.input.value = text
            await pilot.pause()
            assert field.value is None
            assert str(field.query_one(".field-note", Label).content) == field.parameter.range_text
        await press_keys(pilot, "escape")
        assert app.workspace.conversation.sampling == Sampling()
        assert "Top-p" in messages_of(app)


PLACED = {
    "num_ctx": "1024", "num_cpu_moe": "2", "override_tensor": r"blk\.0=CPU;exps=CUDA1", "tensor_split": "3,1",
    "devices": "CUDA1,CUDA0", "offload_kqv": "false", "load_mode": "dio", "num_ubatch": "128", "num_thread_batch": "4",
    "swa_full": "true",
}  # fmt: skip
"""What is typed into the fields of the settings."""


async def test_settings_are_saved_as_defaults_and_reloaded(host: ScriptedHost, clock: FakeClock) -> None:
    save = FakeConfigFile()
    async with started(host, clock, save=save) as (app, pilot):
        await press_keys(pilot, "f6")
        for name, text in PLACED.items():
            app.screen.query_one(f"#field-{name}", ParameterField).input.value = text
        await press_keys(pilot, "f7")
        load = LoadSettings(
            num_ctx=1024, num_cpu_moe=2, override_tensor=(r"blk\.0=CPU", "exps=CUDA1"), tensor_split=("3", "1"),
            devices=("CUDA1", "CUDA0"), offload_kqv=False, load_mode="dio", num_ubatch=128, num_thread_batch=4,
            swa_full=True,
        )  # fmt: skip
        assert save.saved == [{"system": "", "sampling": Sampling(), "load": load}]
        assert "settings need a reload" in shown(app)
        await press_keys(pilot, "f6")
        await press_keys(pilot, "f9")
        assert host.opened[-1].info.settings.num_ctx == 1024
        assert host.opened[-1].info.settings.num_cpu_moe == 2


async def test_a_field_goes_back_to_its_default(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "f6")
        await pilot.press("ctrl+u", "5", "ctrl+r")
        await pilot.pause()
        assert app.screen.query_one("#field-temperature", ParameterField).value == 0.8


async def test_defaults_that_cannot_be_saved_are_reported(host: ScriptedHost, clock: FakeClock) -> None:
    save = FakeConfigFile()
    save.error = ConfigError("The file cannot be written.", "Look at its owner.")
    async with started(host, clock, save=save) as (app, pilot):
        await press_keys(pilot, "f6")
        await press_keys(pilot, "f7")
        assert turns(app) == ["The file cannot be written.\nLook at its owner."]


async def test_exporting_writes_where_it_says(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    store = FakeStore()
    async with started(host, clock, store=store, export_folder=tmp_path) as (app, pilot):
        await press_keys(pilot, *"why is it", "enter")
        await press_keys(pilot, "f7")
        assert isinstance(app.screen, ExportDialog)
        assert app.screen.path.value == str(tmp_path / "why-is-it.modelfile")
        await press_keys(pilot, "down", "enter")
        session, form, path = store.exports[0]
        assert (form, path) == ("md", tmp_path / "why-is-it.md")
        assert [turn.message.content for turn in session.turns] == ["why is it", ANSWER]
        assert session.id == "session-1"
        assert session.model_path == "/m/Q4_K_M.gguf"
        assert turns(app)[-1] == f"Written to {path}"


async def test_an_export_to_an_unknown_home_folder_is_refused_and_can_be_corrected(
    host: ScriptedHost, clock: FakeClock, tmp_path: Path
) -> None:
    store = FakeStore()
    async with started(host, clock, store=store, export_folder=tmp_path) as (app, pilot):
        await press_keys(pilot, "f7")
        assert isinstance(app.screen, ExportDialog)
        app.screen.path.value = "~nosuchuser/[x].md"
        await press_keys(pilot, "enter")
        assert "knows no home folder for '~nosuchuser'" in messages_of(app)
        assert isinstance(app.screen, ExportDialog)
        app.screen.path.value = str(tmp_path / "x.md")
        await press_keys(pilot, "enter")
        assert [path for _, _, path in store.exports] == [tmp_path / "x.md"]


async def test_a_modelfile_can_call_the_model_by_another_name(
    host: ScriptedHost, clock: FakeClock, tmp_path: Path
) -> None:
    store = FakeStore()
    catalog = FakeCatalog(LibraryView(complete=True))
    async with started(host, clock, store=store, catalog=catalog, export_folder=tmp_path) as (_app, pilot):
        for rows, said, name in ((5, "ollama", "session.ollama.modelfile"), (6, "hf", "session.hf.modelfile")):
            await press_keys(pilot, "f7")
            await press_keys(pilot, *["down"] * rows, "enter")
            assert store.bases[-1] == f"{said} of /m/Q4_K_M.gguf"
            assert store.exports[-1][2].name.endswith(name.partition(".")[2])


async def test_an_export_that_fails_says_why(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore()
    store.export_error = ModelfileError("The text holds three quotes.", "Export it as JSON.")
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "f7")
        app.screen.query_one(Input).value = "~/here.txt"
        app.screen.query_one(OptionList).highlighted = 2
        await press_keys(pilot, "tab", "enter")
        assert turns(app) == ["The text holds three quotes.\nExport it as JSON."]


def test_an_export_never_proposes_a_file_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "why.md").touch()
    (tmp_path / "why-2.md").touch()
    assert free_path(tmp_path, "Why?", ".md") == tmp_path / "why-3.md"
    assert free_path(tmp_path, "??", ".md") == tmp_path / "session.md"


async def test_an_interrupted_session_is_offered_and_resumed(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore([stored(model="smol:Q8_0")])
    async with started(host, clock, store=store) as (app, pilot):
        assert app.focused is app.chat.prompt
        assert "“question 0”" in shown(app)
        await press_keys(pilot, "ctrl+r")
        assert turns(app) == ["question 0", "answer 0"]
        assert app.workspace.conversation.system == "Be kind."
        assert app.workspace.model is not None
        assert app.workspace.model.ref == "smol:Q8_0"
        await press_keys(pilot, *"more", "enter")
        assert [message.role for message in host.opened[-1].requests[0].messages] == [
            "system",
            "user",
            "assistant",
            "user",
        ]
        assert store.journals[-1].id == "old"


async def test_an_answer_stops_before_the_interrupted_session_is_resumed(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore([stored()])
    async with started(host, clock, store=store) as (app, pilot):
        clock.hold_after(4)
        await pilot.press(*"why", "enter")
        await until(pilot, lambda: writing(app) and writing(app).meter.tokens > 1)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: not app.query(ResumeOffer))
        clock.release()
        await settle(pilot)
        assert turns(app) == ["question 0", "answer 0"]
        assert "answer" in store.journals[0].kinds()


async def test_a_dismissed_offer_does_not_return(host: ScriptedHost, clock: FakeClock) -> None:
    store = FakeStore([stored()])
    async with started(host, clock, store=store) as (app, pilot):
        await press_keys(pilot, "escape")
        assert store.dismissed == ["old"]
        assert not app.query(ResumeOffer)


async def test_an_offer_does_not_take_typed_text(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, store=FakeStore([stored()])) as (app, pilot):
        await press_keys(pilot, *"hello", "enter")
        assert turns(app)[0] == "hello"


async def test_a_session_named_at_the_start_is_resumed(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None, "old", store=FakeStore([stored(model="qwen")])) as (app, _pilot):
        assert turns(app) == ["question 0", "answer 0"]
        assert app.workspace.model is not None
        assert app.workspace.model.ref == "qwen"


async def test_an_unknown_session_is_reported(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None, "nowhere") as (app, _pilot):
        assert "There is no session 'nowhere'" in turns(app)[0]


async def test_a_long_conversation_shows_its_end_and_more_on_demand(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock, None, "old", store=FakeStore([stored(SHOWN_TURNS + 10)])) as (app, pilot):
        assert len(turns(app)) == SHOWN_TURNS
        assert "10 earlier turns" in shown(app)
        app.query_one(Earlier).focus()
        await press_keys(pilot, "enter")
        assert len(turns(app)) == SHOWN_TURNS + 10
        assert turns(app)[0] == "question 0"
        assert not app.query(Earlier)


async def test_a_theme_is_seen_at_once_kept_and_undone(host: ScriptedHost, clock: FakeClock) -> None:
    save = FakeConfigFile()
    async with started(host, clock, save=save) as (app, pilot):
        assert app.theme == "workbench-dark"
        await press_keys(pilot, "f8")
        await press_keys(pilot, "g", "j", "k")
        first = app.theme
        assert first != "workbench-dark"
        await press_keys(pilot, "escape")
        assert app.theme == "workbench-dark"
        await press_keys(pilot, "f8")
        await press_keys(pilot, "home", "enter")
        assert save.saved == [{"theme": first}]


async def test_problems_of_the_config_are_reported(host: ScriptedHost, clock: FakeClock, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('primary = "no colour"')
    config = Config(theme="nowhere", keymap={"chat.modles": "f3", "chat.new": "ctrl+o"})
    problems = [ConfigProblem("There is no key 'tmeperature'.", "tmeperature", 3)]
    app = app_on(host, clock, config=config, problems=problems, themes=[THEMES, tmp_path])
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await settle(pilot)
        for words in (
            "line 3: There is no key 'tmeperature'.", "Did you mean 'chat.models'", "'ctrl+o' is used by",
            "mine.toml: primary = 'no colour' is no colour", "There is no theme 'nowhere'",
        ):  # fmt: skip
            assert words in messages_of(app)
        await press_keys(pilot, *"why", "enter")
        assert ANSWER in turns(app)


async def test_a_keymap_moves_keys_everywhere(host: ScriptedHost, clock: FakeClock) -> None:
    config = Config(keymap={"chat.models": "f3", "prompt.send": "ctrl+y"})
    async with started(host, clock, config=config) as (app, pilot):
        assert "F3 Model " in shown(app)
        await press_keys(pilot, *"why", "ctrl+y")
        assert ANSWER in turns(app)
        await pilot.press("ctrl+o")
        assert app.screen is app.chat
        await pilot.press("f3")
        assert app.screen is not app.chat
        await press_keys(pilot, "escape", "f1")
        text = shown(app)
        assert "F3" in text
        assert "Choose another model" in text


async def test_the_help_lists_every_key(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "f1")
        text = " ".join("\n".join(line.plain for line in app.screen.query_one(HelpText).lines).split())
        for group in key_groups():
            for binding in group.bindings:
                assert spoken(keys_of(binding, {})[0]) in text
                assert f"{binding.description}." in text


def test_every_binding_of_ours_has_a_tooltip_and_an_id_of_its_own() -> None:
    bindings = [binding for group in key_groups() for binding in group.bindings]
    assert all(binding.tooltip for binding in bindings)
    assert len({binding.id for binding in bindings}) == len(bindings)


def test_the_keys_as_shipped_do_not_clash() -> None:
    for group in key_groups():
        places = [other for other in key_groups() if other.everywhere or other.title == group.title]
        # A screen with settings, an export or a run of its own has the same keys for them.
        shared = {"app.settings", "app.export", "app.run"}
        bindings = [each for place in places for each in place.bindings if each.id not in shared]
        keys = [key for binding in bindings for key in keys_of(binding, {})]
        assert len(keys) == len(set(keys)), group.title


def test_a_good_keymap_has_no_problems() -> None:
    assert keymap_problems(key_groups(), {"chat.new": "f13,ctrl+y"}) == []
    assert keymap_problems([KeyGroup("Nothing", ())], {"x": "y"}) == ["Keymap: there is no action 'x'."]


@pytest.mark.parametrize(
    ("key", "text"), [("ctrl+o", "Ctrl+O"), ("f6", "F6"), ("escape", "Esc"), ("shift+enter", "Shift+Enter"), ("y", "y")]
)
def test_keys_are_written_as_people_write_them(key: str, text: str) -> None:
    assert spoken(key) == text


async def test_the_palette_has_every_action(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "ctrl+p")
        await press_keys(pilot, *"settings")
        await press_keys(pilot, "enter")
        assert isinstance(app.screen, SettingsDialog)


async def test_the_palette_has_actions_without_a_key(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, *"why", "enter")
        await press_keys(pilot, "ctrl+p", *"copy the last", "enter")
        assert app.clipboard == ANSWER


async def test_the_log_pane_shows_the_log_of_the_workers(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        await press_keys(pilot, "f12")
        assert "Nothing was logged yet." in shown(app)
        app.services.logs.add("warning", "llama", "evil \x1b[31m line")
        app.screen.query_one("LogPane").look()  # type: ignore[attr-defined]
        assert "evil ␛[31m line" in shown(app)
        await press_keys(pilot, "f12")
        assert not app.query("LogPane")


async def test_keys_that_come_in_one_burst_are_taken_in_their_order(host: ScriptedHost, clock: FakeClock) -> None:
    async with started(host, clock) as (app, pilot):
        # As a terminal sends them: all at once, before any of them has been looked at.
        for key in ("h", "i", "ctrl+j", "y", "o", "u", "enter", "x"):
            app.post_message(Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        assert turns(app)[0] == "hi\nyou"
        assert app.chat.prompt.text == "x"


async def test_a_setting_of_another_program_that_is_replaced_is_named(host: ScriptedHost, clock: FakeClock) -> None:
    file = FakeConfigFile()
    file.replaced = ["sampling.top_k was changed outside of this program to 11, and is replaced."]
    async with started(host, clock, save=file) as (app, pilot):
        app.chat.settings.save_defaults()
        await settle(pilot)
        assert "sampling.top_k was changed outside of this program to 11" in " ".join(shown(app).split())
        await press_keys(pilot, "f8")
        await press_keys(pilot, "down", "enter")
        assert any("and is replaced" in note.message for note in app._notifications)
