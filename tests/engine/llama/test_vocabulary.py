"""Tokenizing: texts of any length, with every pre-tokenizer rule."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.engine.llama.toys import write_toy
from tests.gguf.conftest import write_model
from workbench.engine.llama.runtime import Runtime, shared_runtime

RULES = (
    "default", "deepseek-llm", "deepseek-coder", "deepseek-v3", "tekken", "gpt-4o", "llama4", "minimax-m2",
    "seed-coder", "hunyuan-dense", "exaone-moe", "afmoe", "youtu", "poro-chat", "bloom", "falcon", "viking",
    "llama-bpe", "qwen2", "gpt-2",
)  # fmt: skip

UNBROKEN = {
    "letters": "a",
    "mixed letters": "aBcDe",
    "base64": "YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo0123456789+/",
    "accents": "e\u0301a\u0308",
    "Han": "\u4e2d\u6587",
    "digits": "123",
    "punctuation": "!",
    "equals signs": "=",
    "blanks": " ",
    "newlines": "\n",
    "prose": "the word of the sea and one word on, then another; ",
    "letters with single spaces": "a b c ",
}

CHILD = """
import asyncio, json, sys
from workbench.core.cancel import CancelToken
from workbench.core.engine import Request
from workbench.core.models import ModelEntry
from workbench.core.parameters import LoadSettings
from workbench.engine.llama.host import LlamaHost

paths, unbroken, lengths = json.loads(sys.stdin.read())

