from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.modelfile.gotemplate.rendering import render
from workbench.modelfile.gotemplate.cursor import MAX_NESTING
from workbench.modelfile.gotemplate.expressions import MAX_DEPTH, EvaluationSettings, Limits
from workbench.modelfile.gotemplate.lexer import GoTemplateError
from workbench.modelfile.gotemplate.parser import MAX_LENGTH
from workbench.modelfile.template import parse

DATA = {
    "text": "abc",
    "empty": "",
    "one": 1,
    "half": 0.5,
    "yes": True,
    "nil": None,
    "list": [1, "b", None],
    "map": {"a": {"b": "c"}},
    "Messages": [{"Role": "user", "Content": "hi"}],
}

REFUSED = [
    # Delimiters and comments.
    ("a\n{{ .text", 2, 1, "this action is not closed"),
    ("{{", 1, 1, "not closed"),
    ("{{ /* c */ }}", 1, 4, "no operator /"),
    ("{{/* c }}", 1, 1, "this comment is not closed"),
    ("{{/*/}}", 1, 1, "this comment is not closed"),
    ("{{/* c */ }}", 1, 10, "a comment ends with"),
    ("{{}}", 1, 3, "a value is missing"),
    ("{{ .text } {{ .text }}", 1, 10, "unexpected"),
    # What is no token.
    ('{{ "abc }}', 1, 4, "is not closed"),
    ('{{ "a\nb" }}', 1, 4, "is not closed"),
    ("{{ `abc }}", 1, 4, "is not closed"),
    ("{{ 'ab' }}", 1, 4, "not one character"),
    ("{{ '' }}", 1, 4, "not one character"),
    ("{{ 'a }}", 1, 4, "is not closed"),
    (r'{{ "\q" }}', 1, 4, r"\q is not an escape"),
    (r'{{ "\'" }}', 1, 4, "not an escape between"),
    (r'{{ "\400" }}', 1, 4, "larger than a byte"),
    (r'{{ "\ud800" }}', 1, 4, "not a character"),
    ("{{ 1a }}", 1, 4, "is not a number"),
    ("{{ 08 }}", 1, 4, "is not a number"),
    ("{{ 0x }}", 1, 4, "is not a number"),
    ("{{ 1__0 }}", 1, 4, "is not a number"),
    ("{{ 1_.5 }}", 1, 4, "is not a number"),
    ("{{ 1._5 }}", 1, 4, "is not a number"),
    ("{{ 1e_5 }}", 1, 4, "is not a number"),
    ("{{ + }}", 1, 4, "is not a number"),
    ("{{ 9223372036854775808 }}", 1, 4, "does not fit in 64 bits"),
    ("{{ 1e999 }}", 1, 4, "does not fit in 64 bits"),
    ("{{ 1+2i }}", 1, 4, "complex"),
    ("{{ 2i }}", 1, 4, "complex"),
    ("{{ .a\u2028 }}", 1, 6, "cannot come right after"),
    ("{{ \u2028 }}", 1, 4, "U+2028"),
    ("{{ .text! }}", 1, 9, "cannot come right after"),
    ("{{ : }}", 1, 4, "lone colon"),
    # Parentheses and operands.
    ("{{ (.text }}", 1, 11, "a parenthesis is still open"),
    ("{{ .text) }}", 1, 9, "never opened"),
    ("{{ () }}", 1, 5, "a value is missing in parentheses"),
    ("{{ .one == 1 }}", 1, 9, "unexpected"),
    ("{{ .one > 1 }}", 1, 9, "no operator >"),
    ("{{ .one, 1 }}", 1, 8, "unexpected"),
    ('{{ .text"a" }}', 1, 9, "cannot come right after"),
    ('{{ "a""b" }}', 1, 7, "unexpected"),
    ('{{ "a".b }}', 1, 4, "cannot come after a literal"),
    ("{{ 1 | 2 }}", 1, 8, "only a function can come after |"),
    ("{{ | len }}", 1, 4, "a value is missing"),
    ("{{ nosuch }}", 1, 4, "no function 'nosuch'"),
    ("{{ lenn .text }}", 1, 4, "Did you mean 'len'"),
    ("{{ text }}", 1, 4, "A field has a dot before it: .text"),
    # Variables.
    ("{{ $x }}", 1, 4, "no variable $x"),
    ("{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}", 1, 39, "no variable $x"),
    ("{{ range $x := .list }}{{ end }}{{ $x }}", 1, 36, "no variable $x"),
    ("{{ $x := 1 }}{{ define `t` }}{{ $x }}{{ end }}", 1, 33, "no variable $x"),
    ("{{ $x, $y := 1 }}", 1, 6, "too many variables"),
    ("{{ range $a, $b, $c := .list }}{{ end }}", 1, 16, "too many variables"),
    ("{{ range $a, .list }}{{ end }}", 1, 14, "one or two variables"),
    ("{{ .text := 1 }}", 1, 10, "unexpected"),
    ("{{ $x := }}", 1, 10, "a value is missing"),
    # Blocks.
    ("{{ if .text }}", 1, 4, "{{if}} has no {{end}}"),
    ("{{ if }}a{{ end }}", 1, 7, "a value is missing in {{if}}"),
    ("a{{ end }}", 1, 5, "{{end}} closes nothing"),
    ("{{ else }}", 1, 4, "{{else}} closes nothing"),
    ("{{ if 1 }}{{ else }}{{ else }}{{ end }}", 1, 24, "a second {{else}}"),
    ("{{ if 1 }}{{ else with 1 }}{{ end }}", 1, 19, "else with belongs to"),
    ("{{ range .list }}{{ else if 1 }}{{ end }}", 1, 26, "else if belongs to"),
    ("{{ if 1 }}{{ else x }}{{ end }}", 1, 19, "unexpected"),
    ("{{ end x }}", 1, 8, "unexpected"),
    ("{{ break }}", 1, 4, "outside of a range"),
    ("{{ range .list }}{{ define `t` }}{{ end }}{{ end }}", 1, 21, "unexpected"),
    ("{{ define `t` }}{{ continue }}{{ end }}", 1, 20, "outside of a range"),
    ("{{ range .list }}{{ continue 1 }}{{ end }}", 1, 30, "unexpected"),
    ("{{ define }}{{ end }}", 1, 11, "the name of the template"),
    ("{{ define `t` }}", 1, 4, "{{define}} has no {{end}}"),
    ("{{ define `t` }}{{ else }}{{ end }}", 1, 20, "{{else}} is unexpected"),
    ("{{ define `t` }}a{{ end }}{{ define `t` }}b{{ end }}", 1, 30, "defined twice"),
    ("{{ template .text }}", 1, 13, "the name of the template"),
    ("{{ template `t` }}", 1, 4, 'without a value. Give it one: {{template "t" .}}'),
    ("{{ define `t` }}{{ template `t` }}{{ end }}", 1, 20, "without a value"),
    ("{{ define `` }}a{{ end }}b", 1, 26, "defined twice"),
    ("{{ block `t` }}{{ end }}", 1, 14, "a value is missing"),
    ("line\n\n  {{ .ok }} é {{ nosuch }}", 3, 18, "nosuch"),
]

