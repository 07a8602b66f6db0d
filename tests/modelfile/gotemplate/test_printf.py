from __future__ import annotations

import pytest

from workbench.modelfile.gotemplate.printf import sprint, sprintf, sprintln
from workbench.modelfile.gotemplate.values import FunctionError

CASES = [
    # Text.
    ("%s|%v|%q|%x|%X", ["hé"] * 5, 'hé|hé|"hé"|68c3a9|68C3A9'),
    ("%5s|%-5s|%.1s|%5.1s|%05s", ["hé"] * 5, "   hé|hé   |h|    h|000hé"),
    ("% x|%#x|% #x|%.1x", ["hé"] * 4, "68 c3 a9|0x68c3a9|0x68 0xc3 0xa9|68"),
    (
        "%q|%+q|%#q|%#q",
        ['a"b\n\x01é🙂', "é🙂", "raw", "no`raw"],
        '"a\\"b\\n\\x01é🙂"|"\\u00e9\\U0001f642"|`raw`|"no`raw"',
    ),
    ("%d|%t|%c|%f", ["x"] * 4, "%!d(string=x)|%!t(string=x)|%!c(string=x)|%!f(string=x)"),
    # Whole numbers.
    ("%d|%v|%5d|%-5d|%05d|%+d|% d", [42] * 7, "42|42|   42|42   |00042|+42| 42"),
    ("%d|%05d|%+d|% d|%.4d|%6.4d", [-42] * 6, "-42|-0042|-42|-42|-0042| -0042"),
    ("%b|%o|%O|%x|%X", [10] * 5, "1010|12|0o12|a|A"),
    ("%#b|%#o|%#x|%#X|%#08x", [10] * 5, "0b1010|012|0xa|0XA|0x0000000a"),
    ("%x|%o", [-10, -10], "-a|-12"),
    ("%c|%q|%U|%#U|%U", [0x1F642, 0x1F642, 0x1F642, 0x1F642, 7], "🙂|'🙂'|U+1F642|U+1F642 '🙂'|U+0007"),
    ("%c|%q|%q|%+q", [-1, -1, 10, 233], "\ufffd|'\ufffd'|'\\n'|'\\u00e9'"),
    ("%.0d|%5.0d|%d", [0, 0, 0], "|     |0"),
    ("%s|%t|%f", [1, 1, 1], "%!s(int=1)|%!t(int=1)|%!f(int=1)"),
    ("%5s", [1], "%!s(int=    1)"),
    # Decimal numbers.
    ("%v|%g|%f|%e|%G|%E", [2.5] * 6, "2.5|2.5|2.500000|2.500000e+00|2.5|2.500000E+00"),
    (
        "%v|%v|%v|%v|%v|%v",
        [1e20, 1e21, 1e-5, 0.0001, 123456.0, 1234567.0],
        "1e+20|1e+21|1e-05|0.0001|123456|1.234567e+06",
    ),
    ("%.2f|%8.3f|%-8.1f|%08.2f|%+.1f|% .1f", [3.14159] * 6, "3.14|   3.142|3.1     |00003.14|+3.1| 3.1"),
    ("%.3g|%.10g|%.0f|%.3e", [1234.5678] * 4, "1.23e+03|1234.5678|1235|1.235e+03"),
    ("%08.2f|%+v|%v", [-3.14159, 1.5, -0.0], "-0003.14|1.5|-0"),
    ("%v|%5v|%+v|%f|%05f", [float("inf")] * 5, "+Inf| +Inf|+Inf|+Inf| +Inf"),
    ("%v|%5v|%05v", [float("nan")] * 3, "NaN|  NaN|  NaN"),
    ("%v|%08v", [float("-inf")] * 2, "-Inf|    -Inf"),
    ("%d|%s", [1.5, 1.5], "%!d(float64=1.5)|%!s(float64=1.5)"),
    ("%x|%X|%x|%x|%x", [2.5, -2.5, 0.0, 1.0, 5e-324], "0x1.4p+01|-0X1.4P+01|0x0p+00|0x1p+00|0x1p-1074"),
    (
        "%.0x|%.1x|%.2x|%.3x|%.15x",
        [1.5, 1.96875, 1.96875, 0.0, 1.0],
        "0x1p+01|0x1.0p+01|0x1.f8p+00|0x0.000p+00|0x1.000000000000000p+00",
    ),
    ("%b|%b|%b|%b", [1.0, 2.5, 0.0, 5e-324], "4503599627370496p-52|5629499534213120p-51|0p-1074|1p-1074"),
    ("%#g|%#g|%#g|%#.3g|%#G", [2.5, 0.0, 1e21, 10.0, 1e-7], "2.50000|0.00000|1.00000e+21|10.0|1.00000E-07"),
    ("%#e|%#.0f|%#.0e|%#x", [2.5, 3.0, 3.0, 1.0], "2.500000e+00|3.|3.e+00|0x1.0000p+00"),
    ("%012x|%+b", [2.5, 2.5], "0000x1.4p+01|+5629499534213120p-51"),
    (
        "%+s|%#s|%+d|%#d|%+t",
        [1, 1.5, "x", True, 2.5],
        "%!s(int=+1)|%!s(float64=1.50000)|%!d(string=x)|%!d(bool=true)|%!t(float64=+2.5)",
    ),
    ("%#t|%+q", [[255, 2.5], 2.5], "[%!t(int=255) %!t(float64=2.50000)]|%!q(float64=+2.5)"),
    # The others.
    (
        "%v|%t|%6v|%-6t|%s|%d",
        [True, False, True, True, True, False],
        "true|false|  true|true  |%!s(bool=true)|%!d(bool=false)",
    ),
    ("%v|%s|%d|%6v", [None] * 4, "<nil>|%!s(<nil>)|%!d(<nil>)| <nil>"),
    ("%T|%T|%T|%T|%T|%T", ["", 1, 1.5, True, [], {}], "string|int|float64|bool|[]interface {}|map[string]interface {}"),
    # Lists and maps: the verb goes to the elements.
    ("%v|%s|%d", [[1, "a", None]] * 3, "[1 a <nil>]|[%!s(int=1) a <nil>]|[1 %!d(string=a) <nil>]"),
    ("%q|%5d|%x", [["a", "b"], [1, 2], ["ab", 255]], '["a" "b"]|[    1     2]|[6162 ff]'),
    (
        "%v|%s|%+v",
        [{"b": 1, "a": [True]}] * 3,
        "map[a:[true] b:1]|map[a:[%!s(bool=true)] b:%!s(int=1)]|map[a:[true] b:1]",
    ),
    ("%#v|%#v|%#v|%#v", ["a", 1, 1.5, None], '"a"|1|1.5|<nil>'),
    ("%#v", [[1, "a", None]], '[]interface {}{1, "a", interface {}(nil)}'),
    ("%#v", [{"a": 1}], 'map[string]interface {}{"a":1}'),
    # The format itself.
    ("", [], ""),
    ("100%%", [], "100%"),
    ("%s", [], "%!s(MISSING)"),
    ("%s %s", ["a"], "a %!s(MISSING)"),
    ("a", [1, "b", None], "a%!(EXTRA int=1, string=b, <nil>)"),
    ("%", ["a"], "%!(NOVERB)%!(EXTRA string=a)"),
    ("%5", ["a"], "%!(NOVERB)%!(EXTRA string=a)"),
    ("%z|%é", ["a", 1], "%!z(string=a)|%!é(int=1)"),
    ("%[2]s %[1]s", ["a", "b"], "b a"),
    ("%[2]s %s", ["a", "b"], "b %!s(MISSING)"),
    ("%[3]s", ["a", "b"], "%!s(BADINDEX)"),
    ("%[]s", ["a"], "%!s(BADINDEX)"),
    ("%[x]s", ["a"], "%!s(BADINDEX)"),
    ("%[1", ["a"], "%!(NOVERB)"),
    ("%*d|%-*d|%.*f", [5, 1, 5, 1, 2, 1.0], "    1|1    |1.00"),
    ("%*d", [-5, 1], "1    "),
    ("%*d", ["a", 1], "%!(BADWIDTH)1"),
    ("%.*d", [-1, 1], "%!(BADPREC)1"),
    ("%[2]*[1]d", [1, 4], "   1"),
    ("%[1]5d", [1], "%!d(BADINDEX)"),
    ("%.[1]d|%[1].[1]d", [1], "1|%!d(BADINDEX)"),
    ("%99999999d", [1], "%!(NOVERB)%!(EXTRA int=1)"),
]


@pytest.mark.parametrize(("form", "values", "expected"), CASES)
def test_what_printf_makes(form, values, expected):
    assert sprintf(form, values, 1_000) == expected


def test_print_puts_blanks_where_neither_is_text():
    assert sprint([1, 2, "a", 3, 4.5, "b", "c", None, True, [1]], 99) == "1 2a3 4.5bc<nil> true [1]"
    assert sprintln([1, "a", None], 99) == "1 a <nil>\n"
    assert sprint([], 0) == ""


@pytest.mark.parametrize(
    ("form", "values"),
    [
        ("%1000000d", [1]),
        ("%.99999f", [1.0]),
        ("aaaa%s", ["b" * 5_000]),
        ("%800d", [[1] * 9]),
        ("%0800f", [[1.5] * 9]),
        ("%800.0d", [[0] * 9]),
    ],
)
def test_a_text_that_would_be_too_long(form, values):
    with pytest.raises(FunctionError, match="too long"):
        sprintf(form, values, 5_000)
