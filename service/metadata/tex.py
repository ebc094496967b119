"""TeX in titles, names and abstracts: accents, special letters, fonts and simple formulas."""

import re
from collections.abc import Callable
from unicodedata import normalize

ACCENTS = {
    "'": "\u0301", "''": "\u0308", "`": "\u0300", "^": "\u0302", '"': "\u0308",
    "~": "\u0303", "=": "\u0304", ".": "\u0307", "H": "\u030b", "c": "\u0327", "k": "\u0328",
    "b": "\u0331", "d": "\u0323", "u": "\u0306", "r": "\u030a", "v": "\u030c", "t": "\u0361",
}  # fmt: skip
"""The combining character of each accent command."""
LETTERS = {
    "ss": "ß", "ae": "æ", "AE": "Æ", "oe": "œ", "OE": "Œ", "o": "ø", "O": "Ø", "l": "ł", "L": "Ł",
    "aa": "å", "AA": "Å", "i": "ı", "j": "ȷ", "dh": "ð", "DH": "Ð", "th": "þ", "TH": "Þ",
    "dj": "đ", "DJ": "Đ", "ng": "ŋ", "NG": "Ŋ",
}  # fmt: skip
_MAX_ACCENTS = 3  # on one letter
GREEK = {
    "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "epsilon": "ϵ", "varepsilon": "ε",
    "zeta": "ζ", "eta": "η", "theta": "θ", "vartheta": "ϑ", "iota": "ι", "kappa": "κ",
    "lambda": "λ", "mu": "μ", "nu": "ν", "xi": "ξ", "pi": "π", "varpi": "ϖ", "rho": "ρ",
    "varrho": "ϱ", "sigma": "σ", "varsigma": "ς", "tau": "τ", "upsilon": "υ", "phi": "ϕ",
    "varphi": "φ", "chi": "χ", "psi": "ψ", "omega": "ω", "Gamma": "Γ", "Delta": "Δ",
    "Theta": "Θ", "Lambda": "Λ", "Xi": "Ξ", "Pi": "Π", "Sigma": "Σ", "Upsilon": "Υ", "Phi": "Φ",
    "Psi": "Ψ", "Omega": "Ω",
}  # fmt: skip
_SYMBOLS = GREEK | {
    "times": "×", "pm": "±", "mp": "∓", "cdot": "·", "to": "→", "rightarrow": "→",
    "leftarrow": "←", "leftrightarrow": "↔", "infty": "∞", "le": "≤", "leq": "≤", "ge": "≥",
    "geq": "≥", "lesssim": "≲", "gtrsim": "≳", "ll": "≪", "gg": "≫", "neq": "≠", "ne": "≠",
    "sim": "∼", "simeq": "≃", "approx": "≈", "equiv": "≡", "propto": "∝", "in": "∈",
    "subset": "⊂", "subseteq": "⊆", "cup": "∪", "cap": "∩", "otimes": "⊗", "oplus": "⊕",
    "ell": "ℓ", "hbar": "ℏ", "partial": "∂", "nabla": "∇", "circ": "∘", "ast": "∗",
    "prime": "′", "odot": "⊙", "ldots": "…", "dots": "…", "cdots": "⋯", "log": "log",
    "ln": "ln", "sin": "sin", "cos": "cos", "max": "max", "min": "min",
}  # fmt: skip
_NAMED_CHARACTERS = {
    "textendash": "\u2013", "textemdash": "\u2014", "textquoteleft": "\u2018",
    "textquoteright": "\u2019", "textquotedblleft": "\u201c", "textquotedblright": "\u201d",
    "textasciitilde": "~", "textbackslash": "\\", "textdegree": "°", "textregistered": "®",
    "texttrademark": "™", "copyright": "©", "textcopyright": "©", "S": "§", "P": "¶",
    "pounds": "£", "euro": "€", "LaTeX": "LaTeX", "TeX": "TeX",
}  # fmt: skip
_LIGATURES = {"---": "\u2014", "--": "\u2013", "``": "\u201c", "''": "\u201d", "~": " "}