FAILS = [
    ("{{ .text.a }}", 1, 4, "a text has no fields, and so no .a"),
    ("{{ .nil.a }}", 1, 4, ".a of nil"),
    ("{{ .missing.a }}", 1, 4, ".a of nil"),
    ("{{ .text 1 }}", 1, 4, "takes no arguments"),
    ("{{ 1 | .text }}", 1, 8, "takes no arguments"),
    ("{{ nil }}", 1, 4, "nil is not a command"),
    ("{{ $x = 1 }}", 1, 4, "no variable $x"),
    ("{{ range .text }}{{ end }}", 1, 4, "a text cannot be ranged over"),
    ("{{ range .half }}{{ end }}", 1, 4, "a decimal number cannot be ranged over"),
    ("{{ range .yes }}{{ end }}", 1, 4, "a bool cannot be ranged over"),
    ("{{ range $i, $x := 3 }}{{ end }}", 1, 4, "one variable"),
    ("{{ template `t` . }}", 1, 4, "no template 't'"),
    ("{{ define `abc` }}{{ end }}{{ template `abd` . }}", 1, 31, "Did you mean 'abc'"),
    ("{{ define `t` }}{{ template `t` . }}{{ end }}{{ template `t` . }}", 1, 33, f"more than {MAX_DEPTH} deep"),
    ("a{{ template `` . }}", 1, 17, f"more than {MAX_DEPTH} deep"),
    ("{{ len }}", 1, 4, "len takes 1 argument, and not 0"),
    ("{{ ne 1 }}", 1, 4, "ne takes 2 arguments, and not 1"),
    ("{{ index }}", 1, 4, "index takes at least 1 argument"),
    ("{{ len 1 }}", 1, 4, "len: a whole number has no length"),
    ("{{ len .nil }}", 1, 4, "len: nil has no length"),
    ("{{ eq 1 1.0 }}", 1, 4, "a whole number cannot be compared with a decimal number"),
    ("{{ eq 1 `1` }}", 1, 4, "cannot be compared with a text"),
    ("{{ eq 1 }}", 1, 4, "nothing to compare with"),
    ("{{ eq .list .list }}", 1, 4, "a list cannot be compared"),
    ("{{ eq .list .map }}", 1, 4, "a list cannot be compared with a map"),
    ("{{ eq .list 1 }}", 1, 4, "a list cannot be compared with a whole number"),
    ("{{ lt .yes .yes }}", 1, 4, "have no order"),
    ("{{ lt .nil 1 }}", 1, 4, "have no order"),
    ("{{ gt 1 `a` }}", 1, 4, "cannot be compared"),
    ("{{ index .list 3 }}", 1, 4, "index: the index 3 is out of range"),
    ("{{ index .list -1 }}", 1, 4, "out of range"),
    ("{{ index .list `a` }}", 1, 4, "a text is not an index"),
    ("{{ index .map 1 }}", 1, 4, "keys of this map are texts"),
    ("{{ index .one 1 }}", 1, 4, "a whole number has no elements"),
    ("{{ index .nil 1 }}", 1, 4, "nil has no elements"),
    ("{{ index .map `a` `x` `y` }}", 1, 4, "nil has no elements"),
    ("{{ slice .text 4 }}", 1, 4, "out of range"),
    ("{{ slice .text 2 1 }}", 1, 4, "do not rise"),
    ("{{ slice .text 0 1 2 }}", 1, 4, "text takes two indexes"),
    ("{{ slice .list 0 1 2 3 }}", 1, 4, "too many"),
    ("{{ slice .map 0 }}", 1, 4, "a map cannot be sliced"),
    ("{{ slice .text .yes }}", 1, 4, "a bool is not an index"),
    ("{{ printf 1 }}", 1, 11, "a text is expected here"),
    ("{{ printf .nil }}", 1, 11, "a text is expected here"),
    ("{{ .one | printf }}", 1, 11, "a text is expected here"),
    ("{{ currentDate 1 }}", 1, 16, "a text is expected here"),
    ("{{ call .text }}", 1, 4, "a text is not a function"),
    ("a\nb {{ if eq .one .text }}{{ end }}", 2, 9, "cannot be compared"),
]


