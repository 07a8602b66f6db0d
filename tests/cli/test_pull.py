"""`workbench pull` as its user sees it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import HUB_NAME as NAME
from tests.library.conftest import write_gguf
from tests.servers.ollama_registry import FakeOllamaRegistry
from tests.servers.proxy import forwarding
from workbench.cli.composition import compose
from workbench.cli.pull_worker import ScreenPulls
from workbench.core.cancel import CancelToken
from workbench.core.errors import CancelledError, PullError
from workbench.core.pulls import PullProgress, PullRequest
from workbench.library.places import find_places
from workbench.modelfile.meaning import examine
from workbench.store.paths import find_paths


def test_pull_prints_the_path(call, hub) -> None:
    status, out, err = call("pull", f"hf.co/{NAME}")
    assert status == 0
    assert Path(out.strip()).read_bytes() == hub.content.files["Tiny-Q4_K_M.gguf"]
    assert "digest right" in err


def test_a_model_that_is_not_here_is_opened_by_its_reference_once_it_was_pulled(call, hub, monkeypatch) -> None:
    monkeypatch.setattr("workbench.library.catalog.find_places", find_places)
    ref = f"hf.co/{NAME}:Q8_0"
    assert f"`workbench pull {ref}`" in call("inspect", ref)[2]
    assert call("pull", ref)[0] == 0
    assert call("inspect", ref)[0] == 0
    assert call("verify", ref)[0] == 0


def test_the_digest_of_a_file_in_a_folder_is_remembered(call, hub, tmp_path: Path) -> None:
    _, out, _ = call("pull", f"hf.co/{NAME}", "--into", str(tmp_path / "mine"))
    path = Path(out.strip())
    assert json.loads(call("verify", str(path), "--json")[1])["expected"] is not None
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    status, out, _ = call("verify", str(path))
    assert status == 1
    assert "SHA-256 should be" in out


def test_json_is_progress_in_lines_and_then_the_result(call, hub) -> None:
    status, out, _ = call("pull", f"hf.co/{NAME}:Q8_0", "--json")
    *progress, result = map(json.loads, out.splitlines())
    data = hub.content.files["Tiny-Q8_0.gguf"]
    assert status == 0
    assert progress[-1]["progress"]["done_bytes"] == len(data)
    assert set(result) == {
        "path",
        "files",
        "size_bytes",
        "sha256",
        "resumed_bytes",
        "seconds",
        "already",
        "modelfile",
        "linked",
    }
    assert (result["size_bytes"], result["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_an_error_with_json_is_the_last_line(call, hub) -> None:
    hub.content.faults.gated = True
    status, out, _ = call("pull", f"hf.co/{NAME}", "--json")
    assert status == 1
    assert json.loads(out.splitlines()[-1])["error"]["kind"] == "gated"


def test_the_list_says_what_fits(call, hub) -> None:
    status, out, err = call("pull", "--list", f"hf.co/{NAME}", "--json")
    assert status == 0
    first, second = json.loads(out)
    assert (first["quant"], first["fits"], first["estimated"]) == ("Q4_K_M", True, False)
    assert (second["quant"], second["estimated"], second["largest_ctx"]) == ("Q8_0", True, 2048)
    assert second["needed_bytes"] - first["needed_bytes"] == second["size_bytes"] - first["size_bytes"]
    _, out, err = call("pull", "--list", f"hf.co/{NAME}")
    assert "Q8_0" in out
    assert "estimated by size, from the header of Q4_K_M" in err
    assert not list(Path(os.environ["HF_HOME"]).rglob("*.gguf"))


def test_search(call, hub) -> None:
    status, out, _ = call("pull", "--search", "tiny", "--json")
    assert status == 0
    assert json.loads(out) == [
        {"repository": NAME, "downloads": 1234, "likes": 7, "updated": "2026-10-01", "gated": False}
    ]
    status, out, _ = call("pull", "--search", "nothing such")
    assert (status, out) == (0, "")


@pytest.mark.parametrize("words", [(), ("hf.co/a/b", "--search", "x"), ("nonsense",)])
def test_bad_usage(call, words) -> None:
    assert call("pull", *words)[0] == 2


def test_the_token_file_is_read(call, hub, tmp_path: Path) -> None:
    hub.content.faults.gated, hub.content.token = True, "hf_from_file"
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_from_file\n")
    assert call("pull", f"hf.co/{NAME}")[0] == 0


LAYERS = {
    "template": b"{{ .System }}<user>{{ .Prompt }}<bot>",
    "system": b"You are terse.",
    "params": b'{"temperature": 0.25, "stop": ["<user>"]}',
    "license": b"MIT",
}


@pytest.fixture
def ollama(serve, tmp_path: Path) -> Callable[..., tuple[FakeOllamaRegistry, str]]:
    """Starts a registry with a model; gives it and the reference of the model."""

    def start(**layers: bytes) -> tuple[FakeOllamaRegistry, str]:
        weights = write_gguf(tmp_path / "made" / "weights.gguf", rows=8).read_bytes()
        server = FakeOllamaRegistry("library/tiny:1b", {"model": weights, **layers}, {"file_type": "Q4_0"})
        return server, f"ollama:{serve(server).url.removeprefix('http://')}/library/tiny:1b"

    return start


@pytest.mark.parametrize("redirects", [True, False])
def test_a_model_of_ollama_comes_with_its_recipe(call, ollama, redirects: bool) -> None:
    server, ref = ollama(**LAYERS)
    server.redirects = redirects
    status, out, err = call("pull", ref)
    assert status == 0, err
    modelfile = Path(out.strip())
    read = examine(modelfile.read_bytes()).modelfile
    assert (read.system, read.template) == ("You are terse.", "{{ .System }}<user>{{ .Prompt }}<bot>")
    assert read.parameters == {"temperature": 0.25, "stop": ("<user>",)}
    weights = modelfile.parent / read.base
    assert weights.name == "tiny-1b-Q4_0.gguf"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() in server.manifest
    status, out, _ = call("pull", ref, "--json")
    assert (status, json.loads(out.splitlines()[-1])["already"]) == (0, True)
    status, out, _ = call("models", "--json")
    assert [entry["quant"] for entry in json.loads(out) if entry["name"] == "tiny-1b"] == ["Q4_0"]


def test_what_ollamas_registry_does_not_give(call, ollama) -> None:
    server, ref = ollama()
    assert "has no model" in call("pull", f"{ref}x")[2]
    server.private = True
    assert "ollama pull" in call("pull", ref)[2]
    server.private, server.manifest = False, server.manifest.replace("image.model", "image.tensor")
    assert "safetensors" in call("pull", ref)[2]
    server.manifest = "<html>"
    assert "a web page" in call("pull", ref)[2]


def start(tmp_path: Path) -> subprocess.Popen[str]:
    """A pull in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "workbench.cli.main", "pull", f"hf.co/{NAME}", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "WORKBENCH_HOME": str(tmp_path)},
    )