_ACCENT = r"""\\{1,2}(?:"(?! )|''|['`^~=.]|[Hckbdurvt](?![A-Za-z]))"""
"""Two apostrophes are a frequent mistake for a quotation mark, two backslashes for one."""
_FONTS = "emph|mbox|underline|text(?:bf|it|rm|sc|sf|sl|tt|up|normal|superscript|subscript)?"
_SWITCHES = "em|it|bf|sl|sc|rm|tt|sf|normalfont|itshape|bfseries|scshape"


def _any_of(names: dict[str, str]) -> str:
    return "|".join(sorted(names, key=len, reverse=True))


MARKUP = re.compile(
    # accents
    r"""\{?(?:\\{1,2}(?:''|"(?! )|['`^~=.]|[Hckbdurvt](?![A-Za-z]))[ {]{0,3}){1,3}"""
    r"(?:\\([ij])(?![A-Za-z]) ?|([A-Za-z]))\}{0,3}"
    # letters
    r"|\{?\\(?:(ss|ae|AE|oe|OE|th|TH|[oOlLij])"
    r"|(?=aa|AA|dh|DH|dj|DJ|ng|NG)([aAdDnN])[aAhHjJgG])(?![A-Za-z])(?: ?\{?\}| )?"
    # fonts
    rf"|\\(?:{_FONTS}) ?\{{|\{{?\\(?:{_SWITCHES})(?![A-Za-z]) ?"
    # escaped characters
    r"|\\([&%$#_,; ])"
    # other commands with an argument, whose brace does not belong to an accent
    rf"|(\\(?!(?:{_FONTS}|{_SWITCHES}|ss|ae|AE|oe|OE|th|TH|aa|AA|dh|DH|dj|DJ|ng|NG)(?![A-Za-z]))"
    r"[A-Za-z]{2,} ?\{)"
)
"""What `strip_tex` replaces by its groups. The SQL function has the same pattern."""

_TOKEN = re.compile(
    r"(?P<formula>\$\$[^$]+\$\$|\$(?!\d[^$]* \$\d)[^$]+\$)"  # not $5 and $6
    rf"|(?P<accent>{_ACCENT} ?(?=\{{{{0,2}}(?:[^\W\d_]|\\[A-Za-z\"'`^~=.])))"
    rf"|(?:\\(?P<letter>{_any_of(LETTERS | _NAMED_CHARACTERS)})(?![A-Za-z])(?:\{{\}}| )?)"
    rf"|\\(?P<symbol>{_any_of(_SYMBOLS)})(?![A-Za-z])"
    rf"|(?P<font>\\(?:{_FONTS}) ?\{{)"
    rf"|(?P<switch>\{{?\\(?:{_SWITCHES})(?![A-Za-z]) ?)"
    r"|\\(?P<escaped>[&%$#_{} ])"
    r"|(?P<space>\\[,;:])"
    r"|(?P<nothing>\\[!/-])"
    r"|(?P<argument>(?:\\[A-Za-z]+\*?|[\^_]) ?\{)"
    rf"|(?P<group>\{{(?=[^\W\d_]|{_ACCENT}|\\(?:{_any_of(LETTERS)})(?![A-Za-z])))"
    r"|(?P<open>\{)"
    r"|(?P<close>\})"
    r"|(?P<ligature>---|(?<! )--(?!>)|--(?![\w>])|``|''|(?<=[\w.,)])~(?=\S))"
    r"|(?P<text>[^\\${}`'~^_-]+|.)",
    re.DOTALL,
)


_PLAIN = re.compile(r"[^\\${}`'~^_-]*")
"""A text that is a single token, as most names are."""


def tex_to_text(text: str) -> str:
    """Return the text with TeX accents and simple commands as characters.

    Formulas and commands that are not known stay as they are.
    """
    return text if _PLAIN.fullmatch(text) else _Converter().convert(text)


def strip_tex(text: str) -> str:
    r"""Return the text without TeX accents, fonts and escapes, as the SQL function does.

    The result is for the comparison of words: `\"a` becomes `a`, and closing braces stay.
    """
    return MARKUP.sub(r"\1\2\3\4\5\6", text) if "\\" in text else text


def convert_markup(text: str) -> str:
    r"""Return the text of a query with TeX accents and escapes as characters.

    Formulas stay, and `\"` too where it may be an escaped quotation mark: not after a letter.
    """
    return MARKUP.sub(_convert_markup, text) if "\\" in text else text