def assert_error(caught, template, line, column, words):
    error = caught.value
    assert words in str(error)
    assert (error.line, error.column) == (line, column)
    assert error.kind == "template"
    assert error.message.startswith(f"The template, line {line}, column {column}: ")
    again = pickle.loads(pickle.dumps(error))
    assert (again.message, again.hint, again.line) == (error.message, error.hint, error.line)


@pytest.mark.parametrize(("template", "line", "column", "words"), REFUSED)
def test_what_go_refuses(template, line, column, words):
    with pytest.raises(GoTemplateError) as caught:
        parse(template)
    assert_error(caught, template, line, column, words)


@pytest.mark.parametrize(("template", "line", "column", "words"), FAILS)
def test_what_fails_while_it_is_evaluated(template, line, column, words):
    parsed = parse(template)
    with pytest.raises(GoTemplateError) as caught:
        render(parsed, DATA)
    assert_error(caught, template, line, column, words)


def test_deep_nesting_is_refused_and_what_is_allowed_works():
    deep = MAX_NESTING - 1
    assert render(parse("{{" + "(" * deep + "1" + ")" * deep + "}}"), {}) == "1"
    assert render(parse("{{if 1}}" * deep + "x" + "{{end}}" * deep), {}) == "x"
    for template in ("{{" + "(" * 10_000 + "1" + ")" * 10_000 + "}}", "{{if 1}}" * 6_000 + "{{end}}" * 6_000):
        with pytest.raises(GoTemplateError, match="nested more than"):
            parse(template)


def test_a_long_chain_of_conditions_is_not_deep():
    template = "{{if 0}}" + "{{else if 0}}" * 5_000 + "{{else}}x{{end}}"
    assert render(parse(template), {}) == "x"


