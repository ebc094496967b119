"""TeX in the texts of papers as HTML: formulas as MathML, accents as characters."""

import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from html import escape, unescape
from unicodedata import lookup
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element
from markupsafe import Markup

from ..metadata.tex import tex_to_text
from ..metadata.unicode_text import INVISIBLE, XML_FORBIDDEN

MAX_FORMULA_LENGTH = 1000
MAX_NESTING = 40
"""Of groups in TeX, and of elements in MathML."""
MAX_FORMULAS_LENGTH = 10_000
"""Of all formulas of a text; the others are shown as text. arXiv limits abstracts to 1,920
characters."""

_FORMULA = re.compile(
    r"\$\$(?P<block>(?:[^\\$]++|\\.)++)\$\$"
    r"|\$(?P<inline>(?:[^\\$]++|\\.)++)\$"
    # up to the next delimiter: the time is linear, even if none is closed
    r"|\\\[(?P<display>(?:[^\\]++|\\[^\[\]()])++)\\\]"
    r"|\\\((?P<text>(?:[^\\]++|\\[^\[\]()])++)\\\)"
    r"|\\.|\$",
    re.DOTALL,
)
"""A formula, or what does not begin one: an escaped character or a single dollar."""
_TEX_SYNTAX = re.compile(r"\\[A-Za-z]|(?<!\\)[\^_{}=]")
_WORD = re.compile(r"(?<![^\s(])[^\W\d_]{2,}(?![^\s,.;:)])")
_NUMBER_FIRST = re.compile(r"\s*[\d.]")
_NEGLIGIBLE = re.compile(
    r"\\label\s*\{[^{}]*\}|\\(?:ensuremath|xspace|nonumber|notag|displaylimits)(?![A-Za-z])"
)
_FORBIDDEN = re.compile(
    # macros: a short formula may have a long expansion; \sideset copies its argument
    r"\\(?:(?:re|provide)?newcommand|def|newenvironment|DeclareMathOperator|sideset|mathchoice"
    # attributes, and characters by number
    r"|style|class|href|unicode|rule|verb|f?colorbox)(?![a-z])"
    # references, which are those of latex2mathml only
    r"|&#"
)
_ENVIRONMENTS = frozenset(
    {"matrix", "pmatrix", "bmatrix", "Bmatrix", "vmatrix", "Vmatrix", "smallmatrix"}
    | {"array", "cases", "split", "align", "align*"}
)
"""The environments that latex2mathml supports: it leaves out the markup of others."""
_BEGIN = re.compile(r"\\begin\s*\{([^{}]*)\}")
_OPEN, _CLOSE = "\ufdd0", "\ufdd1"
"""Stand for <mark> and </mark>; Unicode has no characters here."""
_LOSSES = re.compile(rf"[\\{_OPEN}{_CLOSE}{XML_FORBIDDEN}{INVISIBLE}]")
"""An unknown command, or characters that HTML cannot have or that are invisible."""
_UNSAFE = re.compile(
    f"[{_OPEN}{_CLOSE}\x01-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff"
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
"""What references must not stand for; latex2mathml itself uses backslashes and spaces."""
_REFERENCE = re.compile(r"&#x([0-9A-Fa-f]{1,6});")

_ELEMENTS = frozenset(
    {"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msub", "msup", "msubsup", "mfrac"}
    | {"msqrt", "mroot", "munder", "mover", "munderover", "mtable", "mtr", "mtd", "mstyle"}
    | {"mpadded", "mphantom", "menclose"}
)
_LINEAR = frozenset({"math", "mrow", "mi", "mn", "mo", "mtext", "mspace", "mstyle", "mpadded"})
"""The elements whose contents, one after the other, read like the formula."""
_LENGTH = re.compile(r"[+-]?(?:[0-2]?\.\d{1,6}|[0-2])(?:em|ex)|[+-]?1?\d(?:\.\d+)?(?:px|pt)|0")
"""At most three lines: a formula does not cover other text."""
_KEYWORD = re.compile(r"[a-z]{1,20}")
_ATTRIBUTES = {
    "width": _LENGTH, "height": _LENGTH, "depth": _LENGTH, "voffset": _LENGTH, "lspace": _LENGTH,
    "rspace": _LENGTH, "minsize": _LENGTH, "maxsize": _LENGTH, "linethickness": _LENGTH,
    "displaystyle": _KEYWORD, "stretchy": _KEYWORD, "fence": _KEYWORD, "form": _KEYWORD,
    "separator": _KEYWORD, "accent": _KEYWORD, "movablelimits": _KEYWORD, "largeop": _KEYWORD,
    "scriptlevel": re.compile("[+-]?[0-3]"),
}  # fmt: skip
_VARIANTS = {
    "bold": "BOLD", "italic": "ITALIC", "bold-italic": "BOLD ITALIC", "script": "SCRIPT",
    "double-struck": "DOUBLE-STRUCK", "fraktur": "FRAKTUR", "sans-serif": "SANS-SERIF",
    "monospace": "MONOSPACE",
}  # fmt: skip
_EXCEPTIONS = {"DOUBLE-STRUCK": "DOUBLE-STRUCK", "FRAKTUR": "BLACK-LETTER", "SCRIPT": "SCRIPT"}
"""The letters that had a character before the others, by the beginning of its name."""

_SENTINELS = str.maketrans({_OPEN: None, _CLOSE: None})


class UnsupportedFormula(Exception):
    """TeX that is shown as it was written."""


def render_math(text: str, highlighted: str | None = None) -> Markup:
    """Return a text as HTML, with TeX formulas as MathML.

    `highlighted` is the same text as HTML with <mark>; marks within formulas are dropped. Formulas
    that are not supported stay as they were written.
    """
    if highlighted is None:
        return Markup(_render(text.translate(_SENTINELS)))  # noqa: S704 - escaped by _render
    parts = re.split("(</?mark>)", highlighted.translate(_SENTINELS))
    signs = {"<mark>": _OPEN, "</mark>": _CLOSE}
    text = "".join(signs.get(part) or unescape(part) for part in parts)
    # a mark inside a command begins before it
    html = _render(text.replace(f"\\{_OPEN}", f"{_OPEN}\\"))
    html = html.replace(_OPEN, "<mark>").replace(_CLOSE, "</mark>").replace("<mark></mark>", "")
    return Markup(html)  # noqa: S704 - escaped by _render


def render_plain(text: str) -> str:
    """Return a text with TeX accents as characters and formulas as they were written."""
    parts = (part if is_formula else tex_to_text(part) for part, is_formula in _split(text))
    return "".join(parts)


def _render(text: str) -> str:
    if "$" not in text and "\\" not in text:
        return escape(tex_to_text(text))
    html: list[str] = []
    is_marked, length = False, 0
    for part, is_formula in _split(text):
        rendered = None
        length += len(part) * is_formula
        if is_formula and length <= MAX_FORMULAS_LENGTH:
            rendered = render_formula(part.translate(_SENTINELS))
        was_marked, is_marked = is_marked, _is_marked_after(part, is_marked)
        if rendered is None:
            html.append(escape(part if is_formula or part == "$" else tex_to_text(part)))
        else:
            html += [_CLOSE * was_marked, rendered, _OPEN * is_marked]
    return "".join(html)


def _is_marked_after(part: str, was_marked: bool) -> bool:  # noqa: FBT001
    opened, closed = part.rfind(_OPEN), part.rfind(_CLOSE)
    return was_marked if opened == closed else opened > closed


def _split(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text, and whether each is a formula; dollars are parts of their own."""
    done = position = 0
    while match := _FORMULA.search(text, position):
        position = match.end()
        if match.lastgroup is None and match[0] != "$":
            continue
        is_formula = match.lastgroup is not None and not _is_prose(text, match)
        if not is_formula:
            position = match.start() + 1
        if match.start() > done:
            yield text[done : match.start()], False
        yield text[match.start() : position], is_formula
        done = position
    if done < len(text):
        yield text[done:], False


def _is_prose(text: str, match: re.Match[str]) -> bool:
    """Return whether the dollars around a text are amounts of money, as in "$5 and $6"."""
    content = match["inline"]
    if content is None:
        return False
    content = content.translate(_SENTINELS)
    if _NUMBER_FIRST.match(content) and text[match.end() : match.end() + 1].isdigit():
        return True
    if _TEX_SYNTAX.search(content) or not _WORD.search(content):
        return False
    return content[:1].isspace() or content[:1].isdigit()


@lru_cache(maxsize=4096)
def render_formula(tex: str) -> str | None:
    """Return a formula with its delimiters as MathML, or None if it is not supported."""
    size = 2 if tex.startswith(("$$", "\\")) else 1
    display = "block" if tex.startswith(("$$", "\\[")) else "inline"
    content = tex[size:-size].strip()
    try:
        return _create_mathml(content, display)
    except UnsupportedFormula:
        return None


def _create_mathml(tex: str, display: str) -> str:
    _check_tex(tex)
    try:
        math = convert_to_element(_NEGLIGIBLE.sub("", tex), display=display)
    except Exception as error:  # also IndexError, StopIteration, RecursionError
        raise UnsupportedFormula from error
    source = escape(tex)
    html = "".join(_serialize(child) for child in math)
    if any(element.tag not in _LINEAR for element in math.iter()):
        # browsers hide it; in browsers without MathML it is what can be read
        note = f'<annotation encoding="application/x-tex"> {{{source}}}</annotation>'
        html = f"<semantics>{html}{note}</semantics>"
    return f'<math display="{display}" alttext="{source}">{html}</math>'


def _check_tex(tex: str) -> None:
    if not tex or len(tex) > MAX_FORMULA_LENGTH or _FORBIDDEN.search(tex):
        raise UnsupportedFormula
    if any(name not in _ENVIRONMENTS for name in _BEGIN.findall(tex)):
        raise UnsupportedFormula
    depth = 0
    for character in re.sub(r"\\[{}]", "", tex):
        depth += (character == "{") - (character == "}")
        if not 0 <= depth <= MAX_NESTING:
            raise UnsupportedFormula
    if depth:
        raise UnsupportedFormula


def _serialize(element: Element, depth: int = 0) -> str:
    """Return an element as HTML: known elements and attributes, and texts without losses."""
    if element.tag not in _ELEMENTS or depth > MAX_NESTING:
        raise UnsupportedFormula
    attributes = [*_list_attributes(element)]
    text = element.text or ""
    if _LOSSES.search(text):
        raise UnsupportedFormula
    text = _style(_REFERENCE.sub(_resolve, text), element.get("mathvariant", ""))
    children = "".join(_serialize(child, depth + 1) for child in element)
    start = " ".join([element.tag, *attributes])
    return f"<{start}>{escape(text)}{children}</{element.tag}>"


def _list_attributes(element: Element) -> Iterator[str]:
    for name, value in element.items():
        pattern = _ATTRIBUTES.get(name)
        if pattern and pattern.fullmatch(value):
            yield f'{name}="{value}"'
    if element.tag == "mi" and element.get("mathvariant") == "normal":
        yield 'mathvariant="normal"'


def _resolve(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    if code > sys.maxunicode or _UNSAFE.match(chr(code)):
        raise UnsupportedFormula
    return chr(code) if code != 0 else ""


def _style(text: str, variant: str) -> str:
    """Return letters and digits as those of a font, which browsers no longer select themselves."""
    name = _VARIANTS.get(variant)
    return "".join(_find_character(name, char) for char in text) if name else text


def _find_character(font: str, character: str) -> str:
    kind = "DIGIT" if character.isdigit() else "CAPITAL" if character.isupper() else "SMALL"
    digits = ["ZERO", "ONE", "TWO", "THREE", "FOUR", "FIVE", "SIX", "SEVEN", "EIGHT", "NINE"]
    if not character.isascii() or not character.isalnum():
        return character
    letter = digits[int(character)] if kind == "DIGIT" else character.upper()
    for name in (
        f"MATHEMATICAL {font} {kind} {letter}",
        f"{_EXCEPTIONS.get(font)} {kind} {letter}",
    ):
        try:
            return lookup(name)
        except KeyError:
            continue
    return character
