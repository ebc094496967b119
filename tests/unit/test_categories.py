"""arXiv's categories: their spelling, their two names, and what is suggested for others."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.metadata.categories import (
    CATEGORIES,
    UnknownCategory,
    get_title,
    is_known,
    select_categories,
    spell_category,
    suggest_categories,
)
from tests.support.captures import TEST_DATA
from tests.support.measure import assert_cpu_below


def test_data_has_every_category_of_arxiv_once() -> None:
    lower = {name.lower() for name in CATEGORIES}

    assert len(CATEGORIES) == len(lower) == 176
    assert all(re.fullmatch(r"[a-z-]+(\.([A-Z]{2}|[a-z-]+))?", name) for name in CATEGORIES)
    assert not {"cs", "math", "physics", "test", "bad-arch"} & CATEGORIES.keys()
    assert {"hep-th", "astro-ph", "cond-mat", "q-bio", "alg-geom"} <= CATEGORIES.keys()


def test_real_records_have_only_known_categories() -> None:
    path = TEST_DATA / "data" / "kaggle" / "snapshot_first150.jsonl"
    if not path.exists():
        pytest.skip(f"the data is missing: {path}")
    papers = map(json.loads, path.read_text().splitlines())
    names = {name for paper in papers for name in paper["categories"].split()}

    assert len(names) > 50
    assert names - CATEGORIES.keys() == set()


@pytest.mark.parametrize(
    ("name", "other"),
    [
        *(("math-ph", "math.MP"), ("math.ST", "stat.TH"), ("cs.IT", "math.IT")),
        *(("econ.GN", "q-fin.EC"), ("eess.SY", "cs.SY"), ("math.NA", "cs.NA")),
    ],
)
def test_two_names_of_a_category_mean_the_same(name: str, other: str) -> None:
    assert select_categories([name]) == select_categories([other.lower()])
    assert set(select_categories([name]).names) == {name, other}
    assert CATEGORIES[other] == CATEGORIES[name] == name


@pytest.mark.parametrize("archive", ["cs", "econ", "math", "physics", "nlin", "q-fin", "stat"])
def test_archive_with_subject_classes_means_all_of_them(archive: str) -> None:
    for text in archive, f"{archive}.*", archive.upper(), f" {archive}.* ":
        assert select_categories([text]) == ([], [archive])
    assert select_categories([archive, f"{archive}.*"]) == ([], [archive])


@pytest.mark.parametrize("archive", ["astro-ph", "cond-mat", "q-bio"])
def test_archive_that_once_had_no_subject_classes_means_itself_too(archive: str) -> None:
    assert select_categories([archive]) == ([archive], [archive])


@pytest.mark.parametrize("archive", ["hep-th", "gr-qc", "quant-ph", "cmp-lg", "chao-dyn"])
def test_archive_without_subject_classes_means_itself(archive: str) -> None:
    for text in archive, f"{archive}.*":
        assert select_categories([text]) == ([archive], [])


def test_category_in_a_selected_archive_is_not_selected_twice() -> None:
    assert select_categories(["cs.AI", "cs", "hep-th"]) == (["hep-th"], ["cs"])


@pytest.mark.parametrize(
    ("typed", "suggested"),
    [
        ("econn", "econ"),
        ("cs.XX", "cs.*"),
        ("cs.IA", "cs.AI"),
        ("math.AGG", "math.AG"),
        ("stats.ML", "stat.ML"),
        ("cs.ML", "stat.ML"),
        ("astro.CO", "astro-ph.CO"),
        ("quantph", "quant-ph"),
        ("cs_ai", "cs.AI"),
        ("csLG", "cs.LG"),
        ("AI", "cs.AI"),
        ("hep", "hep-th"),
        ("hep-phh", "hep-ph"),
        ("physic.optics", "physics.optics"),
        ("machine learning", "stat.ML"),
        ("Computer Science", "cs"),
        ("grp_math", "math"),
        ("grp_physics", "astro-ph"),
        ("cs.AI,cs.SE", "cs.SE"),
        ("cs.LG OR stat.ML", "stat.ML"),
        ("cs.AL", "cs.AI"),
        ("finance", "q-fin.MF"),
    ],
)
def test_unknown_category_is_rejected_with_similar_ones(typed: str, suggested: str) -> None:
    assert suggested in suggest_categories(typed)
    with pytest.raises(UnknownCategory, match=re.escape(suggested)):
        select_categories(["cs.AI", typed])


def test_several_categories_in_one_text_are_suggested_first() -> None:
    assert suggest_categories("cs.LG,cs.AI")[:2] == ("cs.LG", "cs.AI")


def test_invisible_characters_are_ignored() -> None:
    assert select_categories(["\ufeffcs.AI\u200b"]) == select_categories(["cs.AI"])


def test_text_that_resembles_no_category_is_rejected_with_examples() -> None:
    with pytest.raises(UnknownCategory, match=r"cs\.AI, hep-th or cs\.\*; https://arxiv"):
        select_categories(["nonsense!"])


@given(st.sampled_from(sorted(CATEGORIES)), st.data())
def test_category_with_one_wrong_letter_is_suggested(name: str, data: st.DataObject) -> None:
    letters = name.replace(".", "").replace("-", "")
    wrong = name.replace(data.draw(st.sampled_from(letters)), "7", 1)
    if len(letters) > 6:
        assert name in suggest_categories(wrong)
    else:
        assert suggest_categories(wrong) or not set(wrong) - set("7.")  # "77.77"


@pytest.mark.parametrize(
    ("typed", "spelled"),
    [
        ("CS.ai", "cs.AI"),
        ("cs.a*", "cs.A*"),
        ("COND-MAT.S*", "cond-mat.s*"),
        ("MATH*", "math*"),
        ("*", "*"),
        ("cs.XX", "cs.XX"),
        ("cs.xx*", "cs.xx*"),
        ("cs.a*i", "cs.a*i"),
        ("35J20, 35B38", "35J20, 35B38"),
    ],
)
def test_spelling_changes_only_the_case_of_known_categories(typed: str, spelled: str) -> None:
    assert spell_category(typed) == spelled


@pytest.mark.parametrize("text", ["cs.AI", "cs.*", "cs.A*", "math*", "hep-th", "alg-geom", "*"])
def test_category_and_its_beginning_are_known(text: str) -> None:
    assert is_known(text)


@pytest.mark.parametrize("text", ["cs", "cs.XX", "cs.X*", "hep-th.*", "53C25", "cs.ai", ""])
def test_other_texts_are_unknown(text: str) -> None:
    assert not is_known(text)


def test_categories_have_names_in_plain_words() -> None:
    assert all(map(get_title, CATEGORIES))
    assert get_title("cond-mat.mtrl-sci") == "Materials Science"
    assert get_title("53C25") is None


@pytest.mark.parametrize("piece", ["a", "cs.", "-", ".*", "é", "cs.AI,"])
def test_long_texts_are_rejected_in_constant_time(piece: str) -> None:
    def select() -> None:
        with pytest.raises(UnknownCategory) as error:
            select_categories([piece * 60_000])
        assert len(str(error.value)) < 500

    assert_cpu_below(0.05, select)
