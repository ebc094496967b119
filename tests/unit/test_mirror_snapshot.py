"""Lines of the snapshot become records, or errors with the reason."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mirror.snapshot import parse_line
from service.mirror.text_form import InvalidRecord
from service.models.mirror import MirrorRecord, Source
from tests.support.mirror_data import needs_data, read_lines

LINE: dict[str, Any] = {
    "id": "0704.0001",
    "submitter": "Ada Example",
    "authors": "A.-B. Ex\\'ample (Paris), Bo Sample",
    "title": "A title\n  in two lines",
    "comments": "3 pages;\n  2 figures",
    "journal-ref": "J. Ex. 1 (2007)",
    "doi": "10.5555/a 10.5555/b",
    "report-no": "EX-1",
    "categories": "hep-ph math.CO",
    "license": None,
    "abstract": "  First line\nsecond line.\n",
    "versions": [
        {"version": "v1", "created": "Mon, 2 Apr 2007 19:18:42 GMT"},
        {"version": "v2", "created": "Tue, 24 Jul 2007 20:10:27 GMT"},
    ],
    "update_date": "2008-11-26",
    "authors_parsed": [["Exámple", "A. -B.", "", "Paris"], ["Sample", "Bo", "Jr."]],
}


def parse(**changes: Any) -> MirrorRecord:
    return parse_line(json.dumps(LINE | changes).encode())


def read_reason(line: bytes) -> str:
    with pytest.raises(InvalidRecord) as refused:
        parse_line(line)
    return str(refused.value)


def test_line_becomes_a_record_in_the_form_of_the_api() -> None:
    record = parse()
    assert (record.source, record.arxiv_id) == (Source.SNAPSHOT, "0704.0001")
    assert record.title == "A title in two lines"
    assert record.authors == ["A. -B. Exámple", "Bo Sample Jr."]
    assert record.affiliations == [["Paris"], []]
    assert record.abstract == "First line second line."
    assert record.comment == "3 pages; 2 figures"
    assert record.dois == ["10.5555/a", "10.5555/b"]
    assert (record.primary_category, record.categories) == ("hep-ph", ["hep-ph", "math.CO"])
    assert (record.submitter, record.report_number, record.license) == ("Ada Example", "EX-1", None)


def test_versions_give_the_dates() -> None:
    record = parse()
    assert (record.version, record.published, record.updated) == (2, 1175541522, 1185307827)
    assert [version.submitted for version in record.versions] == [1175541522, 1185307827]
    assert record.datestamp == 1227657600


def test_update_date_in_the_future_is_rejected() -> None:
    days = [time.strftime("%Y-%m-%d", time.gmtime(time.time() + n * 86_400)) for n in (0, 1)]
    assert parse(update_date=days[0]).datestamp % 86_400 == 0
    with pytest.raises(InvalidRecord, match="update_date"):
        parse(update_date=days[1])


def test_order_and_repetition_of_versions_do_not_matter() -> None:
    first, second = LINE["versions"]
    assert parse(versions=[second, first, second]) == parse()


def test_keys_in_any_order_and_unknown_keys_are_accepted() -> None:
    data = dict(reversed(list((LINE | {"new": [1]}).items())))
    assert parse_line(json.dumps(data).encode()) == parse()


@pytest.mark.parametrize(
    "key", ["comments", "journal-ref", "doi", "report-no", "license", "submitter", "abstract"]
)
def test_optional_fields_may_be_null_or_missing(key: str) -> None:
    without = {name: value for name, value in LINE.items() if name != key}
    assert parse(**{key: None}) == parse_line(json.dumps(without).encode())


def test_old_spelling_of_an_id_is_changed() -> None:
    assert parse(id="math.GT/0309199").arxiv_id == "math/0309199"


def test_comment_shows_a_withdrawal() -> None:
    assert parse(comments="This paper has been withdrawn").withdrawn
    assert not parse().withdrawn


def test_name_before_a_colon_is_a_group() -> None:
    record = parse(authors_parsed=[["Example Team", "", ""], [":", "", ""], ["Sample", "Bo", ""]])
    assert (record.authors, record.group_authors) == (
        ["Example Team", "Bo Sample"],
        ["Example Team"],
    )


INVALID: dict[str, tuple[dict[str, Any], str]] = {
    "no id": ({"id": ""}, "id is"),
    "id null": ({"id": None}, r"\$.id"),
    "id of a number": ({"id": 704.0001}, r"\$.id"),
    "unknown archive": ({"id": "no-such/0309199"}, "id is"),
    "month 13": ({"id": "0713.0001"}, "id is"),
    "no versions": ({"versions": []}, "no versions"),
    "versions null": ({"versions": None}, r"\$.versions"),
    "version 0": ({"versions": [LINE["versions"][0] | {"version": "v0"}]}, "version is"),
    "version words": ({"versions": [LINE["versions"][0] | {"version": "latest"}]}, "version is"),
    "no title": ({"title": " \n "}, "no title"),
    "no categories": ({"categories": ""}, "no categories"),
    "30 February": ({"update_date": "2008-02-30"}, "update_date is"),
    "month 13 of an update": ({"update_date": "2008-13-01"}, "update_date is"),
    "other form of a date": ({"update_date": "26.11.2008"}, "update_date is"),
    "date in the far future": ({"update_date": "9999-12-31"}, "update_date is"),
    "date before arXiv": ({"update_date": "1066-10-14"}, "update_date is"),
    "title is a list": ({"title": ["a"]}, r"\$.title"),
    "authors are numbers": ({"authors_parsed": [[1]]}, "authors_parsed"),
    "NUL": ({"title": "a\0b"}, "NUL"),
    "long title": ({"title": "a" * 5001}, "title has 5001 characters"),
    "long abstract": ({"abstract": "a" * 20_001}, "abstract has 20001 characters"),
    "long comment": ({"comments": "a" * 5001}, "comments has 5001 characters"),
    "long name": ({"authors_parsed": [["a" * 1001, "", ""]]}, "author has 100"),
    "many authors": ({"authors_parsed": [["a", "b", ""]] * 10_001}, "10001 authors"),
    "many accents": ({"title": "a" + "\u0301" * 31}, "combining"),
    "many categories": ({"categories": " ".join(map(str, range(101)))}, "categories"),
}
for created in ("Mon, 31 Apr 2007 19:18:42 GMT", "Mon, 2 Apr 2007 25:18:42 GMT", "yesterday", ""):
    INVALID[f"created {created}"] = (
        {"versions": [{"version": "v1", "created": created}]},
        "created is",
    )


@pytest.mark.parametrize(("changes", "reason"), INVALID.values(), ids=INVALID)
def test_reason_names_what_is_wrong(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRecord, match=reason):
        parse(**changes)


@pytest.mark.parametrize("key", ["id", "title", "categories", "versions", "update_date"])
def test_required_fields_are_named_if_they_are_missing(key: str) -> None:
    without = {name: value for name, value in LINE.items() if name != key}
    assert f"`{key}`" in read_reason(json.dumps(without).encode())


def change_line(change: Callable[[bytes], bytes]) -> bytes:
    return change(json.dumps(LINE).encode())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null",
        b"[]",
        b'"0704.0001"',
        b"PK\x03\x04",
        b"[" * 100_000,
        b'{"id":' * 100_000,
        change_line(lambda line: line[:-1]),
        change_line(lambda line: line[: len(line) // 2]),
        change_line(lambda line: line + line),
        change_line(lambda line: line.replace(b"Ada Example", b"Ada \xff Example")),
        change_line(lambda line: line.replace(b"Ada Example", b"Ada \\ud800 Example")),
        change_line(lambda line: line.replace(b"Ada Example", b"Ada \xed\xa0\x80 Example")),
        change_line(lambda line: line + b" " * 9_000_000),
    ],
    ids=lambda line: repr(line[:20]),
)
def test_other_bytes_are_invalid_records(line: bytes) -> None:
    assert 0 < len(read_reason(line)) < 300


def test_control_characters_are_left_out() -> None:
    assert parse(title="a\x01b \x7fc").title == "ab \x7fc"


def test_white_space_of_other_scripts_and_invisible_characters_stay_apart() -> None:
    assert parse(title="a\u3000b\xa0 c").title == "a b c"


def test_runs_of_symbols_that_are_not_accents_are_accepted() -> None:
    assert parse(title="a " + "\u2014" * 40).title == "a " + "\u2014" * 40


@needs_data
def test_every_captured_line_is_parsed() -> None:
    records = [parse_line(line) for line in read_lines()]
    assert len(records) == len({record.arxiv_id for record in records})
    assert all(record.published and record.authors and record.abstract for record in records)


@needs_data
def test_a_line_takes_at_most_200_microseconds() -> None:
    """It takes 40 on an idle core; 3 million lines are parsed in one import."""
    lines = read_lines()
    times = []
    for _ in range(5):
        started = time.thread_time()
        for line in lines:
            parse_line(line)
        times.append((time.thread_time() - started) / len(lines))
    assert min(times) < 200e-6


def is_declared(line: bytes) -> bool:
    """Parse; no other exception than the declared one is raised."""
    try:
        parse_line(line)
    except InvalidRecord:
        return False
    return True


@given(st.binary())
def test_random_bytes_raise_only_the_declared_exception(line: bytes) -> None:
    assert not is_declared(line)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(LINE)), VALUES)
def test_random_values_raise_only_the_declared_exception(key: str, value: Any) -> None:
    is_declared(json.dumps(LINE | {key: value}).encode("utf-8", "replace"))


@given(st.sampled_from(sorted(LINE)), st.text())
def test_random_texts_give_texts_that_can_be_stored(key: str, text: str) -> None:
    line = json.dumps(LINE | {key: text}).encode()
    if is_declared(line):
        record = parse_line(line)
        texts = [record.title, record.abstract, record.comment or "", *record.authors]
        assert all("\0" not in each and each == " ".join(each.split()) for each in texts)


@given(st.integers(0, 900), st.binary(max_size=4))
def test_changed_bytes_raise_only_the_declared_exception(place: int, data: bytes) -> None:
    line = json.dumps(LINE).encode()
    is_declared(line[:place] + data + line[place + len(data) :])
