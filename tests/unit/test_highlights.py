"""Highlights mark the words that a query finds, in texts that are otherwise unchanged."""

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.highlights import highlight, highlight_names
from service.paper_query import Words, find_terms, parse_query
from service.search_index.analysis import locate_words, split_words, stem_words
from tests.support.measure import assert_cpu_below


def find_title_terms(q: str) -> list[Words]:
    return find_terms(parse_query(q), "title")


@pytest.mark.parametrize(
    ("original", "q", "html"),
    [
        (r"the K{\"a}hler form", "kähler", r"the <mark>K{\&quot;a}hler</mark> form"),
        (r"an Erd\H{o}s--R\'enyi graph", "renyi", r"an Erd\H{o}s--<mark>R\&#x27;enyi</mark> graph"),
        (r"the \emph{weak} limit", "weak", r"the \emph{<mark>weak</mark>} limit"),
        (r"\ix\u0301 dark", "dark", r"\ix\u0301 <mark>dark</mark>"),
        ("a soft\u00adhyphen", "softhyphen", "a <mark>soft\u00adhyphen</mark>"),
        ("a か\u200b\u3099 x", "が", "a <mark>か\u200b\u3099</mark> x"),
        ("Dark matter", "matter", "Dark <mark>matter</mark>"),
        ("the dark-matter halo", "dark-matter", "the <mark>dark</mark>-<mark>matter</mark> halo"),
        ("matter dark, dark", "dark-matter", None),
        ("Erdős & Rényi", "renyi erdos", "<mark>Erdős</mark> &amp; <mark>Rényi</mark>"),
        ("Re\u0301nyi e\u0301", "rényi", "<mark>Re\u0301nyi</mark> e\u0301"),
        ("ae\u0301 ae\u0301", '"aé ae"', "<mark>ae\u0301</mark> <mark>ae\u0301</mark>"),
        ("\u0301dark", "dark", "\u0301<mark>dark</mark>"),
        ("the <f_c> of \"x'", "c", "the &lt;f_<mark>c</mark>&gt; of &quot;x&#x27;"),
        ("<b>dark</b> <mark>", "dark", "&lt;b&gt;<mark>dark</mark>&lt;/b&gt; &lt;mark&gt;"),
        (
            "<script>x</script>",
            "script",
            "&lt;<mark>script</mark>&gt;x&lt;/<mark>script</mark>&gt;",
        ),
        (r"mass $\alpha_s$ ", "alpha", r"mass $\<mark>alpha</mark>_s$ "),
        ("http://a.org/dark?x=1", "dark", "http://a.org/<mark>dark</mark>?x=1"),
        ("me@a.org 🎉 dark", "dark", "me@a.org 🎉 <mark>dark</mark>"),
        ("日本語 が dark", "日本語 が", "<mark>日本語</mark> <mark>が</mark> dark"),
        ("東京都庁", "京都", "東<mark>京都</mark>庁"),
        ("か\u3099 x", "が", "<mark>か\u3099</mark> x"),
        ("한국 dark", "한국", "<mark>한국</mark> dark"),
        ("\u1112\u1161\u11ab dark", "한 dark", "<mark>\u1112\u1161\u11ab</mark> <mark>dark</mark>"),
        ("ΛCDM Ωm Σας", "λcdm σας", "<mark>ΛCDM</mark> Ωm <mark>Σας</mark>"),
        ("हिन्दी x", "हिन्दी", "<mark>हिन्दी</mark> x"),
        ("a ﬁeld", "field", "a <mark>ﬁeld</mark>"),
        ("½ of R²", "1 2 R2", "<mark>½</mark> of <mark>R²</mark>"),
        ("½ of R²", "2", "<mark>½</mark> of R²"),
        ("dark  \n\tmatter\n", "dark matter", "<mark>dark</mark>  \n\t<mark>matter</mark>\n"),
        ("C^*-algebras", "C*-algebra", "<mark>C^*</mark>-<mark>algebras</mark>"),
        ("C++ and C", "C++", "<mark>C++</mark> and C"),
        # stems, exact words, prefixes
        ("galaxies of a galaxy", "galaxy", "<mark>galaxies</mark> of a <mark>galaxy</mark>"),
        ("galaxies of a galaxy", '"galaxy"', "galaxies of a <mark>galaxy</mark>"),
        ("galactic galaxies", "galact*", "<mark>galactic</mark> galaxies"),
        (
            "abelian non-abelian Non-Abel",
            "non-abel*",
            "abelian <mark>non</mark>-<mark>abelian</mark> <mark>Non</mark>-<mark>Abel</mark>",
        ),
        ("ends with non", "non-abel*", None),
        ("a text", "other", None),
        ("", "other", None),
        ("... 🎉", "other", None),
    ],
)
def test_matches_are_marked_in_original(original: str, q: str, html: str | None) -> None:
    assert highlight(original, find_title_terms(q)) == html


