"""Invisible characters are removed, and typographic quotes are straightened."""
# ruff: noqa: RUF001 - quotes of other languages

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.metadata.unicode_text import remove_invisible, straighten_quotes
from tests.support.measure import assert_cpu_below


@pytest.mark.parametrize(
    "character",
    [*"\u00ad\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2060\u2066\u2069\ufeff\u034f\u061c\ufe0f"],
)
def test_invisible_character_inside_a_word_is_removed(character: str) -> None:
    assert remove_invisible(f"neu{character}tri{character * 2}no") == "neutrino"


@given(st.text())
def test_visible_characters_and_spaces_stay(text: str) -> None:
    kept = remove_invisible(text)

    assert remove_invisible(kept) == kept
    visible = {c for c in text if unicodedata.category(c)[0] in "NPSZ" or c.isascii()}
    assert visible <= set(kept)


@pytest.mark.parametrize(
    ("text", "straight"),
    [
        ("“dark matter” „a“ «b» »c« ＂d＂ 「e」", '"dark matter" "a" "b" "c" "d" "e"'),
        ("❝dark matter❞", '"dark matter"'),
        ("‘dark matter’ ‚a b‘ ‹c d› ＇e f＇", '"dark matter" "a b" "c d" "e f"'),
        ("ti:‘Fermi’s gas’", 'ti:"Fermi’s gas"'),
        ("O’Brien and the electrons’ mass", "O’Brien and the electrons’ mass"),
        ("‘open", "‘open"),
        ("“the ‘weak’ limit”", '"the ‘weak’ limit"'),
        ("it's 'plain'", "it's 'plain'"),
    ],
)
def test_typographic_quotes_become_straight(text: str, straight: str) -> None:
    assert straighten_quotes(text) == straight


@pytest.mark.parametrize("part", ["‘", "‘a ", "’", "a’", "＇ ", "a’b’", '"', "\u00ad"])
def test_long_texts_take_linear_time(part: str) -> None:
    assert_cpu_below(1, lambda: straighten_quotes(remove_invisible(part * 60_000)))