def test_killed_and_interrupted_it_continues_and_never_leaves_a_wrong_file(hub, serve, tmp_path: Path) -> None:
    data = bytes(range(256)) * 4096 * 8
    hub.content.files = {"Tiny-Q4_K_M.gguf": data}
    faults = hub.content.faults
    kept = 0
    for stop in (signal.SIGKILL, signal.SIGINT):
        faults.slow_s = 0.01
        process = start(tmp_path)
        for line in process.stdout:
            done = json.loads(line)["progress"]["done_bytes"]
            if done > kept:
                break
        process.send_signal(stop)
        out, _ = process.communicate(timeout=30)
        assert process.returncode == (130 if stop is signal.SIGINT else -stop)
        assert not list((tmp_path / "hf" / "hub").rglob("*.gguf"))
        kept = done
    assert json.loads(out.splitlines()[-1])["error"]["kind"] == "cancelled"
    faults.slow_s = 0
    process = start(tmp_path)
    out, err = process.communicate(timeout=60)
    result = json.loads(out.splitlines()[-1])
    assert process.returncode == 0, err
    assert result["resumed_bytes"] >= kept
    assert Path(result["path"]).read_bytes() == data


def test_the_screen_fetches_in_a_child_process_that_can_be_stopped(hub, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WORKBENCH_HOME", str(tmp_path))
    data = bytes(range(256)) * 4096 * 4
    hub.content.files = {"Tiny-Q4_K_M.gguf": data}
    hub.content.faults.slow_s = 0.01
    pulls, request = ScreenPulls(lambda: compose().pulls), PullRequest(f"hf.co/{NAME}", "Tiny")
    seen: list[PullProgress] = []

    def stop_later(progress: PullProgress) -> None:
        seen.append(progress)
        if progress.done_bytes:
            cancel.set()

    cancel = CancelToken()
    with pytest.raises(CancelledError):
        asyncio.run(pulls.fetch(request, stop_later, cancel))
    kept = seen[-1].done_bytes
    hub.content.faults.slow_s = 0
    path = asyncio.run(pulls.fetch(request, seen.append, CancelToken()))
    assert Path(path).read_bytes() == data
    assert all(progress.done_bytes >= kept for progress in seen[len(seen) - 1 :])
    hub.content.faults.gated = True
    (tmp_path / "hf" / "hub").rename(tmp_path / "hf" / "away")
    with pytest.raises(PullError, match="gated"):
        asyncio.run(pulls.fetch(request, seen.append, CancelToken()))


def test_the_token_of_the_config_is_used_where_the_environment_has_none(call, hub, monkeypatch) -> None:
    hub.content.faults.gated, hub.content.token = True, "hf_of_the_config"
    config = find_paths().config_file
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text('huggingface_token = "hf_of_the_config"\n')
    config.chmod(0o644)
    assert "is gated" in call("pull", f"hf.co/{NAME}")[2]
    config.chmod(0o600)
    assert call("pull", f"hf.co/{NAME}")[0] == 0
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    assert "was not given access" in call("pull", f"hf.co/{NAME}:Q8_0")[2]


def test_offline_says_which_variable_forbids_and_asks_nothing(call, hub, monkeypatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for words in ((f"hf.co/{NAME}",), ("--search", "tiny"), ("--list", f"hf.co/{NAME}")):
        status, _, err = call("pull", *words)
        assert status == 1
        assert "HF_HUB_OFFLINE is set" in err
    assert hub.asked == []


def test_a_private_repository_and_one_that_is_misspelled_are_one_sentence(call, hub) -> None:
    _, _, err = call("pull", "hf.co/maker/Secret-GGUF")
    assert "shows no repository maker/Secret-GGUF" in err
    assert "for a private one set HF_TOKEN" in err


def test_a_registry_is_asked_through_the_proxy_of_the_environment(call, hub, monkeypatch) -> None:
    with forwarding(os.environ["HF_ENDPOINT"]) as (proxy, asked):
        monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
        monkeypatch.setenv("HTTP_PROXY", proxy)
        status, out, err = call("pull", f"hf.co/{NAME}:Q8_0")
    assert status == 0, err
    assert Path(out.strip()).read_bytes() == hub.content.files["Tiny-Q8_0.gguf"]
    assert all(url.startswith("http://hub.invalid/") for url in asked)
    assert any("/resolve/" in url for url in asked)


def test_pages_that_name_hugging_face_are_asked_at_the_mirror(call, hub, monkeypatch) -> None:
    hub.content.page_size = 1
    monkeypatch.setattr("tests.servers.huggingface.FakeHub.public", "https://huggingface.co")
    assert call("pull", f"hf.co/{NAME}:Q8_0")[0] == 0


def test_a_model_of_ollama_is_repaired_from_its_registry(call, ollama) -> None:
    server, ref = ollama()
    _, out, _ = call("pull", ref)
    path = Path(out.strip())
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    status, out, err = call("verify", str(path), "--repair", "--json")
    assert status == 0, err
    assert json.loads(out)["ok"]
    assert path.read_bytes() == whole
    server.redirects = False
    path.write_bytes(b"x" + whole[1:])
    assert call("verify", str(path), "--repair")[0] == 0
    assert path.read_bytes() == whole
