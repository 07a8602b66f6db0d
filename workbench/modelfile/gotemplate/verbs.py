"""Print one value with the verbs and flags of Go's `fmt`."""

from __future__ import annotations

import math
from dataclasses import dataclass

from workbench.modelfile.gotemplate.json_text import format_plain, shortest_digits
from workbench.modelfile.gotemplate.values import (
    FunctionError,
    Nothing,
    PrintedList,
    PrintedMap,
    Struct,
    Value,
    as_bytes,
    type_name,
)

MAX_DEPTH = 60
"""The deepest nesting of lists and maps."""
NIL = "<nil>"
_BASES = {"b": 2, "o": 8, "O": 8, "d": 10, "v": 10, "x": 16, "X": 16}
_PREFIXES = {"b": "0b", "o": "0", "O": "0", "x": "0x", "X": "0X"}
"""What the flag `#` puts before the digits."""
_QUOTED = {7: "\\a", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v", 92: "\\\\"}


@dataclass(slots=True)
class Flags:
    """The flags between `%` and the verb."""

    sharp: bool = False
    zero: bool = False
    plus: bool = False
    minus: bool = False
    space: bool = False
    width: int = 0
    precision: int | None = None
    room: int = 2**62
    """The remaining characters of the result: a width applies to each element of a list."""

    def pad(self, text: str, *, zeros: bool = True) -> str:
        """`text` padded to the width, in characters.

        Raises:
            FunctionError: The result gets too long.
        """
        self.room -= max(self.width, len(text))
        if self.room < 0:
            raise FunctionError("the text gets too long")
        if self.minus:
            return text.ljust(self.width)
        return text.rjust(self.width, "0" if self.zero and zeros else " ")


def quoted(text: str, quote: str = '"', *, ascii_only: bool = False) -> str:
    """`text` as a Go literal."""
    pieces = [quote]
    for character in text:
        point = ord(character)
        if character == quote:
            pieces.append(f"\\{quote}")
        elif point in _QUOTED:
            pieces.append(_QUOTED[point])
        elif 0xDC80 <= point <= 0xDCFF:
            pieces.append(f"\\x{point - 0xDC00:02x}")
        elif point < 0x20 or point == 0x7F:
            pieces.append(f"\\x{point:02x}")
        elif character.isprintable() and not (ascii_only and point > 0x7E):
            pieces.append(character)
        else:
            pieces.append(f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}")
    return "".join([*pieces, quote])


def printed(value: Value, verb: str = "v", flags: Flags | None = None) -> str:
    """`value` printed with `verb`.

    Raises:
        FunctionError: It is nested too deep, or too long.
    """
    return _Printer(flags or Flags(), verb).value(value, 0)


class _Printer:
    """Prints with `verb`, or, in place of a verb that does not apply, with %v and the flags of that verb."""

    def __init__(self, flags: Flags, verb: str, *, in_place: bool = False) -> None:
        self._flags = flags
        self._verb = verb
        # %#v prints Go syntax and %+v the names of fields: with %v these flags have no other meaning. So does %w, the
        # verb for errors.
        own = verb in "vw" and not in_place
        self._as_syntax = own and flags.sharp
        self._with_names = own and flags.plus
        if own:
            flags.sharp = flags.plus = False

    def value(self, value: Value, depth: int) -> str:
        if depth > MAX_DEPTH:
            raise FunctionError(f"a value nested more than {MAX_DEPTH} deep cannot be printed")
        verb = self._verb
        if verb == "T":
            return self._flags.pad(NIL if value is None else self._cut(type_name(value)))
        if verb == "w" and value is not None:
            return self._bad(value)
        match value:
            case list() | dict() | Struct():
                return self._whole(value, depth)
            case None | Nothing():
                return self._nil(depth)
            case bool():
                return self._flags.pad("true" if value else "false") if verb in "tv" else self._bad(value)
            case str():
                return self._text(value) if verb in "vsxXq" else self._bad(value)
            case int():
                return self._int(value)
            case float():
                return self._float(value)

    def _whole(self, value: list[Value] | dict[str, Value] | Struct, depth: int) -> str:
        own_text = value.printed if isinstance(value, Struct | PrintedList | PrintedMap) else None
        if own_text is not None and self._verb in "vsxXq" and not self._as_syntax:
            return self._text(own_text)
        opening, closing = "{", "}"
        match value:
            case list():
                opening, closing = "[", "]"
                pieces = [self.value(item, depth + 1) for item in value]
            case dict():
                opening, closing = "map[", "]"
                pieces = [f"{self.value(key, depth + 1)}:{self.value(value[key], depth + 1)}" for key in sorted(value)]
            case Struct():
                label = "{}:" if self._with_names or self._as_syntax else ""
                pieces = [label.format(name) + self.value(each, depth + 1) for name, each in value.fields.items()]
        if self._as_syntax:
            return f"{type_name(value)}{{{', '.join(pieces)}}}"
        return f"{opening}{' '.join(pieces)}{closing}"

    def _nil(self, depth: int) -> str:
        if depth:
            return "interface {}(nil)" if self._as_syntax else NIL
        return self._flags.pad(NIL) if self._verb == "v" else f"%!{self._verb}({NIL})"

    def _bad(self, value: Value) -> str:
        """The output of Go for a verb that does not apply to the type."""
        plain = _Printer(self._flags, "v", in_place=True)
        plain._as_syntax, plain._with_names = self._as_syntax, self._with_names
        return f"%!{self._verb}({type_name(value)}={plain.value(value, 0)})"

    def _cut(self, text: str) -> str:
        return text if self._flags.precision is None else text[: self._flags.precision]

    def _text(self, text: str) -> str:
        verb, flags = self._verb, self._flags
        if verb in "xX":
            return self._hex_text(text)
        if verb == "q" or self._as_syntax:
            text = self._cut(text)
            if flags.sharp and all(each.isprintable() or each == "\t" for each in text) and "`" not in text:
                return flags.pad(f"`{text}`")
            return flags.pad(quoted(text, ascii_only=flags.plus))
        return flags.pad(self._cut(text))

    def _hex_text(self, text: str) -> str:
        flags, data = self._flags, as_bytes(text)
        if flags.precision is not None:
            data = data[: flags.precision]
        prefix = ("0" + self._verb) if flags.sharp and data else ""
        separator = " " + prefix if flags.space else ""
        digits = prefix + separator.join(f"{each:02x}" if self._verb == "x" else f"{each:02X}" for each in data)
        return flags.pad(digits)

    def _int(self, value: int) -> str:
        verb, flags = self._verb, self._flags
        if verb in _BASES:
            return self._based(value)
        if verb not in "cqU":
            return self._bad(value)
        point = value if 0 <= value <= 0x10FFFF and not 0xD800 <= value < 0xE000 else 0xFFFD
        if verb == "c":
            return flags.pad(chr(point))
        if verb == "q":
            return flags.pad(quoted(chr(point), "'", ascii_only=flags.plus))
        digits = f"{value % 2**64:04X}".rjust(flags.precision or 0, "0")
        shown = f" '{chr(value)}'" if flags.sharp and point == value and chr(value).isprintable() else ""
        return flags.pad(f"U+{digits}{shown}", zeros=False)

    def _based(self, value: int) -> str:
        verb, flags = self._verb, self._flags
        precision = flags.precision
        if precision == 0 and value == 0:
            return flags.pad("", zeros=False)
        sign = "-" if value < 0 else "+" if flags.plus else " " if flags.space else ""
        if precision is None and flags.zero and not flags.minus:
            precision = flags.width - len(sign)
        form = {2: "b", 8: "o", 10: "d", 16: "X" if verb == "X" else "x"}[_BASES[verb]]
        digits = format(abs(value), form).rjust(precision or 0, "0")
        if flags.sharp and verb in _PREFIXES and not (verb in "oO" and digits.startswith("0")):
            digits = _PREFIXES[verb] + digits
        if verb == "O":
            digits = f"0o{digits}"
        return flags.pad(sign + digits, zeros=False)

    def _float(self, value: float) -> str:
        verb, flags = self._verb, self._flags
        if verb not in "vgGeEfFbxX":
            return self._bad(value)
        positive = "+" if flags.plus else " " if flags.space else ""
        sign = "-" if math.copysign(1, value) < 0 else positive
        if math.isnan(value):
            return flags.pad(f"{positive}NaN", zeros=False)
        if math.isinf(value):
            return flags.pad(f"{sign or '+'}Inf", zeros=False)
        digits = self._float_digits(abs(value))
        if sign and flags.zero and not flags.minus:
            digits = digits.rjust(flags.width - 1, "0")
        return flags.pad(sign + digits)

    def _float_digits(self, value: float) -> str:
        verb, flags = self._verb, self._flags
        if verb == "b":
            return _binary(value)
        if verb in "xX":
            text = _hexadecimal(value, flags.precision)
        elif verb in "vgG" and flags.precision is None:
            text = general(value)
        else:
            precision = 6 if flags.precision is None else flags.precision
            # Python accepts no higher precision, and a float has no more digits.
            text = format(value, f".{min(precision, 1100)}{'f' if verb in 'fF' else verb.lower().replace('v', 'g')}")
        if flags.sharp:
            text = self._with_point(text)
        return text.upper() if verb in "GEX" else text

    def _with_point(self, text: str) -> str:
        """`text` with a decimal point and, but for %e and %f, all digits of the precision."""
        hexadecimal = self._verb in "xX"
        number, mark, exponent = text.partition("p" if hexadecimal else "e")
        missing = 0
        if self._verb in "vgGxX":
            missing = 6 if self._flags.precision is None else self._flags.precision
            # Go counts the x of 0x as a digit.
            missing -= len(number.replace(".", "").lstrip("0"))
        if "." not in number:
            missing -= number == "0"
            number += "."
        return f"{number}{'0' * missing}{mark}{exponent}"


def _binary(value: float) -> str:
    """A finite, non-negative number as its mantissa and a power of two."""
    exponent = max(math.frexp(value)[1] - 53, -1074) if value else -1074
    return f"{int(math.ldexp(value, -exponent))}p{exponent:+}"


def _hexadecimal(value: float, precision: int | None) -> str:
    """A finite, non-negative number as `0x1.8p+01`; without a precision it has as many digits as it needs."""
    fraction, exponent = math.frexp(value)
    mantissa, exponent = int(math.ldexp(fraction, 53)), exponent - 1 if value else 0
    # The first digit and 13 of four bits each.
    if precision is not None and precision < 13:
        dropped = 52 - 4 * precision
        rest, mantissa = mantissa & ((1 << dropped) - 1), mantissa >> dropped
        half = 1 << (dropped - 1)
        mantissa += rest > half or (rest == half and mantissa & 1)
        mantissa <<= dropped
        if mantissa >> 53:
            mantissa, exponent = mantissa >> 1, exponent + 1
    digits = f"{mantissa & ((1 << 52) - 1):013x}"
    digits = digits.rstrip("0") if precision is None else digits[:precision].ljust(min(precision, 1100), "0")
    return f"0x{mantissa >> 52}{'.' if digits else ''}{digits}p{exponent:+03}"


def general(value: float) -> str:
    """A finite, non-negative number with the fewest digits that parse back to it."""
    digits, point = shortest_digits(value)
    exponent = point - 1
    if value and (exponent < -4 or exponent >= 6):
        fraction = f".{digits[1:]}" if len(digits) > 1 else ""
        return f"{digits[0]}{fraction}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
    return format_plain(value)
