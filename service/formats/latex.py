r"""Text of arXiv as TeX that runs, and as BibTeX reads it.

Titles, abstracts and names there are TeX source: math, accents, braces. People also write a bare
`%`, `&` or `_` into them, and a lone brace or dollar. TeX is kept, and what would break is escaped:
what opens is matched with what closes, and what has no match stands for itself. Escaped braces
are matched like others, since BibTeX counts them and TeX does not.
"""

import re

from .sanitize import line

_TOKEN = re.compile(r"(\\[A-Za-z]+|\\.|\\|\$+|[{}&%#_^])")
_OPENED_BY = {"}": "{", r"\}": r"\{", "$": "$", "$$": "$$", r"\)": r"\(", r"\]": r"\["}
_OPENS = frozenset(_OPENED_BY.values())
_MATH = frozenset({"$", "$$", r"\(", r"\[", r"\)", r"\]"})
_KNOWN = re.compile(r"\\[\x20-/:-~]")
"""What TeX may know by a backslash and one character: no digits, nothing beyond ASCII."""
_DEEPEST = 30
"""Groups within groups: some parsers have a limit."""

_BACKSLASH = (r"\textbackslash{}", r"\backslash{}")
_ALONE = {
    "{": (r"\textbraceleft{}", r"\lbrace{}"),
    r"\{": (r"\textbraceleft{}", r"\lbrace{}"),
    "}": (r"\textbraceright{}", r"\rbrace{}"),
    r"\}": (r"\textbraceright{}", r"\rbrace{}"),
    "$": (r"\$", r"\$"),
    "$$": (r"\$\$", r"\$\$"),
    r"\(": ("(", "("),
    r"\)": (")", ")"),
    r"\[": ("[", "["),
    r"\]": ("]", "]"),
    "&": (r"\&", r"\&"),
    "%": (r"\%", r"\%"),
    "#": (r"\#", r"\#"),
    "_": (r"\_", "_"),
    "^": (r"\textasciicircum{}", "^"),
    "\\": _BACKSLASH,
}
"""What stands for each where it has no match: in text, and in math."""


def tex(text: str | None) -> str:
    """The text on one line, fit to stand between braces."""
    pieces = _TOKEN.split(line(text))
    if len(pieces) == 1:
        return pieces[0]
    matches = _matches(pieces)
    columns = r"\begin" in pieces
    math = 0
    written: list[str] = []
    for number, piece in enumerate(pieces):
        if number in matches:
            if piece in _MATH:
                math += 1 if matches[number] > number else -1
            elif written[-2:] == [r"\\", ""]:
                written.append(" ")  # there are parsers for which \\{ has an escaped brace
            written.append(piece)
        elif piece in _ALONE and not (piece == "&" and math and columns):
            written.append(_ALONE[piece][math > 0])
        elif piece[:1] == "\\" and not _KNOWN.match(piece):
            written.append(_BACKSLASH[math > 0] + piece[1:])
        else:
            written.append(piece)
    if written[-2:] == [r"\\", ""]:
        written.append(" ")
    return "".join(written)


def _matches(pieces: list[str]) -> dict[int, int]:
    """The numbers of the pieces that open and close each other; a run of dollars is split up.

    A brace closes its group whatever is still open in it; all else matches within one group.
    """
    matches: dict[int, int] = {}
    opened: list[int] = []
    number = -1
    while (number := number + 2) < len(pieces):  # what is between is plain
        piece = pieces[number]
        braces = [depth for depth, other in enumerate(opened) if pieces[other] == "{"]
        group = braces[-1] + 1 if braces else 0
        inside = [pieces[other] for other in opened[group:]]
        if piece[0] == "$" and len(piece) > (length := 1 if "$" in inside else 2):
            pieces[number : number + 1] = [piece[:length], "", piece[length:]]
            piece = piece[:length]
        opener = _OPENED_BY.get(piece)
        if piece == "}" and braces:
            depth = braces[-1]
        elif opener in inside:
            depth = len(opened) - 1 - inside[::-1].index(opener)
        else:
            nested = piece in _MATH and not _MATH.isdisjoint(inside)
            if piece in _OPENS and not nested and len(opened) < _DEEPEST:
                opened.append(number)
            continue
        matches[number], matches[opened[depth]] = opened[depth], number
        del opened[depth:]
    return matches
