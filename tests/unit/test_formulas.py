"""TeX in texts as HTML: formulas as MathML, the rest escaped."""

import re
from time import perf_counter
from xml.etree import ElementTree as ET

import pytest
from lxml import html

from service.pages.formulas import (
    MAX_FORMULA_LENGTH,
    MAX_FORMULAS_LENGTH,
    render_formula,
    render_math,
    render_plain,
)

ALLOWED = {
    "math", "semantics", "annotation", "mrow", "mi", "mn", "mo", "mtext", "mspace", "msub", "msup",
    "msubsup", "mfrac", "msqrt", "mroot", "munder", "mover", "munderover", "mtable", "mtr", "mtd",
    "mstyle", "mpadded", "mphantom", "menclose",
}  # fmt: skip


def parse(rendered: str) -> html.HtmlElement:
    return html.fragment_fromstring(rendered, create_parent="div")


def list_formulas(text: str) -> list[str]:
    return [math.get("alttext", "") for math in parse(render_math(text)).iter("math")]


@pytest.mark.parametrize(
    ("text", "formulas"),
    [
        ("energy $E = mc^2$ here", ["E = mc^2"]),
        ("$$\\sum_i x_i$$", ["\\sum_i x_i"]),
        (r"the \(p\)-adic \[\frac12\]", ["p", r"\frac12"]),
        ("$x$$y$", ["x", "y"]),
        ("$^{13}$CO and $2 \\times 2 $ matrices", ["^{13}", "2 \\times 2"]),
        ("$ x $ and $ y $", ["x", "y"]),
        ("$3$ and $4$", ["3", "4"]),
        (r"$5 \%$", [r"5 \%"]),
    ],
)
def test_formulas_between_delimiters_become_mathml(text: str, formulas: list[str]) -> None:
    assert list_formulas(text) == formulas


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("costs $5 and $6", "costs $5 and $6"),
        ("US$5-US$6, $7/$8", "US$5-US$6, $7/$8"),
        ("$5 million or more", "$5 million or more"),
        ("it is 5$ and 6$ now", "it is 5$ and 6$ now"),
        (r"\$5 and \$6", "$5 and $6"),
        ("unclosed $x", "unclosed $x"),
    ],
)
def test_amounts_and_single_dollars_are_text(text: str, shown: str) -> None:
    assert render_math(text) == shown


def test_amounts_before_a_formula_leave_it_alone() -> None:
    assert list_formulas(r"from $5 to $6 million for \$7, $x$ and $y$") == ["x", "y"]


@pytest.mark.parametrize(
    "text",
    [
        r"$\foo{x}$",
        "$x_{$",
        "$x}$",
        "$x^$",
        r"$\frac$",
        r"$\left( x$",
        r"$\begin{tikzcd}x\end{tikzcd}$",
        r"$\newcommand{\a}{\b\b}\a$",
        r"$\def\a{x}\a$",
        r"$\href{javascript:alert(1)}{x}$",
        r"$\style{color:red}{x}$",
        r"$\class{skip}{x}$",
        r"$\unicode{x3c}$",
        "$\u202ex$",
        "$x\u200b$",
        f"${'x' * (MAX_FORMULA_LENGTH + 1)}$",
        f"${'{' * 60}{'}' * 60}$",
    ],
)
def test_unsupported_tex_stays_as_it_was_written(text: str) -> None:
    assert parse(render_math(text)).text_content() == text
    assert "<math" not in render_math(text)


def test_accents_outside_of_formulas_become_characters() -> None:
    assert render_math(r"Schr\"odinger {\bf cats} & co") == "Schrödinger cats &amp; co"
    assert render_plain(r"Schr\"odinger $\"x$") == r"Schrödinger $\"x$"


