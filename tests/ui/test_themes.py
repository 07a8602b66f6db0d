from __future__ import annotations

from pathlib import Path

import pytest
from textual.color import Color

from tests.ui.fakes import THEMES
from workbench.ui.themes import FALLBACK, OWN_VARIABLES, load_themes, variable_defaults


def contrast(one: Color, other: Color) -> float:
    """The contrast of two colours as WCAG defines it, 1 to 21."""

    def luminance(colour: Color) -> float:
        parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized]
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


FILES = sorted(THEMES.glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_shipped_theme_loads_and_can_be_read(file: Path) -> None:
    themes, problems = load_themes([file.parent])
    assert problems == []
    theme = themes[file.stem]
    colours = {**theme.to_color_system().generate(), **variable_defaults(theme), **theme.variables}
    background = Color.parse(colours["background"])
    for name, floor in (("foreground", 7.0), ("figure", 4.5), ("title", 4.5), ("muted", 4.5), ("code-comment", 4.5)):
        ratio = contrast(background, background + Color.parse(colours[name]))
        assert ratio >= floor, name


def test_the_high_contrast_theme_has_the_contrast_of_wcag_aaa() -> None:
    theme = load_themes([THEMES])[0]["high-contrast"]
    colours = {**theme.to_color_system().generate(), **variable_defaults(theme), **theme.variables}
    texts = {"primary", "secondary", "accent", "success", "warning", "error", "foreground", *OWN_VARIABLES}
    for ground in map(Color.parse, (theme.background, theme.panel, colours["code-background"])):
        for name in texts - {"gauge-track", "code-background"}:
            assert contrast(ground, ground + Color.parse(colours[name])) >= 7, name
        assert contrast(ground, Color.parse(colours["gauge-track"])) >= 3, "it is no text"


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 5
    assert {"workbench-dark", "workbench-light", "high-contrast"} <= {file.stem for file in FILES}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("primary = 5", "must be a colour in quotes"),
        ('primary = "nothing"', "is no colour"),
        ('secondary = "#fff"', "'primary' is missing"),
        ('primary = "#fff"\nprimry = "#fff"', "Did you mean 'primary'"),
        ('primary = "#fff"\ndark = "yes"', "dark must be true or false"),
        ('primary = "#fff"\ntext_alpha = "much"', "text_alpha must be a number"),
        ('primary = "#fff"\nvariables = 3', "variables must be a table"),
        ('primary = "#fff"\n[variables]\nfigur = "#fff"', "Did you mean 'figure'"),
        ('primary = "#fff"\n[variables]\nfigure = "oh"', "is no colour"),
        ('primary = "#fff', "cannot be read"),
        ("\udcff", "cannot be read"),
        ("primary = " + "[" * 5000, "cannot be read"),
        ("text_alpha = " + "9" * 5000, "cannot be read"),
        ('primary = "#fff"\ntext_alpha = 1' + "0" * 400, "cannot be read"),
    ],
    ids=lambda text: text[:24],
)
def test_a_broken_theme_says_why(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "mine.toml").write_bytes(text.encode(errors="surrogateescape"))
    themes, problems = load_themes([tmp_path])
    assert themes == {FALLBACK.name: FALLBACK}
    assert reason in str(problems[0])
    assert str(problems[0]).startswith("mine.toml: ")


def test_companions_of_macos_are_no_themes(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('primary = "#010203"')
    (tmp_path / "._mine.toml").write_bytes(b"\x00\x05\x16\x07Mac OS X")
    themes, problems = load_themes([tmp_path])
    assert (list(themes), problems) == (["mine"], [])


def test_the_later_folder_wins(tmp_path: Path) -> None:
    (tmp_path / "workbench-dark.toml").write_text('primary = "#010203"')
    themes, _ = load_themes([THEMES, tmp_path, tmp_path / "missing"])
    assert themes["workbench-dark"].primary == "#010203"


def test_every_own_variable_has_a_default() -> None:
    assert set(variable_defaults(FALLBACK)) == set(OWN_VARIABLES)