def test_a_template_of_many_megabytes_is_refused():
    with pytest.raises(GoTemplateError, match="50,000,000 characters"):
        parse("x" * 50_000_000)
    assert len(parse("{{.}}" * (MAX_LENGTH // 5)).tree.root) == MAX_LENGTH // 5


@pytest.mark.parametrize(
    "template",
    [
        "{{range .many}}{{range $.many}}{{range $.many}}{{end}}{{end}}{{end}}",
        "{{range 9000000000000000000}}{{end}}",
        "{{define `a`}}{{range 1000000000}}{{template `b` .}}{{end}}{{end}}{{define `b`}}{{end}}{{template `a` .}}",
        "{{range .many}}{{$x := json $.many}}{{end}}",
        "{{range .many}}{{$x := print $.many}}{{end}}",
        "{{$x := `ab`}}{{range .many}}{{$x = print $x $x}}{{end}}",
        "{{$x := `ab`}}{{range .many}}{{$x = printf `%s%[1]s` $x}}{{end}}",
        "{{range .many}}{{$x := printf `%1000000d` 1}}{{end}}",
        "{{printf `" + "%1000000d" * 1000 + "` 1}}",
        "{{printf `%*d` 1000000 1 | len | printf `%0*d` 1000000 | len}}{{range .many}}{{len $.long}}{{end}}",
        "{{range .many}}{{slice $.long 1}}{{end}}",
        "{{range .many}}{{if 0}}" + "{{else if 0}}" * 1_000 + "{{end}}{{end}}",
        "{{range .many}}{{if or" + " 0" * 1_000 + "}}{{end}}{{end}}",
        "{{range .many}}{{$x := not 1" + " | not" * 1_000 + "}}{{end}}",
        "{{range .many}}{{$.long}}{{end}}",
        "{{print" + " $.many" * 1_000 + "}}",
        "{{println" + " $.many" * 1_000 + "}}",
        "{{js" + " $.many" * 1_000 + "}}",
        "{{printf ``" + " $.many" * 1_000 + "}}",
        "{{printf `%1000d` $.many}}",
        "{{printf `%01000f` $.floats}}{{printf `%1000.0d` $.zeros}}",
        "{{range .many}}{{js $.long}}{{end}}",
        "{{range 100}}{{len (printf `" + "%[1].0x" * 1_000 + "` $.long)}}{{end}}",
        "{{range 2000}}{{if lt $.long $.long}}{{end}}{{end}}",
    ],
    ids=lambda template: template[:50],
)
def test_what_would_take_too_much_is_stopped(template):
    limits = EvaluationSettings(limits=Limits(steps=20_000, characters=2_000_000))
    data = {"many": ["x"] * 30_000, "long": "é" * 100_000, "floats": [1.5] * 1_500, "zeros": [0] * 1_500}
    with pytest.raises(GoTemplateError, match=r"more than|too long"):
        render(parse(template), data, limits)


@pytest.mark.parametrize("template", ["{{ %s }}", "{{ $%s }}", "{{ .text.%s }}", "{{ template `%s` }}", "{{ 1%s }}"])
def test_an_error_stays_short(template):
    with pytest.raises(GoTemplateError) as caught:
        render(parse(template % ("x" * 100_000)), DATA)
    assert len(str(caught.value)) < 600


def nested(depth):
    value = "x"
    for _ in range(depth):
        value = [value]
    return value


def test_data_that_is_too_deep_to_print():
    with pytest.raises(GoTemplateError, match="nested more than"):
        render(parse("{{ . }}"), nested(5_000))
    with pytest.raises(GoTemplateError, match="json: a value nested more than"):
        render(parse("{{ json . }}"), nested(5_000))


PIECES = """
{{ }} {{-_ _-}} /* */ if_ else_ end range_ with_ define_ template_ block_ break continue . .text .list .map.a $ $x := =
, | ( ) _ " ` ' "%s" 1 -1 0x 1e9 nil true printf_ len_ index_ eq_ and_ \\ % é text
"""
SOUP = st.lists(st.sampled_from([*PIECES.split(), *"\n\0\ud800"]) | st.text(max_size=3), max_size=25).map(
    lambda pieces: "".join(pieces).replace("_", " ")
)


@settings(max_examples=200)
@given(SOUP)
@example("{{range $i,}}{{end}}")
@example("{{ 1 | }}")
@example("{{-}}")
@example("{{- -}}")
@example("{{.}}\ud800")
def test_any_text_parses_and_renders_or_is_a_typed_error(text):
    try:
        template = parse(text)
        render(template, DATA, EvaluationSettings(limits=Limits(steps=5_000, characters=100_000)))
        template.render_chat([])
    except GoTemplateError as error:
        places = text.count("\n") + 1, len(text) + 1
        is_inside = 1 <= error.line <= places[0] and 1 <= error.column <= places[1]
        if not is_inside:
            raise AssertionError(str(error)) from error


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_json_reads_back(value):
    text = render(parse("{{ json . }}"), value)
    assert not set(text) & set("<>&\u2028\u2029")
    if text or "inf" not in repr(value):
        assert json.loads(text, parse_int=float) == json.loads(json.dumps(value), parse_int=float)
    render(parse("{{ . }}{{ printf `%v %s %d %q %x %5.2f %+v %#v %T %t` . . . . . . . . . . }}"), value)


@given(st.text(alphabet=st.characters(exclude_characters="{", exclude_categories=("Cs",))))
def test_text_without_actions_is_itself(text):
    assert render(parse(text), {}) == text


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",))))
def test_data_is_never_read_as_a_template(text):
    assert render(parse("{{ .a }}{{ .a | print }}"), {"a": text}) == text * 2
