from __future__ import annotations

import hashlib
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.ollama import OllamaServer
from tests.servers.script import Exchange, Script
from tests.servers.serving import serving
from tests.servers.vllm import VllmServer
from workbench.core.cancel import CancelToken
from workbench.core.chat import Message
from workbench.core.errors import (
    CancelledError,
    ModelfileError,
    ParameterError,
    PathError,
    ServerError,
    ServerUnreachableError,
    TargetError,
)
from workbench.core.secret import Secret
from workbench.core.servers import ServerAddress
from workbench.engine.remote.http import ServerClient, Timeouts
from workbench.engine.remote.ollama_create import QUESTION, check_name, create_model, create_request
from workbench.modelfile.meaning import Modelfile

HELLO = Exchange(QUESTION, ("Hello", "."))


@pytest.fixture
def ollama():
    with serving(OllamaServer(Script([HELLO]))) as served:
        yield served


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "tiny-Q4_1.gguf"
    path.write_bytes(b"GGUF" + bytes(5 * 2**20))
    return path


async def send(served, modelfile, name="mine", cancel=None, told=None, key=None, **more):
    def on_progress(progress):
        if told is not None:
            told.append(progress)

    client = ServerClient(ServerAddress(served.url, key), Timeouts(probe=20))
    return await create_model(client, modelfile, name, on_progress, cancel or CancelToken(), **more)


async def test_a_file_is_sent_and_the_model_made_of_it_answers(ollama, model):
    told = []
    modelfile = Modelfile(
        (str(model),),
        system="Be short.",
        parameters={"temperature": 0.2, "stop": ("END", "</s>"), "num_ctx": 4096},
        messages=(Message("user", "Hi"), Message("assistant", "Ho")),
        licenses=("MIT",),
        template="{{ .Prompt }}",
    )
    sent = await send(ollama, modelfile, told=told)
    assert (sent.model, sent.answer, sent.sent_bytes) == ("mine", "Hello.", model.stat().st_size)
    assert sent.ref == f"{ollama.url}#mine"
    made = ollama.server.models["mine:latest"]
    assert (made.system, made.template, made.license) == ("Be short.", "{{ .Prompt }}", ["MIT"])
    assert made.parameters == {"temperature": 0.2, "stop": ["END", "</s>"], "num_ctx": 4096}
    assert made.messages == [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]
    digest = f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}"
    assert made.files == {"tiny-Q4_1.gguf": digest}
    assert ollama.server.blobs[digest] == model.read_bytes()
    assert list(dict.fromkeys(each.phase for each in told)) == ["looking", "reading", "sending", "making", "asking"]
    for phase in ("reading", "sending"):
        fractions = [each.fraction for each in told if each.phase == phase]
        assert fractions == sorted(fractions)
        assert fractions[-1] == 1


async def test_what_ollama_has_is_not_sent_again(ollama, model):
    await send(ollama, Modelfile((str(model),)))
    told = []
    sent = await send(ollama, Modelfile((str(model),)), "second", told=told)
    assert sent.sent_bytes == 0
    assert "sending" not in {each.phase for each in told}
    assert [asked.method for asked in ollama.server.asked if "/blobs/" in asked.path] == ["HEAD", "POST", "HEAD"]


async def test_a_blob_of_its_own_store_is_known_by_its_name(ollama, tmp_path):
    content = b"GGUF" + bytes(100)
    digest = hashlib.sha256(content).hexdigest()
    ollama.server.blobs[f"sha256:{digest}"] = content
    path = tmp_path / f"sha256-{digest}"
    path.write_bytes(content)
    assert (await send(ollama, Modelfile((str(path),)))).sent_bytes == 0
    assert ollama.server.models["mine:latest"].files == {"model.gguf": f"sha256:{digest}"}


@pytest.mark.parametrize("base", ["smollm2:135m", "ollama:smollm2:135m"])
async def test_a_model_of_ollama_is_named(ollama, base):
    await send(ollama, Modelfile((base,), system="Be kind."), "kind")
    assert ollama.server.models["kind:latest"].system == "Be kind."
    created = next(asked for asked in ollama.server.asked if asked.path == "/api/create")
    assert (created.body["from"], "files" in created.body) == ("smollm2:135m", False)


async def test_the_model_of_the_same_server_is_named_and_that_of_another_is_refused(ollama):
    await send(ollama, Modelfile((f"{ollama.url}#smollm2:135m",)), "copied")
    assert "copied:latest" in ollama.server.models
    with pytest.raises(ModelfileError, match="cannot be sent from there"):
        await send(ollama, Modelfile(("http://127.0.0.1:9#m",)))