async def main():
    host = LlamaHost(lambda ref: ModelEntry(ref, ref, path=ref))
    for path in paths:
        engine = await host.open(path, LoadSettings(num_ctx=256), lambda _: None, CancelToken())
        for name, text in unbroken.items():
            for length in lengths:
                print(path, name, length, flush=True)
                async for batch in engine.generate(Request(prompt=text * (length // len(text))), CancelToken()):
                    last = batch[-1]
                assert type(last.error).__name__ == "ContextFullError", last
        await engine.close()
    print("done")

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each rule."""
    folder = tmp_path_factory.mktemp("rules")
    return {rule: write_toy(folder / f"{rule}-F32.gguf", rule=rule) for rule in RULES}


def tokenize_in_a_child(paths: list[Path], unbroken: dict[str, str], lengths: list[int]) -> None:
    order = json.dumps([[str(path) for path in paths], unbroken, lengths])
    done = subprocess.run([sys.executable, "-c", CHILD], input=order, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:] + done.stderr[-2000:]
    assert done.stdout.endswith("done\n")


@pytest.mark.parametrize("part", range(3))
def test_long_text_without_a_space_is_tokenized(toys, part):
    tokenize_in_a_child([toys[rule] for rule in RULES[part::3]], UNBROKEN, [30_000])


def test_very_long_text_without_a_space_is_tokenized(toys):
    paths = [toys[rule] for rule in ("tekken", "gpt-4o", "deepseek-llm", "exaone-moe", "falcon", "default")]
    tokenize_in_a_child(paths, {name: UNBROKEN[name] for name in ("base64", "punctuation", "prose")}, [400_000])


ORDINARY = (
    "The word of the sea and one word on, then another: it's 12,345 or 67.8 % of the whole.\n\n"
    "    def word(self, the: int = 1) -> str:\n        return f'{the} and {self}'  # the end\n"
    "Und dann, äußerst schön, kam ein Über-Ich; l'été où j'ai vu le garçon naïf.\n"
    "Это слово и море, которое мы видели. \u4e2d\u6587\u5b57 and the \u65e5\u672c\u8a9e word, "
    "\U0001f600 \U0001f44d\U0001f3fd.\n"
    "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22 the \u0915\u094d\u0937 word  with  two  blanks ... "
    "and <|im_start|>user\nthe end<|im_end|>\n"
    "a b c d e f 1 2 3 4 5 == != <= the HTTPServer's getURL word; SHOUTING AND THE END\tof\tthe tabs and\r\nthe lines\n"
)


def vocabulary_of(path: Path):
    """The vocabulary in a file, read without its weights; in the runtime's thread."""
    from workbench.engine.llama.native import api
    from workbench.engine.llama.vocabulary import Vocabulary

    params = api.llama_model_default_params()
    params.vocab_only = True
    return Vocabulary.of(api.llama_model_load_from_file(str(path).encode(), params))


@pytest.mark.parametrize("rule", RULES)
async def test_a_cut_does_not_change_the_tokens_of_ordinary_text(toys, rule):
    def compare() -> None:
        from workbench.engine.llama import native

        vocabulary, text = vocabulary_of(toys[rule]), ORDINARY * 3
        whole = native.tokenize(vocabulary.native, text)
        for longest in (60, 97, 400):
            pieces = list(vocabulary.pieces(text, longest))
            assert "".join(pieces) == text
            assert len(pieces) > len(text) / longest - 1
            assert max(map(len, pieces)) <= longest
            assert [token for piece in pieces for token in native.tokenize(vocabulary.native, piece)] == whole

    await shared_runtime.do(compare)


async def test_long_numbers_are_cut_where_a_rule_groups_their_digits(tmp_path):
    def compare() -> None:
        from workbench.engine.llama import native
        from workbench.engine.llama.vocabulary import LONGEST_NUMBER, numbers_apart

        vocabulary = vocabulary_of(write_toy(tmp_path / "toy-F32.gguf", rule="superbpe"))
        assert vocabulary.groups_from_the_end
        for digits in (1, 59, 60, 61, 62, 63, 119, 120, 121, 200):
            number = ("123" * 70)[:digits]
            text = f"a {number} and {number}.{number}"
            assert max(map(len, numbers_apart(number))) <= LONGEST_NUMBER
            assert "".join(numbers_apart(text)) == text
            assert vocabulary.tokenize_raw(text) == native.tokenize(vocabulary.native, text, add_special=True)

    await shared_runtime.do(compare)


async def test_control_tokens_stay_whole_wherever_a_cut_would_fall(toys):
    def compare() -> None:
        from workbench.engine.llama import native

        vocabulary = vocabulary_of(toys["tekken"])
        for text in ("aaaa<|im_start|>", "aa <|a mark with spaces|>aaaaa"):
            for shift in range(len(text)):
                long = "a" * shift + text * 40
                tokens = [
                    token
                    for piece in vocabulary.pieces(long, 300)
                    for token in native.tokenize(vocabulary.native, piece)
                ]
                assert [tokens.count(mark) for mark in (1, 3)] == [long.count("<|im_start|>"), long.count("<|a mark")]

    await shared_runtime.do(compare)


async def test_the_first_and_the_last_token_are_added_once(tmp_path):
    def compare() -> None:
        vocabulary = vocabulary_of(write_toy(tmp_path / "ends.gguf", rule="tekken", ends=True))
        short, long = vocabulary.tokenize_raw(ORDINARY), vocabulary.tokenize_raw(ORDINARY * 60)
        assert len(ORDINARY * 60) > 20_000
        for tokens in (short, long):
            assert (tokens[0], tokens[-1]) == (1, 2)
        assert long.count(1) - 1 == 60 * (short.count(1) - 1)
        assert long.count(2) - 1 == 60 * (short.count(2) - 1)
        already = vocabulary.tokenize_prompt("<|im_start|>" + ORDINARY * 60)
        assert already[:2] != [1, 1]
        assert vocabulary.tokenize_raw("") == [1, 2]

    await shared_runtime.do(compare)


async def test_a_tokenizer_without_a_rule_gets_the_whole_text(tmp_path, monkeypatch):
    def compare() -> None:
        from workbench.engine.llama import native

        calls = []
        tokenize = native.tokenize
        monkeypatch.setattr(native, "tokenize", lambda *call, **named: calls.append(call) or tokenize(*call, **named))
        assert len(vocabulary_of(write_model(tmp_path / "bytes.gguf")).tokenize_raw("word " * 10_000)) > 50_000
        assert len(calls) == 1

    await shared_runtime.do(compare)


async def test_a_text_inside_another_begins_with_no_added_space(tmp_path):
    def compare() -> None:
        from workbench.engine.llama import native

        vocabulary = vocabulary_of(write_model(tmp_path / "bytes.gguf"))
        pieces = native.PieceCache(vocabulary.native)
        assert b"".join(pieces[token] for token in vocabulary.tokenize_raw("</x>")) == "▁</x>".encode()
        assert b"".join(pieces[token] for token in vocabulary.tokenize_inside("</x>")) == b"</x>"

    await shared_runtime.do(compare)


@pytest.mark.parametrize("refused", [RuntimeError, ValueError])
async def test_a_system_that_refuses_the_large_stack_gives_its_own(monkeypatch, refused):
    real = threading.stack_size

    def stack_size(size: int = 0) -> int:
        if size:
            raise refused("no such stack")
        return real(0)

    monkeypatch.setattr(threading, "stack_size", stack_size)
    assert await Runtime().do(lambda: 1) == 1


async def test_only_the_thread_of_llama_cpp_has_the_large_stack():
    before = threading.stack_size()
    assert await Runtime().do(threading.stack_size) == before == threading.stack_size()