@pytest.mark.parametrize(
    "tex",
    [
        "<script>alert(1)</script>",
        r"\text{<img src=x onerror=alert(1)>}",
        r"\text{&lt;script&gt;}",
        r"\text{&#x3c;b&#x3e;}",
        r'\text{" onload="x}',
        r"\color{red;background:url(//x)}{x}",
        r"\textcolor{red}{x}",
        r"\hspace{99999em}x\kern-500em\raise{50em}{y}",
        r"\operatorname{a b}<\mathbb{R}>",
        r"\fbox{<b>}\tag{<i>}\mbox{</math><script>}",
        "x</annotation></math><script>",
        r"\begin{array}{c|c}<a&b\\c&d\end{array}",
    ],
)
def test_hostile_tex_creates_no_markup_and_no_attributes(tex: str) -> None:
    root = parse(render_math(f"${tex}$"))
    for element in root.iterdescendants():
        assert element.tag in ALLOWED
        assert not {"href", "style", "class", "mathcolor", "onload"} & set(element.attrib)
        for name in ("width", "height", "voffset"):
            number = re.match(r"[+-]?([\d.]*)", element.get(name, "0"))
            assert number
            assert float(number[1] or 0) < 20
    assert "script" not in {element.tag for element in root.iter()}


@pytest.mark.parametrize(
    "text",
    [
        "$" * 100_000,
        r"\(" * 50_000,
        r"\[" * 50_000,
        "\\" * 100_000,
        "$x$" * 33_000,
        "$$x" * 33_000,
        " ".join(f"$x_{{{i}}}^{{{i}}}$" for i in range(8000)),
        "".join("$" + "a" * i + r"\skew3" * 140 + "x$" for i in range(100)),
        "$" + r"\sideset{}{}" * 60 + "x$",
        "$5 and " * 14_000,
        f"${'{' * 50_000}{'}' * 50_000}$",
        f"${'x^' * 480}y$",
    ],
    ids=str.__len__,
)
def test_hostile_tex_takes_little_time(text: str) -> None:
    started = perf_counter()
    render_math(text)
    assert perf_counter() - started < 3


def test_many_formulas_are_text_after_the_limit() -> None:
    formulas = list_formulas("$x$ " * MAX_FORMULAS_LENGTH)
    assert len(formulas) == MAX_FORMULAS_LENGTH // 3


def test_letters_of_fonts_are_characters() -> None:
    text = parse(render_math(r"$\mathbb{RQ}\mathcal{BX}\mathfrak{Cg}$")).text_content()
    assert text == "\u211d\u211a\u212c\U0001d4b3\u212d\U0001d524"


def test_the_source_of_two_dimensional_formulas_is_readable_without_mathml() -> None:
    assert r"{\frac{a}{b}}" in parse(render_math(r"$\frac{a}{b}$")).text_content()
    assert parse(render_math("$a + b$")).text_content() == "a+b"


def test_marks_stay_outside_of_formulas_only() -> None:
    marked = "a &lt;b&gt; <mark>word $y_1$ end</mark> $<mark>x</mark>$ {\\bf <mark>q</mark>}"
    root = parse(render_math("", marked))
    assert [mark.text_content() for mark in root.iter("mark")] == ["word ", " end", "q"]
    assert [math.get("alttext") for math in root.iter("math")] == ["y_1", "x"]
    assert not [*root.iter("b")]


def test_text_that_looks_like_a_mark_is_text() -> None:
    rendered = render_math("", "&lt;mark&gt; \ufdd0 <mark>a</mark>")
    assert rendered == "&lt;mark&gt;  <mark>a</mark>"
    assert render_math("\ufdd0<mark>") == "&lt;mark&gt;"


@pytest.mark.parametrize("code", ["FFFFFF", "D800", "202e", "fdd0", "fdd1", "1", "41"])
def test_character_references_in_tex_are_text(code: str) -> None:
    text = f"We bound $\\text{{&#x{code};}}$ rates."
    assert not list_formulas(text)
    assert parse(render_math(text)).text_content() == text


@pytest.mark.parametrize("code", ["FFFFFF", "D800", "202E", "FDD0"])
def test_characters_that_html_cannot_have_make_a_formula_unsupported(
    monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    math = ET.Element("math")
    ET.SubElement(math, "mtext").text = f"&#x{code};"
    monkeypatch.setattr("service.pages.formulas.convert_to_element", lambda *_, **__: math)
    render_formula.cache_clear()
    assert render_formula("$x$") is None
    render_formula.cache_clear()


def test_mark_of_a_command_is_that_of_its_character() -> None:
    html = render_math(
        r"Emission of \alpha particles", r"Emission of \<mark>alpha</mark> particles"
    )
    assert html == "Emission of <mark>\N{GREEK SMALL LETTER ALPHA}</mark> particles"
