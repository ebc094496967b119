"""The search index finds what arXiv finds for the same query."""

import contextlib
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from pathlib import Path
from random import Random
from time import process_time
from typing import Literal

import pytest

from demo import query as stand_in_query
from demo.library import Library, UnsupportedQueryError, split_words
from demo.papers import ODD_PAPERS, Author, Paper, generate
from service.arxiv_query_parser import InvalidQuery, Node
from service.lax_query import parse_rewritten_query, rewrite_query
from service.models.arxiv import SortBy, SortOrder
from service.models.records import PaperVersion
from service.search_index import state
from service.search_index.analysis import split_words as split_indexed_words
from service.search_index.arxiv_queries import MAX_WORDS, find
from service.search_index.paper_index import PaperIndex, Snapshot
from tests.support.arxiv_index import build_index
from tests.support.measure import retry_async

GENERATED = 10_500
"""More papers than arXiv returns for a search."""
_NOON = datetime(2026, 2, 1, 12, 0, 30, tzinfo=UTC)


def create_paper(number: int, title: str, *authors: str, **changes: object) -> Paper:
    plain = Paper(
        arxiv_id=f"2602.{number:05}",
        title=title,
        abstract="An abstract.",
        authors=tuple(map(Author, authors or ("Ada Novák",))),
        categories=("cs.DL",),
        versions=(_NOON,),
    )
    return replace(plain, **changes)  # type: ignore[arg-type] # fields by their names


NAMES = [
    create_paper(1, "Names one", "Wei Li", "Li Zhang", "Wei Zhang"),
    create_paper(2, "Names two", "Wei Li Zhang"),
    create_paper(3, "Names three", "Maria del Carmen Ruiz y Picasso", "Juan Perez"),
    create_paper(4, "Names four", "the ALPHA and the BETA deep Collaborations", "Carmen Perez"),
    create_paper(5, "Names five", "Maria Luisa von der Leyen Carmen", "Ana de la Cruz y Perez"),
    create_paper(6, "Names six", "Emil Einstein"),
]
COLLABORATIONS = create_paper(
    7,
    "Collaborations",
    *(f"{name} and its very many friends" for name in ("A", "B", "C", "D", "E")),
)
TEX = create_paper(10, r"On M\"obius strips of $\rho_c$ and $x_1$", r"Paul Erd\H{o}s")
UNDERSCORES = create_paper(11, "The option no_cache of C++ and the A* search")
JAPANESE = create_paper(12, "量子計算の理論")


PAPERS = [*generate(GENERATED), *ODD_PAPERS, *NAMES]
DIFFERENT = [COLLABORATIONS, TEX, UNDERSCORES, JAPANESE]

Find = Callable[..., "tuple[int, list[PaperVersion]]"]


class Mirror:
    """Searches with the text of a query."""

    def __init__(self, index: PaperIndex, snapshot: Snapshot) -> None:
        self.index = index
        self.snapshot = snapshot

    async def find(
        self,
        text: str,
        *,
        sort_by: SortBy = "relevance",
        sort_order: SortOrder = "descending",
        start: int = 0,
        limit: int = 20_000,
        arxiv_ids: list[str] | None = None,
    ) -> tuple[int, list[PaperVersion]]:
        return await find(
            self.index,
            self.snapshot,
            parse(text),
            arxiv_ids=arxiv_ids,
            sort_by=sort_by,
            sort_order=sort_order,
            start=start,
            limit=limit,
        )

    async def find_ids(self, text: str) -> set[str]:
        total, papers = await self.find(text)
        assert total == len(papers) == len({*papers})
        return {arxiv_id for arxiv_id, _ in papers}


def parse(text: str) -> Node:
    return parse_rewritten_query(rewrite_query(text))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index")
    build_index(folder, [*PAPERS, *DIFFERENT])
    return folder


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(PAPERS)


@pytest.fixture
async def mirror(folder: Path) -> AsyncIterator[Mirror]:
    async with PaperIndex(folder) as index:
        yield Mirror(index, await index.open_snapshot())