def convert_markup_with_offsets(text: str) -> tuple[str, list[int]]:
    """Return the converted text, and the offset in the original of each character and the end."""
    parts: list[str] = []
    offsets: list[int] = []
    end = 0
    for match in MARKUP.finditer(text):
        converted = _convert_markup(match)
        parts += (text[end : match.start()], converted)
        offsets += (*range(end, match.start()), *[match.start()] * len(converted))
        end = match.end()
    return "".join([*parts, text[end:]]), [*offsets, *range(end, len(text) + 1)]


def _convert_markup(match: re.Match[str]) -> str:
    markup, converted = match[0], tex_to_text(match[0])
    follows_letter = match.string[match.start() - 1 : match.start()].isalpha()
    if markup.lstrip("\\").startswith('"') and not (follows_letter and len(converted) == 1):
        return markup
    return converted


class _Converter:
    """Converts one token after another."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.accents = ""
        """Combining characters for the next letter, the innermost one first."""
        self.groups: list[bool] = []
        """For each open brace whether its end is written."""
        self.argument_end = -1
        """Where the argument of an unknown command ended: another one may follow."""

    def convert(self, text: str) -> str:
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or ""
            _HANDLERS[kind](self, match[kind], match)
        return "".join(self.parts)

    def write(self, text: str, _match: re.Match[str] | None = None) -> None:
        if self.accents:
            base = {"ı": "i", "ȷ": "j"}.get(text[0], text[0])
            text = normalize("NFC", base + self.accents) + text[1:]
            self.accents = ""
        self.parts.append(text)

    def write_formula(self, text: str, _match: re.Match[str]) -> None:
        converted = _COMMAND.sub(lambda found: _SYMBOLS.get(found[1], found[0]), text.strip("$"))
        self.write(text if _UNKNOWN.search(converted) else converted)

    def add_accent(self, text: str, _match: re.Match[str]) -> None:
        self.accents = (ACCENTS[text.strip("\\ ")] + self.accents)[:_MAX_ACCENTS]

    def write_letter(self, text: str, _match: re.Match[str]) -> None:
        self.write(LETTERS.get(text) or _NAMED_CHARACTERS[text])

    def write_symbol(self, text: str, match: re.Match[str]) -> None:
        self.write(match[0] if self.groups and self.groups[-1] else _SYMBOLS[text])

    def write_ligature(self, text: str, _match: re.Match[str]) -> None:
        self.write(_LIGATURES[text])

    def write_space(self, _text: str, _match: re.Match[str]) -> None:
        self.write(" ")

    def ignore(self, text: str, match: re.Match[str]) -> None:
        """Leave out the token."""

    def open_font(self, _text: str, _match: re.Match[str]) -> None:
        self.groups.append(False)

    def open_switch(self, text: str, _match: re.Match[str]) -> None:
        if text.startswith("{"):
            self.groups.append(False)

    def open_argument(self, text: str, _match: re.Match[str]) -> None:
        self.groups.append(True)
        self.write(text)

    def open_group(self, text: str, match: re.Match[str]) -> None:
        """Leave out braces around letters, unless they are another argument."""
        if match.start() == self.argument_end:
            self.open_argument(text, match)
        else:
            self.open_font(text, match)

    def open_brace(self, text: str, match: re.Match[str]) -> None:
        if self.accents:
            self.open_font(text, match)
        else:
            self.open_argument(text, match)

    def close_group(self, text: str, match: re.Match[str]) -> None:
        self.accents = ""
        if not self.groups or self.groups.pop():
            self.argument_end = match.end()
            self.write(text)


_COMMAND = re.compile(r"\\([A-Za-z]+)")
_UNKNOWN = re.compile(r"[\\^_{}~]")
_HANDLERS: dict[str, Callable[[_Converter, str, re.Match[str]], None]] = {
    "formula": _Converter.write_formula,
    "accent": _Converter.add_accent,
    "letter": _Converter.write_letter,
    "symbol": _Converter.write_symbol,
    "font": _Converter.open_font,
    "switch": _Converter.open_switch,
    "escaped": _Converter.write,
    "space": _Converter.write_space,
    "nothing": _Converter.ignore,
    "argument": _Converter.open_argument,
    "group": _Converter.open_group,
    "open": _Converter.open_brace,
    "close": _Converter.close_group,
    "ligature": _Converter.write_ligature,
    "text": _Converter.write,
}