def test_excluded_words_and_those_of_other_fields_are_not_marked() -> None:
    query = parse_query("dark title:halo -author:mass -big gal*")
    text = "big dark halo mass of galaxies"
    assert (
        highlight(text, find_terms(query, "abstract"))
        == "big <mark>dark</mark> halo mass of <mark>galaxies</mark>"
    )
    assert (
        highlight(text, find_terms(query, "title"))
        == "big <mark>dark</mark> <mark>halo</mark> mass of <mark>galaxies</mark>"
    )
    assert highlight(text, find_terms(parse_query("au:dark"), "note")) is None


@pytest.mark.parametrize(
    ("q", "html"),
    [
        ("byron", "Ada <mark>Byron</mark>, Jos\u00e9 &lt;Klein&gt;, Eva Bakers"),
        ('"ada byron"', "<mark>Ada</mark> <mark>Byron</mark>, Jos\u00e9 &lt;Klein&gt;, Eva Bakers"),
        (
            'au:"Klein, Jose" au:bak*',
            "Ada Byron, <mark>Jos\u00e9</mark> &lt;<mark>Klein</mark>&gt;, Eva <mark>Bakers</mark>",
        ),
        ('"byron jose"', None),  # two names
        ("baker", None),  # names have no stems
    ],
)
def test_words_are_marked_within_names(q: str, html: str | None) -> None:
    terms = find_terms(parse_query(q), "author")
    names = highlight_names(["Ada Byron", "José <Klein>", "Eva Bakers"], terms)
    assert (names and ", ".join(names)) == html


def test_all_names_of_a_long_list_are_shown() -> None:
    names = [f"Ada Author{number}" for number in range(3000)]
    html = highlight_names(names, find_terms(parse_query("author7 author2950"), "author"))
    assert html
    assert [re.sub("</?mark>", "", name) for name in html] == names
    assert re.findall("<mark>(.*?)</mark>", "".join(html)) == ["Author7", "Author2950"]
    assert highlight_names([], find_title_terms("x")) is None


PIECES = st.sampled_from(
    [
        *"\\{} '\"`^~=.Hckbdurvtija1&%$_,é*+#\u0301\u00ad\u200b<>/\n\x1f\x02½ﬁ漢🎉Σς", r"\\", "ss",
        r"\emph", r"\textbf{", r"{\em ", r"\rm ", r"\cite", r"\"", r"\'", "''", r"\H", r"\i", r"\o",
        r"\AE", "か\u3099", "ｶ\uff9e", "ㅎㅏ", "\u1112\u1161", "\u09c7\u09be", "\u0915\u093c",
        "\u05d0\u05b0\u05bc", "c++", "+^+", "C^*", "quark", "<lepton>",
    ]
)  # fmt: skip
TEXTS = st.text(max_size=40) | st.lists(PIECES, max_size=20).map("".join)


@given(TEXTS)
@settings(max_examples=500)
def test_located_words_are_those_of_the_index(text: str) -> None:
    spans = locate_words(text)
    words = split_words(text)
    assert len(spans) == len(words)
    assert len(stem_words(words)) == len(words)
    assert spans == sorted(spans)
    assert all(0 <= start < end <= len(text) for start, end in spans)
    for word, (start, end) in zip(words, spans, strict=True):
        assert word in "".join(split_words(text[start:end])), (word, text[start:end])


@given(TEXTS)
@settings(max_examples=200)
def test_text_without_marks_is_the_original(text: str) -> None:
    terms = find_title_terms('quark lepton a c fi 1 2 quar* boson "c++" 漢')
    original = f"{text} quark <lepton>{text}boson"
    html = highlight(original, terms)
    assert html
    shown = re.sub("</?mark>", "", html)
    assert unescape(shown) == original
    assert not re.search("[<>\"']", shown)
    assert html.count("<mark>") == html.count("</mark>")
    if not {"\\", "^"} & set(text):
        assert "<mark>quark</mark>" in html


@pytest.mark.parametrize(
    "piece", ["dark ", "a", "é ", "e\u0301", "\u0301", "漢", r"\'e ", "a+^", "ü b ", "{\\", "ㅏ"]
)
def test_long_texts_are_marked_quickly(piece: str) -> None:
    text = "matter " + piece * (20_000 // len(piece))
    terms = find_title_terms(f'matter "a a a" dark "漢漢漢" e ü {"gal* " * 10}')
    assert (highlight(text, terms) or "").startswith("<mark>matter</mark>")
    assert_cpu_below(1, lambda: highlight(text, terms))


@pytest.mark.parametrize("name", ["Ada Byron", "José Müller"])
def test_long_lists_of_names_are_marked_quickly(name: str) -> None:
    names = [*[name] * 2999, "Eva Klein"]
    terms = find_terms(parse_query("klein"), "author")
    assert (highlight_names(names, terms) or [""])[-1].endswith("<mark>Klein</mark>")
    assert_cpu_below(0.25, lambda: highlight_names(names, terms))