async def test_a_model_of_that_name_is_kept_unless_somebody_says_otherwise(ollama, model):
    with pytest.raises(TargetError, match="has a model smollm2:135m already"):
        await send(ollama, Modelfile((str(model),)), "smollm2:135m")
    assert not ollama.server.blobs
    await send(ollama, Modelfile((str(model),)), "smollm2:135m", overwrite=True)
    assert ollama.server.models["smollm2:135m"].files


@pytest.mark.parametrize("text", ["", "with blank", "../etc", "a:b:c", "a" * 3 + ":", "-x", "ä", "a/b/c/d/e", "a\nb"])
def test_names_that_ollama_does_not_take(text):
    with pytest.raises(ParameterError):
        check_name(text)


@given(st.from_regex(r"[a-z0-9]{1,8}(/[a-z0-9]{1,8})?(:[a-z0-9.-]{0,8}[a-z0-9])?", fullmatch=True))
def test_names_that_it_takes(text):
    if ":-" not in text and ":." not in text:
        check_name(text)


async def test_files_that_cannot_be_sent(ollama, model, tmp_path):
    for base, words in ((str(tmp_path / "gone.gguf"), "is not there"), (str(tmp_path), "is a folder")):
        with pytest.raises(ModelfileError, match=words):
            await send(ollama, Modelfile((base,)))
    assert not ollama.server.asked


async def test_the_error_of_ollama_is_shown(ollama, model, tmp_path):
    other = tmp_path / "other.gguf"
    other.write_bytes(b"PK" + bytes(100))
    with pytest.raises(ServerError, match="not in GGUF format"):
        await send(ollama, Modelfile((str(other),)))
    with pytest.raises(ServerError, match="does not exist"):
        await send(ollama, Modelfile(("nobody:1b",)))
    with pytest.raises(ServerError, match="LoRA adapters are no longer supported"):
        await send(ollama, Modelfile((str(model),), adapter=str(model)))
    ollama.server.refuses_blobs = True
    full = tmp_path / "full.gguf"
    full.write_bytes(b"GGUF" + bytes(3 * 2**20))
    with pytest.raises(ServerError, match="no space left"):
        await send(ollama, Modelfile((str(full),)))


async def test_a_model_that_is_made_and_does_not_answer_is_an_error(model):
    for exchange, words in (
        (Exchange(QUESTION, ("a",), error_after=0), "does not answer: .*exit status 2"),
        (Exchange(QUESTION), "says nothing"),
    ):
        with serving(OllamaServer(Script([exchange]))) as served:
            with pytest.raises(ServerError, match=words):
                await send(served, Modelfile((str(model),)))
            assert "mine:latest" in served.server.models


async def test_only_ollama_takes_modelfiles(model):
    with serving(VllmServer()) as served, pytest.raises(ServerError, match="vLLM, and only Ollama"):
        await send(served, Modelfile((str(model),)))
    with pytest.raises(ServerUnreachableError):
        await send(SimpleNamespace(url="http://127.0.0.1:9"), Modelfile((str(model),)))


@pytest.mark.parametrize("phase", ["looking", "reading", "sending", "making", "asking"])
async def test_it_can_be_stopped_at_every_moment(ollama, model, phase):
    cancel = CancelToken()

    class Stopping(list):
        def append(self, progress):
            if progress.phase == phase:
                cancel.set()

    with pytest.raises(CancelledError):
        await send(ollama, Modelfile((str(model),)), cancel=cancel, told=Stopping())
    assert ("mine:latest" in ollama.server.models) == (phase == "asking")


async def test_the_key_goes_along_with_files(model):
    with serving(OllamaServer(Script([HELLO], key="sesame"))) as served:
        sent = await send(served, Modelfile((str(model),)), key=Secret("sesame"))
    assert sent.answer == "Hello."


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_progress_that_is_cut_anywhere_is_read(model, seed):
    with serving(OllamaServer(Script([HELLO], cut_seed=seed))) as served:
        assert (await send(served, Modelfile((str(model),)))).answer == "Hello."


@pytest.mark.parametrize("base", ["~nosuchuser/x.gguf", "~nosuchuser", "/" + "n" * 5000, "./a\0b.gguf"])
def test_a_path_that_cannot_be_is_an_error_of_the_modelfile(base):
    for modelfile in (Modelfile((base,)), Modelfile(("llama3",), adapter=base), Modelfile(("llama3",), drafts=(base,))):
        with pytest.raises((PathError, ModelfileError), match=r"home folder|is not there"):
            create_request(modelfile, "mine", "http://127.0.0.1:11434")


def test_a_name_too_long_for_a_file_is_a_model_of_ollama():
    assert create_request(Modelfile(("n" * 5000,)), "mine", "http://127.0.0.1:11434")[0]["from"] == "n" * 5000
