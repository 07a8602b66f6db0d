from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.store.session_values import Talk
from workbench.core.errors import SessionError
from workbench.core.parameters import LoadSettings, Sampling
from workbench.core.session import Session
from workbench.core.tree import Tree, View
from workbench.modelfile.server_options import FURTHER_OPTIONS, LOAD_OPTIONS, SAMPLING_OPTIONS
from workbench.store.export.session import session_text


def session(model: Path, text: str = "Why is the sky blue?") -> Session:
    node = Talk().user(text)
    return Session("s", 1.0, 2.0, "tiny", str(model), "Be brief.", tree=Tree((node,), View(1)))


def run(script: str, folder: Path) -> list[list[str]]:
    """The commands that a shell makes of a script, word by word."""
    programs = folder / "bin"
    programs.mkdir()
    for name in ("llama-server", "ollama"):
        program = programs / name
        program.write_text(
            f'#!/bin/sh\nprintf "%s\\0" {name} "$@" >> "{folder}/said"; printf "\\n" >> "{folder}/said"\n'
        )
        program.chmod(0o755)
    subprocess.run(
        ["/bin/sh", "-e"], input=script, text=True, cwd=folder, env={"PATH": f"{programs}:/usr/bin:/bin"}, check=True
    )
    return [line.split("\0")[:-1] for line in (folder / "said").read_text().split("\n")[:-1]]


def test_a_shell_starts_the_model_with_its_settings(tmp_path: Path) -> None:
    model = tmp_path / "it's a $model `x`.gguf"
    one = replace(
        session(model),
        sampling=Sampling(temperature=0.25, seed=7),
        load=LoadSettings(num_ctx=4096, type_k="q8_0", use_mmap=False, swa_full=True),
    )
    server, create, started = run(session_text(one, "sh"), tmp_path)
    options = dict(zip(server[3::2], server[4::2], strict=False))
    assert server[:3] == ["llama-server", "--model", str(model)]
    assert (options["--ctx-size"], options["--cache-type-k"]) == ("4096", "q8_0")
    assert "--swa-full" in server
    assert "--no-mmap" not in server
    assert server[server.index("--load-mode") + 1] == "none"
    assert "--threads" not in server
    assert [server[server.index(name) + 1] for name in ("--temp", "--seed", "--top-p")] == ["0.25", "7", "0.9"]
    assert create == ["ollama", "create", "why-is-the-sky-blue", "--file", "why-is-the-sky-blue.Modelfile"]
    assert started == ["ollama", "run", "why-is-the-sky-blue"]
    written = (tmp_path / "why-is-the-sky-blue.Modelfile").read_text()
    without_time = re.compile("^#.*$", re.M)
    assert without_time.sub("", written) == without_time.sub("", session_text(one, "modelfile"))


@pytest.mark.parametrize(
    "text", ["MODELFILE", "a\nMODELFILE\nrm -rf nothing\nMODELFILE_\n", "'; touch harm; '", "$(touch harm)"]
)
def test_no_text_of_the_conversation_is_a_command(tmp_path: Path, text: str) -> None:
    assert len(run(session_text(session(tmp_path / "m.gguf", text), "sh"), tmp_path)) == 3
    assert not (tmp_path / "harm").exists()


def test_a_session_without_a_model_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="model file"):
        session_text(replace(session(tmp_path), model="http://h#m", model_path=""), "sh", "m")


def test_the_options_are_those_of_parameters() -> None:
    names = {*SAMPLING_OPTIONS, *FURTHER_OPTIONS, *LOAD_OPTIONS}
    assert names <= {*Sampling.__slots__, *LoadSettings.__slots__}


def test_the_samplers_are_those_of_the_session(tmp_path: Path) -> None:
    sampling = Sampling(
        dry_multiplier=0.8,
        dry_sequence_breakers=("it's", "\n", "a\\b"),
        mirostat=1,
        logit_bias=("7=-inf", "9=2"),
        adaptive_target=0.5,
        samplers=("min_p", "temperature"),
    )
    server, *_ = run(session_text(replace(session(tmp_path / "m.gguf"), sampling=sampling), "sh"), tmp_path)
    found = [(server[index], server[index + 1]) for index in range(3, len(server) - 1)]
    for option in (
        ("--dry-multiplier", "0.8"), ("--dry-sequence-breaker", "it's"), ("--dry-sequence-breaker", r"\n"),
        ("--dry-sequence-breaker", r"a\\b"), ("--mirostat", "1"), ("--logit-bias", "7-inf"),
        ("--logit-bias", "9+2"), ("--adaptive-target", "0.5"),
        ("--sampler-seq", "mta"),
    ):  # fmt: skip
        assert option in found
    plain = tmp_path / "plain"
    plain.mkdir()
    server, *_ = run(session_text(session(tmp_path / "m.gguf"), "sh"), plain)
    assert not {"--sampler-seq", "--dry-sequence-breaker", "--logit-bias", "--mirostat"} & set(server)
