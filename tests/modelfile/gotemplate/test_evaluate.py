from __future__ import annotations

import pytest

from tests.modelfile.gotemplate.rendering import render
from workbench.modelfile.gotemplate.expressions import EvaluationSettings, Limits
from workbench.modelfile.gotemplate.lexer import GoTemplateError
from workbench.modelfile.template import parse

DATA = {
    "text": "héllo",
    "empty": "",
    "seven": 7,
    "zero": 0,
    "half": 0.5,
    "yes": True,
    "no": False,
    "nil": None,
    "list": ["a", "b", "c"],
    "none": [],
    "map": {"b": 1, "a": "x", "c": {"deep": "end"}},
    "hollow": {},
    "people": [{"name": "Ann", "age": 30}, {"name": "Bob", "age": 40}],
}

RULES = {
    "text and actions": [
        ("plain", "plain"),
        ("", ""),
        ("{ } }} {x}", "{ } }} {x}"),
        ("a{{.text}}b", "ahéllob"),
        ("{{.map.c.deep}}", "end"),
        ("{{$.map.c.deep}}", "end"),
        ("{{(.map).c.deep}}", "end"),
        ("{{(index .people 1).name}}", "Bob"),
        ("{{.missing}}", "<no value>"),
        ("{{.nil}}", "<no value>"),
        ("{{.list}} {{.map}}", "[a b c] map[a:x b:1 c:map[deep:end]]"),
        ("{{.half}} {{.yes}} {{.seven}}", "0.5 true 7"),
    ],
    "literals": [
        (r'{{"a\tb\"\\é\x41\101\u00e9\U0001F600"}}', 'a\tb"\\éAAé😀'),
        (r'{{"\xc3\xa9"}}{{"\xff"}}', "é\ufffd"),
        ('{{`a\\n\n"`}}', 'a\\n\n"'),
        ("{{'a'}} {{'\\n'}} {{'é'}}", "97 10 233"),
        ("{{0x1F}} {{017}} {{0o17}} {{0b11}} {{1_000}} {{-3}} {{+3}}", "31 15 15 3 1000 -3 3"),
        ("{{1.5}} {{.5}} {{1e3}} {{1e21}} {{2.0}} {{1234567.0}} {{1e-5}}", "1.5 0.5 1000 1e+21 2 1.234567e+06 1e-05"),
        ("{{1_0.5}} {{1_23.50_0_0e+1_2}} {{0x_1_2.3_4_5p+1_2}}", "10.5 1.235e+14 74565"),
        ("{{true}} {{false}}", "true false"),
    ],
    "trim markers": [
        ("a \n\t{{- .seven -}} \r\n b", "a7b"),
        ("a {{- .seven}} b", "a7 b"),
        ("a {{.seven -}} b", "a 7b"),
        ("a {{-7}} b", "a -7 b"),
        ("a {{-\n.seven\n-}}\nb", "a7b"),
        ("a \u00a0{{- 1 -}}\u00a0 b", "a \u00a01\u00a0 b"),
        ("a {{- /* c */ -}} b", "ab"),
        ("a {{/* c\n}} */}} b", "a  b"),
    ],
    "variables": [
        ("{{$x := 1}}{{$x}}{{$x = 2}}{{$x}}", "12"),
        ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{$x := .map}}{{$x.c.deep}}", "end"),
        ("{{$x := 0}}{{range .list}}{{$x = .}}{{end}}{{$x}}", "c"),
        ("{{range .list}}{{$y := .}}{{$y}}{{end}}", "abc"),
        ("{{with $x := .text}}{{$x}}{{end}}", "héllo"),
        ("{{if $x := .empty}}{{else}}<{{$x}}>{{end}}", "<>"),
        ("{{len ($x := .list)}}{{$x}}", "3[a b c]"),
    ],
    "if": [
        ("{{if .text}}y{{else}}n{{end}}", "y"),
        ("{{if .missing}}y{{end}}", ""),
        ("{{if .zero}}a{{else if .no}}b{{else if .seven}}c{{else}}d{{end}}", "c"),
        ("{{if .zero}}a{{else if .no}}b{{end}}", ""),
        ("{{if .empty}}y{{else}}n{{end}}{{if .nil}}y{{else}}n{{end}}{{if .none}}y{{else}}n{{end}}", "nnn"),
        ("{{if .hollow}}y{{else}}n{{end}}{{if 0.0}}y{{else}}n{{end}}{{if .half}}y{{else}}n{{end}}", "nny"),
    ],
    "with": [
        ("{{with .map}}{{.a}}{{$.text}}{{end}}", "xhéllo"),
        ("{{with .empty}}a{{else}}{{.seven}}{{end}}", "7"),
        ("{{with .empty}}a{{else with .map}}{{.a}}{{else}}b{{end}}", "x"),
    ],
    "range": [
        ("{{range .list}}{{.}},{{end}}", "a,b,c,"),
        ("{{range $x := .list}}{{$x}}{{end}}", "abc"),
        ("{{range $i, $x := .list}}{{$i}}{{$x}}{{end}}", "0a1b2c"),
        ("{{range $k, $v := .map}}{{$k}}={{$v}} {{end}}", "a=x b=1 c=map[deep:end] "),
        ("{{range .map}}{{.}} {{end}}", "x 1 map[deep:end] "),
        ("{{range .none}}x{{else}}none{{end}}", "none"),
        ("{{range .missing}}x{{else}}none{{end}}", "none"),
        ("{{range .people}}{{.name}}{{$.seven}} {{end}}", "Ann7 Bob7 "),
        ("{{range $i, $_ := .list}}{{if eq $i 1}}{{continue}}{{end}}{{.}}{{end}}", "ac"),
        ("{{range .list}}{{if eq . `b`}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ("{{range .list}}{{range $.list}}{{break}}{{end}}{{.}}{{end}}", "abc"),
        ("{{$i := 9}}{{$x := 9}}{{range $i, $x = .list}}{{end}}{{$i}}{{$x}}", "2c"),
        ("{{range 3}}{{.}}{{end}}{{range $i := 2}}{{$i}}{{end}}{{range 0}}{{else}}e{{end}}", "01201e"),
    ],
    "functions": [
        ("{{and .text .seven}} {{and .zero .text}} {{or .empty .text}} {{or .empty .zero}}", "7 0 héllo 0"),
        ("{{and .no (index .list 99)}} {{or .yes (index .list 99)}}", "false true"),
        ("{{not .empty}} {{not 1}}", "true false"),
        ("{{len .text}} {{len .list}} {{len .map}}", "6 3 3"),
        ("{{index .list 1}} {{index .map `a`}} {{index .people 0 `name`}} {{index .text 0}}", "b x Ann 104"),
        ("{{index .map `zzz`}} {{index .map}}", "<no value> map[a:x b:1 c:map[deep:end]]"),
        ("{{slice .list 1}} {{slice .list 1 2}} {{slice .text 0 1}} {{slice .list 0 1 2}}", "[b c] [b] h [a]"),
        ("{{slice .text 0 2}}{{slice .text 2}}", "héllo"),
        ("{{slice .text 0 2}}|", "h\ufffd|"),
        ("{{slice `€` 0 2}}{{slice `😀` 0 3}}{{slice `€` 0 2}}{{slice `€` 2}}", "\ufffd" * 5 + "€"),
        ("{{js (slice `€` 0 1)}}{{html (slice `€` 1)}}", "€"),
        ("{{eq .seven 7}} {{eq .text `a` `héllo`}} {{eq .nil nil}} {{eq .missing `a`}}", "true true true false"),
        ("{{eq .list nil}} {{eq nil .map}} {{ne .none nil}} {{eq 1 nil}}", "false false true false"),
        ("{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt `b` `a`}} {{ge 1.5 2.5}}", "true true true true false"),
        ("{{print 1 2 `a` 3 nil}}|{{println 1 `a`}}|{{print}}", "1 2a3 <nil>|1 a\n||"[:-1]),
        ('{{html `<a href="x">&\'`}}', "&lt;a href=&#34;x&#34;&gt;&amp;&#39;"),
        ("{{js `<'\"\\=&>é`}}", "\\u003C\\'\\\"\\\\\\u003D\\u0026\\u003Eé"),
        ("{{urlquery `a b&é~/`}}", "a+b%26%C3%A9~%2F"),
        ("{{json .map}} {{json .text}} {{json .nil}}", '{"a":"x","b":1,"c":{"deep":"end"}} "héllo" null'),
        ('{{json "<&>\\u2028\\n\\x01\\""}}', '"\\u003c\\u0026\\u003e\\u2028\\n\\u0001\\""'),
        ("{{json .half}} {{json 1e21}} {{json 1e-7}} {{json 2.0}} {{json .list}}", '0.5 1e+21 1e-7 2 ["a","b","c"]'),
    ],
    "pipelines": [
        ("{{.text | len}}", "6"),
        ("{{.text | printf `%s-%s` `x`}}", "x-héllo"),
        ("{{1 | eq 1 | not}}", "false"),
        ("{{.text|print|len|printf `%03d`}}", "006"),
        ("{{(.text | len) | printf `%d`}}", "6"),
        ("{{.seven |}}", "7"),
    ],
    "templates": [
        ("{{define `t`}}[{{.}}]{{end}}{{template `t` .text}}{{template `t` .missing}}", "[héllo][<no value>]"),
        ("{{define ``}}a{{end}}", "a"),
        (" {{define ``}}{{end}} b", "  b"),
        ("{{define ``}}{{if .no}}{{template `` .}}{{end}}a{{end}}{{/* c */}}\n", "a"),
        ("{{block `t` .seven}}<{{.}}>{{end}}{{template `t` .zero}}", "<7><0>"),
        ("{{template `t` .list}}{{define `t`}}{{range .}}{{.}}{{end}}{{end}}", "abc"),
        ("{{define `t`}}{{$}}{{end}}{{$x := 1}}{{template `t` 2}}{{$x}}", "21"),
    ],
}


@pytest.mark.parametrize(
    ("template", "expected"), [pytest.param(*case, id=f"{rule}-{case[0]}") for rule in RULES for case in RULES[rule]]
)
def test_what_a_template_makes(template, expected):
    assert render(parse(template), DATA) == expected


ENDLESS = "{{range .many}}{{range $.many}}{{range $.many}}x{{end}}{{end}}{{end}}"


def test_a_range_that_would_never_end_is_stopped():
    with pytest.raises(GoTemplateError, match=r"line 1, column 48: it takes more than 400,000 steps"):
        render(parse(ENDLESS), {"many": [0] * 100_000})


def test_text_that_grows_without_bound_is_stopped():
    template = parse("{{$x := `xxxxxxxxxx`}}{{range 1000}}{{$x = print $x $x}}{{end}}")
    with pytest.raises(GoTemplateError, match="too long"):
        render(template, {}, EvaluationSettings(limits=Limits(characters=10_000)))
