from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from scripts import vulkan


@pytest.fixture
def include(tmp_path: Path) -> Path:
    """A folder with Vulkan headers that are new enough."""
    header = tmp_path / "include" / "vulkan" / "vulkan_core.h"
    header.parent.mkdir(parents=True)
    header.write_text("// Vulkan\n#define VK_HEADER_VERSION 309\n")
    return header.parents[1]


@pytest.fixture
def ready(monkeypatch):
    """A system that has everything but what a test takes away."""
    monkeypatch.setattr(vulkan, "device_count", lambda: 1)
    monkeypatch.setattr(vulkan, "has_compilers", lambda: True)
    monkeypatch.setattr(vulkan.shutil, "which", lambda name: f"/usr/bin/{name}")
    return monkeypatch


def test_with_everything_there_is_nothing_to_say(ready, include):
    vulkan.check(include)
    assert vulkan.headers_version(include) == 309


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("device_count", lambda: 0, "finds no device"),
        ("has_compilers", lambda: False, "no C++ compiler"),
        ("headers_version", lambda _: None, "no Vulkan headers"),
        ("headers_version", lambda _: 239, "too old (239, 272 is needed)"),
        ("shutil.which", lambda _: None, "no glslc"),
    ],
)
def test_what_is_missing_is_one_sentence_and_nothing_is_run(ready, include, capsys, name, value, words):
    ready.setattr(f"scripts.vulkan.{name}", value)
    ready.setattr("sys.argv", ["vulkan", "--include", str(include), "--", "false"])
    ready.setattr("os.execvpe", None)
    assert vulkan.main() == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert words in line


def test_a_build_is_kept_by_version_arguments_and_headers(include, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = vulkan.folder_of("-DGGML_VULKAN=on", include)
    assert first == vulkan.folder_of("-DGGML_VULKAN=on", include)
    assert first.parent == tmp_path / "cache" / "workbench-builds"
    assert first != vulkan.folder_of("-DGGML_VULKAN=on -DGGML_NATIVE=off", include)
    (include / "vulkan" / "vulkan_core.h").write_text("#define VK_HEADER_VERSION 400\n")
    assert first != vulkan.folder_of("-DGGML_VULKAN=on", include)


def test_a_kept_build_is_taken_and_the_command_finds_it_first(ready, include, tmp_path):
    ready.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    ready.delenv("GGML_VK_VISIBLE_DEVICES", raising=False)
    ready.setenv("PYTHONPATH", "/elsewhere")
    arguments = f"-DGGML_VULKAN=on -DLLAVA_BUILD=off -DVulkan_INCLUDE_DIR={include}"
    folder = vulkan.folder_of(arguments, include)
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "x.whl", "w") as wheel:
        wheel.writestr("llama_cpp/__init__.py", "")
    vulkan.install(folder, folder / "x.whl")
    assert (folder / "site" / "llama_cpp" / "__init__.py").exists()
    ran = []
    ready.setattr("os.execvpe", lambda *command: ran.append(command))
    ready.setattr("sys.argv", ["vulkan", "--include", str(include), "--", "pytest", "tests/vulkan"])
    vulkan.main()
    ((program, command, environment),) = ran
    assert (program, command) == ("pytest", ["pytest", "tests/vulkan"])
    assert environment["PYTHONPATH"] == f"{folder / 'site'}:/elsewhere"
    assert environment["GGML_VK_VISIBLE_DEVICES"] == "0,0"