def find_in_stand_in(library: Library, text: str) -> set[str]:
    tree = stand_in_query.parse(stand_in_query.rewrite(text))
    return {library.papers[number].arxiv_id for number in library.find(tree)}


# Generated queries

FIELDS: dict[str, Callable[[Paper], str]] = {
    "ti": lambda paper: paper.title,
    "abs": lambda paper: paper.abstract,
    "co": lambda paper: paper.comment or "pages",
    "jr": lambda paper: paper.journal_ref or "Phys. Rev.",
    "rn": lambda paper: paper.report_number or "NM",
    "all": lambda paper: f"{paper.title} {paper.journal_ref or ''}",
}


def list_words_that_differ(field: str) -> set[str]:
    """The words that stand-in and mirror do not split alike: those with underscores and TeX."""
    words: set[str] = set()
    for paper in PAPERS:
        text = FIELDS[field](paper)
        words |= {*split_words(text)} ^ {*split_indexed_words(text)}
    return words


DIFFERING_WORDS = {field: list_words_that_differ(field) for field in ("ti", "abs")}
DIFFERING_WORDS["all"] = DIFFERING_WORDS["ti"] | DIFFERING_WORDS["abs"]


class Generator:
    """Generates queries that find papers."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - not used for security

    def generate_query(self, depth: int) -> str:
        """A query, in which groups are nested up to a depth."""
        if not depth or self.random.random() < 0.2:
            return self.generate_term()
        operators = ["AND", "OR", "ANDNOT", "", "NOT", "AND NOT"]
        operator = self.random.choices(operators, [6, 6, 3, 2, 1, 1])[0]
        operands = [self.generate_operand(depth - 1) for _ in range(self.random.choice([2, 2, 3]))]
        return f" {operator} ".join(operands)

    def generate_operand(self, depth: int) -> str:
        query = self.generate_query(depth)
        return f"({query})" if self.random.random() < 0.5 else query

    def generate_term(self) -> str:
        """A term whose words are the same for both sides."""
        while True:
            text = self.generate_any_term()
            field = text.partition(":")[0]
            if DIFFERING_WORDS.get(field, set()).isdisjoint(split_words(text)):
                return text

    def generate_any_term(self) -> str:
        paper = self.random.choice(PAPERS)
        kinds: list[Callable[[Paper], str]] = [
            *(partial(self.generate_text, field) for field in FIELDS),
            *(self.generate_name, self.generate_category, self.generate_id, self.generate_doi),
            *(self.generate_range, self.generate_any, self.generate_group),
        ]
        return self.random.choice(kinds)(paper)

    def generate_text(self, field: str, paper: Paper) -> str:
        words = split_words(FIELDS[field](paper))
        start = self.random.randrange(len(words))
        chosen = words[start : start + self.random.choice([1, 1, 2, 3])]
        if len(chosen) > 1:
            return f'{field}:"{" ".join(chosen)}"'
        return f"{field}:{chosen[0]}" if self.random.random() < 0.7 else f'{field}:"{chosen[0]}"'

    def generate_name(self, paper: Paper) -> str:
        authors = self.random.choices(paper.authors, k=self.random.choice([1, 1, 1, 2]))
        words = split_words(" ".join(author.name for author in authors)) or ["ada"]
        chosen = self.random.sample(words, self.random.randint(1, min(4, len(words))))
        return f'au:"{" ".join(chosen)}"' if len(chosen) > 1 else f"au:{chosen[0]}"

    def generate_category(self, paper: Paper) -> str:
        name = self.random.choice(paper.categories)
        archive = name.partition(".")[0]
        forms = [name, name, name.swapcase(), f"{archive}.*", f"{archive}*", f"*{name[-2:]}"]
        return f"cat:{self.random.choice([*forms, f'{name[:-1]}?', archive])}"

    def generate_id(self, paper: Paper) -> str:
        name = paper.arxiv_id
        return f"id:{self.random.choice([name, f'{name}v{paper.version}', f'{name}v7'])}"

    def generate_doi(self, paper: Paper) -> str:
        doi = self.random.choice(paper.dois or ("10.5555/none",))
        return f'doi:"{self.random.choice([doi, doi.upper()])}"'

    def generate_range(self, paper: Paper) -> str:
        days = timedelta(days=self.random.choice([0, 1, 30, 400, 4000]))
        first, last = paper.submitted - days, paper.submitted + days
        form = self.random.choice(["%Y", "%Y%m", "%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S"])
        return f"submittedDate:[{first.strftime(form)} TO {last.strftime(form)}]"

    def generate_any(self, paper: Paper) -> str:
        texts = [paper.arxiv_id, f"{paper.submitted:%Y}", *paper.categories, *paper.dois]
        names = [" ".join(split_words(author.name)) or "ada" for author in paper.authors]
        return f'all:"{self.random.choice([*texts, *names])}"'

    def generate_group(self, paper: Paper) -> str:
        words = self.random.choices(split_words(paper.title), k=2)
        operator = self.random.choice(["", "AND", "OR"])
        return f"ti:({words[0]} {operator} {words[1]})"


@pytest.mark.parametrize("seed", range(8))
async def test_generated_queries_find_the_same_papers_as_the_stand_in(
    seed: int, mirror: Mirror, library: Library
) -> None:
    generator = Generator(seed)
    compared = successful = 0
    different = {paper.arxiv_id for paper in DIFFERENT}
    while compared < 100:
        text = generator.generate_query(3)
        try:
            expected = find_in_stand_in(library, text)
        except UnsupportedQueryError:  # of a group that is excluded
            continue
        assert await mirror.find_ids(text) - different == expected, text
        compared += 1
        successful += bool(expected)
    assert successful > 50


async def test_underscores_in_the_author_at_the_start_separate_words(
    mirror: Mirror, library: Library
) -> None:
    found = await mirror.find_ids("au:cohen_agnieszka")

    assert found == find_in_stand_in(library, "au:cohen_agnieszka") != set()


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        ("Wei Li Zhang", [2]),
        ("Zhang Wei", [1, 2]),
        ("Wei Wei", [1, 2]),
        ("Maria Carmen", [3, 5]),
        ("Ruiz Carmen Maria Picasso del", [3]),
        ("Juan Carmen", []),
        ("alpha collaborations deep", [4]),
        ("alpha Perez", []),
        ("y Cruz", [5]),
        ("Leyen Cruz", []),
        ("Maria Leyen Luisa von der Carmen", [5]),
        ("ein*", [6]),
        ("ein* einstein", [6]),
        ("ei* eins*", [6]),
        ("emil einst*", [6]),
        ("pic* mar* y", [3]),
        ("lu* von l*", [5]),
        ("pic* perez", []),
    ],
)
async def test_one_name_has_all_words_of_an_author_in_any_order(
    name: str, numbers: list[int], mirror: Mirror
) -> None:
    """A word with a wildcard and one that it stands for may be the same word of the name."""
    special = {paper.arxiv_id for paper in NAMES}

    found = await mirror.find_ids(f'au:"{name}" AND ti:names')

    assert found & special == {f"2602.{number:05}" for number in numbers}


async def test_earlier_versions_do_not_match(mirror: Mirror) -> None:
    assert await mirror.find_ids('ti:"superseded preliminary results"') == set()
    assert len(await mirror.find_ids("")) == len(PAPERS) + len(DIFFERENT)


async def test_a_search_can_be_restricted_to_ids(mirror: Mirror) -> None:
    ids = [NAMES[0].arxiv_id, TEX.arxiv_id, "9999.00001"]

    total, papers = await mirror.find("ti:names", arxiv_ids=ids)

    assert (total, papers) == (1, [(NAMES[0].arxiv_id, 1)])


# Order and pages

SORTS: list[tuple[SortBy, Callable[[Paper], datetime]]] = [
    ("submittedDate", lambda paper: paper.submitted),
    ("lastUpdatedDate", lambda paper: paper.updated),
]
ORDERS: list[Literal["ascending", "descending"]] = ["ascending", "descending"]


@pytest.mark.parametrize(("sort_by", "get_time"), SORTS)
@pytest.mark.parametrize("sort_order", ORDERS)
async def test_papers_are_sorted_as_by_the_stand_in_except_at_the_same_time(
    sort_by: SortBy, get_time: Callable[[Paper], datetime], sort_order: SortOrder, mirror: Mirror
) -> None:
    by_id = {paper.arxiv_id: paper for paper in PAPERS}
    expected = [get_time(paper) for paper in PAPERS if "testing" in split_words(paper.title)]
    expected.sort(reverse=sort_order == "descending")

    total, papers = await mirror.find("ti:testing", sort_by=sort_by, sort_order=sort_order)

    assert [get_time(by_id[arxiv_id]) for arxiv_id, _ in papers] == expected
    assert total == len(papers) > 100
    assert all(by_id[arxiv_id].version == version for arxiv_id, version in papers)


@pytest.mark.parametrize("sort_by", ["submittedDate", "lastUpdatedDate"])
async def test_papers_of_one_second_are_sorted_by_their_numbers(
    sort_by: SortBy, mirror: Mirror
) -> None:
    _, papers = await mirror.find("ti:names", sort_by=sort_by)

    assert [arxiv_id for arxiv_id, _ in papers] == [paper.arxiv_id for paper in NAMES[::-1]]


@pytest.mark.parametrize("sort_by", ["relevance", "submittedDate", "lastUpdatedDate"])
@pytest.mark.parametrize("sort_order", ORDERS)
async def test_pages_fit_together_beyond_the_last_result_of_arxiv(
    sort_by: SortBy, sort_order: SortOrder, mirror: Mirror
) -> None:
    everything = await mirror.find("cat:*", sort_by=sort_by, sort_order=sort_order)
    total = everything[0]
    assert total > 10_000
    pages: list[PaperVersion] = []
    for start in range(0, total + 1000, 997):
        page = await mirror.find(
            "cat:*", sort_by=sort_by, sort_order=sort_order, start=start, limit=997
        )
        assert page[0] == total
        pages += page[1]

    assert pages == everything[1]
    assert len({*pages}) == total


async def test_ascending_relevance_is_the_reverse_of_descending(mirror: Mirror) -> None:
    best_first = await mirror.find("testing OR abs:testing")
    worst_first = await mirror.find("testing OR abs:testing", sort_order="ascending")

    assert worst_first == (best_first[0], best_first[1][::-1])


async def test_a_match_in_the_title_counts_more_than_one_in_the_abstract(mirror: Mirror) -> None:
    by_id = {paper.arxiv_id: paper for paper in PAPERS}
    _, papers = await mirror.find("all:counterexample OR all:skyrmion", limit=20)

    assert all("skyrmion" in by_id[arxiv_id].title.lower() for arxiv_id, _ in papers)


@pytest.mark.parametrize("start", [10**6, 2**31, 2**63, 2**64])
async def test_a_page_after_the_end_is_empty(start: int, mirror: Mirror) -> None:
    total, papers = await mirror.find("ti:testing", start=start)

    assert total > 100
    assert papers == []


# Documented differences


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("ti:neur*", r" neur\w*"),
        ("ti:GAL*", r" gal\w*"),
        ('ti:"black ho*"', r" black ho\w* "),
        ('ti:"quant* ch* and"', r" quant\w* ch\w* and "),
        ("ti:gamma-r*", r" gamma r\w*"),
        ("ti:a*", r" a\w*"),
    ],
)
async def test_a_wildcard_at_the_end_of_a_word_finds_words_that_begin_so(
    text: str, pattern: str, mirror: Mirror
) -> None:
    """The stand-in ignores it."""
    titles = {paper.arxiv_id: f" {' '.join(split_words(paper.title))} " for paper in PAPERS}
    different = {paper.arxiv_id for paper in DIFFERENT}

    found = await mirror.find_ids(text) - different

    assert found == {name for name, title in titles.items() if re.search(pattern, title)}


@pytest.mark.parametrize(
    ("text", "finders"),
    [
        ("ti:moebius", []),
        ("ti:mobius", ["mirror"]),
        ("au:erdos", ["mirror"]),
        ("ti:obius", ["stand-in"]),
        ("ti:rho_c", ["mirror", "stand-in"]),
        ("ti:rho", ["mirror"]),
    ],
)
async def test_words_of_tex_are_found_as_they_are_displayed(
    text: str, finders: list[str], mirror: Mirror
) -> None:
    assert await list_finders(TEX, text, mirror) == finders


@pytest.mark.parametrize(
    ("text", "finders"),
    [
        ("ti:no_cache", ["mirror", "stand-in"]),
        ('ti:"no cache"', ["mirror"]),
        ("ti:cache", ["mirror"]),
        ("ti:option_no", ["mirror"]),
        ("ti:C++", ["mirror", "stand-in"]),
        ("ti:C", ["stand-in"]),
    ],
)
async def test_underscores_separate_words_and_signs_belong_to_letters(
    text: str, finders: list[str], mirror: Mirror
) -> None:
    assert await list_finders(UNDERSCORES, text, mirror) == finders


async def list_finders(paper: Paper, text: str, mirror: Mirror) -> list[str]:
    """Who finds the paper."""
    ids = {
        "mirror": await mirror.find_ids(text),
        "stand-in": find_in_stand_in(Library([paper]), text),
    }
    return [name for name, found in ids.items() if paper.arxiv_id in found]


async def test_the_fourth_long_name_and_later_ones_are_searched_as_one(mirror: Mirror) -> None:
    assert await list_finders(COLLABORATIONS, 'au:"a friends many"', mirror) == [
        "mirror",
        "stand-in",
    ]
    assert await list_finders(COLLABORATIONS, 'au:"a b"', mirror) == []
    assert await list_finders(COLLABORATIONS, 'au:"c d"', mirror) == []
    assert await list_finders(COLLABORATIONS, 'au:"d e"', mirror) == ["mirror"]


@pytest.mark.parametrize("text", ["ti:name", "ti:n?mes", "ti:na*es", 'ti:"?names one"'])
async def test_other_forms_and_wildcards_inside_words_are_not_found(
    text: str, mirror: Mirror
) -> None:
    found = await mirror.find_ids(text)

    assert (NAMES[0].arxiv_id in found) == (text == 'ti:"?names one"')


async def test_each_character_of_a_script_without_spaces_is_a_word(mirror: Mirror) -> None:
    assert JAPANESE.arxiv_id in await mirror.find_ids("ti:計算")
    assert find_in_stand_in(Library([JAPANESE]), "ti:計算") == set()


async def test_a_group_can_be_excluded_from_all_papers(mirror: Mirror, library: Library) -> None:
    text = "ANDNOT (cat:* ANDNOT ti:names)"

    assert await mirror.find_ids(text) == {paper.arxiv_id for paper in NAMES}
    with pytest.raises(UnsupportedQueryError):
        find_in_stand_in(library, text)


async def test_a_value_without_words_finds_nothing(mirror: Mirror, library: Library) -> None:
    assert await mirror.find_ids("all:;") == await mirror.find_ids("au:;") == set()
    with pytest.raises(UnsupportedQueryError):
        find_in_stand_in(library, "all:;")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("all:*", "wildcard at the start"),
        ("doi:*x", "wildcard at the start"),
        ("id:?", "wildcard at the start"),
        ("submittedDate:[2020-01-01 TO 2021-01-01]", "is not a range of dates"),
        ('submittedDate:"yesterday"', "is not a range of dates"),
    ],
)
async def test_what_makes_arxiv_fail_is_rejected_with_a_reason(
    text: str, reason: str, mirror: Mirror, library: Library
) -> None:
    with pytest.raises(InvalidQuery, match=reason):
        await mirror.find(text)
    with pytest.raises(UnsupportedQueryError):
        find_in_stand_in(library, text)


# Hostile queries

LETTERS = "abcdefghijklmn"
COMMON = Counter(word for paper in PAPERS for word in {*split_words(paper.abstract)})
WORDS = [word for word, _ in COMMON.most_common(200)]
"""The most frequent words, each in hundreds of papers."""
PAIRS = [f"all:{one} AND all:{other}" for one, other in pairwise(WORDS)]
LONG_WORDS = [word for word in WORDS if len(word) > len("the")]
HOSTILE = {
    "repeated term": " ".join(["the"] * 200),
    "common words": " ".join(WORDS),
    "alternating operators": " OR ".join(PAIRS[:25]),
    "more alternating operators": " OR ".join(PAIRS[:100]),
    "exclusions": " ANDNOT ".join(f"all:{word}" for word in WORDS[:51]),
    "more exclusions": " ANDNOT ".join(f"all:{word}" for word in WORDS),
    "names": " ".join(f'all:"{a} {b}"' for a in "abcdefghijklmn" for b in "opqrstuvwxyzab"),
    "phrase": 'all:"' + "the " * 300 + '"',
    "words": 'all:"' + "of the " * 151 + '"',
    "short wildcards": "all:a* all:t*",
    "more short wildcards": "all:a* all:t* all:the*",
    "wildcards": " ".join(f"all:{word[:3]}*" for word in LONG_WORDS[:10]),
    "more wildcards": " ".join(f"all:{word[:3]}*" for word in LONG_WORDS[:11]),
    "phrase of wildcards": f'ti:"{" ".join(f"{word[:3]}*" for word in LONG_WORDS[:10])}"',
    "name of short wildcards": 'au:"a* b*"',
    "category": "cat:" + "*?" * 100,
    "long category": "cat:" + "a*" * 2000,
    "stars": "cat:" + "*" * 9000,
    "categories": " ".join(f"cat:*{a}{b}{'x' * 17}" for a in LETTERS for b in LETTERS[:3]),
    "long word": "all:" + "a" * 9990,
    "long wildcard": "ti:" + "a" * 9990 + "*",
    "long wildcard in a phrase": 'ti:"' + "a" * 9980 + '* b"',
    "long name of wildcards": 'au:"' + " ".join(letter * 100 + "*" for letter in "abcd") + '"',
    "letters": " ".join(f'all:"{chr(0x4E00 + n) * 90}*"' for n in range(3)),
    "long id": "id:" + "v1" * 4900,
    "range": "submittedDate:[9999 TO 0001]",
    "ranges": " ".join(["submittedDate:[1900 TO 2100]"] * 200),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_query_takes_less_than_100_ms_of_computing(
    name: str, mirror: Mirror
) -> None:
    tree = parse(HOSTILE[name])

    async def check() -> None:
        started = process_time()
        with contextlib.suppress(InvalidQuery):
            await find(mirror.index, mirror.snapshot, tree, start=0, limit=10)
        assert process_time() - started < 0.1

    await retry_async(check)


async def test_queries_that_would_take_too_long_are_rejected(mirror: Mirror) -> None:
    with pytest.raises(InvalidQuery, match=f"more than {MAX_WORDS} words"):
        await mirror.find(HOSTILE["words"])
    with pytest.raises(InvalidQuery, match="more than 10 words with a wildcard"):
        await mirror.find(HOSTILE["more wildcards"])
    with pytest.raises(InvalidQuery, match="one after at most 2 letters counts as 5"):
        await mirror.find(HOSTILE["more short wildcards"])
    with pytest.raises(InvalidQuery, match="operators alternate more than 50 times"):
        await mirror.find(HOSTILE["more exclusions"])


async def test_a_rejected_query_does_not_make_the_index_be_built_again(
    mirror: Mirror, folder: Path
) -> None:
    for text in HOSTILE.values():
        with contextlib.suppress(InvalidQuery):
            await mirror.find(text)

    assert not state.is_rebuild_requested(folder)
