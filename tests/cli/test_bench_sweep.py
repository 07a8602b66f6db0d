from __future__ import annotations

import asyncio
import io
import json
import sys

import pytest

from tests.servers.ollama import OllamaServer
from tests.servers.script import Pace, Script
from tests.servers.vllm import VllmServer
from workbench.cli import composition
from workbench.cli.bench_run import BenchCommand
from workbench.core.bench import BenchMachine
from workbench.store.kept_runs import bench_runs

FIELDS = ["concurrency", "requests", "failures", "ttft_p50_ms", "ttft_p95_ms", "tps_per_user", "tps_total"]


class FakeBencher:
    async def machine(self):
        return BenchMachine("0c1e570", "a CPU", "", "CPU", 2, 2**30)


@pytest.fixture(autouse=True)
def _no_llama_cpp(monkeypatch):
    monkeypatch.setattr(composition.Workers, "bencher", FakeBencher(), raising=False)


def lines(out):
    return [json.loads(line) for line in out.splitlines()]


def test_json_is_one_line_a_level(call, serve):
    served = serve(VllmServer())
    status, out, err = call("bench", "--server", served.url, "--concurrency", "1,2", "-r", "2", "-n", "8", "--json")
    assert status == 0
    assert [list(line)[: len(FIELDS)] for line in lines(out)] == [FIELDS] * 2
    assert [(line["concurrency"], line["requests"], line["failures"]) for line in lines(out)] == [(1, 2, 0), (2, 4, 0)]
    assert all(line["completion_tokens"] == 8 for line in lines(out))
    assert "kept as" in err


def test_prompts_have_the_length_that_was_asked_for_and_none_is_cached(call, serve):
    served = serve(VllmServer(prompt_details=True))
    _, out, _ = call("bench", "--server", served.url, "--concurrency", "2", "-r", "2", "-p", "300", "--json")
    (line,) = lines(out)
    assert (line["prompt_tokens"], line["cached_pct"]) == (300, 0)


def test_it_is_kept_shown_and_laid_beside_another(call, serve):
    served = serve(VllmServer())
    command = ("bench", "--server", served.url, "--concurrency", "1,2", "-r", "2", "-n", "8", "--seconds", "30")
    status, out, _ = call(*command)
    assert status == 0
    assert out.count("\n|") == 3
    assert f"server: vLLM 0.13.0 at {served.url}, Qwen/Qwen3-0.6B; prompts of 128 tokens, answers of 8" in out
    call(*command)
    kept = json.loads(call("bench", "--list", "--json")[1])
    assert [run["kind"] for run in kept] == ["sweep"] * 2
    assert kept[0]["command"] == "workbench " + " ".join(
        ("bench", "--server", served.url, "--concurrency", "1,2", "-n", "8", "-r", "2", "--seconds", "30")
    )
    shown = json.loads(call("bench", "--show", kept[0]["id"], "--json")[1])
    assert len(shown["sweep"]["levels"][1]["samples"]) == 4
    assert len(shown["sweep"]["warm_up"]) == 2
    assert call("bench", "--show", kept[0]["id"])[1].split("\n\n", 1)[1].startswith("| users ")
    beside = json.loads(call("bench", "--show", kept[0]["id"], kept[1]["id"], "--json")[1])
    assert [test["label"] for test in beside["tests"]] == ["1 at a time", "2 at a time"]


def test_a_model_is_named_where_there_are_several(call, serve):
    served = serve(OllamaServer())
    status, out, _ = call("bench", "--server", served.url, "--concurrency", "1", "--json")
    assert (status, lines(out)[0]["error"]["kind"]) == (1, "unknown_model")
    for named in (("--server", served.url, "--model", "smollm2:135m"), ("--server", f"{served.url}#smollm2:135m")):
        status, out, _ = call("bench", *named, "--concurrency", "1", "-r", "1", "--json")
        assert (status, lines(out)[0]["failures"]) == (0, 0)


def test_it_says_why_it_ended(call, serve):
    served = serve(VllmServer(Script(pace=Pace(slots=1, decode_tps=100))))
    status, out, _ = call("bench", "--server", served.url, "--concurrency", "1,4,8,16", "-r", "2", "-n", "16")
    assert status == 0
    assert "more users only wait longer" in out
    assert "\n| 1 " in out
    # On a busy machine the server may seem saturated one step later than it is.
    assert "\n| 16 " not in out


