r"""Escaping of arXiv's texts for BibTeX.

Titles, abstracts and names at arXiv are TeX source: math, accents, braces. They also contain bare
`%`, `&` or `_`, and unbalanced braces or dollar signs. Valid TeX is kept, and everything that would
break is escaped: delimiters are matched in pairs, and those without a partner become literal
characters. Escaped braces are matched too, since BibTeX counts them although TeX does not.
"""

import re

from .sanitize import to_single_line

_TOKEN = re.compile(r"(\\[A-Za-z]+|\\.|\\|[${}&%#_^])")
_OPENER_OF = {"}": "{", r"\}": r"\{", "$": "$", "$$": "$$", r"\)": r"\(", r"\]": r"\["}
_OPENERS = frozenset(_OPENER_OF.values())
_DELIMITERS = _OPENERS.union(_OPENER_OF)
_MATH = frozenset({"$", "$$", r"\(", r"\[", r"\)", r"\]"})
_COMMAND = re.compile(r"\\[\x20-/:-~]")
"""A backslash and one character that TeX may define: no digits, ASCII only."""
_MAX_DEPTH = 30
"""Of nested groups; some BibTeX parsers have a limit."""

_BACKSLASH = (r"\textbackslash{}", r"\backslash{}")
_LITERALS = {
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
"""Replacements of unmatched delimiters and special characters: in text, in math."""


def escape_latex(text: str | None) -> str:
    """Return the text on one line, valid between braces."""
    pieces = _TOKEN.split(to_single_line(text))
    if len(pieces) == 1:
        return pieces[0]
    matches = _match_delimiters(pieces)
    has_environment = r"\begin" in pieces
    math = 0
    output: list[str] = []
    for number, piece in enumerate(pieces):
        if number in matches:
            if piece in _MATH:
                math += 1 if matches[number] > number else -1
            elif output[-2:] == [r"\\", ""]:
                output.append(" ")  # some parsers read \\{ as an escaped brace
            output.append(piece)
        elif piece in _LITERALS and not (piece == "&" and math and has_environment):
            output.append(_LITERALS[piece][math > 0])
        elif piece[:1] == "\\" and not _COMMAND.match(piece):
            output.append(_BACKSLASH[math > 0] + piece[1:])
        else:
            output.append(piece)
    if output[-2:] == [r"\\", ""]:
        output.append(" ")
    return "".join(output)


def _match_delimiters(pieces: list[str]) -> dict[int, int]:
    """Return the indexes of matching delimiters, in both directions; `$$` becomes one piece.

    A brace closes its group whatever is still open in it; other delimiters match within a group.
    """
    matches: dict[int, int] = {}
    opened: list[int] = []
    groups = [0]  # where the open groups begin in `opened`
    for number in range(1, len(pieces), 2):  # every other piece is plain text
        piece = pieces[number]
        if piece not in _DELIMITERS:
            continue
        inside = [pieces[other] for other in opened[groups[-1] :]]
        if piece == "$" and "$" not in inside and pieces[number + 1 : number + 3] == ["", "$"]:
            pieces[number], pieces[number + 2] = piece, _ = "$$", ""
        opener = _OPENER_OF.get(piece)
        if piece == "}" and len(groups) > 1:
            depth = groups.pop() - 1
        elif opener in inside:
            depth = len(opened) - 1 - inside[::-1].index(opener)
        else:
            nested = piece in _MATH and not _MATH.isdisjoint(inside)
            if piece in _OPENERS and not nested and len(opened) < _MAX_DEPTH:
                opened.append(number)
                if piece == "{":
                    groups.append(len(opened))
            continue
        matches[number], matches[opened[depth]] = opened[depth], number
        del opened[depth:]
    return matches
