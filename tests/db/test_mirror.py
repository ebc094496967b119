"""Records of arXiv's other sources are stored beside what its API sends, field by field."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from msgspec import structs
from psycopg.rows import dict_row

from service.db.mirror import MirrorReader, MirrorStore
from service.db.pool import DatabasePools
from service.db.records import RecordStore
from service.metadata.arxiv_ids import ArxivId
from service.models.mirror import ImportState, MirrorRecord, Source, SyncState, VersionRecord
from tests.support.papers import NOON, create_search_record
from tests.support.papers import create_paper as create_entry

DAY = 86_400
FIRST_DAY = 19_000 * DAY


def record(**changes: Any) -> MirrorRecord:
    """A record of the snapshot."""
    fields: dict[str, Any] = {
        "source": Source.SNAPSHOT,
        "arxiv_id": "2101.00001",
        "datestamp": FIRST_DAY,
        "version": 2,
        "title": "On tests",
        "authors": ["Ada Example", "Bo Sample"],
        "abstract": "What tests show.",
        "comment": "9 pages",
        "journal": None,
        "dois": ["10.1000/1"],
        "primary_category": "cs.SE",
        "categories": ["cs.SE", "cs.LO"],
        "published": FIRST_DAY - 9 * DAY,
        "updated": FIRST_DAY - 5 * DAY,
        "submitter": "Ada Example",
        "license": "http://arxiv.org/licenses/nonexclusive-distrib/1.0/",
        "report_number": "R-1",
        "versions": [VersionRecord(1, FIRST_DAY - 9 * DAY), VersionRecord(2, FIRST_DAY - 5 * DAY)],
    }
    return MirrorRecord(**fields | changes)


def raw(**changes: Any) -> MirrorRecord:
    """A record of the format arXivRaw, which has sizes and classes."""
    sizes = [
        VersionRecord(1, FIRST_DAY - 9 * DAY, 12, "D"),
        VersionRecord(2, FIRST_DAY - 5 * DAY, 13, "D"),
    ]
    fields = {"source": Source.ARXIV_RAW, "versions": sizes, "msc_class": "53A55"}
    return record(**fields | changes)


@pytest.fixture
async def pools(database: str) -> AsyncIterator[DatabasePools]:
    async with DatabasePools(database) as opened:
        yield opened


@pytest.fixture
def store(pools: DatabasePools) -> MirrorStore:
    return MirrorStore(pools)


def read(db: psycopg.Connection, table: str = "papers") -> dict[str, Any]:
    """The only row of a table."""
    rows = db.cursor(row_factory=dict_row).execute(f"select * from {table}".encode()).fetchall()
    assert len(rows) == 1
    return rows[0]


def read_sources(db: psycopg.Connection) -> tuple[str, dict[str, str]]:
    row = read(db)
    return row["source"], row["other_sources"] or {}


async def search(pools: DatabasePools, timestamp: int = NOON, **changes: Any) -> None:
    """Store the paper as a search of arXiv found it."""
    found = structs.replace(
        create_entry(0, "On searches"), arxiv_id="2101.00001", version=2, **changes
    )
    await RecordStore(pools).insert(create_search_record(found, timestamp=timestamp))


async def test_a_record_is_stored_with_its_details(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    assert await store.save([raw()]) == 1
    paper, details = read(db), read(db, "paper_details")
    assert paper["title"] == "On tests"
    assert paper["authors"] == ["Ada Example", "Bo Sample"]
    assert paper["timestamp"] == FIRST_DAY
    assert paper["source"] == details["source"] == "arXivRaw"
    assert details["versions"][1] == {
        "version": 2,
        "submitted": FIRST_DAY - 5 * DAY,
        "size_kb": 13,
        "source_type": "D",
    }
    assert details["msc_class"] == "53A55"


async def test_the_same_record_changes_nothing(store: MirrorStore, db: psycopg.Connection) -> None:
    await store.save([record()])
    before = db.execute(
        "select papers.xmin, paper_details.xmin, * from papers, paper_details"
    ).fetchall()
    assert await store.save([record()]) == 0
    assert await store.save([record(), record()]) == 0
    assert (
        db.execute(
            "select papers.xmin, paper_details.xmin, * from papers, paper_details"
        ).fetchall()
        == before
    )


async def test_older_records_change_nothing(store: MirrorStore, db: psycopg.Connection) -> None:
    await store.save([raw(title="New title", datestamp=FIRST_DAY + DAY)])
    assert await store.save([record(title="Old title", submitter="Old")]) == 0
    assert read(db)["title"] == "New title"
    assert read(db, "paper_details")["submitter"] == "Ada Example"


async def test_an_older_version_is_added_beside_the_latest(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    await store.save([raw()])
    await store.save([record(version=1, datestamp=FIRST_DAY - 7 * DAY)])
    assert db.execute("select version from papers order by version").fetchall() == [(1,), (2,)]
    assert read(db, "paper_details")["version"] == 2


async def test_newer_content_of_a_poorer_source_replaces_older_content(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    await store.save([raw()])
    newer = record(journal="J. Tests 1 (2021)", datestamp=FIRST_DAY + DAY)
    assert await store.save([newer]) == 1
    assert read(db)["journal"] == "J. Tests 1 (2021)"
    assert read_sources(db) == ("arXivRaw", {"journal": "snapshot"})


@pytest.mark.parametrize(
    "title", ["Caf\\'e  tests", 'Caf{\\"e} tests', "Café\n tests", "CAFE TESTS"]
)
async def test_another_form_of_a_poorer_source_changes_nothing(
    store: MirrorStore, db: psycopg.Connection, title: str
) -> None:
    await store.save([raw(title="Café tests")])
    await store.save([record(title=title, datestamp=FIRST_DAY + DAY)])
    assert read(db)["title"] == "Café tests"


@pytest.mark.parametrize(("old", "new"), [("p < 0.05", "p > 0.05"), ("a + b", "a - b")])
async def test_other_signs_are_other_content(
    store: MirrorStore, db: psycopg.Connection, old: str, new: str
) -> None:
    await store.save([raw(abstract=old)])
    await store.save([record(abstract=new, datestamp=FIRST_DAY + DAY)])
    assert read(db)["abstract"] == new


async def test_a_withdrawal_that_only_one_source_shows_remains(
    store: MirrorStore, pools: DatabasePools, db: psycopg.Connection
) -> None:
    await search(pools, comment="9 pages")
    later = read(db)["timestamp"] // DAY * DAY + DAY
    await store.save([raw(datestamp=later, withdrawn=True)])
    assert read(db)["withdrawn"]
    await search(pools, later + 9 * DAY, title="On searches again", comment="9 pages")
    assert read(db)["title"] == "On searches again"
    assert read(db)["withdrawn"]


async def test_search_results_have_the_content_of_the_latest_announcement(
    store: MirrorStore, pools: DatabasePools, db: psycopg.Connection
) -> None:
    monday = NOON // DAY * DAY
    night = monday + DAY + 3600  # two hours before the search results change
    await search(pools, night)
    await store.save([raw(datestamp=monday - DAY, journal="Too old")])
    assert read(db)["journal"] is None
    await store.save([raw(datestamp=monday, journal="J. Tests 1")])
    assert read(db)["journal"] == "J. Tests 1"
    await search(pools, night, title="Without the journal")
    assert read(db)["journal"] == "J. Tests 1"


async def test_fields_that_the_poorer_source_lacks_are_kept(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    await store.save([raw()])
    third = VersionRecord(3, FIRST_DAY + DAY)
    await store.save(
        [
            record(
                version=3,
                datestamp=FIRST_DAY + DAY,
                submitter="Bo Sample",
                versions=[*record().versions, third],
            )
        ]
    )
    details = read(db, "paper_details")
    assert details["submitter"] == "Bo Sample"
    assert details["msc_class"] == "53A55"
    assert [version["size_kb"] for version in details["versions"]] == [12, 13, None]
    assert details["source"] == "snapshot"
    assert details["other_sources"] == {"msc_class": "arXivRaw", "acm_class": "arXivRaw"}


async def test_what_a_search_found_is_richer(
    store: MirrorStore, pools: DatabasePools, db: psycopg.Connection
) -> None:
    await store.save([record()])
    await search(pools, authors=["Ada Éxample"], affiliations=[["Here"]])
    assert read(db)["authors"] == ["Ada Éxample"]
    assert read_sources(db) == ("api", {})
    later = read(db)["timestamp"] // DAY * DAY + DAY
    await store.save([raw(datestamp=later, title=read(db)["title"], authors=["A. Example"])])
    assert read(db)["authors"] == ["Ada Éxample"]
    assert read(db)["affiliations"] == [["Here"]]
    assert read_sources(db)[1].get("authors", "arXivRaw") == "api"


async def test_what_a_search_found_later_is_not_replaced(
    store: MirrorStore, pools: DatabasePools, db: psycopg.Connection
) -> None:
    await search(pools, title="As searched")
    assert await store.save([raw(title="As mirrored")]) == 0
    assert read(db)["title"] == "As searched"
    assert read(db, "paper_details")["msc_class"] == "53A55"


async def test_names_of_the_format_arxiv_belong_to_the_version_of_the_same_day(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    names = {"source": Source.ARXIV, "version": None, "versions": [], "authors": ["Ada Éxample"]}
    assert await store.save([record(**names)]) == 0  # the version is unknown
    await store.save([raw()])
    assert await store.save([record(**names, datestamp=FIRST_DAY + DAY)]) == 0
    assert await store.save([record(**names, affiliations=[["Here"]])]) == 1
    assert read(db)["authors"] == ["Ada Éxample"]
    assert read(db)["affiliations"] == [["Here"]]
    assert read_sources(db) == ("arXivRaw", {"authors": "arXiv", "affiliations": "arXiv"})


async def test_affiliations_remain_if_the_format_arxiv_has_none(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    await store.save([raw(affiliations=[["Here"], ["There"]])])
    names: dict[str, Any] = {"source": Source.ARXIV, "version": None, "versions": []}
    await store.save([record(**names, authors=["Ada Éxample", "Bo Sample"])])
    assert read(db)["authors"] == ["Ada Éxample", "Bo Sample"]
    assert read(db)["affiliations"] == [["Here"], ["There"]]
    assert read_sources(db) == ("arXivRaw", {"authors": "arXiv"})


async def test_a_record_of_rss_only_adds_papers(store: MirrorStore, db: psycopg.Connection) -> None:
    rss = record(source=Source.RSS, versions=[], published=None, updated=None, title="As fed")
    assert await store.save([rss]) == 1
    assert db.execute("select from paper_details").fetchall() == []
    await store.save([record(datestamp=FIRST_DAY)])
    assert read(db)["title"] == "On tests"
    assert read(db)["published"]
    assert await store.save([structs.replace(rss, datestamp=FIRST_DAY + 9 * DAY)]) == 0


async def test_a_changed_report_number_marks_the_paper_for_the_index(
    store: MirrorStore, pools: DatabasePools, db: psycopg.Connection
) -> None:
    await search(pools)
    before = read(db)["changed"]
    await store.save([record()])
    after = read(db)["changed"]
    assert after != before
    await store.save(
        [record(submitter="Bo Sample", datestamp=FIRST_DAY + DAY, title=read(db)["title"])]
    )
    assert read(db)["changed"] == after


async def test_concurrent_processes_store_the_same_papers_once(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    records = [record(arxiv_id=f"2101.{number:05}") for number in range(1, 200)]
    saved = await asyncio.gather(
        *(store.save(records if number % 2 else records[::-1]) for number in range(4))
    )
    assert sum(saved) == len(records)
    assert db.execute("select count(*) from papers").fetchone() == (len(records),)


async def test_progress_is_stored_with_the_records_or_not_at_all(
    store: MirrorStore, db: psycopg.Connection
) -> None:
    state = SyncState(set_spec="cs", run_records=1)
    await store.save([record()], state)
    assert await store.fetch_sync("cs") == state
    broken = record(arxiv_id="2101.00002", title="A\0B")
    with pytest.raises(Exception, match=r"NUL|0x00"):
        await store.save([broken, record(arxiv_id="2101.00003")], SyncState(set_spec="cs"))
    assert await store.fetch_sync("cs") == state
    assert read(db)["arxiv_id"] == "2101.00001"


async def test_progress_of_an_import_is_stored(store: MirrorStore) -> None:
    state = ImportState(digest="d", file_name="f", started=9 * DAY, lines=5, newest_datestamp=DAY)
    await store.save([], state)
    assert await store.fetch_import("d") == state
    assert await store.fetch_newest_import() is None
    await store.save([], structs.replace(state, finished=2))
    assert await store.fetch_newest_import() is None
    whole = structs.replace(state, finished=2, is_whole=True, tail_digest="t")
    await store.save([], whole)
    assert await store.fetch_import("d") == whole
    assert await store.fetch_newest_import() == DAY


async def test_days_after_an_import_are_not_covered_by_it(store: MirrorStore) -> None:
    state = ImportState(
        digest="d",
        file_name="f",
        started=9 * DAY + 5,
        finished=10 * DAY,
        newest_datestamp=11 * DAY,
        is_whole=True,
    )
    await store.save([], state)
    assert await store.fetch_newest_import() == 8 * DAY + 5


async def test_papers_are_read_as_entries_in_the_order_requested(
    store: MirrorStore, pools: DatabasePools
) -> None:
    await store.save([record(arxiv_id=f"2101.0000{number}") for number in (1, 2, 3)])
    reader = MirrorReader(pools)
    names = [ArxivId("2101.00003", None), ArxivId("2101.00001", 2), ArxivId("2101.00002", 1)]
    papers = await reader.fetch_papers(names)
    assert [(paper.arxiv_id, paper.version) for paper in papers] == [
        ("2101.00003", 2),
        ("2101.00001", 2),
    ]