def test_what_is_felt_of_a_server(call, serve):
    served = serve(VllmServer())
    status, out, _ = call("bench", served.url, "--felt", "32", "-n", "4", "-r", "2", "--json")
    assert status == 0
    assert lines(out)[0]["completion_tokens"] == 4


def test_nothing_answers(call):
    status, out, err = call("bench", "--server", "http://127.0.0.1:9", "--json")
    assert (status, lines(out)[0]["error"]["kind"]) == (1, "server_unreachable")
    assert "kept as" not in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--concurrency", "1,2"],
        ["--server", "http://127.0.0.1:9", "demo"],
        ["--server", "http://127.0.0.1:9", "-ngl", "5"],
        ["--server", "http://127.0.0.1:9", "--pairs", "5"],
        ["--server", "http://127.0.0.1:9", "--no-warmup"],
        ["--server", "http://127.0.0.1:9", "--concurrency", "0"],
        ["--server", "http://127.0.0.1:9", "--concurrency", "257"],
        ["--server", "http://127.0.0.1:9", "-p", "64,128"],
        ["--server", "http://127.0.0.1:9", "-n", "0"],
        ["--server", "http://127.0.0.1:9", "-r", "1001"],
        ["--server", "http://127.0.0.1:9", "--seconds", "0"],
        ["--server", "http://127.0.0.1:9", "--list"],
        ["--model", "m"],
        ["http://127.0.0.1:9"],
        ["demo", "http://127.0.0.1:9#m", "--pairs", "3"],
    ],
)
def test_bad_usage_is_status_2(call, arguments):
    status, out, err = call("bench", *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("workbench bench: ")


@pytest.mark.parametrize("url", ["http:///x", "ftp://host", "http://user:secret@host:1"])
def test_what_is_no_address(call, url):
    status, out, err = call("bench", "--server", url)
    assert (status, out) == (1, "")
    assert "secret" not in err


class Terminal(io.StringIO):
    def isatty(self):
        return True


ELSEWHERE = "http://192.0.2.1:8000"


def test_another_machine_is_asked_only_where_somebody_says_so(call, monkeypatch):
    status, out, err = call("bench", "--server", ELSEWHERE)
    assert (status, out) == (2, "")
    assert "is not on this machine" in err
    assert "155 questions" in err
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    status, out, err = call("bench", "--server", ELSEWHERE)
    assert (status, out) == (1, "")
    assert "Nothing was asked" in err


def test_a_test_beyond_the_context_is_said_and_asked_about_at_a_terminal(call, monkeypatch):
    monkeypatch.setattr(BenchCommand, "run", lambda self: asyncio.sleep(0, 0))
    asked = ("bench", "demo", "-p", "9000", "-n", "0", "-r", "1")
    status, _, err = call(*asked)
    assert status == 0
    assert "was trained for a context of 8,192 tokens" in err
    assert "Continue?" not in err
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    status, _, err = call(*asked)
    assert status == 1
    assert "Nothing was measured" in err
    status, _, err = call(*asked, "--yes")
    assert status == 0


@pytest.mark.parametrize("words", [("--yes",), ()])
def test_who_agrees_is_not_asked_again(call, monkeypatch, words):
    opened = []

    class Clients:
        async def open(self, ref, on_progress, cancel):
            opened.append(ref)
            cancel.set()
            from workbench.core.errors import CancelledError

            raise CancelledError("stopped")

    monkeypatch.setattr(composition.Workers, "load_clients", Clients(), raising=False)
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    call("bench", "--server", ELSEWHERE, *words)
    assert opened == [ELSEWHERE]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
def test_ctrl_c_keeps_the_answers_so_far(interrupted, tmp_path, serve):
    served = serve(VllmServer(Script(pace=Pace(decode_tps=50))))
    arguments = ("--server", served.url, "--json", "--concurrency", "1,2", "-r", "1000", "-n", "4")
    status, out, err = interrupted("bench", *arguments)
    assert status == 130
    assert "stopped" in err
    assert "Traceback" not in err
    kept = bench_runs(tmp_path / "data" / "bench").records()
    assert all(line["requests"] == len(kept[0].sweep.levels[0].samples) for line in lines(out))
