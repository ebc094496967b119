"""TeX accents and simple commands become characters."""

from collections.abc import Callable

import pytest

from service.metadata.tex import convert_markup, strip_tex, tex_to_text
from tests.support.measure import assert_linear


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"K{\"a}hler", "Kähler"),
        (r"Schr\"odinger Schr\"{o}dinger Schr{\"{o}}dinger", "Schrödinger Schrödinger Schrödinger"),
        (r"Schr\''odinger, Andr\\'e", "Schrödinger, André"),
        (r"Erd\H{o}s, Poincar\'{e}, Cr\`eche, Beno\^it", "Erdős, Poincaré, Crèche, Benoît"),
        (r"na\"{\i}ve, Garc{\'\i}a, Mart\'in", "naïve, García, Martín"),
        (r"\c{c} \v s \v{C} \~n \u{g} \k{a} \r{a} \d{h} \=a \.z", "ç š Č ñ ğ ą å ḥ ā ż"),
        (r"J\o rgen {\L}ukasz \AE gir Wei{\ss} \aa ngstr\"om", "Jørgen Łukasz Ægir Weiß ångström"),
        (r"Nguy{\~{\^e}}n", "Nguyễn"),
        (r"A. Petojevi\' c", "A. Petojević"),
        (r"2\textsuperscript{nd} \emph{weak \textbf{and} short}", "2nd weak and short"),
        (r"the {\em weak} and {\bf 98}", "the weak and 98"),
        (r"{GPT}-4 of the {S\o ren} group", "GPT-4 of the Søren group"),
        ("pp. 1--20 --- with J.~Doe", "pp. 1\u201320 \u2014 with J. Doe"),
        ("``quoted'' text", "\u201cquoted\u201d text"),
        (r"AT\&T, 5\%, \$6, 1\textendash{}2", "AT&T, 5%, $6, 1\u20132"),
        (r"$\alpha$-decay of \pi at $k \geq 2$", "\u03b1-decay of π at k ≥ 2"),
        (r"95$\sim$100 and the $p$-adic", "95\u223c100 and the p-adic"),
    ],
)
def test_markup_becomes_characters(text: str, expected: str) -> None:
    assert tex_to_text(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Erdős and Kähler",
        r"$\frac{a}{b}$",
        "$x^2$ and $m_e$",
        r"\frac{a}{b}{c} of x_{s}",
        r"\cite{Doe2012} and U_{e3}",
        r"{\cal K} and {0,1}-matrices",
        "$5 and $6",
        "http://www.example.org/~doe",
        r"\' 1 and \"",
        "D0 --> K-",
        "an open { and a closing }",
        "R&D #1 100%",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert tex_to_text(text) == text


def test_accents_in_arguments_of_unknown_commands_are_converted() -> None:
    assert tex_to_text(r"\footnote{Erd\H{o}s}") == r"\footnote{Erdős}"


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (r"K{\"a}hler, Schr\"odinger, na\"\i ve", "Kähler, Schrödinger, naïve"),
        (r"Erd\H{o}s \& {\O}rsted", "Erdős & Ørsted"),
        (r"\alpha in $\beta$ or \mathcal{N}", r"\alpha in $\beta$ or \mathcal{N}"),
        (r"\"dark matter\" (\"a\") x:\"b\"", r"\"dark matter\" (\"a\") x:\"b\""),
        (r'"a\"b"', r'"a\"b"'),
    ],
)
def test_markup_in_queries_becomes_characters_unless_it_may_be_a_quote(
    typed: str, expected: str
) -> None:
    assert convert_markup(typed) == expected


HOSTILE = [
    "\\'",
    "{",
    "}",
    "\\'{",
    "$",
    "$1 ",
    "\\emph{",
    "--",
    "`",
    "\\c ",
    "\\a",
    "{\\",
    "_{",
    "\\",
]


@pytest.mark.parametrize("part", HOSTILE)
@pytest.mark.parametrize("function", [tex_to_text, strip_tex, convert_markup])
def test_time_grows_in_proportion_to_the_text(function: Callable[[str], str], part: str) -> None:
    assert_linear(lambda length: function((part * length)[:length]), 25_000)
